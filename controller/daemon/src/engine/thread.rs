//! The engine thread: owns the core, steps it, and keeps the writer busy.
//!
//! It sleeps until something comes or the core's next deadline passes. While the writer commits, the next batch grows;
//! when the writer is free and nothing waits, what there is goes out at once, so an idle engine adds no delay and a
//! busy one commits in groups. It never waits for the writer alone: heartbeats are answered whatever the disk does.

use super::batch::{Batch, Outgoing};
use super::clock::{EngineClock, TimeSource};
use super::inbox::{Heartbeat, Message, Outlet, Parcel, ReplyTo, Taken};
use super::routes::Routes;
use muster_controller_core::Core;
use muster_controller_core::effect::{Effect, NodeMessage};
use muster_controller_core::input::{Input, NodeInput};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::Timestamp;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long to leave a deadline alone that is still due after it was dealt with. That is a fault of the core, and must
/// not become a busy loop too.
const DUE_AGAIN_PAUSE: Duration = Duration::from_millis(100);

/// A commit that takes longer hangs: worth a line in the log while it does, for nothing else says so. Far above what any
/// disk that works takes, below a lease.
const HANGING_COMMIT: Duration = Duration::from_secs(10);

/// What kind of input is being stepped: the last words of a panic.
pub(super) type LastInput = Arc<Mutex<&'static str>>;

/// What the engine thread owns.
pub(super) struct EngineThread<T> {
    pub(super) core: Core,
    pub(super) clock: EngineClock<T>,
    pub(super) inbox: Outlet,
    pub(super) writer: Sender<Batch>,
    pub(super) routes: Arc<Routes>,
    pub(super) last_input: LastInput,
    pub(super) batch: Batch,
    pub(super) writer_busy: bool,
    /// When the last batch was handed over; `None` once it was said that its commit hangs.
    pub(super) handed_over: Option<Instant>,
    pub(super) stopping: bool,
    /// Deadlines before this wait until then.
    pub(super) quiet_until: Timestamp,
}

/// Why the loop cannot go on: the writer is gone.
pub(super) struct WriterGone;

impl<T: TimeSource> EngineThread<T> {
    /// Works until it is told to stop, then until everything is durable.
    ///
    /// # Errors
    /// [`WriterGone`] when a commit failed; the writer says why.
    pub(super) fn run(mut self) -> Result<(), WriterGone> {
        while !self.stopping {
            self.turn()?;
        }
        while self.writer_busy || !self.batch.is_empty() {
            self.finish()?;
        }
        Ok(())
    }

    /// One thing: a deadline, something that came, a batch handed over, or a wait for the next.
    fn turn(&mut self) -> Result<(), WriterGone> {
        if self.batch.is_full() && !self.writer_busy {
            self.hand_over()?;
        }
        // A full batch grows no further, so whatever would add to it waits for the writer.
        let may_add = !self.batch.is_full();
        let wait = if may_add { self.until_deadline() } else { None };
        if wait == Some(Duration::ZERO) {
            self.deadline_passed();
            return Ok(());
        }
        match self.inbox.take(may_add) {
            Some(taken) => self.take(taken),
            None if !self.writer_busy && !self.batch.is_empty() => self.hand_over(),
            None => {
                self.rest(may_add, wait);
                Ok(())
            }
        }
    }

    /// Waits for what comes next, and says so once when that is a commit that hangs.
    fn rest(&mut self, may_add: bool, wait: Option<Duration>) {
        let watched = self.handed_over.filter(|_| self.writer_busy);
        let limit = watched.map(|since| HANGING_COMMIT.saturating_sub(since.elapsed()));
        self.inbox.wait(may_add, [limit, wait].into_iter().flatten().min());
        if let Some(since) = watched
            && since.elapsed() >= HANGING_COMMIT
        {
            tracing::warn!(since = ?since.elapsed(), "a commit hangs: nothing is acknowledged until it is done; leases go on");
            self.handed_over = None;
        }
    }

    /// One step towards the end: nothing is taken any more but heartbeats and the writer's word.
    fn finish(&mut self) -> Result<(), WriterGone> {
        if !self.writer_busy {
            return self.hand_over();
        }
        match self.inbox.take(false) {
            Some(taken) => self.take(taken),
            None => {
                self.rest(false, None);
                Ok(())
            }
        }
    }

    fn until_deadline(&mut self) -> Option<Duration> {
        let (deadline, _) = self.core.next_deadline()?;
        Some(deadline.max(self.quiet_until).since(self.clock.now()))
    }

