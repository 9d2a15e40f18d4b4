//! The commands of `muster task`, and the limits of a command that `muster run` takes too.
//!
//! A task comes from the options or from a file, never from both: clap refuses the mixture.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_runtime::config::{ByteSize, Span};

use super::{Cpus, Dependency, OutputSpec, ResourceSpec, Setting};

/// What a command needs and how far it may go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Main memory that is reserved and may not be exceeded, for example 512M
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Cores that are reserved and may not be exceeded, for example 1.5
    #[arg(long, value_name = "CORES")]
    pub cpus: Option<Cpus>,
    /// The most processes and threads at one time
    #[arg(long, value_name = "N")]
    pub pids: Option<u32>,
    /// The longest that it may run, for example 1h
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// How often it is tried again when it fails; -1 for ever
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub retries: Option<i32>,
    /// How many slots of a node it takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub slots: u32,
    /// Run it as an administrator of the node
    #[arg(long)]
    pub admin: bool,
}

/// Options of `muster task add`.
#[derive(Debug, Args)]
#[command(
    override_usage = "muster task add [OPTIONS] JOB ID -- CMD...\n       muster task add JOB --file TASKS.jsonl",
    after_help = "\
Examples:
  muster task add film frame-1 --resource-file scene/ --output 'frame.png:film/frames' -- povray scene.pov
  muster task add film merge --depends-on frame-1,frame-2 -- ffmpeg -i ...
  muster task add film sum --depends-on 1-40 --memory 2G --timeout 1h -- /bin/sh -c 'cat * | sum'
  muster task add film --file tasks.jsonl
  generate-tasks | muster task add film --file -

The command runs without a shell: no variables, no wildcards, no pipes. Write /bin/sh -c '...' for these.
SRC of --resource-file is an http(s) URL, CONTAINER/PATH, or CONTAINER/FOLDER/ for all files below.
--output without a place uploads to the container out-JOB below the task's id.

Each line of TASKS.jsonl is a task in JSON with the API's field names:
  {\"id\": \"1\", \"command_line\": \"/bin/echo one\", \"constraints\": {\"max_wall_clock_time\": \"3600s\"}}
Lines that are refused are reported by number while the others are added; then the exit code is 7."
)]
pub(crate) struct TaskAdd {
    /// The job
    pub job: String,
    /// The task's id
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub id: Option<String>,
    /// Add the tasks of a file, one JSON object on each line; '-' reads standard input
    #[arg(long, value_name = "TASKS.jsonl")]
    pub file: Option<PathBuf>,
    /// A file that the node fetches into the working directory first; may be given several times
    #[arg(long, visible_alias = "input", value_name = "SRC[:DEST]", conflicts_with = "file")]
    pub resource_file: Vec<ResourceSpec>,
    /// Files that are uploaded afterwards; may be given several times
    #[arg(long, value_name = "PATTERN[:CONTAINER/PATH]", conflicts_with = "file")]
    pub output: Vec<OutputSpec>,
    /// An environment variable; may be given several times
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "file")]
    pub env: Vec<Setting>,
    /// Tasks that must succeed first: ids, and ranges of numbers, separated by commas
    #[arg(long, value_name = "ID,N-M,...", value_delimiter = ',', conflicts_with = "file")]
    pub depends_on: Vec<Dependency>,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub display_name: String,
    /// What it needs.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD", required_unless_present = "file", conflicts_with = "file")]
    pub command: Vec<String>,
}

/// The commands on tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Add one task to a job, or the tasks of a file
    Add(Box<TaskAdd>),
    /// List the tasks of a job
    #[command(after_help = "\
Examples:
  muster task list film
  muster task list film --filter 'execution_info.result = \"failure\"' --limit 20
  muster task list film -o json | jq -r .id")]
    List {
        /// The job
        job: String,
        /// Which, for example 'state = "running"'
        #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
        /// The most tasks
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Show one task: its state, why it failed, its outputs
    #[command(after_help = "Example:\n  muster task show film frame-1")]
    Show {
        /// The job
        job: String,
        /// The task
        task: String,
    },
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
    /// Delete a task and its files
    #[command(after_help = "Example:\n  muster task delete film frame-1")]
    Delete {
        /// The job
        job: String,
        /// The task
        task: String,
    },
}
