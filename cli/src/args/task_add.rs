//! The options of `muster task add`: one task, a sweep, or a file of tasks.
//!
//! Exactly one of the three: clap refuses the mixture.

use std::path::PathBuf;

use clap::Args;
use muster_runtime::config::Span;

use super::{
    Condition, Dependency, Escalation, ExitRule, LimitArgs, OutputSpec, ResourceSpec, Setting,
    SweepDependency, SweepRange, UserArgs,
};

/// Options of `muster task add`.
#[derive(Debug, Args)]
#[command(
    override_usage = "muster task add [OPTIONS] JOB ID -- CMD...\n       \
                      muster task add [OPTIONS] JOB --sweep 1-1000 [--id ID] -- CMD... {i} ...\n       \
                      muster task add JOB --file TASKS.jsonl",
    after_help = "\
Examples:
  muster task add film frame-1 --resource-file scene/ --output 'frame.png:film/frames/' -- povray scene.pov
  muster task add film merge --depends-on 'frame-*' --memory 2G --max-wall-clock 1h -- ffmpeg -i ...
  muster task add film big --memory 8G --on-oom 2x:64GiB --dry-run -- solve   # could it ever run, and adds nothing
  muster task add film --sweep 1-1000000 --id frame -- render --frame {i}
  muster task add film --sweep scene=1-3 --sweep-lines looks.txt --name look -- render {scene} {look}
  muster task add film report --depends-on-sweep frame@90% -- report.sh
  muster task add film mine --user ann -- make        # a user of the pool; --user-scope task: one of the task's own
  muster task add film --file tasks.jsonl
  generate-tasks | muster task add film --file -

The command runs without a shell: no variables, no wildcards, no pipes. Write /bin/sh -c '...' for these.
SRC of --resource-file is an http(s) URL, CONTAINER/PATH, or CONTAINER/FOLDER/ for all files below.
--output without a place uploads to the container out-JOB below the task's id (of a sweep: below ID/NUMBER). A place that
ends with '/' is a folder; without it, a single file gets that name: --output frame.png:film/frames/

A sweep is one record for up to 100 million tasks, one for every combination of its values. {name} in the command, in
the values of --env, in --display-name and in files stands for the value; the parameter of an unnamed range is i.
Write {{name}} for the text itself. Its tasks are named ID-NUMBER with leading zeros: frame-0000042.
Of the axes the last varies fastest: ranges in their order, then lines, CSV, JSON.

--exit WHEN=ACTION says what follows from an end. WHEN is an exit code, a range 10-20, 'default',
'pre-processing-error' or 'upload-error'; ACTION is satisfy or block (tasks that depend on it), and none, disable or
terminate (the job, which needs --on-task-failure exit-options): --exit 3=satisfy --exit 10-20=block,terminate

Each line of TASKS.jsonl is a task in JSON with the API's field names:
  {\"id\": \"1\", \"command_line\": \"/bin/echo one\", \"constraints\": {\"max_wall_clock_time\": \"3600s\"}}
  {\"id\": \"2\", \"command_line\": \"/usr/bin/id\", \"user_identity\": {\"username\": \"ann\"}}
Lines that are refused are reported by number while the others are added; then the exit code is 7. A connection
that breaks is made again and goes on; a run that was ended goes on when it is given the same lines and --stream-id."
)]
pub(crate) struct TaskAdd {
    /// The job
    pub job: String,
    /// The task's id
    #[arg(
        required_unless_present_any = ["file", "of_id", "sweep", "sweep_lines", "sweep_csv", "sweep_json"],
        conflicts_with_all = ["file", "of_id"]
    )]
    pub id: Option<String>,
    /// The id, of the task or of the sweep; a sweep without one gets a random id
    #[arg(long = "id", id = "of_id", value_name = "ID", conflicts_with = "file")]
    pub of_id: Option<String>,
    /// Say whether it could ever run and what it would wait for, and add nothing; exits with 1 if it could not
    #[arg(long, conflicts_with = "file")]
    pub dry_run: bool,
    /// What it is.
    #[command(flatten)]
    pub task: TaskArgs,
    /// What it needs.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// As whom it runs.
    #[command(flatten)]
    pub user: UserArgs,
    /// Many at once: the values of a sweep.
    #[command(flatten)]
    pub sweep: SweepArgs,
    /// Many at once: a file.
    #[command(flatten)]
    pub lines: LinesArgs,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD", required_unless_present = "file", conflicts_with = "file")]
    pub command: Vec<String>,
}

