//! The commands of `muster job`; the options that make or change one are in `job_create.rs`.
//!
//! Each command's help has an example and says what its exit code means where that is not plain. What a command does is in
//! `commands/job.rs`.

use clap::{Subcommand, ValueEnum};
use muster_runtime::config::Span;

use super::{JobCreate, JobUpdate, ListArgs};

/// What to do with running tasks of a job that is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunningTasks {
    /// End them; they run again when the job is enabled.
    Requeue,
    /// End them; they complete as terminated.
    Terminate,
    /// Let them end by themselves.
    Wait,
}

/// The commands on jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Create a job
    Create(Box<JobCreate>),
    /// List jobs
    #[command(after_help = "\
Examples:
  muster job list
  muster job list --filter 'state = \"active\" AND priority > 0' --order-by 'create_time desc' --limit 20
  muster job list --select id,priority,execution_info.terminate_reason -o json")]
    List(ListArgs),
    /// Show one job with its task counts
    #[command(after_help = "Examples:\n  muster job show film\n  muster job show film -o json | jq -r .etag")]
    Show {
        /// The job
        id: String,
    },
    /// Change a job: priority, limits, what happens at its end
    Update(Box<JobUpdate>),
    /// Stop placing a job's tasks
    #[command(after_help = "\
Examples:
  muster job disable film
  muster job disable film --tasks wait   # running tasks end by themselves")]
    Disable {
        /// The job
        id: String,
        /// Its running tasks: requeue (end them, they run again later), terminate (end them for good), or wait
        #[arg(long, value_name = "WHAT", value_enum, default_value_t = RunningTasks::Requeue, hide_possible_values = true)]
        tasks: RunningTasks,
    },
    /// Place a job's tasks again
    #[command(after_help = "Example:\n  muster job enable film")]
    Enable {
        /// The job
        id: String,
    },
    /// Wait until all tasks of a job are completed, showing progress
    #[command(after_help = "\
Examples:
  muster job wait film
  muster job wait film --timeout 2h -o json   # a line of JSON for every change

Exits with 0 when all tasks succeeded and with 7 when some failed. A connection that breaks is made again.")]
    Wait {
        /// The job
        id: String,
        /// Give up after this time, for example 2h (exit code 1; the job goes on)
        #[arg(long, value_name = "TIME")]
        timeout: Option<Span>,
    },
    /// Write a job's state and counts now and after every change, until it is completed
    #[command(after_help = "\
Examples:
  muster job watch film
  muster job watch film -o json | jq -c .task_counts

At most ten lines a second. A connection that breaks is made again, and goes on after the last change.")]
    Watch {
        /// The job
        id: String,
    },
    /// Say why the waiting tasks of a job wait
    #[command(after_help = "\
Examples:
  muster job explain film

Tasks that wait for the same are one group; its oldest task is the example.
For one task: muster task explain JOB TASK.")]
    Explain {
        /// The job
        id: String,
    },
    /// Show what the job's preparation and release tasks did on each node
    #[command(after_help = "\
Examples:
  muster job nodes film
  muster job nodes film --filter 'job_preparation_task_execution_info.result = \"failure\"'")]
    Nodes {
        /// The job
        id: String,
        /// Which nodes
        #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Count a job's tasks, and the slots that they need, by state
    #[command(after_help = "Example:\n  muster job counts film")]
    Counts {
        /// The job
        id: String,
    },
    /// End a job: running tasks are terminated, waiting ones never start
    #[command(after_help = "Example:\n  muster job terminate film --reason 'wrong scene'")]
    Terminate {
        /// The job
        id: String,
        /// Why, for people
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Delete a job with its tasks and their files
    #[command(after_help = "Example:\n  muster job delete film")]
    Delete {
        /// The job
        id: String,
    },
}