    fn take(&mut self, taken: Taken) -> Result<(), WriterGone> {
        match taken {
            Taken::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Taken::Parcel(Parcel { message, weight, room }) => {
                self.batch.count(weight, Some(room));
                match message {
                    Message::Input(input, reply) => self.step(*input, reply),
                    Message::Query(query) => {
                        self.note("Query");
                        let release = query(&self.core);
                        self.batch.outgoing.push(Outgoing::Release(release));
                    }
                }
            }
            Taken::WriterFree => self.writer_busy = false,
            Taken::Stop => self.stopping = true,
            Taken::WriterGone => return Err(WriterGone),
        }
        Ok(())
    }

    /// A lease rests on nothing that is not durable (see the head of this module), so it leaves at once. Should the step
    /// have decided anything else, that goes the way of everything.
    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        let Heartbeat { node, session, sequence } = heartbeat;
        self.note("Heartbeat");
        let now = self.clock.now();
        let input = Input::Node(NodeInput::Heartbeat { node, session, sequence });
        match self.core.handle(input, now) {
            Ok(step) => {
                let at_once = step.records.is_empty();
                let mut rest = step.effects;
                if at_once {
                    rest.retain(|effect| {
                        let is_lease = is_lease(effect);
                        if is_lease {
                            self.routes.deliver(effect.clone());
                        }
                        !is_lease
                    });
                }
                if !at_once || !rest.is_empty() {
                    self.batch.count(1, None);
                    self.batch.records.extend(step.records);
                    self.batch.outgoing.extend(rest.into_iter().map(Outgoing::Effect));
                }
            }
            Err(reject) => tracing::debug!(session, code = reject.code(), %reject, "a heartbeat was refused"),
        }
    }

    fn step(&mut self, input: Input, reply: Option<ReplyTo>) {
        let kind = kind_of(&input);
        self.note(kind);
        let now = self.clock.now();
        match self.core.handle(input, now) {
            Ok(step) => {
                self.batch.records.extend(step.records);
                self.batch.outgoing.extend(step.effects.into_iter().map(Outgoing::Effect));
                let outcome = step.reply;
                self.tell(reply, Ok(outcome));
            }
            Err(reject) => {
                if reply.is_none() {
                    tracing::debug!(input = kind, code = reject.code(), %reject, "an input was refused");
                }
                self.tell(reply, Err(reject));
            }
        }
    }

    fn note(&self, kind: &'static str) {
        *self.last_input.lock().unwrap_or_else(PoisonError::into_inner) = kind;
    }

    fn tell(&mut self, reply: Option<ReplyTo>, outcome: Result<Reply, Reject>) {
        if let Some(reply) = reply {
            // Whoever asked may have gone; the input stands all the same.
            self.batch.outgoing.push(Outgoing::Release(Box::new(move || drop(reply.send(outcome)))));
        }
    }

    fn deadline_passed(&mut self) {
        let due = self.core.next_deadline().map(|(deadline, _)| deadline);
        self.batch.count(1, None);
        self.step(Input::DeadlinePassed, None);
        if let (Some(before), Some((deadline, reason))) = (due, self.core.next_deadline())
            && deadline <= before
        {
            tracing::error!(?reason, ?deadline, "a deadline is still due after it was dealt with");
            self.quiet_until = self.clock.now().after(DUE_AGAIN_PAUSE);
        }
    }

    fn hand_over(&mut self) -> Result<(), WriterGone> {
        let batch = std::mem::take(&mut self.batch);
        self.writer.send(batch).map_err(|_| WriterGone)?;
        self.writer_busy = true;
        self.handed_over = Some(Instant::now());
        Ok(())
    }
}

/// Whether an effect is a lease and nothing else.
const fn is_lease(effect: &Effect) -> bool {
    match effect {
        Effect::ToNode { message, .. } => matches!(message, NodeMessage::Lease { .. }),
    }
}

/// An input's kind in one word, for logs.
fn kind_of(input: &Input) -> &'static str {
    match input {
        Input::Client { .. } => "Client",
        Input::Node(NodeInput::Join { .. }) => "Join",
        Input::Node(NodeInput::Connected(_)) => "Connected",
        Input::Node(NodeInput::Disconnected { .. }) => "Disconnected",
        Input::Node(NodeInput::Heartbeat { .. }) => "Heartbeat",
        Input::Node(NodeInput::Reports { .. }) => "Reports",
        Input::DeadlinePassed => "DeadlinePassed",
    }
}
