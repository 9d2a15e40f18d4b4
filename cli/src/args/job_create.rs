//! The options of `muster job create` and `muster job update`.
//!
//! Both take a job in JSON and options on top of it: what an option says wins.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use muster_model::limits::{PRIORITY_MAX, PRIORITY_MIN, TASK_SLOTS_PER_NODE_MAX};
use muster_runtime::config::Span;

use super::{MaybeSpan, Note, Setting};

/// What happens when all tasks of a job are completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllTasksComplete {
    /// Nothing: more tasks may be added.
    NoAction,
    /// The job ends.
    TerminateJob,
}

/// What happens when a task fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskFailure {
    /// Nothing.
    NoAction,
    /// What the task's --exit rules say; without these the job ends.
    ExitOptions,
}

/// What happens to a task that can never run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DependencyFailure {
    /// It waits for ever.
    Wait,
    /// It fails.
    Fail,
    /// It completes without running.
    Skip,
}

/// Options of `muster job create`.
#[derive(Debug, Args)]
#[command(
    override_usage = "muster job create [OPTIONS] ID --pool POOL\n       muster job create [ID] --file JOB.json [OPTIONS]",
    after_help = "\
Examples:
  muster job create film --pool render
  muster job create film --pool render --uses-dependencies --on-dependency-failure fail --max-wall-clock 6h
  muster job create film --pool render --preparation '/bin/sh fetch.sh' --release '/bin/rm -rf scratch'
  muster job create film --pool render --manager 'python3 plan.py'   # adds the tasks itself with 'muster task add'
  muster job create --file film.json --priority 500

JOB.json is the job with the API's field names, as 'muster job show -o json' writes it:
  {\"id\": \"film\", \"pool_id\": \"render\", \"job_preparation_task\": {\"command_line\": \"/bin/sh fetch.sh\"}}
It can say more than there are options for: files, limits and users of the manager, preparation and release tasks.

In the environment of the manager there are credentials for this job, so that 'muster' works there as it is.
Command lines are split by shell quoting rules and run without a shell."
)]
pub(crate) struct JobCreate {
    /// The job's id
    #[arg(required_unless_present = "file")]
    pub id: Option<String>,
    /// The pool that runs it; it need not exist yet
    #[arg(long, value_name = "POOL", required_unless_present = "file")]
    pub pool: Option<String>,
    /// The job in JSON; '-' reads standard input. Options win over it
    #[arg(long, value_name = "JOB.json")]
    pub file: Option<PathBuf>,
    /// What can change later too.
    #[command(flatten)]
    pub settings: JobSettings,
    /// The longest that the job may take, for example 6h; then it is terminated
    #[arg(long, visible_alias = "timeout", value_name = "TIME")]
    pub max_wall_clock: Option<Span>,
    /// Let tasks depend on each other
    #[arg(long, visible_alias = "dependencies")]
    pub uses_dependencies: bool,
    /// End the job by itself when all its tasks are completed: short for --on-all-tasks-complete terminate-job
    #[arg(long, conflicts_with = "on_all_tasks_complete")]
    pub terminate_when_done: bool,
    /// When a task fails for good: no-action, or exit-options (its --exit rules; without these the job ends)
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub on_task_failure: Option<TaskFailure>,
    /// A task that can never run because of one that it depends on: wait (for ever, the default), fail, or skip
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub on_dependency_failure: Option<DependencyFailure>,
    /// An environment variable of all its tasks; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<Setting>,
    /// The tasks that the job has of its own.
    #[command(flatten)]
    pub own: OwnTasks,
}

/// The tasks that a job has of its own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tasks of the job's own")]
pub(crate) struct OwnTasks {
    /// A command line that starts with the job, ahead of its other tasks, and may add and watch them
    #[arg(long, value_name = "CMD")]
    pub manager: Option<String>,
    /// The id of the manager's task
    #[arg(long, value_name = "ID", default_value = "manager", requires = "manager")]
    pub manager_id: String,
    /// How many slots the manager takes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        requires = "manager",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(TASK_SLOTS_PER_NODE_MAX))
    )]
    pub manager_slots: u32,
    /// Let other tasks run beside the manager on its node
    #[arg(long, requires = "manager")]
    pub manager_not_exclusive: bool,
    /// Keep the job when the manager is completed; otherwise it ends then
    #[arg(long, requires = "manager")]
    pub keep_job: bool,
    /// A command line that runs on each node before the first task of the job there
    #[arg(long, value_name = "CMD")]
    pub preparation: Option<String>,
    /// A command line that runs at the end of the job on each node that ran the preparation
    #[arg(long, value_name = "CMD")]
    pub release: Option<String>,
}

/// What can be set when a job is created and changed later.
#[derive(Debug, Args)]
pub(crate) struct JobSettings {
    /// Jobs of a higher priority go first: -1000 to 1000 [default: 0]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(i64::from(PRIORITY_MIN)..=i64::from(PRIORITY_MAX))
    )]
    pub priority: Option<i32>,
    /// The most tasks that are on nodes at one time; -1 for no limit [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parallel_tasks)]
    pub max_parallel_tasks: Option<i32>,
    /// How often a task that fails is tried again, unless it says otherwise; -1 for ever [default: 0]
    #[arg(
        long,
        visible_alias = "retries",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1..)
    )]
    pub max_retries: Option<i32>,
    /// When all tasks are completed: no-action (the default), or terminate-job (a job without tasks counts too)
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub on_all_tasks_complete: Option<AllTasksComplete>,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
    /// A note of yours; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub metadata: Vec<Note>,
}

/// Options of `muster job update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster job update film --priority 900
  muster job update film --max-parallel-tasks 50 --max-wall-clock none
  muster job update film --replace --file film.json --etag \"$(muster job show film -o json | jq -r .etag)\"

Only what is given changes. With --replace everything that can change is set: what is not given gets its default.
A lower --max-parallel-tasks ends no task. --pool changes only while the job is disabled.")]
pub(crate) struct JobUpdate {
    /// The job
    pub id: String,
    /// The job in JSON; '-' reads standard input. Options win over it
    #[arg(long, value_name = "JOB.json")]
    pub file: Option<PathBuf>,
    /// What changes.
    #[command(flatten)]
    pub settings: JobSettings,
    /// The longest that the job may take, for example 6h, or none
    #[arg(long, visible_alias = "timeout", value_name = "TIME|none")]
    pub max_wall_clock: Option<MaybeSpan>,
    /// The pool that runs it
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Set everything that can change: what is not given gets its default
    #[arg(long)]
    pub replace: bool,
    /// Change it only if this is still its etag (exit code 4 otherwise)
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
}

/// A number of parallel tasks, or -1.
fn parallel_tasks(text: &str) -> Result<i32, ParallelError> {
    let number = text.parse().map_err(|_| ParallelError { given: text.to_owned() })?;
    if number == -1 || number > 0 { Ok(number) } else { Err(ParallelError { given: text.to_owned() }) }
}

/// A value is not a number of parallel tasks.
#[derive(Debug, thiserror::Error)]
#[error("'{given}' is not a number of tasks: 1 to 2147483647, or -1 for no limit")]
struct ParallelError {
    given: String,
}
