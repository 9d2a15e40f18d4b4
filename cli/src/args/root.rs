//! The top of the command line: global options, the list of commands, exit codes.
//!
//! The first help is written by hand, in groups, because clap lists commands without any; a test sees to it that none is
//! missing there.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use muster_client::profile::Overrides;

use super::{
    AccountCommand, DevArgs, FileCommand, JobCommand, NodeCommand, PoolCommand, RunArgs, SweepCommand,
    TaskCommand, TokenCommand,
};

/// The commands by what one does with them: clap's own list has no groups.
const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Run work:
  run         Run one command on a pool as if it ran here
  job         Sets of tasks: create, watch, wait for, end
  task        Commands of a job: add one or thousands, read their output
  sweep       Tasks that differ only in values: up to millions in one record
  file        The file store: put, get, list, delete

Machines:
  pool        Sets of nodes: create, resize, delete
  node        The machines of a pool: show, drain, restart, remove
  token       Tokens with which machines join a pool
  dev         Run a whole local cluster in the foreground

Administration:
  account     Accounts and their keys
  version     The version of this program, and of the controller
  completion  Completions for your shell
  help        Help for a command: muster help task add

{options}{after-help}";

/// What a script can rely on.
const AFTER_HELP: &str = "\
Start here:
  muster dev --nodes 2 --data DIR      # a local cluster, in a terminal of its own
  source DIR/env                       # in this one
  muster run --pool default -- echo hello

Exit codes:
  0  it worked
  1  it failed
  2  the command line or the request is not valid
  3  what was named does not exist
  4  it exists already, has changed meanwhile, or its state does not allow this
  5  the account or its key is refused, or may not do this
  6  the controller, or a node, cannot be reached
  7  not all parts succeeded: tasks of the job failed, or lines of a file were refused
'muster run' exits as its command does; see 'muster run --help'.

Settings: MUSTER_ENDPOINT, MUSTER_ACCOUNT, MUSTER_KEY and MUSTER_CA_CERT, or named profiles in
~/.config/muster/profile.toml (MUSTER_PROFILE or --profile says which). Options win over both. In a job manager
task nothing has to be set: MUSTER_JOB_TOKEN and MUSTER_CA of its environment are good for its job.";

/// Muster runs batch work on pools of machines.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    about,
    help_template = TEMPLATE,
    after_help = AFTER_HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document (for streams: one a line), with the field names of the API.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Global {
    /// The controller's address, for example https://127.0.0.1:7140
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The account
    #[arg(long, global = true, value_name = "NAME")]
    pub account: Option<String>,
    /// A file with the account's key in its first line (a key is never given as an option: others could see it)
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The PEM file with the controller's CA certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// A profile of the profile file; it wins over the environment
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// How results are written: a table for people, or JSON for programs
    #[arg(short = 'o', long, global = true, value_enum, default_value_t = Format::Table, hide_possible_values = true, value_name = "table|json")]
    pub format: Format,
    /// Colours: auto, always or never
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, hide_possible_values = true, value_name = "WHEN")]
    pub color: ColorChoice,
}

impl Global {
    /// What was given about the connection.
    #[must_use]
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            endpoint: self.endpoint.clone(),
            account: self.account.clone(),
            key_file: self.key_file.clone(),
            ca_cert: self.ca_cert.clone(),
            profile: self.profile.clone(),
        }
    }
}

/// Options of `muster version`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster version\n  muster version --server -o json")]
pub(crate) struct VersionArgs {
    /// Ask the controller too
    #[arg(long)]
    pub server: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one command on a pool as if it ran here
    Run(Box<RunArgs>),
    /// Sets of tasks: create, watch, wait for, end
    #[command(subcommand)]
    Job(JobCommand),
    /// Commands of a job: add one or thousands, read their output
    #[command(subcommand)]
    Task(TaskCommand),
    /// Tasks that differ only in values: up to millions in one record
    #[command(subcommand)]
    Sweep(SweepCommand),
    /// The file store: put, get, list, delete
    #[command(subcommand)]
    File(FileCommand),
    /// Sets of nodes: create, resize, delete
    #[command(subcommand)]
    Pool(PoolCommand),
    /// The machines of a pool: show, drain, restart, remove
    #[command(subcommand)]
    Node(NodeCommand),
    /// Tokens with which machines join a pool
    #[command(subcommand)]
    Token(TokenCommand),
    /// Run a whole local cluster in the foreground
    Dev(DevArgs),
    /// Accounts and their keys
    #[command(subcommand)]
    Account(AccountCommand),
    /// The version of this program, and of the controller
    Version(VersionArgs),
    /// Completions for your shell
    #[command(
        after_help = "Example:\n  muster completion bash > ~/.local/share/bash-completion/completions/muster"
    )]
    Completion {
        /// The shell
        shell: Shell,
    },
}
