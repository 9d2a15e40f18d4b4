//! The specification of a job, and the part of it that an update may change.
//!
//! Where a job is in its life is not here: that is state (`crate::state::JobState`, and rows in the controller).

use super::common::{EnvironmentSetting, MetadataItem, ResourceFile, RetryLimit, UserIdentity};
use super::task::{TaskConstraints, TaskSpec};
use crate::id::{JobId, PoolId, TaskId};
use crate::state::{OnAllTasksComplete, OnDependencyFailure, OnTaskFailure};
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
    /// How many of its tasks may be on nodes at one time; `None` is no limit.
    pub max_parallel_tasks: Option<u32>,
    /// What happens when all its tasks have completed.
    pub on_all_tasks_complete: OnAllTasksComplete,
    /// What happens when a task fails for good.
    pub on_task_failure: OnTaskFailure,
    /// What happens to a task whose dependencies can never be met.
    pub on_dependency_failure: OnDependencyFailure,
    /// Started with the job, ahead of its other tasks.
    pub manager: Option<JobManagerSpec>,
    /// Runs on a node before the first task of the job there.
    pub preparation: Option<JobPreparationSpec>,
    /// Runs at the end of the job on every node that ran the preparation. Needs one.
    pub release: Option<JobReleaseSpec>,
    /// Environment of all its tasks; a task's own setting of the same name wins.
    pub common_environment: Vec<EnvironmentSetting>,
    /// For people and tools.
    pub metadata: Vec<MetadataItem>,
}

/// A task that makes and watches the job's other tasks (reference 3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobManagerSpec {
    /// The task. It depends on nothing.
    pub task: TaskSpec,
    /// Whether the job is terminated when it completes (`JMComplete`).
    pub kill_job_on_completion: bool,
    /// Whether it has its node for itself while it runs.
    pub run_exclusive: bool,
}

/// What must be done on a node before the job's tasks run there (reference 3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPreparationSpec {
    /// Its id, by default `jobpreparation`.
    pub id: TaskId,
    /// Run without a shell.
    pub command_line: String,
    /// Files in its working directory.
    pub resource_files: Vec<ResourceFile>,
    /// Its environment.
    pub environment: Vec<EnvironmentSetting>,
    /// Its limits of time and tries.
    pub constraints: TaskConstraints,
    /// Whether the job's tasks wait for its success.
    pub wait_for_success: bool,
    /// As whom it runs.
    pub user_identity: UserIdentity,
    /// Whether it runs again after a reboot of the node.
    pub rerun_on_node_reboot_after_success: bool,
}

/// What is done at the end of the job on every node that ran its preparation (reference 3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReleaseSpec {
    /// Its id, by default `jobrelease`.
    pub id: TaskId,
    /// Run without a shell.
    pub command_line: String,
    /// Files in its working directory.
    pub resource_files: Vec<ResourceFile>,
    /// Its environment.
    pub environment: Vec<EnvironmentSetting>,
    /// The longest that it may run: at most 15 minutes.
    pub max_wall_clock_time: Duration,
    /// How long its files stay; `None` is seven days.
    pub retention_time: Option<Duration>,
    /// As whom it runs.
    pub user_identity: UserIdentity,
}

/// The fields of a job that an update changes; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobPatch {
    /// New display name.
    pub display_name: Option<String>,
    /// New priority, in force at once.
    pub priority: Option<i32>,
    /// New limit of tasks on nodes, in force at once.
    pub max_parallel_tasks: Option<Option<u32>>,
    /// Another pool; only while the job is disabled.
    pub pool: Option<PoolId>,
    /// New limits, replaced as a whole.
    pub constraints: Option<JobConstraints>,
    /// New action; with all tasks complete it acts at once.
    pub on_all_tasks_complete: Option<OnAllTasksComplete>,
    /// New metadata, replacing all of the old.
    pub metadata: Option<Vec<MetadataItem>>,
}
