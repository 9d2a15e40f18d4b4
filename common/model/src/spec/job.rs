//! The specification of a job, and the part of it that an update may change.
//!
//! Where a job is in its life is not here: that is state (`crate::state::JobState`, and rows in the controller).

use super::common::{EnvironmentSetting, MetadataItem, RetryLimit};
use crate::id::{JobId, PoolId};
use crate::state::OnAllTasksComplete;
use std::time::Duration;

/// Limits of a whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobConstraints {
    /// From the job's creation; the job is terminated when it passes.
    pub max_wall_clock_time: Option<Duration>,
    /// The default of its tasks.
    pub max_task_retry_count: RetryLimit,
}

impl Default for JobConstraints {
    fn default() -> Self {
        Self { max_wall_clock_time: None, max_task_retry_count: RetryLimit::Times(0) }
    }
}

/// A named set of tasks on a pool (reference 3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// Its id.
    pub id: JobId,
    /// For people.
    pub display_name: String,
    /// Where its tasks run. The pool may come later; the tasks wait for it.
    pub pool: PoolId,
    /// -1000 to 1000; higher first.
    pub priority: i32,
    /// Its limits.
    pub constraints: JobConstraints,
    /// Whether its tasks may depend on one another.
    pub uses_task_dependencies: bool,
    /// What happens when all its tasks have completed.
    pub on_all_tasks_complete: OnAllTasksComplete,
    /// Environment of all its tasks; a task's own setting of the same name wins.
    pub common_environment: Vec<EnvironmentSetting>,
    /// For people and tools.
    pub metadata: Vec<MetadataItem>,
}

/// The fields of a job that an update changes; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobPatch {
    /// New display name.
    pub display_name: Option<String>,
    /// New priority, in force at once.
    pub priority: Option<i32>,
    /// New limits, replaced as a whole.
    pub constraints: Option<JobConstraints>,
    /// New action; with all tasks complete it acts at once.
    pub on_all_tasks_complete: Option<OnAllTasksComplete>,
    /// New metadata, replacing all of the old.
    pub metadata: Option<Vec<MetadataItem>>,
}
