//! The commands of `muster pool`.
//!
//! A start task is given by options of its own that all begin with `--start-task` and need it; how tasks are separated, by
//! options that cannot be changed later.

use clap::{Args, Subcommand, ValueEnum};
use muster_model::limits::TASK_SLOTS_PER_NODE_MAX;
use muster_runtime::config::Span;

use super::node::Relief;
use super::user::{PoolUser, user_name};
use super::{ResourceSpec, Setting};

/// How tasks are spread over the nodes of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fill {
    /// Evenly over the nodes.
    Spread,
    /// All slots of a node before the next node is used.
    Pack,
}

/// How strongly tasks are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isolation {
    /// Users and limits only.
    None,
    /// Also processes, mounts and IPC of their own.
    Process,
    /// Also a read-only view of the rest, and a filter of system calls.
    Sandbox,
}

/// What tasks see of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// The node's own.
    Host,
    /// Nothing but a loopback device.
    None,
}

/// Options of `muster pool create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster pool create render --nodes 3 --slots 2
  muster pool create lab --nodes 3 --isolation sandbox --task-network none
  muster pool create lab --nodes 3 --user ann:1000:1000 --user installer:admin   # muster task add ... --user ann
  muster pool create render --nodes 3 --start-task '/bin/sh install.sh' --start-task-admin \\
      --start-task-file setup/install.sh --wait

The start task runs on each node whenever it boots, before the node takes tasks; write it so that it may run again.
What each level of isolation separates, and what it needs of the machines, is in docs/nodes.md.")]
pub(crate) struct PoolCreate {
    /// The pool's id
    pub id: String,
    /// How many nodes it should have
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub nodes: u32,
    /// How many tasks a node runs at one time
    #[arg(
        long,
        value_name = "S",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(TASK_SLOTS_PER_NODE_MAX))
    )]
    pub slots: u32,
    /// A name for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub display_name: String,
    /// How tasks are spread: spread over the nodes, or pack node after node
    #[arg(long, value_enum, default_value_t = Fill::Spread)]
    pub fill: Fill,
    /// How long a resize may take before it gives up, for example 15m
    #[arg(long, value_name = "TIME")]
    pub resize_timeout: Option<Span>,
    /// How tasks are separated: none (users and limits), process (also processes and files of their own), or sandbox (also a
    /// read-only system and a filter of system calls); a node that cannot is unusable [default: as strongly as each node can]
    #[arg(long, value_name = "LEVEL", value_enum, hide_possible_values = true)]
    pub isolation: Option<Isolation>,
    /// What tasks see of the network: host (the node's own, the default), or none
    #[arg(long, value_name = "host|none", value_enum, hide_possible_values = true)]
    pub task_network: Option<Network>,
    /// A named user that tasks may run as, with ids if files outside of Muster belong to it; may be given several times
    #[arg(long, value_name = "NAME[:admin][:UID:GID]")]
    pub user: Vec<PoolUser>,
    /// A command line that each node runs when it boots (split by shell quoting rules, run without a shell)
    #[arg(long, value_name = "CMD")]
    pub start_task: Option<String>,
    /// A file for the start task: SRC[:DEST], as in 'muster task add --resource-file'
    #[arg(long, value_name = "SRC[:DEST]", requires = "start_task")]
    pub start_task_file: Vec<ResourceSpec>,
    /// An environment variable of the start task
    #[arg(long, value_name = "NAME=VALUE", requires = "start_task")]
    pub start_task_env: Vec<Setting>,
    /// Run the start task as an administrator of the node
    #[arg(long, requires = "start_task")]
    pub start_task_admin: bool,
    /// Run the start task as this user of the pool
    #[arg(long, value_name = "NAME", requires = "start_task", conflicts_with = "start_task_admin", value_parser = user_name)]
    pub start_task_user: Option<String>,
    /// How often a start task that fails is tried again; -1 for ever
    #[arg(
        long,
        value_name = "N",
        requires = "start_task",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub start_task_retries: i32,
    /// Take tasks while the start task is still running, and also if it fails
    #[arg(long, requires = "start_task")]
    pub start_task_no_wait: bool,
    /// Wait until the nodes can take tasks
    #[arg(long)]
    pub wait: bool,
}

/// The commands on pools.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Create a pool
    Create(Box<PoolCreate>),
    /// List pools
    #[command(after_help = "Examples:\n  muster pool list\n  muster pool list -o json")]
    List {
        /// Which, for example 'state = "active"'
        #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Show one pool with its node counts
    #[command(after_help = "Example:\n  muster pool show render")]
    Show {
        /// The pool
        id: String,
    },
    /// Set how many nodes a pool should have
    #[command(after_help = "\
Examples:
  muster pool resize render --nodes 5 --wait
  muster pool resize render --nodes 2 --option taskcompletion   # nodes leave when their tasks have ended

Which nodes leave is the controller's choice, idle ones first; to name them: muster node remove.")]
    Resize {
        /// The pool
        id: String,
        /// How many nodes it should have
        #[arg(long, value_name = "N")]
        nodes: u32,
        /// Tasks of nodes that leave: requeue (end them, they run again elsewhere), terminate (end them for good), or
        /// taskcompletion (they end by themselves)
        #[arg(long, value_name = "WHAT", value_enum, default_value_t = Relief::Requeue, hide_possible_values = true)]
        option: Relief,
        /// Wait until the nodes can take tasks, or are gone
        #[arg(long)]
        wait: bool,
    },
    /// Delete a pool; its nodes leave
    #[command(after_help = "Example:\n  muster pool delete render")]
    Delete {
        /// The pool
        id: String,
    },
}
