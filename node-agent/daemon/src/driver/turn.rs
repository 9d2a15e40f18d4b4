//! One turn after another: inputs to the core, its records to the journal, then the effects whose records are safe.
//!
//! What the core's words leave out is kept here beside it: plans by attempt, the settings in full, the open session, work under
//! way. The two other halves of the driver are `talk` (the controller) and `work` (what takes time).

use super::error::DriverError;
use super::hands::Hands;
use super::records::Records;
use super::telling::Telling;
use crate::codec::{self, Entry, Payload};
use crate::custody::{Ask, Custody, Keyed, Word};
use crate::files::{Files, Life};
use crate::health::Health;
use crate::hooks::Hooks;
use crate::isolation::Ground;
use crate::journal::{Found, Frame, Scribe, Told};
use crate::launch::{LimitSettings, NodeNames};
use crate::metrics::{Book, Meter};
use crate::output::Outputs;
use crate::session::SessionEvent;
use crate::staging::Stager;
use crate::users::{Owners, UserSettings};
use crate::wake::Wake;
use crate::workdir::Layout;
use muster_agent_core::attempt::State;
use muster_agent_core::{Agent, Effect, Input, Monotonic, Now, Record, SessionId, Subject};
use muster_model::node::MachineFacts;
use muster_model::state::OnLeaseExpiry;
use muster_model::{AttemptId, Timestamp};
use muster_proto::convert::{AttemptPlan, NodeSettings, StartTaskPlan};
use muster_proto::wire;
use muster_runtime::clock;
use muster_runtime::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::DropGuard;

/// Inputs that wait for the loop; whoever has more waits.
pub(crate) const INPUTS_MAX: usize = 4096;
/// Inputs of one turn: enough to share a write among a burst, few enough that a report is not held up.
const TURN: usize = 256;
/// How long a stopping agent waits for its last reports to be acknowledged, and for its last records to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The agent goes, its tasks stay.
    TasksStay,
    /// The agent goes with its tasks.
    TasksGone,
    /// The node leaves its pool.
    Left,
}

/// Everything that the loop uses.
pub(crate) struct Parts {
    pub(crate) layout: Arc<Layout>,
    pub(crate) custody: Custody,
    pub(crate) stager: Arc<Stager>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) files: Arc<Files>,
    pub(crate) names: NodeNames,
    pub(crate) users: UserSettings,
    pub(crate) ground: Ground,
    pub(crate) limits: LimitSettings,
    pub(crate) hooks: Hooks,
    pub(crate) health: Health,
    /// How often is measured; `None` is never.
    pub(crate) metrics_interval: Option<Duration>,
    pub(crate) facts: MachineFacts,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) stop_tasks_on_exit: bool,
    pub(crate) inputs: mpsc::Sender<Input>,
    /// Where everything runs that may block: nothing of that may hold up the loop or the session.
    pub(crate) work: Handle,
}

/// Plans by attempt and incarnation of its task: those of what is held, and of what waits for an earlier task's end.
pub(super) type Plans = BTreeMap<(AttemptId, u64), Arc<AttemptPlan>>;

/// The loop and what it keeps.
pub(crate) struct Driver {
    pub(super) parts: Parts,
    pub(super) agent: Agent,
    records: Records,
    pub(super) hands: Hands,
    pub(super) plans: Plans,
    pub(super) settings: Option<Arc<NodeSettings>>,
    pub(super) start_task: Option<Arc<StartTaskPlan>>,
    pub(super) session: Option<OpenSession>,
    pub(super) working: BTreeMap<Subject, DropGuard>,
    pub(super) lives: BTreeMap<AttemptId, watch::Sender<Life>>,
    pub(super) reads: BTreeMap<String, (DropGuard, AbortHandle)>,
    /// Users that belong to one attempt alone.
    pub(super) owners: Owners,
    pub(super) meter: Arc<Mutex<Meter>>,
    pub(super) book: Book<Keyed>,
    /// The operator's command that restarts the machine, while it runs.
    pub(super) restarting: Option<AbortHandle>,
    /// The controller does not know this node any more.
    pub(super) unknown: bool,
    pub(super) telling: Telling,
    /// The last heartbeat's number and when it was sent, since the boot.
    pub(super) beat: Option<(u64, Duration)>,
    over: Option<Ended>,
}

pub(super) struct OpenSession {
    pub(super) id: SessionId,
    pub(super) say: mpsc::Sender<wire::AgentMessage>,
    /// Dropping it closes the stream.
    pub(super) _open: DropGuard,
}

fn now() -> Now {
    Now {
        monotonic: Monotonic::since_boot(clock::since_boot()),
        wall: Timestamp::from_micros(clock::wall_us()),
    }
}

