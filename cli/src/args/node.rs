//! The commands of `muster node`: looking at the machines of a pool, and the operations on them.
//!
//! What becomes of the tasks of a node that is taken out of use is one option, the same for all operations. What a command
//! does is in `commands/node.rs` and `commands/node_operation.rs`.

use clap::{Args, Subcommand, ValueEnum};
use muster_proto::wire;
use muster_runtime::config::Span;

/// What becomes of the tasks of a node that is to run none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Relief {
    /// They are ended and run again on another node.
    Requeue,
    /// They are ended for good.
    Terminate,
    /// They end by themselves.
    #[value(name = "taskcompletion", alias = "task-completion")]
    TaskCompletion,
}

impl Relief {
    /// As the calls have it that disable scheduling.
    #[must_use]
    pub(crate) const fn disabling(self) -> wire::DisableSchedulingOption {
        match self {
            Self::Requeue => wire::DisableSchedulingOption::Requeue,
            Self::Terminate => wire::DisableSchedulingOption::Terminate,
            Self::TaskCompletion => wire::DisableSchedulingOption::TaskCompletion,
        }
    }

    /// As the calls have it that restart or remove.
    #[must_use]
    pub(crate) const fn deallocating(self) -> wire::NodeDeallocationOption {
        match self {
            Self::Requeue => wire::NodeDeallocationOption::Requeue,
            Self::Terminate => wire::NodeDeallocationOption::Terminate,
            Self::TaskCompletion => wire::NodeDeallocationOption::TaskCompletion,
        }
    }
}

/// A pool and one node of it.
#[derive(Debug, Args)]
pub(crate) struct NodeName {
    /// The pool
    pub pool: String,
    /// The node
    pub node: String,
}

/// Whether to stay until it is done.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitArgs {
    /// Wait until it is done, showing progress; Ctrl-C ends the waiting and nothing else
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this time, for example 2h (exit code 1; it goes on)
    #[arg(long, value_name = "TIME", requires = "wait")]
    pub timeout: Option<Span>,
}

/// Options of `muster node disable`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster node drain render node-1 --wait          # its tasks run again elsewhere
  muster node drain render node-1 --option taskcompletion --deadline 30m --wait
  muster node disable render node-1 --option terminate

The node stays in the pool and out of use until 'muster node enable', also across its restarts.
Once nothing runs there it is offline. A --deadline alone means --option taskcompletion.")]
pub(crate) struct NodeDisable {
    /// Which.
    #[command(flatten)]
    pub name: NodeName,
    /// Its tasks: requeue (end them, they run again elsewhere: the default), terminate (end them for good), or
    /// taskcompletion (they end by themselves)
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub option: Option<Relief>,
    /// With taskcompletion: tasks that still run after this time are ended and run again elsewhere, for example 30m
    #[arg(long, value_name = "TIME")]
    pub deadline: Option<Span>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Options of `muster node reboot` and `muster node reimage`.
#[derive(Debug, Args)]
pub(crate) struct NodeRestart {
    /// Which.
    #[command(flatten)]
    pub name: NodeName,
    /// Its tasks first: requeue (end them, they run again elsewhere), terminate (end them for good), or taskcompletion (they
    /// end by themselves)
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Relief::Requeue, hide_possible_values = true)]
    pub option: Relief,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Options of `muster node remove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster node remove render node-1 node-2
  muster node remove render node-1 --option taskcompletion --deadline 2h --wait

The pool's target falls by as many, so nothing takes their place.
To let the controller choose which nodes leave: muster pool resize render --nodes 5")]
pub(crate) struct NodeRemove {
    /// The pool
    pub pool: String,
    /// The nodes: 1 to 100
    #[arg(required = true, value_name = "NODE", num_args = 1..=100)]
    pub nodes: Vec<String>,
    /// Their tasks: requeue (end them, they run again elsewhere), terminate (end them for good), or taskcompletion (they end
    /// by themselves)
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Relief::Requeue, hide_possible_values = true)]
    pub option: Relief,
    /// How long it may take, at least 5m; with taskcompletion, tasks that still run then are ended and run again elsewhere
    /// [default: the pool's resize timeout]
    #[arg(long, visible_alias = "resize-timeout", value_name = "TIME")]
    pub deadline: Option<Span>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// The commands on nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes of a pool
    #[command(after_help = "\
Examples:
  muster node list render
  muster node list render --filter 'state = \"unusable\"'
  muster node list render -o json | jq -r '.[] | [.id, .hostname] | @tsv'")]
    List {
        /// The pool
        pool: String,
        /// Which, for example 'state = "idle"'
        #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Show one node: its state and why, what it can enforce, what it uses, what it runs
    #[command(after_help = "\
Examples:
  muster node show render node-1
  muster node show render node-1 -o json | jq .capabilities

What each capability needs of the machine is in docs/nodes.md.")]
    Show(NodeName),
    /// Place no more tasks on a node, and relieve it of those that it runs
    #[command(visible_alias = "drain")]
    Disable(NodeDisable),
    /// Place tasks on a node again: ends a drain that is under way, and the pause of a node on probation
    #[command(after_help = "Example:\n  muster node enable render node-1")]
    Enable(NodeName),
    /// Relieve a node of its tasks, then restart its machine by the command that its operator configured
    #[command(after_help = "\
Examples:
  muster node reboot render node-1 --wait
  muster node reboot render node-1 --option taskcompletion --wait --timeout 2h

Exits with 4 if the agent of the node has no such command (setting hooks.reboot).
--wait ends when the node is back and its start task is done.")]
    Reboot(NodeRestart),
    /// Relieve a node of its tasks, then set its machine up anew by the command that its operator configured
    #[command(after_help = "\
Example:
  muster node reimage render node-1 --wait

Exits with 4 if the agent of the node has no such command (setting hooks.reimage).")]
    Reimage(NodeRestart),
    /// Take nodes out of their pool
    Remove(NodeRemove),
}
