//! The door of the engine: a queue that is bounded by what its inputs weigh.
//!
//! Senders wait (async) for room, the engine thread waits (blocking, with a deadline) for messages. Room is given back
//! when the batch that an input went into has been released, so the bound covers what is queued and what is under
//! way together.

use super::batch::Release;
use super::error::SubmitError;
use super::weight;
use muster_controller_core::Core;
use muster_controller_core::input::Input;
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// All inputs together, in KiB as `weight` counts them: 64 MiB is eight of the largest requests, or 65,536 heartbeats.
const INBOX_WEIGHT_MAX: u32 = 64 * 1024;

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
    /// The writer has released a batch and is free.
    WriterFree,
    /// Finish what is there, then end.
    Stop,
}

/// A message with the room that it takes.
pub(super) struct Parcel {
    pub(super) message: Message,
    pub(super) weight: u32,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What an input weighs here: at most half of the room, so that the largest one finds some.
fn weight_of(input: &Input) -> u32 {
    weight::of(input).min(INBOX_WEIGHT_MAX / 2)
}

/// The sending end.
#[derive(Clone)]
pub(super) struct Inbox {
    queue: Sender<Parcel>,
    room: Arc<Semaphore>,
}

impl Inbox {
    pub(super) fn new() -> (Self, Receiver<Parcel>) {
        let (queue, receiver) = channel();
        let room = Arc::new(Semaphore::new(usize::try_from(INBOX_WEIGHT_MAX).unwrap_or(usize::MAX)));
        (Self { queue, room }, receiver)
    }

    /// Queues an input once there is room, unless that takes too long.
    pub(super) async fn send_input(&self, input: Input, reply: Option<ReplyTo>) -> Result<(), SubmitError> {
        let weight = weight_of(&input);
        self.send(Message::Input(Box::new(input), reply), weight).await
    }

    /// Queues an input once there is room, however long that takes: for those who have no more to send until then.
    pub(super) async fn send_input_in_turn(&self, input: Input, reply: ReplyTo) -> Result<(), SubmitError> {
        let weight = weight_of(&input);
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
        let room = room.map_err(|_| SubmitError::Stopping)?;
        self.queue(Message::Input(Box::new(input), Some(reply)), weight, room)
    }

    /// Queues a message once there is room, unless that takes too long.
    pub(super) async fn send(&self, message: Message, weight: u32) -> Result<(), SubmitError> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight);
        match tokio::time::timeout(INBOX_WAIT_MAX, room).await {
            Err(_) => Err(SubmitError::Overloaded { waited: INBOX_WAIT_MAX }),
            Ok(Err(_)) => Err(SubmitError::Stopping),
            Ok(Ok(room)) => self.queue(message, weight, room),
        }
    }

    fn queue(&self, message: Message, weight: u32, room: OwnedSemaphorePermit) -> Result<(), SubmitError> {
        self.queue.send(Parcel { message, weight, room: Some(room) }).map_err(|_| SubmitError::Stopping)
    }

    /// Queues a message of the engine's own, for which there is always room.
    pub(super) fn send_internal(&self, message: Message) {
        // The engine thread is gone only when everything ends.
        let _ = self.queue.send(Parcel { message, weight: 0, room: None });
    }

    /// Lets nobody else in.
    pub(super) fn close(&self) {
        self.room.close();
    }
}