impl Driver {
    /// Takes up what the journal tells.
    pub(crate) fn load(parts: Parts, found: Found) -> Result<Self, DriverError> {
        let lost = found.lost_bytes > 0;
        if found.is_damaged {
            tracing::error!(
                bytes = found.lost_bytes,
                records = found.records.len(),
                "the journal of the agent is damaged: tasks that only its end told of count as lost and are ended; a copy is in 'journal.damaged'"
            );
        } else if lost {
            tracing::warn!(bytes = found.lost_bytes, "the end of the journal was cut short and is left out");
        }
        let rebooted = found.boot_id.as_ref().is_some_and(|boot| *boot != parts.facts.boot_id);
        let (mut plans, mut settings, mut records) = (Plans::new(), None, Vec::new());
        for bytes in &found.records {
            let Entry { record, payload } = codec::decode(bytes)?;
            match payload {
                Payload::Plan(plan) => {
                    plans.insert((plan.attempt.clone(), plan.incarnation), plan);
                }
                Payload::Settings(found) => settings = Some(found),
                Payload::None => {}
            }
            records.push(parts.limits.told_in(record));
        }
        let mut agent = Agent::load(records, rebooted, now()).with_gpus(parts.facts.capacity.gpus);
        let mut added = Frame::new();
        if lost {
            agent = agent.with_lost_records();
            let (report, run) = (agent.ledger().outbox().next_number(), agent.ledger().next_run());
            added.append(&codec::encode(&Record::NumbersFrom { report, run }, None, None));
        }
        plans.retain(|name, _| is_wanted(&agent, name));
        let start_task = settings.as_ref().and_then(|settings| settings.start_task.clone().map(Arc::new));
        let fresh = snapshot(&agent, &plans, settings.as_deref());
        let scribe = Scribe::begin(Arc::clone(&parts.layout), &parts.facts.boot_id, &found, fresh, added)?;
        if !plans.is_empty() {
            tracing::info!(attempts = plans.len(), rebooted, "took up the attempts of the agent before");
        }
        let owners = Owners::new(parts.users.first, parts.users.count);
        let meter = Arc::new(Mutex::new(Meter::new(parts.layout.root())));
        let hands = Hands::new(parts.work.clone())?;
        let mut driver = Self {
            parts,
            agent,
            records: Records::new(scribe),
            hands,
            plans,
            settings,
            start_task,
            session: None,
            working: BTreeMap::new(),
            lives: BTreeMap::new(),
            reads: BTreeMap::new(),
            owners,
            meter,
            book: Book::default(),
            restarting: None,
            unknown: false,
            telling: Telling::default(),
            beat: None,
            over: None,
        };
        driver.take_over_disks();
        driver.find_owners();
        driver.check_isolation();
        Ok(driver)
    }

