//! The agent itself: one input, one decision. This file only dispatches; the rules live with their nouns.
//!
//! Every input first deals with what is due by the time it brings, so a late word cannot outrun the end of the lease.
//! The shell calls [`Agent::handle`] for what happens and wakes up at [`Agent::next_deadline`].
//!
//! Attempts begin only while all of this holds: there is a lease, the supervisor was reached, the journal takes records, few
//! enough reports wait, and the controller has confirmed once since this agent was loaded what the node holds. The last of
//! these is why a Hello need not wait for the disk: what it leaves out because of a record that was lost with an agent
//! cannot begin before another Hello has named it.
//!
//! Invariant: without a lease nothing begins; with the policy `kill`, what runs is being ended.

use crate::admission;
use crate::attempt::{Event, State};
use crate::deferred::Deferred;
use crate::desk::Desk;
use crate::directories;
use crate::effect::{AgentMessage, DeadlineReason, Effect};
use crate::health::Health;
use crate::input::{
    Assignment, ControllerMessage, Input, Kill, KillReason, NodeSettings, SessionId, StartTaskSettings,
    Welcome,
};
use crate::lease::Heartbeats;
use crate::ledger::{Ledger, Occupancy};
use crate::life;
use crate::planted::{Plant, Planted};
use crate::reattach;
use crate::record::Record;
use crate::report::Report;
use crate::restart::Restart;
use crate::retention::BATCH_INTERVAL;
use crate::start_task::{self, StartTask};
use crate::subject::Subject;
use crate::time::{Monotonic, Now};
use muster_model::cause::FailureInfo;
use muster_model::state::{AttemptPhase, OnLeaseExpiry};
use muster_model::{AttemptId, Cause};
use std::collections::BTreeSet;
use std::time::Duration;

/// Between the polite signal and the kill when the agent stops or leaves: people wait for it.
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// Longest that stopping or leaving waits for attempts to end; then it goes on without them.
pub const STOP_MAX: Duration = Duration::from_secs(30);

/// The agent's state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    ledger: Ledger,
    session: Session,
    supervised: bool,
    /// Work that the agent before had begun, until it is begun again.
    resumes: BTreeSet<Subject>,
    /// The controller has answered a Hello since this agent was loaded.
    confirmed: bool,
    /// The journal takes the records of new attempts.
    writable: bool,
    stopping: Option<Stopping>,
    swept: Monotonic,
    last: Now,
    gpus: u32,
    deferred: Deferred,
    health: Health,
    restart: Restart,
    planted: Plant,
}

/// How the agent stands to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Session {
    /// No stream.
    Closed,
    /// The Hello was sent at this time.
    Greeting { id: SessionId, asked: Monotonic },
    /// Welcomed.
    Live { id: SessionId, heartbeats: Heartbeats },
}

/// An end that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stopping {
    then: Then,
    deadline: Monotonic,
    done: bool,
}

/// What follows when everything has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Leave,
    Stop,
}

/// A broken invariant, found by [`Agent::check`]: only a fault of this crate can cause it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The counters of the ledger are not what a recount finds.
    #[error("{counted:?} is counted, a recount finds {found:?}")]
    Miscounted {
        /// By the counters.
        counted: Box<Occupancy>,
        /// By the recount.
        found: Box<Occupancy>,
    },
    /// An attempt goes on though the lease has ended and the pool's policy is to kill.
    #[error("attempt {attempt} goes on without a lease")]
    RunsWithoutLease {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Attempts of two tasks that have had the same id are live.
    #[error("attempt {attempt} is live beside one of an earlier task of the same id")]
    TwoTasksOfOneId {
        /// One of them.
        attempt: AttemptId,
    },
    /// An attempt is live and remembered as ended.
    #[error("attempt {attempt} is live and has ended")]
    LiveAndEnded {
        /// The attempt.
        attempt: AttemptId,
    },
}

impl Agent {
    /// The agent that a journal tells; an empty one makes a new agent. `rebooted` says that the machine was booted
    /// since the journal was written; the shell then replaces the journal by [`Ledger::snapshot`], because
    /// what it says of the old boot does not hold any more.
    #[must_use]
    pub fn load(journal: impl IntoIterator<Item = Record>, rebooted: bool, now: Now) -> Self {
        let ledger = Ledger::replay(journal, rebooted);
        Self {
            resumes: reattach::under_way(&ledger),
            ledger,
            session: Session::Closed,
            supervised: false,
            confirmed: false,
            writable: true,
            stopping: None,
            swept: now.monotonic,
            last: now,
            gpus: 0,
            deferred: Deferred::default(),
            health: Health::default(),
            restart: Restart::default(),
            planted: Plant::default(),
        }
    }

