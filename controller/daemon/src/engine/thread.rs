//! The engine thread: owns the core, steps it, and keeps the writer busy.
//!
//! It sleeps until a message comes or the core's next deadline passes. While the writer commits, the next batch grows;
//! when the writer is free and nothing waits, what there is goes out at once, so an idle engine adds no delay and a
//! busy one commits in groups.

use super::batch::{Batch, Outgoing};
use super::clock::{EngineClock, TimeSource};
use super::inbox::{Message, Parcel, ReplyTo};
use muster_controller_core::Core;
use muster_controller_core::input::{Input, NodeInput};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::Timestamp;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long to leave a deadline alone that is still due after it was dealt with. That is a fault of the core, and must
/// not become a busy loop too.
const DUE_AGAIN_PAUSE: Duration = Duration::from_millis(100);

/// What kind of input is being stepped: the last words of a panic.
pub(super) type LastInput = Arc<Mutex<&'static str>>;

/// What the engine thread owns.
pub(super) struct EngineThread<T> {
    pub(super) core: Core,
    pub(super) clock: EngineClock<T>,
    pub(super) inbox: Receiver<Parcel>,
    pub(super) writer: Sender<Batch>,
    pub(super) writer_done: Receiver<()>,
    pub(super) last_input: LastInput,
    pub(super) batch: Batch,
    pub(super) writer_busy: bool,
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
            match self.next()? {
                Some(parcel) => self.take(parcel),
                None => self.deadline_passed(),
            }
        }
        self.wait_for_writer()?;
        self.hand_over()?;
        self.wait_for_writer()
    }

    /// The next message, or `None` when a deadline has passed. Hands batches over on the way.
    fn next(&mut self) -> Result<Option<Parcel>, WriterGone> {
        loop {
            if self.batch.is_full() {
                self.wait_for_writer()?;
                self.hand_over()?;
            }
            let wait = match self.until_deadline() {
                Some(Duration::ZERO) => return Ok(None),
                wait => wait,
            };
            match self.inbox.try_recv() {
                Ok(parcel) => return Ok(Some(parcel)),
                Err(TryRecvError::Disconnected) => return Err(WriterGone),
                Err(TryRecvError::Empty) => {}
            }
            if !self.writer_busy && !self.batch.is_empty() {
                self.hand_over()?;
                continue;
            }
            match wait {
                None => return self.inbox.recv().map(Some).map_err(|_| WriterGone),
                Some(wait) => match self.inbox.recv_timeout(wait) {
                    Ok(parcel) => return Ok(Some(parcel)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Err(WriterGone),
                },
            }
        }
    }

    fn until_deadline(&mut self) -> Option<Duration> {
        let (deadline, _) = self.core.next_deadline()?;
        Some(deadline.max(self.quiet_until).since(self.clock.now()))
    }

    fn take(&mut self, parcel: Parcel) {
        let Parcel { message, weight, room } = parcel;
        match message {
            Message::Input(input, reply) => {
                self.batch.count(weight, room);
                self.step(*input, reply);
            }
            Message::Query(query) => {
                self.note("Query");
                self.batch.count(weight, room);
                let release = query(&self.core);
                self.batch.outgoing.push(Outgoing::Release(release));
            }
            Message::WriterFree => {
                // Nothing to take when a full batch has waited for it already.
                if self.writer_done.try_recv().is_ok() {
                    self.writer_busy = false;
                }
            }
            Message::Stop => self.stopping = true,
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
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.writer.send(batch).map_err(|_| WriterGone)?;
        self.writer_busy = true;
        Ok(())
    }

    fn wait_for_writer(&mut self) -> Result<(), WriterGone> {
        if self.writer_busy {
            self.writer_done.recv().map_err(|_| WriterGone)?;
            self.writer_busy = false;
        }
        Ok(())
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
