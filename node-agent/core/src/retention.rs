//! Directories of ended attempts: how long they stay, and when a batch of them is removed.
//!
//! Removal is late and in batches, because creating files right after a mass deletion is slow on common file systems.
//! The entries also remember which attempts have ended, so that a repeated assignment does not run one twice.
//!
//! Invariant: at most [`KEPT_MAX`] directories are kept; beyond it the oldest go before their time, a batch at once.

use muster_model::{AttemptId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most directories of ended attempts on a node: about 200,000 inodes and 10 MB of the agent's memory.
pub const KEPT_MAX: usize = 50_000;
/// Shortest time between two batches: long enough that deletion is not interleaved with starting tasks.
pub const BATCH_INTERVAL: Duration = Duration::from_secs(30);
/// Most directories in one batch: a few seconds of deletion, so that stopping does not wait for more.
pub const BATCH_MAX: usize = 2_000;
/// How long an ended attempt is remembered at least, whatever its retention: longer than any message can be under way.
pub const REMEMBERED_MIN: Duration = Duration::from_secs(120);

/// The ended attempts whose directories are still there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retained {
    by_attempt: BTreeMap<AttemptId, Timestamp>,
    by_time: BTreeSet<(Timestamp, AttemptId)>,
}

impl Retained {
    /// Whether the attempt has ended and is remembered.
    #[must_use]
    pub fn holds(&self, attempt: &AttemptId) -> bool {
        self.by_attempt.contains_key(attempt)
    }

    /// Whether a later attempt of the same task has ended and is remembered.
    #[must_use]
    pub fn later_than(&self, attempt: &AttemptId) -> bool {
        let last = AttemptId { number: u32::MAX, ..attempt.clone() };
        self.by_attempt.range(attempt..=&last).any(|(other, _)| other.number > attempt.number)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_attempt.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_attempt.is_empty()
    }

    /// All of them with the time of their removal.
    pub fn iter(&self) -> impl Iterator<Item = (&AttemptId, Timestamp)> {
        self.by_attempt.iter().map(|(attempt, time)| (attempt, *time))
    }

    /// Whether there are too many, so that a batch is due without waiting for its interval.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.len() > KEPT_MAX
    }

    /// When the first directory has been kept for long enough.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// The attempts whose directories go now, oldest first.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<AttemptId> {
        let above = if self.is_too_many() { BATCH_MAX } else { 0 };
        self.by_time
            .iter()
            .enumerate()
            .take_while(|(index, (time, _))| *index < above || *time <= now)
            .take(BATCH_MAX)
            .map(|(_, (_, attempt))| attempt.clone())
            .collect()
    }

    pub(crate) fn keep(&mut self, attempt: AttemptId, until: Timestamp) {
        if let Some(before) = self.by_attempt.insert(attempt.clone(), until) {
            self.by_time.remove(&(before, attempt.clone()));
        }
        self.by_time.insert((until, attempt));
    }

    pub(crate) fn remove(&mut self, attempt: &AttemptId) {
        if let Some(time) = self.by_attempt.remove(attempt) {
            self.by_time.remove(&(time, attempt.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> AttemptId {
        AttemptId { job: "j".parse().unwrap(), task: "t".parse().unwrap(), number }
    }

    #[test]
    fn a_batch_takes_what_is_due_and_what_is_too_many() {
        let mut retained = Retained::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for number in 1..=3 {
            retained.keep(attempt(number), at(i64::from(number)));
        }
        assert_eq!(retained.due(at(2)), [attempt(1), attempt(2)]);
        retained.keep(attempt(1), at(9));
        assert_eq!(retained.next_due(), Some(at(2)));
        for number in 0..KEPT_MAX {
            retained.keep(attempt(10 + u32::try_from(number).unwrap()), at(100));
        }
        assert!(retained.is_too_many());
        assert_eq!(retained.due(at(0)).len(), BATCH_MAX);
    }
}
