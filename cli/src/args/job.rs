//! The commands of `muster job`.
//!
//! Options are the fields of a job that this version acts on, under the names that people say.

use clap::{Args, Subcommand};
use muster_runtime::config::Span;

use super::Setting;

/// Options of `muster job create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster job create film --pool render
  muster job create film --pool render --dependencies --terminate-when-done --timeout 6h")]
pub(crate) struct JobCreate {
    /// The job's id
    pub id: String,
    /// The pool that runs it; it need not exist yet
    #[arg(long, value_name = "POOL")]
    pub pool: String,
    /// Jobs of a higher priority go first: -1000 to 1000
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub display_name: String,
    /// Let tasks depend on each other
    #[arg(long)]
    pub dependencies: bool,
    /// End the job by itself when all its tasks are completed (add the tasks at once: a job without tasks counts too)
    #[arg(long)]
    pub terminate_when_done: bool,
    /// The longest that the job may take, for example 6h; then it is terminated
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// How often a task that fails is tried again, unless it says otherwise; -1 for ever
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub retries: Option<i32>,
    /// An environment variable of all its tasks
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<Setting>,
}

/// The commands on jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Create a job
    Create(Box<JobCreate>),
    /// List jobs
    #[command(
        after_help = "Examples:\n  muster job list\n  muster job list --filter 'state = \"active\"' -o json"
    )]
    List {
        /// Which, for example 'state = "active"'
        #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Show one job with its task counts
    #[command(after_help = "Example:\n  muster job show film")]
    Show {
        /// The job
        id: String,
    },
    /// Wait until all tasks of a job are completed, showing progress
    #[command(after_help = "\
Examples:
  muster job wait film
  muster job wait film --timeout 2h -o json   # a line of JSON for every change

Exits with 0 when all tasks succeeded and with 7 when some failed.")]
    Wait {
        /// The job
        id: String,
        /// Give up after this time, for example 2h (exit code 1; the job goes on)
        #[arg(long, value_name = "TIME")]
        timeout: Option<Span>,
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