    /// The same agent on a node with so many GPUs, numbered from 0. Without this it has none.
    #[must_use]
    pub const fn with_gpus(mut self, gpus: u32) -> Self {
        self.gpus = gpus;
        self
    }

    /// The same agent with a fault: for the simulation.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn with_planted(mut self, planted: Plant) -> Self {
        self.planted = planted;
        self
    }

    /// The same agent, whose journal has lost records though the machine was not booted: it may have said reports of numbers that it
    /// does not know, so the next ones are far above.
    #[must_use]
    pub fn with_lost_records(mut self) -> Self {
        self.ledger.skip_numbers();
        self.ledger.skip_runs();
        self
    }

    /// What must not be forgotten; for the shell to look things up and for tests.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was assigned and waits for the end of attempts of an earlier task of the same id. It is in no journal, and is
    /// forgotten with its session: the controller then finds that the node does not hold it.
    pub fn deferred(&self) -> impl Iterator<Item = &Assignment> {
        self.deferred.iter()
    }

    /// Handles one input. Effects are to be carried out in their order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut ledger = std::mem::take(&mut self.ledger);
        let mut desk = Desk::new(&mut ledger, now);
        self.last = now;
        self.due(&mut desk);
        self.dispatch(&mut desk, input);
        if self.writable {
            admission::assign_free(&mut desk, &mut self.deferred);
        }
        if self.may_begin(&desk) {
            admission::admit(&mut desk, self.gpus);
        }
        let is_idle = self.is_idle(&desk);
        self.restart.when_idle(&mut desk, is_idle);
        self.finish_stopping(&mut desk);
        let listener = match &self.session {
            Session::Live { id, .. } => Some(*id),
            Session::Closed | Session::Greeting { .. } => None,
        };
        let effects = desk.into_effects(listener);
        self.ledger = ledger;
        effects
    }

    fn dispatch(&mut self, desk: &mut Desk<'_>, input: Input) {
        let may_retry = self.stopping.is_none();
        match input {
            Input::Supervised(held) => {
                self.supervised = true;
                reattach::supervised(desk, held, &std::mem::take(&mut self.resumes), may_retry);
                self.consider_start_task(desk);
            }
            Input::SessionOpened(id) => {
                self.deferred.clear();
                self.session = Session::Greeting { id, asked: desk.now.monotonic };
                let mut hello = reattach::hello(desk.ledger);
                let forgets = self.planted.has(Planted::HelloForgets);
                hello.held.retain(|held| !forgets || held.phase != AttemptPhase::Staging);
                desk.act(Effect::Send { session: id, message: AgentMessage::Hello(hello) });
            }
            Input::SessionClosed(id) => {
                if self.session_id() == Some(id) {
                    self.session = Session::Closed;
                    if self.planted.has(Planted::ForgetReports) {
                        acknowledge(desk, u64::MAX);
                    }
                }
            }
            Input::Controller { session, message } => {
                if self.session_id() == Some(session) {
                    self.controller(desk, session, message);
                }
            }
            Input::Staged { subject, outcome } => {
                life::event(desk, &subject, Event::Staged(&outcome), may_retry);
            }
            Input::Launched { subject, outcome } => {
                life::event(desk, &subject, Event::Launched(&outcome), may_retry);
            }
            Input::Exited { subject, exit } => life::exited(desk, &subject, &exit, may_retry),
            Input::Collected { subject, collected } => {
                life::event(desk, &subject, Event::Collected(&collected), may_retry);
            }
            Input::Health(errors) => self.health.tell(desk, errors),
            Input::OverDisk { subject, over } => life::over_disk(desk, &subject, over),
            Input::FreeDisk => directories::free(desk),
            Input::Journal { writable } => {
                self.writable = writable;
                self.consider_start_task(desk);
            }
            Input::DeadlinePassed => {}
            Input::Stop => self.stop(desk, Then::Stop),
        }
    }

    fn controller(&mut self, desk: &mut Desk<'_>, session: SessionId, message: ControllerMessage) {
        match message {
            ControllerMessage::Welcome(welcome) => self.welcome(desk, session, &welcome),
            ControllerMessage::LeaseGranted { sequence, ttl } => {
                if let Session::Live { heartbeats, .. } = &mut self.session
                    && let Some(until) = heartbeats.granted(sequence, ttl)
                {
                    let from_answer = self.planted.has(Planted::LeaseFromAnswer);
                    let until = if from_answer { desk.now.monotonic.after(ttl) } else { until };
                    take_lease(desk, until);
                }
            }
            ControllerMessage::Assign(assignments) => {
                let assign = if self.writable { admission::assign } else { admission::postpone };
                if self.stopping.is_none() {
                    for assignment in assignments {
                        assign(desk, &mut self.deferred, assignment);
                    }
                }
            }
            ControllerMessage::Recall(attempts) => {
                attempts.iter().for_each(|attempt| recall(desk, &mut self.deferred, attempt));
            }
            ControllerMessage::Kill(kills) => {
                kills.iter().for_each(|wanted| kill(desk, &mut self.deferred, wanted));
            }
            ControllerMessage::Amend(amendment) => {
                if !self.deferred.amend(&amendment) {
                    life::amend(desk, &amendment);
                }
            }
            ControllerMessage::Acknowledge(number) => acknowledge(desk, number),
            ControllerMessage::Settings(settings) => self.settings(desk, &settings),
            ControllerMessage::RunStartTask(settings) => {
                // An order that came twice finds what it asked for done.
                if !desk.ledger.start_task().is_some_and(|task| task.has_succeeded(&settings)) {
                    self.run_start_task(desk, settings);
                }
            }
            ControllerMessage::RemoveDirectories(attempts) => directories::remove(desk, &attempts),
            ControllerMessage::Leave => self.stop(desk, Then::Leave),
            ControllerMessage::Restart { reimage } => {
                if self.stopping.is_none() {
                    self.restart.order(desk, reimage, STOP_GRACE);
                }
            }
        }
    }

    fn welcome(&mut self, desk: &mut Desk<'_>, session: SessionId, welcome: &Welcome) {
        let Session::Greeting { asked, .. } = self.session else { return };
        let from_answer = self.planted.has(Planted::LeaseFromAnswer);
        let asked = if from_answer { desk.now.monotonic } else { asked };
        let heartbeats =
            Heartbeats::begin(welcome.lease_ttl, welcome.heartbeat_interval, asked, desk.now.monotonic);
        self.session = Session::Live { id: session, heartbeats };
        self.confirmed = true;
        take_lease(desk, asked.after(welcome.lease_ttl));
        if welcome.acknowledged >= desk.ledger.outbox().next_number() {
            // The journal is younger than what the controller remembers: go on above its numbers.
            let report = welcome.acknowledged.saturating_add(1);
            desk.record(Record::NumbersFrom { report, run: desk.ledger.next_run() });
        } else {
            acknowledge(desk, welcome.acknowledged);
        }
        reattach::judge(desk, &welcome.verdicts);
        self.settings(desk, &welcome.settings);
        self.health.repeat(desk);
        desk.send_waiting();
    }

    fn settings(&self, desk: &mut Desk<'_>, settings: &NodeSettings) {
        if desk.ledger.settings() != Some(settings) {
            desk.record(Record::Settings(settings.clone()));
        }
        self.consider_start_task(desk);
    }

    /// Begins the start task if it has not begun since the boot.
    fn consider_start_task(&self, desk: &mut Desk<'_>) {
        let wanted = desk.ledger.settings().and_then(|settings| settings.start_task);
        if let (Some(settings), None) = (wanted, desk.ledger.start_task()) {
            self.run_start_task(desk, settings);
        }
    }

    fn run_start_task(&self, desk: &mut Desk<'_>, settings: StartTaskSettings) {
        let runs = desk.ledger.start_task().is_some_and(|task| task.alive().is_some());
        if self.start_task_may_run() && !runs {
            let run = desk.ledger.next_run().max(1);
            life::begin_start_task(desk, StartTask::begin(settings, run, desk.now));
        }
    }

    /// Whether the start task may begin, or be tried again.
    const fn start_task_may_run(&self) -> bool {
        self.supervised && self.writable && self.stopping.is_none() && !self.restart.waits()
    }

    /// Whether nothing is held that a restart of the machine would cut short or forget.
    fn is_idle(&self, desk: &Desk<'_>) -> bool {
        let ledger = &desk.ledger;
        let start_task_lives = ledger.start_task().is_some_and(|task| task.alive().is_some());
        self.stopping.is_none()
            && !start_task_lives
            && ledger.attempts().is_empty()
            && self.deferred.iter().next().is_none()
            && ledger.outbox().finished().next().is_none()
    }

    /// Whether attempts may begin: the node has a lease, reaches its supervisor, keeps records, has told most of what it has to
    /// tell, and has passed its start task.
    fn may_begin(&self, desk: &Desk<'_>) -> bool {
        let gate = |settings| start_task::gate_open(settings, desk.ledger.start_task());
        self.supervised
            && self.confirmed
            && self.writable
            && self.stopping.is_none()
            && !desk.ledger.outbox().is_full()
            && desk.ledger.lease_until().is_some()
            && desk.ledger.settings().is_some_and(gate)
    }

    const fn session_id(&self) -> Option<SessionId> {
        match &self.session {
            Session::Closed => None,
            Session::Greeting { id, .. } | Session::Live { id, .. } => Some(*id),
        }
    }

    fn stop(&mut self, desk: &mut Desk<'_>, then: Then) {
        let deadline = desk.now.monotonic.after(STOP_MAX);
        self.stopping = match self.stopping {
            // To leave says more than to stop, and neither begins anew.
            Some(Stopping { then: before, deadline, done }) => {
                let then = if before == Then::Leave { before } else { then };
                Some(Stopping { then, deadline, done })
            }
            None => Some(Stopping { then, deadline, done: false }),
        };
        for assignment in self.deferred.iter() {
            desk.report(Report::Recalled(assignment.attempt.clone()));
        }
        self.deferred.clear();
        life::kill_all(desk, KillReason::NodeStopping, STOP_GRACE);
        life::kill_start_task(desk, KillReason::NodeStopping, STOP_GRACE);
    }

    fn finish_stopping(&mut self, desk: &mut Desk<'_>) {
        let Some(stopping) = &mut self.stopping else { return };
        let alive = desk.ledger.start_task().is_some_and(|task| task.alive().is_some());
        let over = desk.ledger.attempts().is_empty() && !alive;
        if !stopping.done && (over || stopping.deadline <= desk.now.monotonic) {
            stopping.done = true;
            desk.act(match stopping.then {
                Then::Leave => Effect::Leave,
                Then::Stop => Effect::Stopped,
            });
        }
    }

    /// Deals with everything that is due.
    fn due(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now.monotonic;
        if desk.ledger.lease_until().is_some_and(|until| until <= now) {
            self.lease_ended(desk);
        }
        self.beat(desk);
        let slow: Vec<_> = desk
            .ledger
            .attempts()
            .values()
            .filter(|attempt| attempt.staging_deadline().is_some_and(|deadline| deadline <= now))
            .map(|attempt| attempt.id().clone())
            .collect();
        for attempt in &slow {
            life::kill_attempt(desk, attempt, KillReason::WallClock, Duration::ZERO);
        }
        if let Some(task) = desk.ledger.start_task()
            && task.retry_at().is_some_and(|at| at <= now)
            && self.start_task_may_run()
        {
            let retried = task.retried(desk.now);
            life::begin_start_task(desk, retried);
        }
        if self.directories_due(desk.ledger, desk.now).is_some_and(|at| at <= now) {
            self.swept = now;
            directories::sweep(desk);
        }
    }

    /// Asks for the lease to go on, if that is due; gives a session up on which the controller does not answer.
    fn beat(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now.monotonic;
        let Session::Live { id, heartbeats } = &mut self.session else { return };
        if heartbeats.silent_at().is_some_and(|at| at <= now) {
            // The stream looks alive and may be dead in one direction or in both; there is time for another one.
            let id = *id;
            self.session = Session::Closed;
            desk.act(Effect::CloseSession(id));
        } else if heartbeats.due() <= now {
            let sequence = heartbeats.ask(now);
            desk.act(Effect::Send { session: *id, message: AgentMessage::Heartbeat { sequence } });
        }
    }

    fn lease_ended(&mut self, desk: &mut Desk<'_>) {
        desk.record(Record::Lease(None));
        self.deferred.clear();
        let policy = desk.ledger.settings().map(|settings| settings.on_lease_expiry);
        if policy != Some(OnLeaseExpiry::Keep) && !self.planted.has(Planted::NoKillAtLeaseEnd) {
            life::kill_all(desk, KillReason::LeaseEnded, Duration::ZERO);
        }
        // The stream may look alive and be dead. What the controller decided meanwhile is learned by a new Hello.
        if let Session::Live { id, .. } = self.session {
            self.session = Session::Closed;
            desk.act(Effect::CloseSession(id));
        }
    }

    fn directories_due(&self, ledger: &Ledger, now: Now) -> Option<Monotonic> {
        if ledger.retained().is_too_many() {
            return Some(now.monotonic);
        }
        let due = now.monotonic_at(ledger.retained().next_due()?);
        Some(due.max(self.swept.after(BATCH_INTERVAL)))
    }

    /// When to call [`Agent::handle`] with [`Input::DeadlinePassed`], and why. `None` while nothing is awaited.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Monotonic, DeadlineReason)> {
        let (heartbeat, silence) = match &self.session {
            Session::Live { heartbeats, .. } => (Some(heartbeats.due()), heartbeats.silent_at()),
            Session::Closed | Session::Greeting { .. } => (None, None),
        };
        let stop = self.stopping.filter(|stopping| !stopping.done).map(|stopping| stopping.deadline);
        let retry = self.ledger.start_task().and_then(StartTask::retry_at);
        let retry = retry.filter(|_| self.start_task_may_run());
        let staging =
            self.ledger.attempts().values().filter_map(crate::attempt::Attempt::staging_deadline).min();
        [
            (self.ledger.lease_until(), DeadlineReason::LeaseEnds),
            (heartbeat, DeadlineReason::HeartbeatDue),
            (silence, DeadlineReason::ControllerSilent),
            (staging, DeadlineReason::StagingTooLong),
            (retry, DeadlineReason::StartTaskRetry),
            (self.directories_due(&self.ledger, self.last), DeadlineReason::DirectoriesDue),
            (stop, DeadlineReason::StopTimeout),
        ]
        .into_iter()
        .filter_map(|(at, reason)| at.map(|at| (at, reason)))
        .min()
    }

    /// Recounts the invariants.
    ///
    /// # Errors
    /// The first [`Violation`] that is found.
    pub fn check(&self) -> Result<(), Violation> {
        let (counted, found) = (self.ledger.occupancy(), self.ledger.recount());
        if counted != found {
            return Err(Violation::Miscounted { counted: Box::new(counted), found: Box::new(found) });
        }
        let keeps =
            self.ledger.settings().is_some_and(|settings| settings.on_lease_expiry == OnLeaseExpiry::Keep);
        for attempt in self.ledger.attempts().values() {
            let goes_on = attempt.state != State::Assigned && attempt.kill.is_none();
            let over = matches!(attempt.state, State::Collecting { .. });
            if goes_on && !over && !keeps && self.ledger.lease_until().is_none() {
                return Err(Violation::RunsWithoutLease { attempt: attempt.id().clone() });
            }
            if self.ledger.retained().holds(attempt.id()) {
                return Err(Violation::LiveAndEnded { attempt: attempt.id().clone() });
            }
        }
        let live = self.ledger.attempts().values();
        for (one, next) in live.clone().zip(live.skip(1)) {
            if one.id().task_key() == next.id().task_key() && one.incarnation() != next.incarnation() {
                return Err(Violation::TwoTasksOfOneId { attempt: next.id().clone() });
            }
        }
        Ok(())
    }
}

