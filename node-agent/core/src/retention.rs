//! Directories of ended attempts: how long they stay, and when a batch of them is removed. That of a job preparation stays
//! for as long as the node holds tasks of the job, whatever its time.
//!
//! Removal is late and in batches, because creating files right after a mass deletion is slow on common file systems.
//! The entries also remember which attempts have ended, so that a repeated assignment does not run one twice.
//!
//! Invariant: at most [`KEPT_MAX`] directories are kept; beyond it the oldest go before their time, a batch at once.

use muster_model::{AttemptId, TaskKey, Timestamp};
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

/// How long the directory of a job preparation is kept at least after the last task that used it: a job whose tasks leave
/// a node alone for longer has to count on nothing there but by the preparation's own retention.
pub const PREPARATION_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What is remembered of an ended attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// When its directory may go.
    pub until: Timestamp,
    /// Its task's; 0 if the node never held it.
    pub incarnation: u64,
}

/// The ended attempts whose directories are still there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retained {
    by_attempt: BTreeMap<AttemptId, Kept>,
    by_time: BTreeSet<(Timestamp, AttemptId)>,
}

impl Retained {
    /// Whether the attempt has ended and is remembered.
    #[must_use]
    pub fn holds(&self, attempt: &AttemptId) -> bool {
        self.by_attempt.contains_key(attempt)
    }

    /// What is remembered of the attempt.
    #[must_use]
    pub fn get(&self, attempt: &AttemptId) -> Option<Kept> {
        self.by_attempt.get(attempt).copied()
    }

    /// The attempts of a task that are remembered, by number.
    pub fn of(&self, task: &TaskKey) -> impl DoubleEndedIterator<Item = (&AttemptId, Kept)> {
        let of = |number| AttemptId { job: task.job.clone(), task: task.task.clone(), number };
        self.by_attempt.range(of(0)..=of(u32::MAX)).map(|(attempt, kept)| (attempt, *kept))
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

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&AttemptId, Kept)> {
        self.by_attempt.iter().map(|(attempt, kept)| (attempt, *kept))
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

    /// The last attempt of a task that is remembered.
    #[must_use]
    pub fn last_of(&self, task: &TaskKey) -> Option<(AttemptId, Kept)> {
        let (attempt, kept) = self.of(task).next_back()?;
        Some((attempt.clone(), kept))
    }

    /// The attempts whose directories go now, oldest first; `needed` tells those that must stay.
    pub fn due(&self, now: Timestamp, needed: impl Fn(&AttemptId) -> bool) -> Vec<AttemptId> {
        let above = if self.is_too_many() { BATCH_MAX } else { 0 };
        self.by_time
            .iter()
            .filter(|(_, attempt)| !needed(attempt))
            .enumerate()
            .take_while(|(index, (time, _))| *index < above || *time <= now)
            .take(BATCH_MAX)
            .map(|(_, (_, attempt))| attempt.clone())
            .collect()
    }

    /// The first so many attempts whose directories go after a time, but for those that must stay.
    pub fn first_after(
        &self,
        time: Timestamp,
        needed: impl Fn(&AttemptId) -> bool,
        most: usize,
    ) -> Vec<AttemptId> {
        let later = self.by_time.iter().skip_while(|(until, _)| *until <= time);
        later.map(|(_, attempt)| attempt).filter(|attempt| !needed(attempt)).take(most).cloned().collect()
    }

    /// The attempts whose time has come though they must stay.
    pub fn overdue(&self, now: Timestamp, needed: impl Fn(&AttemptId) -> bool) -> Vec<AttemptId> {
        let due = self.by_time.iter().take_while(|(time, _)| *time <= now);
        due.map(|(_, attempt)| attempt).filter(|attempt| needed(attempt)).cloned().collect()
    }

    pub(crate) fn keep(&mut self, attempt: AttemptId, kept: Kept) {
        if let Some(before) = self.by_attempt.insert(attempt.clone(), kept) {
            self.by_time.remove(&(before.until, attempt.clone()));
        }
        self.by_time.insert((kept.until, attempt));
    }

    pub(crate) fn remove(&mut self, attempt: &AttemptId) {
        if let Some(kept) = self.by_attempt.remove(attempt) {
            self.by_time.remove(&(kept.until, attempt.clone()));
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
        let kept = |seconds: i64| Kept { until: at(seconds), incarnation: 7 };
        for number in 1..=3 {
            retained.keep(attempt(number), kept(i64::from(number)));
        }
        let none = |_: &AttemptId| false;
        assert_eq!(retained.due(at(2), none), [attempt(1), attempt(2)]);
        let second = |id: &AttemptId| id.number == 2;
        assert_eq!(retained.due(at(2), second), [attempt(1)]);
        assert_eq!(retained.overdue(at(2), second), [attempt(2)]);
        assert_eq!(retained.overdue(at(1), second), []);
        assert_eq!(retained.last_of(&attempt(1).task_key()), Some((attempt(3), kept(3))));
        retained.keep(attempt(1), kept(9));
        assert_eq!(retained.next_due(), Some(at(2)));
        for number in 0..KEPT_MAX {
            retained.keep(attempt(10 + u32::try_from(number).unwrap()), kept(100));
        }
        assert!(retained.is_too_many());
        assert_eq!(retained.due(at(0), none).len(), BATCH_MAX);
        assert_eq!(retained.due(at(0), second).len(), BATCH_MAX);
    }
}
