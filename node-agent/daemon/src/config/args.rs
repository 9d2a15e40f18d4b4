//! The command line of the agent.
//!
//! A few settings have flags of their own; every other one is given by `--set KEY=VALUE`, in the file or in the environment.
//! What the flags mean beside the other layers is in `config`; here is only their form and the help.

use clap::Parser;
use std::path::PathBuf;

/// The node agent of Muster: makes this machine a compute node of a pool and runs its tasks.
///
/// The first time it needs a join token (`muster token create POOL` prints one); then it has an identity of its own.
/// It needs no inbound connection. Tasks are kept by muster-supervisor, which the agent starts and which outlives it:
/// stopping or upgrading the agent leaves running tasks running.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Directory of the node: task directories, cache, identity
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<String>,
    /// URL of the controller's address for nodes, https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(super) controller: Option<String>,
    /// A join token; safer in a file or in the environment, where other users cannot see it
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(super) token: Option<String>,
    /// A file that holds a join token
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<String>,
    /// Path of the program muster-supervisor; without it, the one beside this program
    #[arg(long, value_name = "FILE")]
    pub(super) supervisor: Option<String>,
    /// Parent control group of tasks: auto, none, or a name
    #[arg(long, value_name = "NAME")]
    pub(super) cgroup_root: Option<String>,
    /// A file to write (JSON) when the node has connected for the first time
    #[arg(long, value_name = "FILE")]
    pub(super) ready_file: Option<String>,
    /// End tasks and supervisor with the agent
    #[arg(long)]
    pub(super) stop_tasks_on_exit: bool,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Any setting by its key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    /// Check the settings, print them with their origin, and exit
    #[arg(long)]
    pub(crate) check_config: bool,
}

const AFTER_HELP: &str = "\
Every setting can be given in a file (--config), as a variable such as MUSTER_AGENT__TASK_UID, or by --set KEY=VALUE.
--check-config prints all of them. MUSTER_LOG sets the log level.

Examples:
  muster-agent --root /var/lib/muster-agent --controller https://muster.example.org:7141 --token-file token
  muster-agent --root ./node1 --controller https://127.0.0.1:7141 --token mjt1.... --cgroup-root none

Signals: SIGTERM stops the agent and leaves tasks running, unless --stop-tasks-on-exit is given.";
