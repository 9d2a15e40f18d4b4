//! The door of the engine: a line that is bounded by what its inputs weigh, with a place aside for heartbeats.
//!
//! Senders wait (async) for room, the engine thread waits (blocking, with a deadline) for what comes. Room is given back
//! when the batch that an input went into has been released, so the bound covers what is queued, what grows and what is
//! with the writer together. A heartbeat needs no room: each session has one place, and the newest takes it.
//!
//! In: inputs, questions, heartbeats, and the engine's own few words. Out: `Taken`, one at a time.

use super::batch::Release;
use super::disk::Disk;
use super::error::SubmitError;
use super::weight;
use muster_controller_core::Core;
use muster_controller_core::input::{Input, NodeKey, SessionId};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// All inputs together, in KiB as `weight` counts them: 64 MiB is eight of the largest requests, or 65,536 small ones.
pub(super) const INBOX_WEIGHT_MAX: u32 = 64 * 1024;

/// How long an input waits for room in the inbox before its sender is told to come back: longer than any pause of a
/// healthy disk, shorter than a client's patience.
const INBOX_WAIT_MAX: Duration = Duration::from_secs(5);

/// Where an input's outcome goes.
pub(super) type ReplyTo = oneshot::Sender<Result<Reply, Reject>>;

/// A question to the core; its answer is told when the batch is released.
pub(super) type Query = Box<dyn FnOnce(&Core) -> Release + Send>;

/// One message to the engine thread.
pub(super) enum Message {
    /// Something happened.
    Input(Box<Input>, Option<ReplyTo>),
    /// Somebody asks.
    Query(Query),
}

/// A message with the room that it takes.
pub(super) struct Parcel {
    pub(super) message: Message,
    pub(super) weight: u32,
    pub(super) room: OwnedSemaphorePermit,
}

/// A node asks for its lease to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heartbeat {
    pub(super) node: NodeKey,
    pub(super) session: SessionId,
    pub(super) sequence: u64,
}

/// What the engine thread takes next.
pub(super) enum Taken {
    /// The writer is gone: nothing can be made durable any more.
    WriterGone,
    /// The writer has released a batch and is free.
    WriterFree,
    /// A heartbeat.
    Heartbeat(Heartbeat),
    /// The next in line.
    Parcel(Parcel),
    /// Nobody else gets in and the line is empty: finish, then end.
    Stop,
}

/// What waits for the engine thread.
#[derive(Default)]
struct Line {
    parcels: VecDeque<Parcel>,
    /// Heartbeats of this round: all of them come before the next parcel.
    round: BTreeMap<SessionId, Heartbeat>,
    /// Those of the next round, which begins once a parcel was taken or none waits: neither can hold up the other.
    heartbeats: BTreeMap<SessionId, Heartbeat>,
    writer_free: bool,
    writer_gone: bool,
    stop: bool,
    /// The engine thread has ended: nothing will be taken any more.
    abandoned: bool,
}

impl Line {
    fn take(&mut self, parcels_too: bool) -> Option<Taken> {
        if self.writer_gone {
            return Some(Taken::WriterGone);
        }
        if std::mem::take(&mut self.writer_free) {
            return Some(Taken::WriterFree);
        }
        if let Some((_, heartbeat)) = self.round.pop_first() {
            return Some(Taken::Heartbeat(heartbeat));
        }
        let parcel = if parcels_too { self.parcels.pop_front() } else { None };
        self.round = std::mem::take(&mut self.heartbeats);
        if let Some(parcel) = parcel {
            return Some(Taken::Parcel(parcel));
        }
        if let Some((_, heartbeat)) = self.round.pop_first() {
            return Some(Taken::Heartbeat(heartbeat));
        }
        let done = self.parcels.is_empty() && std::mem::take(&mut self.stop);
        done.then_some(Taken::Stop)
    }

    fn has_news(&self, parcels_too: bool) -> bool {
        let line = if self.parcels.is_empty() { self.stop } else { parcels_too };
        line || self.writer_gone || self.writer_free || !self.round.is_empty() || !self.heartbeats.is_empty()
    }
}