/// What a task is, beside its command and its limits.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// A file that the node fetches into the working directory first; may be given several times
    #[arg(long, visible_alias = "input", value_name = "SRC[:DEST]", conflicts_with = "file")]
    pub resource_file: Vec<ResourceSpec>,
    /// Files that are uploaded afterwards; may be given several times
    #[arg(
        long,
        visible_alias = "output-file",
        value_name = "PATTERN[:CONTAINER/PATH]",
        conflicts_with = "file"
    )]
    pub output: Vec<OutputSpec>,
    /// An environment variable; may be given several times
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "file")]
    pub env: Vec<Setting>,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub display_name: String,
    /// A wish: the node, or the affinity id of a task, where its data may lie already
    #[arg(long, value_name = "NODE", default_value = "", hide_default_value = true)]
    pub affinity: String,
    /// How long its directory is kept on the node afterwards, for example 1h [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub retention: Option<Span>,
    /// When it runs out of memory: try again with so much more, up to the most, for example 2x:64GiB
    #[arg(long, value_name = "FACTORx:MOST", requires = "memory")]
    pub on_oom: Option<Escalation>,
    /// What follows from an exit code; may be given several times
    #[arg(long, value_name = "WHEN=ACTION", allow_hyphen_values = true, conflicts_with = "file")]
    pub exit: Vec<ExitRule>,
    /// Tasks that must succeed first: ids, ranges of numbers and patterns, separated by commas
    #[arg(long, value_name = "ID,N-M,GLOB,...", value_delimiter = ',', conflicts_with = "file")]
    pub depends_on: Vec<Dependency>,
    /// Members of a sweep that must succeed first: all, a range of numbers, so many, or so many percent of them
    #[arg(long, value_name = "SWEEP[:N-M][@K|@P%]", conflicts_with = "file")]
    pub depends_on_sweep: Vec<SweepDependency>,
    /// What must have happened to all of these: satisfied (the default), failed, or completed (either way)
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub depends_condition: Option<Condition>,
}

/// The values of a sweep.
#[derive(Debug, Args)]
#[command(next_help_heading = "A sweep")]
pub(crate) struct SweepArgs {
    /// A task for each number; may be given several times under several names
    #[arg(long, value_name = "[NAME=]FIRST-LAST[:STEP]", conflicts_with = "file")]
    pub sweep: Vec<SweepRange>,
    /// From one number to the next, for ranges that do not say it
    #[arg(long, value_name = "N", requires = "sweep", value_parser = clap::value_parser!(u64).range(1..))]
    pub step: Option<u64>,
    /// A task for each line of a file; '-' reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub sweep_lines: Option<PathBuf>,
    /// The parameter of --sweep-lines
    #[arg(long, value_name = "NAME", default_value = "line", requires = "sweep_lines")]
    pub name: String,
    /// A task for each row of a CSV file; the first row has the parameters' names
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub sweep_csv: Option<PathBuf>,
    /// A task for each object of a JSON array
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub sweep_json: Option<PathBuf>,
}

impl SweepArgs {
    /// Whether there are values.
    #[must_use]
    pub(crate) fn is_given(&self) -> bool {
        let files = [&self.sweep_lines, &self.sweep_csv, &self.sweep_json];
        !self.sweep.is_empty() || files.iter().any(|file| file.is_some())
    }
}

/// A file of tasks.
#[derive(Debug, Args)]
#[command(next_help_heading = "A file of tasks")]
pub(crate) struct LinesArgs {
    /// Add the tasks of a file, one JSON object on each line; '-' reads standard input
    #[arg(long, value_name = "TASKS.jsonl")]
    pub file: Option<PathBuf>,
    /// Name the stream of tasks: a run that ended early goes on when it is given the same lines under the same name
    #[arg(long, value_name = "ID", requires = "file", conflicts_with = "command")]
    pub stream_id: Option<String>,
}
