//! What a command needs and how far it may go: shared by `muster run` and `muster task add`.
//!
//! Units and ranges are the API's; what is not given stays unset, so that defaults are the controller's.

use clap::Args;
use muster_model::limits::{GPUS_MAX, TASK_SLOTS_PER_NODE_MAX};
use muster_runtime::config::{ByteSize, Span};

use super::{Cpus, Named};

/// What a command needs and how far it may go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Main memory that is reserved and may not be exceeded, for example 512M
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Cores that are reserved and may not be exceeded, for example 1.5
    #[arg(long, visible_alias = "cpu", value_name = "CORES")]
    pub cpus: Option<Cpus>,
    /// Space for the task's directory that is reserved and may not be exceeded, for example 10G
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<ByteSize>,
    /// Whole GPUs that are reserved
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(GPUS_MAX)))]
    pub gpus: Option<u32>,
    /// So many of what the operator of the nodes has named, for example licence=1; may be given several times
    #[arg(long, value_name = "NAME=N")]
    pub named: Vec<Named>,
    /// The most processes and threads at one time
    #[arg(long, value_name = "N")]
    pub pids: Option<u32>,
    /// The longest that an attempt may run, for example 1h
    #[arg(long, visible_alias = "max-wall-clock", value_name = "TIME")]
    pub timeout: Option<Span>,
    /// How often it is tried again when it fails; 0 for at most once, -1 for ever
    #[arg(
        long,
        visible_alias = "max-retries",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1..)
    )]
    pub retries: Option<i32>,
    /// How many slots of a node it takes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(TASK_SLOTS_PER_NODE_MAX))
    )]
    pub slots: u32,
}
