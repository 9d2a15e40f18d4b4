//! Who adds to a stream of tasks: the connection that opened it last, and no other.
//!
//! A client that comes back may find its old connection still at work here. Opening the stream again takes it over: what
//! the old one has handed in stands, and it hands in nothing more. So the place at which the new one goes on cannot move
//! under it. In memory only: after a restart there are no old connections.

use muster_model::{AccountName, JobId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A stream's full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamName {
    pub(super) account: AccountName,
    pub(super) job: JobId,
    /// In lower case, as its requests compare.
    pub(super) id: String,
}

/// The number of the opening that owns a stream. Held while something is handed in.
type Turn = Arc<tokio::sync::Mutex<u64>>;

/// All open streams. An entry goes with the last of its owners.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<BTreeMap<StreamName, Turn>>,
}

/// The stream was opened again elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TakenOver;

impl Streams {
    /// Takes a stream over; waits until its owner so far has handed in what it is handing in.
    pub(super) async fn take(self: &Arc<Self>, name: StreamName) -> StreamOwner {
        let turn = Arc::clone(self.lock().entry(name.clone()).or_default());
        let mut owner = StreamOwner { streams: Arc::clone(self), name, turn, number: 0 };
        owner.number = {
            let mut number = owner.turn.lock().await;
            *number += 1;
            *number
        };
        owner
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<StreamName, Turn>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One opening of a stream.
#[derive(Debug)]
pub(super) struct StreamOwner {
    streams: Arc<Streams>,
    name: StreamName,
    turn: Turn,
    number: u64,
}

impl StreamOwner {
    /// Hands something in, if the stream is still this opening's.
    pub(super) async fn in_turn<T>(&self, hand_in: impl Future<Output = T>) -> Result<T, TakenOver> {
        let number = self.turn.lock().await;
        if *number != self.number {
            return Err(TakenOver);
        }
        Ok(hand_in.await)
    }
}

impl Drop for StreamOwner {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        // The map's and this one's: nobody else owns it or is about to.
        if Arc::strong_count(&self.turn) == 2 {
            open.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> StreamName {
        let (account, job) = (AccountName::parse("studio").unwrap(), JobId::parse("film").unwrap());
        StreamName { account, job, id: id.to_owned() }
    }

    #[tokio::test]
    async fn the_last_opening_owns_the_stream() {
        let streams = Arc::<Streams>::default();
        let first = streams.take(name("a")).await;
        assert_eq!(first.in_turn(async { 1 }).await, Ok(1));
        let second = streams.take(name("a")).await;
        assert_eq!(first.in_turn(async { 2 }).await, Err(TakenOver));
        assert_eq!(second.in_turn(async { 3 }).await, Ok(3));
        let other = streams.take(name("b")).await;
        assert_eq!(other.in_turn(async { 4 }).await, Ok(4));
        drop(first);
        assert_eq!(second.in_turn(async { 5 }).await, Ok(5));
        drop((second, other));
        assert!(streams.lock().is_empty());
    }

    #[tokio::test]
    async fn what_is_being_handed_in_is_waited_for() {
        let streams = Arc::<Streams>::default();
        let first = streams.take(name("a")).await;
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let slow = first.in_turn(async { gate.await.is_ok() });
        let again = streams.take(name("a"));
        tokio::pin!(slow, again);
        tokio::select! {
            biased;
            _ = &mut slow => panic!("it waits"),
            _ = &mut again => panic!("taken over too early"),
            () = tokio::task::yield_now() => {}
        }
        go.send(()).unwrap();
        assert_eq!(slow.await, Ok(true));
        again.await;
    }
}
