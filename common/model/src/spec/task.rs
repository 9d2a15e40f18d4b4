//! The specification of a task: what to run, with what, under which limits, after which others.
//!
//! It never changes after creation but for its constraints, which an update replaces whole; the replacement is state.

use super::common::{EnvironmentSetting, OutputFile, ResourceFile, RetryLimit, UserIdentity};
use super::dependency::{DependsOn, ExitConditions};
use crate::id::{NodeId, TaskId};
use crate::resources::Resources;
use std::time::Duration;

/// Limits of time and tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskConstraints {
    /// How long one attempt may run.
    pub max_wall_clock_time: Option<Duration>,
    /// How long its files stay on the node after it ended; `None` is seven days.
    pub retention_time: Option<Duration>,
    /// `None` takes the job's.
    pub max_task_retry_count: Option<RetryLimit>,
    /// What to do when an attempt ran out of memory; `None`: nothing special.
    pub on_out_of_memory: Option<MemoryEscalation>,
}

/// More memory for a task that ran out of it. Each such attempt costs no retry of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEscalation {
    /// By which factor the requested memory grows each time, in thousandths: 1001 to 16000.
    pub factor_millis: u32,
    /// The most memory in bytes that it grows to.
    pub max_bytes: u64,
}

impl MemoryEscalation {
    /// The memory of the next attempt after one with `bytes` ran out, or `None` when there is no more to give.
    #[must_use]
    pub fn next(self, bytes: u64) -> Option<u64> {
        let grown = u128::from(bytes) * u128::from(self.factor_millis) / 1000;
        let next = u64::try_from(grown).unwrap_or(u64::MAX).max(bytes.saturating_add(1)).min(self.max_bytes);
        (bytes > 0 && next > bytes).then_some(next)
    }
}

/// Limits that the node enforces beside the resources: zero or `None` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskLimits {
    /// Most processes and threads at once.
    pub pids_max: Option<u32>,
}

/// A command to run once, somewhere in the pool (reference 3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// Its id.
    pub id: TaskId,
    /// For people.
    pub display_name: String,
    /// Run without a shell.
    pub command_line: String,
    /// Files in its working directory.
    pub resource_files: Vec<ResourceFile>,
    /// Files to keep.
    pub output_files: Vec<OutputFile>,
    /// Its environment.
    pub environment: Vec<EnvironmentSetting>,
    /// Its limits of time and tries.
    pub constraints: TaskConstraints,
    /// What it takes on a node; memory and processor are also its limits. `slots` is at least 1.
    pub resources: Resources,
    /// Further limits.
    pub limits: TaskLimits,
    /// As whom it runs.
    pub user_identity: UserIdentity,
    /// What must have happened first.
    pub depends_on: DependsOn,
    /// What follows from each way to end; `None` takes the defaults.
    pub exit_conditions: Option<ExitConditions>,
    /// A wish to run on this node, where data may lie already.
    pub affinity: Option<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_by_the_factor_up_to_the_most() {
        let escalation = MemoryEscalation { factor_millis: 1500, max_bytes: 200 };
        assert_eq!(escalation.next(100), Some(150));
        assert_eq!(escalation.next(150), Some(200));
        assert_eq!(escalation.next(200), None);
        assert_eq!(escalation.next(0), None, "without a request there is nothing to multiply");
    }
}