/// Takes a lease, unless it came so late that it is over: then the node has none, and asks again.
fn take_lease(desk: &mut Desk<'_>, until: Monotonic) {
    if until > desk.now.monotonic {
        desk.record(Record::Lease(Some(until)));
    }
}

fn recall(desk: &mut Desk<'_>, deferred: &mut Deferred, attempt: &AttemptId) {
    if deferred.take(attempt).is_some() {
        desk.report(Report::Recalled(attempt.clone()));
    } else if desk.ledger.attempt(attempt).is_some_and(|held| held.state == State::Assigned) {
        desk.record(Record::GivenBack(attempt.clone()));
        desk.report(Report::Recalled(attempt.clone()));
    }
}

/// Ends an attempt. One that the node does not hold is answered all the same, and remembered, so that an assignment
/// that was overtaken does not run.
fn kill(desk: &mut Desk<'_>, deferred: &mut Deferred, wanted: &Kill) {
    let id = &wanted.attempt;
    let waited = deferred.take(id);
    if let Some(held) = desk.ledger.attempt(id) {
        if held.disowned {
            // What is meant is one of the same name that never began here: the end of this one will serve for both.
            desk.record(Record::Disowned { attempt: id.clone(), disowned: false });
        }
        life::kill_attempt(desk, id, wanted.reason, wanted.grace);
    } else if waited.is_some() || !desk.ledger.retained().holds(id) {
        let failure = FailureInfo::new(Cause::Terminated, "the attempt was ended before the node held it");
        // Words of one session keep their order, so a later assignment of this name is of a later task.
        let incarnation = waited.map_or(0, |assignment| assignment.incarnation);
        life::tell_end(desk, id, incarnation, failure);
    }
}

fn acknowledge(desk: &mut Desk<'_>, number: u64) {
    let number = number.min(desk.ledger.outbox().next_number().saturating_sub(1));
    if number >= desk.ledger.outbox().oldest() {
        desk.record(Record::Acknowledged(number));
    }
}
