//! The options of `muster run`.
//!
//! Its help holds the exit codes of `run/outcome.rs`; what a command needs is shared with `muster task add`.

use std::path::PathBuf;

use clap::Args;

use super::{Input, LimitArgs, Setting, UserArgs};

/// Options of `muster run`.
#[derive(Debug, Args)]
#[command(
    override_usage = "muster run --pool POOL [OPTIONS] -- CMD...",
    after_help = "\
Examples:
  muster run --pool default -- echo hello
  muster run --pool render --input scene --output '*.png' --output-dir frames -- povray scene.pov
  muster run --pool render --input data.csv:in/data.csv --memory 512M --timeout 1h -- python3 sum.py

The command runs without a shell: no variables, no wildcards, no pipes. Write /bin/sh -c '...' for these.
Its working directory holds the inputs: a file under its name, a folder with its content, or each at DEST.

Exit codes:
  0-255    the command's own
  128+n    signal n ended it
  120      Muster ended it, or could not run it: memory or time limit, input not found, node lost, ...; standard
           error says why
  125      muster run itself failed: controller not reachable, pool not found, ...; standard error says why
  130, 143 it was terminated by Ctrl-C (pressed twice) or by SIGTERM
  141      nobody reads the output any more; the task was terminated"
)]
pub(crate) struct RunArgs {
    /// The pool
    #[arg(long, short, value_name = "POOL")]
    pub pool: String,
    /// A file or folder that goes into the working directory; may be given several times
    #[arg(long, short, value_name = "PATH[:DEST]")]
    pub input: Vec<Input>,
    /// Files to download afterwards, as a pattern below the working directory; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub output: Vec<String>,
    /// Where the outputs go
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output_dir: PathBuf,
    /// An environment variable; may be given several times
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<Setting>,
    /// Jobs of a higher priority go first: -1000 to 1000
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// What it needs.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// As whom it runs.
    #[command(flatten)]
    pub user: UserArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}