    /// Goes on until the node leaves, or the order to stop comes.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut events: mpsc::Receiver<SessionEvent>,
        mut words: mpsc::Receiver<Word>,
        shutdown: &Shutdown,
    ) -> Result<Ended, DriverError> {
        let mut wake = Wake::new()?;
        let mut happened = Vec::with_capacity(TURN);
        let mut heard = Vec::with_capacity(TURN);
        let mut said = Vec::with_capacity(TURN);
        let mut rounds = self.parts.metrics_interval.map(crate::metrics::rounds);
        let mut told_to_stop = false;
        let mut session_over = false;
        loop {
            wake.set(self.agent.next_deadline().map(|(at, _)| at))?;
            tokio::select! {
                () = shutdown.begun(), if !told_to_stop => {
                    told_to_stop = true;
                    if !self.parts.stop_tasks_on_exit {
                        self.finish().await?;
                        return Ok(Ended::TasksStay);
                    }
                    self.take(Input::Stop);
                }
                () = shutdown.forced() => return Ok(Ended::TasksStay),
                passed = wake.passed() => {
                    passed?;
                    self.take(Input::DeadlinePassed);
                }
                told = self.records.told() => self.told(told)?,
                () = crate::metrics::next_round(&mut rounds) => self.measure(),
                count = inputs.recv_many(&mut happened, TURN) => {
                    if count == 0 {
                        return Err(DriverError::PartEnded);
                    }
                    happened.drain(..).for_each(|input| self.take(input));
                }
                count = words.recv_many(&mut said, TURN) => {
                    if count == 0 {
                        return Err(DriverError::PartEnded);
                    }
                    said.drain(..).for_each(|word| self.supervisor_said(word));
                }
                count = events.recv_many(&mut heard, TURN), if !session_over => {
                    // After the session has ended for good, only tasks and the clock go on.
                    session_over = count == 0;
                    if session_over && !self.unknown {
                        return Err(DriverError::PartEnded);
                    }
                    heard.drain(..).for_each(|event| self.event(event));
                }
            }
            self.turn()?;
            if let Some(over) = self.over {
                self.last_words(&mut inputs, &mut events, &mut words).await?;
                self.finish().await?;
                return Ok(over);
            }
        }
    }

    /// Waits until the controller has acknowledged all reports, for a short while.
    async fn last_words(
        &mut self,
        inputs: &mut mpsc::Receiver<Input>,
        events: &mut mpsc::Receiver<SessionEvent>,
        words: &mut mpsc::Receiver<Word>,
    ) -> Result<(), DriverError> {
        let limit = tokio::time::sleep(LAST_WORDS);
        tokio::pin!(limit);
        while self.session.is_some() && self.agent.ledger().outbox().waiting().next().is_some() {
            tokio::select! {
                () = &mut limit => break,
                told = self.records.told() => self.told(told)?,
                Some(input) = inputs.recv() => self.take(input),
                Some(event) = events.recv() => self.event(event),
                Some(word) = words.recv() => self.supervisor_said(word),
                else => break,
            }
            self.turn()?;
        }
        Ok(())
    }

    /// Writes what was decided and does what was asked for, for a bounded time.
    async fn finish(&mut self) -> Result<(), DriverError> {
        let limit = tokio::time::sleep(LAST_WORDS);
        tokio::pin!(limit);
        loop {
            self.turn()?;
            if self.records.are_safe() {
                break;
            }
            tokio::select! {
                () = &mut limit => {
                    tracing::warn!("stopping although the node's disk has not taken all records; the next agent learns anew what they tell");
                    return Ok(());
                }
                told = self.records.told() => self.told(told)?,
            }
        }
        self.hands.finish().await;
        Ok(())
    }

    /// Takes what the journal's thread says.
    fn told(&mut self, told: Option<Told>) -> Result<(), DriverError> {
        if let Some(writable) = self.records.heard(told)? {
            self.parts.health.set_journal_full(!writable);
            self.take(Input::Journal { writable });
        }
        Ok(())
    }

    /// Lets the core handle an input: its records go to the journal, the rest waits until they are safe, or does not.
    pub(super) fn take(&mut self, input: Input) {
        let new_supervisor = matches!(input, Input::Supervised(_));
        for effect in self.agent.handle(input, now()) {
            if let Effect::Append(record) = effect {
                self.append(&record);
            } else if effect.is_urgent() {
                self.perform(effect);
            } else {
                self.records.hold(effect);
            }
        }
        if new_supervisor {
            self.tell_lease();
        }
    }

    fn append(&mut self, record: &Record) {
        self.records.append(&codec::encode(record, plan_of(record, &self.plans), self.settings.as_deref()));
        match record {
            Record::Moved { attempt, state } => self.follow(attempt, state),
            Record::Ended { attempt, .. } | Record::GivenBack(attempt) => {
                self.forget_plans(attempt);
                self.lives.remove(attempt);
                let subject = Subject::Attempt(attempt.clone());
                self.working.remove(&subject);
                self.close_directory(attempt);
                self.owners.release(&subject);
                self.book.forget(attempt);
            }
            Record::Accepted(attempt) => {
                tracing::debug!(attempt = %attempt.id(), "accepted an attempt");
            }
            Record::Disowned { attempt, disowned } => {
                tracing::info!(%attempt, disowned, "whether the controller counts an attempt has changed");
            }
            Record::Killed { attempt, reason } => {
                tracing::info!(%attempt, ?reason, "an attempt is being ended");
            }
            Record::OverDisk { attempt, over } => {
                tracing::info!(%attempt, ?over, "an attempt has too much on the disk");
            }
            Record::Amended { attempt, terms } => {
                tracing::info!(%attempt, ?terms, "the terms of an attempt have changed");
            }
            Record::Equipped { attempt, gpus } => {
                tracing::debug!(%attempt, ?gpus, "gave GPUs to an attempt");
            }
            Record::Lease(None) => {
                tracing::warn!("the lease has ended; attempts are dealt with by the pool's policy")
            }
            Record::StartTask(task) => {
                tracing::info!(run = task.run, state = %task.info.state, result = ?task.info.result, "start task");
                if task.alive().is_none() {
                    self.working.remove(&task.subject());
                }
            }
            Record::Lease(Some(_)) | Record::Settings(_) => self.tell_lease(),
            Record::Acknowledged(number) => self.telling.acknowledged(*number),
            Record::ReportDropped(attempt) => self.telling.forget(attempt),
            Record::Reported(_) | Record::NumbersFrom { .. } | Record::Removed(_) => {}
        }
    }

    /// The plan of an attempt that is held.
    pub(super) fn plan(&self, attempt: &AttemptId) -> Option<&Arc<AttemptPlan>> {
        let incarnation = self.agent.ledger().attempt(attempt)?.incarnation();
        self.plans.get(&(attempt.clone(), incarnation))
    }

    /// Forgets the plans of this name that nobody needs any more.
    fn forget_plans(&mut self, attempt: &AttemptId) {
        let names = (attempt.clone(), 0)..=(attempt.clone(), u64::MAX);
        let agent = &self.agent;
        self.plans.extract_if(names, |name, _| !is_wanted(agent, name)).for_each(drop);
    }

    /// Forgets all plans that nobody needs any more.
    pub(super) fn forget_all_plans(&mut self) {
        let agent = &self.agent;
        self.plans.retain(|name, _| is_wanted(agent, name));
    }

    /// Tells the supervisor until when tasks may run: it ends them then, though this agent may be gone.
    fn tell_lease(&self) {
        let ledger = self.agent.ledger();
        let kills = ledger.settings().is_some_and(|settings| settings.on_lease_expiry == OnLeaseExpiry::Kill);
        match ledger.lease_until() {
            Some(until) if kills => self.parts.custody.lease(Some(until)),
            Some(_) => self.parts.custody.lease(None),
            // What it was told last is over, or it was told nothing yet.
            None => {}
        }
    }

    /// Tells those who read an attempt's files how far it has come.
    fn follow(&self, attempt: &AttemptId, state: &State) {
        tracing::debug!(%attempt, phase = %state.phase(), "an attempt has moved on");
        if let Some(life) = self.lives.get(attempt) {
            life.send_replace(life_of(state));
        }
    }

    /// Has what was decided written, and does what may be done.
    fn turn(&mut self) -> Result<(), DriverError> {
        // What is done at once may be answered at once, which decides more.
        loop {
            let (agent, plans, settings) = (&self.agent, &self.plans, self.settings.as_deref());
            self.records.pass_on(|| snapshot(agent, plans, settings))?;
            let Some(effect) = self.records.next_safe() else { break };
            self.perform(effect);
        }
        self.send_reports();
        Ok(())
    }

    /// A session was opened or closed: what waits to be said on another one is said anew by the core.
    pub(super) fn change_session(&mut self, open: Option<OpenSession>) {
        self.records.forget_sessions_but(open.as_ref().map(|open| open.id));
        self.telling = Telling::default();
        self.beat = None;
        self.session = open;
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            // Written already.
            Effect::Append(_) => {}
            Effect::Send { session, message } => self.send(session, message),
            Effect::CloseSession(id) => {
                if self.session.as_ref().is_some_and(|open| open.id == id) {
                    tracing::warn!(
                        session = id,
                        "the controller does not answer on this session; connecting anew"
                    );
                    self.change_session(None);
                }
            }
            Effect::Stage(subject) => self.stage(subject),
            Effect::Launch { subject, wall_clock, gpus } => self.launch(subject, wall_clock, &gpus),
            Effect::Limit { subject, wall_clock } => {
                self.ask_about(subject, |whose| Ask::Limit { whose, wall_clock });
            }
            Effect::Cancel(subject) => {
                self.working.remove(&subject);
            }
            Effect::Kill { subject, grace } => {
                self.ask_about(subject, |whose| Ask::Kill { whose, grace, reason: "the agent ends it" });
            }
            Effect::AcknowledgeExit(subject) => self.ask_about(subject, Ask::Acknowledge),
            Effect::Collect { subject, upload } => self.collect(subject, upload),
            Effect::RemoveDirectories(attempts) => self.remove_directories(attempts),
            Effect::Restart { reimage } => self.restart(reimage),
            Effect::Leave => self.over = Some(Ended::Left),
            Effect::Stopped => self.over = Some(Ended::TasksGone),
        }
    }
}

