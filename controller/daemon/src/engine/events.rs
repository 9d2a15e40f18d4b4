//! What has become durable, for those who watch: published by the writer, read by any number of subscriptions.
//!
//! The last batches are kept by name in one bounded ring. A subscription is a place in it: it is told what came after, or
//! that it has missed something; and one that broke off is opened again at the revision where it was. Nobody is waited
//! for, and a subscriber that sleeps costs nothing.
//!
//! Invariant: every batch above the oldest revision that is still reached is in the ring, in order.

use super::changes::Committed;
use muster_controller_core::record::Record;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Names that the ring holds: some seconds at the fullest rate, hours of an ordinary day; at most about 16 MiB.
const NAMES_MAX: usize = 262_144;

/// Batches that the ring holds, whatever is in them: ten minutes at a hundred commits a second; a few MiB.
const BATCHES_MAX: usize = 65_536;

#[derive(Debug)]
struct Ring {
    batches: VecDeque<Arc<Committed>>,
    names: usize,
    /// The batch before the oldest: who has seen this one has missed nothing.
    reached: u64,
}

impl Ring {
    fn push(&mut self, batch: Committed) {
        self.names += batch.names();
        self.batches.push_back(Arc::new(batch));
        while self.batches.len() > BATCHES_MAX || (self.names > NAMES_MAX && self.batches.len() > 1) {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.names -= oldest.names();
            self.reached = oldest.revision;
        }
    }

    /// The batches after `revision`, or `None` when some of them are not kept any more.
    fn after(&self, revision: u64) -> Option<Vec<Arc<Committed>>> {
        if revision < self.reached {
            return None;
        }
        let first = self.batches.partition_point(|batch| batch.revision <= revision);
        Some(self.batches.range(first..).cloned().collect())
    }
}

/// The publishing end, shared by all handles and the writer.
#[derive(Debug)]
pub(super) struct Events {
    ring: Mutex<Ring>,
    /// The revision of the last batch; `None` once closed.
    newest: watch::Sender<Option<u64>>,
}