/// The line and its bell.
#[derive(Default)]
struct Shared {
    line: Mutex<Line>,
    bell: Condvar,
}

impl Shared {
    /// Nothing that is done under the lock can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.lock());
        self.bell.notify_one();
    }
}

/// What an input weighs here: at most half of the room, so that the largest one finds some.
fn weight_of(input: &Input) -> u32 {
    weight::of(input).min(INBOX_WEIGHT_MAX / 2)
}

/// The sending end.
#[derive(Clone)]
pub(super) struct Inbox {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    disk: Disk,
}

impl Inbox {
    pub(super) fn new(disk: Disk) -> (Self, Outlet) {
        let shared = Arc::new(Shared::default());
        let room = Arc::new(Semaphore::new(usize::try_from(INBOX_WEIGHT_MAX).unwrap_or(usize::MAX)));
        (Self { shared: Arc::clone(&shared), room, disk }, Outlet(shared))
    }

    /// Queues an input once there is room, unless that takes too long.
    pub(super) async fn send_input(&self, input: Input, reply: Option<ReplyTo>) -> Result<(), SubmitError> {
        self.disk.admit(&input)?;
        let weight = weight_of(&input);
        let room = self.room_within(weight).await?;
        // The disk may have filled up meanwhile.
        self.disk.admit(&input)?;
        self.queue(Message::Input(Box::new(input), reply), weight, room)
    }

    /// Queues an input once there is room, however long that takes: for those who have no more to send until then.
    pub(super) async fn send_input_in_turn(
        &self,
        input: Input,
        reply: Option<ReplyTo>,
    ) -> Result<(), SubmitError> {
        self.disk.admit(&input)?;
        let weight = weight_of(&input);
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
        let room = room.map_err(|_| SubmitError::Stopping)?;
        self.disk.admit(&input)?;
        self.queue(Message::Input(Box::new(input), reply), weight, room)
    }

    /// Queues a question once there is room, unless that takes too long.
    pub(super) async fn send_query(&self, query: Query) -> Result<(), SubmitError> {
        self.disk.admit_query()?;
        let room = self.room_within(1).await?;
        self.disk.admit_query()?;
        self.queue(Message::Query(query), 1, room)
    }

    /// Queues a question once there is room, however long that takes and whatever the disk does.
    pub(super) async fn send_query_in_turn(&self, query: Query) -> Result<(), SubmitError> {
        let room = Arc::clone(&self.room).acquire_many_owned(1).await;
        self.queue(Message::Query(query), 1, room.map_err(|_| SubmitError::Stopping)?)
    }

    async fn room_within(&self, weight: u32) -> Result<OwnedSemaphorePermit, SubmitError> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight);
        match tokio::time::timeout(INBOX_WAIT_MAX, room).await {
            Err(_) => Err(SubmitError::Overloaded { waited: INBOX_WAIT_MAX }),
            Ok(room) => room.map_err(|_| SubmitError::Stopping),
        }
    }

    fn queue(&self, message: Message, weight: u32, room: OwnedSemaphorePermit) -> Result<(), SubmitError> {
        let mut line = self.shared.lock();
        if line.abandoned {
            return Err(SubmitError::Stopping);
        }
        line.parcels.push_back(Parcel { message, weight, room });
        drop(line);
        self.shared.bell.notify_one();
        Ok(())
    }

    /// Puts a heartbeat aside for the engine thread, in place of an earlier one of its session.
    pub(super) fn heartbeat(&self, heartbeat: Heartbeat) {
        self.shared.change(|line| {
            if !line.abandoned {
                line.heartbeats.insert(heartbeat.session, heartbeat);
            }
        });
    }

    /// The writer has released a batch.
    pub(super) fn writer_is_free(&self) {
        self.shared.change(|line| line.writer_free = true);
    }

    /// The writer will take no batch any more.
    pub(super) fn writer_is_gone(&self) {
        self.shared.change(|line| line.writer_gone = true);
    }

    /// Lets nobody else in.
    pub(super) fn close(&self) {
        self.room.close();
    }

    /// The engine thread is to end when the line is empty.
    pub(super) fn stop(&self) {
        self.shared.change(|line| line.stop = true);
    }
}