pub(super) const fn life_of(state: &State) -> Life {
    match state {
        State::Assigned | State::Staging { .. } | State::Launching { .. } => Life::Waiting,
        State::Running { .. } => Life::Open,
        State::Collecting { .. } => Life::Over,
    }
}

/// The bytes of the shortest journal.
fn snapshot(agent: &Agent, plans: &Plans, settings: Option<&NodeSettings>) -> Vec<Vec<u8>> {
    let bytes = |record: &Record| codec::encode(record, plan_of(record, plans), settings);
    agent.ledger().snapshot().iter().map(bytes).collect()
}

/// The plan that goes beside a record.
fn plan_of<'a>(record: &Record, plans: &'a Plans) -> Option<&'a AttemptPlan> {
    let Record::Accepted(attempt) = record else { return None };
    plans.get(&(attempt.id().clone(), attempt.incarnation())).map(AsRef::as_ref)
}

/// Whether a plan is of an attempt that is held, or that waits for the end of an earlier task of its id.
fn is_wanted(agent: &Agent, (attempt, incarnation): &(AttemptId, u64)) -> bool {
    let held = agent.ledger().attempt(attempt).is_some_and(|held| held.incarnation() == *incarnation);
    held || agent.deferred().any(|waits| waits.attempt == *attempt && waits.incarnation == *incarnation)
}
