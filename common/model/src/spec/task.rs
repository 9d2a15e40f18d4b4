//! The specification of a task: what to run, with what, under which limits, after which others.
//!
//! It never changes after creation but for its constraints, which an update replaces whole; the replacement is state.

use super::common::{EnvironmentSetting, OutputFile, ResourceFile, RetryLimit, UserIdentity};
use crate::id::TaskId;
use crate::resources::Resources;
use std::time::Duration;

/// A range of tasks whose ids read as integers; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdRange {
    /// The first.
    pub start: u32,
    /// The last, not below the first.
    pub end: u32,
}

/// The tasks of the same job that must succeed first. They need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DependsOn {
    /// By id.
    pub task_ids: Vec<TaskId>,
    /// By number: `4`, `04` and `004` are all 4, and one of them is enough.
    pub task_id_ranges: Vec<IdRange>,
}

impl DependsOn {
    /// Whether there is no dependency at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.task_ids.is_empty() && self.task_id_ranges.is_empty()
    }
}

/// Limits of time and tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskConstraints {
    /// How long one attempt may run.
    pub max_wall_clock_time: Option<Duration>,
    /// How long its files stay on the node after it ended; `None` is seven days.
    pub retention_time: Option<Duration>,
    /// `None` takes the job's.
    pub max_task_retry_count: Option<RetryLimit>,
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
    /// What must succeed first.
    pub depends_on: DependsOn,
}
