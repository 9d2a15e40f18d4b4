//! The commands of `muster sweep`: a sweep as a whole.
//!
//! Adding one is `muster task add --sweep` (`task_add.rs`), its tasks are tasks like others (`task.rs`). What a command
//! does is in `commands/sweep.rs`.

use clap::Subcommand;

use super::{ListArgs, Numbers};

/// The commands on sweeps.
#[derive(Debug, Subcommand)]
pub(crate) enum SweepCommand {
    /// List the sweeps of a job
    #[command(after_help = "Example:\n  muster sweep list film")]
    List {
        /// The job
        job: String,
        /// Which.
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show one sweep: its values, and how many of its tasks are in each state
    #[command(after_help = "\
Examples:
  muster sweep show film frame
  muster task list film --filter 'sweep_id = \"frame\" AND execution_info.result = \"failure\"'   # its failed tasks")]
    Show {
        /// The job
        job: String,
        /// The sweep
        sweep: String,
    },
    /// End tasks of a sweep that are not completed
    #[command(after_help = "\
Examples:
  muster sweep terminate film frame
  muster sweep terminate film frame --range 500-   # from number 500 on")]
    Terminate {
        /// The job
        job: String,
        /// The sweep
        sweep: String,
        /// Only these numbers: FIRST-LAST, FIRST-, -LAST or one
        #[arg(long, value_name = "FIRST-LAST", allow_hyphen_values = true)]
        range: Option<Numbers>,
    },
    /// Run the failed tasks of a sweep again, with a fresh retry budget
    #[command(after_help = "\
Examples:
  muster sweep reactivate film frame
  muster sweep reactivate film frame --range 1-500

Tasks that succeeded, wait or run stay as they are.")]
    Reactivate {
        /// The job
        job: String,
        /// The sweep
        sweep: String,
        /// Only these numbers: FIRST-LAST, FIRST-, -LAST or one
        #[arg(long, value_name = "FIRST-LAST", allow_hyphen_values = true)]
        range: Option<Numbers>,
    },
    /// Delete a sweep with its tasks and their files
    #[command(after_help = "Example:\n  muster sweep delete film frame")]
    Delete {
        /// The job
        job: String,
        /// The sweep
        sweep: String,
    },
}
