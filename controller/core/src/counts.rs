//! How many tasks are where: the figures of a job and of each of its sweeps.
//!
//! Kept up to date by the only functions that move tasks (`Job::shift` and the bulk moves of `members`), recounted by
//! `check`.

use crate::task::Phase;
use muster_model::state::ExecutionResult;

/// How many tasks are where, live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Waiting, or on a node but not started.
    pub active: u64,
    /// Started, or waiting on their node for the job's preparation.
    pub running: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Ended otherwise.
    pub failed: u64,
    /// Slots of the active tasks.
    pub active_slots: u64,
    /// Slots of the running tasks.
    pub running_slots: u64,
    /// Slots of the tasks that ended well.
    pub succeeded_slots: u64,
    /// Slots of the tasks that ended otherwise.
    pub failed_slots: u64,
}

impl TaskCounts {
    fn bucket(&mut self, phase: Phase) -> (&mut u64, &mut u64) {
        match phase {
            Phase::Waiting | Phase::Assigned => (&mut self.active, &mut self.active_slots),
            Phase::Preparing | Phase::Running => (&mut self.running, &mut self.running_slots),
            Phase::Completed(ExecutionResult::Success) => (&mut self.succeeded, &mut self.succeeded_slots),
            Phase::Completed(ExecutionResult::Failure) => (&mut self.failed, &mut self.failed_slots),
        }
    }

    /// Counts `tasks` more, of `slots` each.
    pub(crate) fn add(&mut self, phase: Phase, tasks: u64, slots: u32) {
        let (count, sum) = self.bucket(phase);
        *count += tasks;
        *sum += tasks * u64::from(slots);
    }

    /// Counts `tasks` less, of `slots` each.
    pub(crate) fn take(&mut self, phase: Phase, tasks: u64, slots: u32) {
        let (count, sum) = self.bucket(phase);
        *count = count.saturating_sub(tasks);
        *sum = sum.saturating_sub(tasks * u64::from(slots));
    }

    /// Tasks that have not ended.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.active + self.running
    }
}