/// The engine thread's end. What still waits when it goes is dropped, so that whoever asked hears that it is over.
pub(super) struct Outlet(Arc<Shared>);

impl Outlet {
    /// What is to be taken next, if anything is there; of what waits in line only with `parcels_too`.
    pub(super) fn take(&self, parcels_too: bool) -> Option<Taken> {
        self.0.lock().take(parcels_too)
    }

    /// Waits until there is something to take, or for `limit`.
    pub(super) fn wait(&self, parcels_too: bool, limit: Option<Duration>) {
        let line = self.0.lock();
        if line.has_news(parcels_too) {
            return;
        }
        // Woken early or by something else, the caller looks again.
        match limit {
            None => drop(self.0.bell.wait(line)),
            Some(limit) => drop(self.0.bell.wait_timeout(line, limit)),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut line = self.0.lock();
        let left = std::mem::take(&mut *line);
        line.abandoned = true;
        drop(line);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, NodeId};

    fn beat(session: SessionId, sequence: u64) -> Heartbeat {
        let node =
            NodeKey { account: AccountName::parse("studio").unwrap(), node: NodeId::parse("n").unwrap() };
        Heartbeat { node, session, sequence }
    }

    fn taken(outlet: &Outlet, parcels_too: bool) -> String {
        match outlet.take(parcels_too) {
            None => "nothing".to_owned(),
            Some(Taken::WriterGone) => "gone".to_owned(),
            Some(Taken::WriterFree) => "free".to_owned(),
            Some(Taken::Heartbeat(beat)) => format!("beat {}.{}", beat.session, beat.sequence),
            Some(Taken::Parcel(_)) => "parcel".to_owned(),
            Some(Taken::Stop) => "stop".to_owned(),
        }
    }

    async fn ask(inbox: &Inbox) {
        inbox.send_query(Box::new(|_| Box::new(|| ()))).await.unwrap();
    }

    #[tokio::test]
    async fn heartbeats_go_first_one_for_each_session_and_leave_the_line_its_turn() {
        let (inbox, outlet) = Inbox::new(Disk::default());
        ask(&inbox).await;
        ask(&inbox).await;
        for sequence in 1..=1_000 {
            inbox.heartbeat(beat(7, sequence));
        }
        inbox.heartbeat(beat(3, 5));
        // The first of the line begins a round; after that a round comes before each of the line.
        assert_eq!(taken(&outlet, true), "parcel");
        assert_eq!(taken(&outlet, true), "beat 3.5");
        inbox.heartbeat(beat(3, 6));
        assert_eq!(taken(&outlet, true), "beat 7.1000");
        assert_eq!(taken(&outlet, true), "parcel");
        assert_eq!(taken(&outlet, true), "beat 3.6");
        assert_eq!(taken(&outlet, true), "nothing");
    }

    #[tokio::test]
    async fn a_line_that_is_not_to_be_taken_holds_up_neither_heartbeats_nor_the_writer() {
        let (inbox, outlet) = Inbox::new(Disk::default());
        ask(&inbox).await;
        inbox.stop();
        assert_eq!(taken(&outlet, false), "nothing");
        inbox.heartbeat(beat(1, 1));
        inbox.writer_is_free();
        outlet.wait(false, None);
        assert_eq!(taken(&outlet, false), "free");
        assert_eq!(taken(&outlet, false), "beat 1.1");
        assert_eq!(taken(&outlet, false), "nothing");
        assert_eq!(taken(&outlet, true), "parcel");
        assert_eq!(taken(&outlet, true), "stop");
    }

    #[tokio::test]
    async fn what_waits_when_the_engine_thread_goes_is_dropped() {
        let (inbox, outlet) = Inbox::new(Disk::default());
        let (send, answer) = oneshot::channel::<()>();
        let query: Query = Box::new(move |_| {
            Box::new(move || {
                let _ = send.send(());
            })
        });
        inbox.send_query(query).await.unwrap();
        drop(outlet);
        assert!(answer.await.is_err());
        let refused = inbox.send_query(Box::new(|_| Box::new(|| ()))).await;
        assert!(matches!(refused, Err(SubmitError::Stopping)));
    }
}