impl Events {
    /// Without any batch so far; the first will have a revision above this one.
    pub(super) fn new(revision: u64) -> Self {
        let ring = Ring { batches: VecDeque::new(), names: 0, reached: revision };
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(Some(revision)) }
    }

    /// Tells everybody of a durable batch, if it changed anything that is watched.
    pub(super) fn publish(&self, revision: u64, records: &[Record]) {
        let batch = Committed::of(revision, records);
        if batch.is_empty() {
            return;
        }
        self.lock().push(batch);
        self.newest.send_if_modified(|newest| {
            let open = newest.is_some();
            if open {
                *newest = Some(revision);
            }
            open
        });
    }

    /// Every batch from now on.
    pub(super) fn subscribe(self: &Arc<Self>) -> Subscription {
        let newest = self.newest.subscribe();
        let ring = self.lock();
        let revision = ring.batches.back().map_or(ring.reached, |batch| batch.revision);
        drop(ring);
        Subscription { events: Arc::clone(self), newest, revision }
    }

    /// Every batch after `revision`; `None` when that is not known any more, or is of no batch at all.
    pub(super) fn resume(self: &Arc<Self>, revision: u64) -> Option<Subscription> {
        let now = self.subscribe();
        let known = revision <= now.revision && revision >= self.lock().reached;
        known.then_some(Subscription { revision, ..now })
    }

    /// Lets subscribers read what was published and then see the end.
    pub(super) fn close(&self) {
        self.newest.send_replace(None);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a subscription is told.
#[derive(Debug)]
pub enum Seen {
    /// These batches, in order; at least one.
    Batches(Vec<Arc<Committed>>),
    /// Some were missed: read the present state.
    Missed,
}

/// The controller stops: connect again elsewhere or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller is stopping")]
pub struct Closed;

/// A place in what has become durable.
#[derive(Debug)]
pub struct Subscription {
    events: Arc<Events>,
    newest: watch::Receiver<Option<u64>>,
    revision: u64,
}

impl Subscription {
    /// The revision up to which everything has been told.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// What has come since the last time, without waiting; `None` when nothing has.
    pub fn take(&mut self) -> Option<Seen> {
        let ring = self.events.lock();
        let newest = ring.batches.back().map_or(ring.reached, |batch| batch.revision);
        let batches = ring.after(self.revision);
        drop(ring);
        self.revision = newest;
        match batches {
            Some(batches) if batches.is_empty() => None,
            Some(batches) => Some(Seen::Batches(batches)),
            None => Some(Seen::Missed),
        }
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// [`Closed`] when nothing more will come.
    pub async fn next(&mut self) -> Result<Seen, Closed> {
        loop {
            // Marked as seen before the ring is looked at: what comes in between wakes the wait below.
            let open = self.newest.borrow_and_update().is_some();
            if let Some(seen) = self.take() {
                return Ok(seen);
            }
            if !open || self.newest.changed().await.is_err() {
                return Err(Closed);
            }
        }
    }

    /// Waits until nothing more will come.
    pub async fn closed(&mut self) {
        // An error means that the engine is gone, which is as good.
        let _ = self.newest.wait_for(Option::is_none).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, JobId, TaskId};

    fn tasks(count: usize) -> Vec<Record> {
        let (account, job) = (AccountName::parse("studio").unwrap(), JobId::parse("j").unwrap());
        let gone =
            |n| Record::TaskGone(account.clone(), job.clone(), TaskId::parse(&format!("t{n}")).unwrap());
        (0..count).map(gone).collect()
    }

    fn revisions(seen: Option<Seen>) -> Vec<u64> {
        match seen {
            Some(Seen::Batches(batches)) => batches.iter().map(|batch| batch.revision).collect(),
            Some(Seen::Missed) => panic!("missed"),
            None => Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_subscription_goes_on_where_it_was_whoever_holds_it() {
        let events = Arc::new(Events::new(100));
        let mut live = events.subscribe();
        assert_eq!(live.revision(), 100);
        for revision in 101..=105 {
            events.publish(revision, &tasks(1));
        }
        assert_eq!(revisions(live.next().await.ok()), [101, 102, 103, 104, 105]);
        assert!(live.take().is_none());
        let mut resumed = events.resume(103).unwrap();
        assert_eq!(revisions(resumed.take()), [104, 105]);
        assert_eq!(resumed.revision(), 105);
        assert!(events.resume(105).unwrap().take().is_none());
        assert_eq!(revisions(events.resume(100).unwrap().take()).len(), 5);
        assert!(events.resume(99).is_none(), "before the start of this controller");
        assert!(events.resume(106).is_none(), "of the future");
    }

    #[test]
    fn the_ring_is_bounded_and_says_when_it_no_longer_reaches_back() {
        let events = Arc::new(Events::new(0));
        let mut slow = events.subscribe();
        let last = (NAMES_MAX / 500 + 100) as u64;
        for revision in 1..=last {
            events.publish(revision, &tasks(500));
        }
        assert!(events.lock().names <= NAMES_MAX);
        assert!(matches!(slow.take(), Some(Seen::Missed)));
        assert!(slow.take().is_none() && slow.revision() == last, "it goes on from the present");
        assert!(events.resume(1).is_none());
        let oldest = events.lock().reached;
        assert_eq!(revisions(events.resume(oldest).unwrap().take()).first(), Some(&(oldest + 1)));
    }

    #[tokio::test]
    async fn the_end_comes_after_what_was_published() {
        let events = Arc::new(Events::new(0));
        let mut subscription = events.subscribe();
        events.publish(1, &tasks(1));
        events.close();
        assert_eq!(revisions(subscription.next().await.ok()), [1]);
        assert_eq!(subscription.next().await.err(), Some(Closed));
        assert_eq!(events.subscribe().next().await.err(), Some(Closed));
        subscription.closed().await;
    }
}
