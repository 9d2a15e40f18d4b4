//! The commands of `muster task`; the options that make one are in `task_add.rs`.
//!
//! Each command's help has an example. What a command does is in `commands/task.rs`, but for adding (`task_add.rs`,
//! `task_file.rs`) and output (`logs.rs`).

use clap::{Args, Subcommand};
use muster_runtime::config::Span;

use super::{ListArgs, MaybeSpan, TaskAdd};

/// Options of `muster task update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster task update film frame-1 --max-wall-clock 4h
  muster task update film frame-1 --max-retries 3 --retention 1h

Works on waiting and on running tasks. A new --max-wall-clock counts from the start of the attempt: one that is over by
then ends it. What is not given stays.")]
pub(crate) struct TaskUpdate {
    /// The job
    pub job: String,
    /// The task
    pub task: String,
    /// The longest that an attempt may run, for example 1h, or none
    #[arg(long, visible_alias = "timeout", value_name = "TIME|none", required_unless_present_any = ["max_retries", "retention"])]
    pub max_wall_clock: Option<MaybeSpan>,
    /// How often it is tried again when it fails; -1 for ever
    #[arg(
        long,
        visible_alias = "retries",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1..)
    )]
    pub max_retries: Option<i32>,
    /// How long its directory is kept on the node afterwards, for example 1h
    #[arg(long, value_name = "TIME")]
    pub retention: Option<Span>,
    /// Change it only if this is still its etag (exit code 4 otherwise)
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
}

/// The commands on tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Add one task to a job, a sweep of up to millions, or the tasks of a file
    Add(Box<TaskAdd>),
    /// List the tasks of a job
    #[command(after_help = "\
Examples:
  muster task list film
  muster task list film --filter 'execution_info.result = \"failure\"' --limit 20
  muster task list film --filter 'state = \"running\"' --order-by 'state_transition_time desc'
  muster task list film --select id,execution_info.exit_code
  muster task list film -o json | jq -r .id

In JSON each task is a line of its own.")]
    List {
        /// The job
        job: String,
        /// Which.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show one task: its state, why it failed, its outputs
    #[command(after_help = "Example:\n  muster task show film frame-1")]
    Show {
        /// The job
        job: String,
        /// The task
        task: String,
    },
    /// List the attempts of a task that are over: node, times, outcome, cause, memory and processor time of each
    #[command(after_help = "Example:\n  muster task attempts film frame-1")]
    Attempts {
        /// The job
        job: String,
        /// The task
        task: String,
    },
    /// Say why a task waits
    #[command(after_help = "\
Examples:
  muster task explain film frame-1
  muster task explain film frame-1 -o json | jq -r '.reasons[0].code'

Reasons stand in the order in which the controller checks them. For all tasks of a job: muster job explain JOB.")]
    Explain {
        /// The job
        job: String,
        /// The task
        task: String,
    },
    /// Change the limits of a task, also while it runs
    Update(TaskUpdate),
    /// Write a task's standard output, or standard error, to standard output
    #[command(after_help = "\
Examples:
  muster task logs film frame-1
  muster task logs film frame-1 --stderr --follow   # from the first byte, live, until the task is completed")]
    Logs {
        /// The job
        job: String,
        /// The task
        task: String,
        /// Its standard error instead
        #[arg(long)]
        stderr: bool,
        /// Go on until the task is completed, through all its attempts
        #[arg(long, short)]
        follow: bool,
        /// An earlier attempt; the latest is the default
        #[arg(
            long,
            value_name = "N",
            default_value_t = 0,
            hide_default_value = true,
            conflicts_with = "follow"
        )]
        attempt: u32,
    },
    /// End a task
    #[command(after_help = "Example:\n  muster task terminate film frame-1")]
    Terminate {
        /// The job
        job: String,
        /// The task
        task: String,
    },
    /// Run a failed task again, with a fresh retry budget
    #[command(after_help = "\
Examples:
  muster task reactivate film frame-1
  muster sweep reactivate film frame   # all failed tasks of a sweep")]
    Reactivate {
        /// The job
        job: String,
        /// The task
        task: String,
    },
    /// Delete a task and its files
    #[command(after_help = "Example:\n  muster task delete film frame-1")]
    Delete {
        /// The job
        job: String,
        /// The task
        task: String,
    },
}
