//! What a machine says of itself when it joins and connects.
//!
//! Facts only: what the controller makes of them (identity, placement) is its core's business.

use crate::resources::Resources;
use crate::state::{ExecutionResult, StartTaskState};
use crate::time::Timestamp;

use crate::cause::FailureInfo;

/// A machine and its agent, as the agent measured them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFacts {
    /// The machine's own lasting name (machine-id and the agent's root); differs between clones of one image.
    pub machine_id: String,
    /// Changes at every boot.
    pub boot_id: String,
    /// The host name.
    pub hostname: String,
    /// The address under which the machine reaches the controller, for people.
    pub ip_address: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Operating system and kernel, for people.
    pub os: String,
    /// Processors, memory and disk on offer. `slots` is 0: slots are the pool's setting.
    pub capacity: Resources,
    /// What the node can enforce and do.
    pub capabilities: Capabilities,
    /// When the machine booted.
    pub boot_time: Timestamp,
}

/// What a node can enforce; a task that asks for more is refused there with words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// "v1", "v2" or "none".
    pub cgroup: String,
    /// Memory limits hold.
    pub memory_limit: bool,
    /// Processor limits hold.
    pub cpu_limit: bool,
    /// Process-count limits hold.
    pub pids_limit: bool,
    /// Tasks run as users of their own.
    pub user_switch: bool,
}

/// Where the start task of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartTaskInfo {
    /// Running or completed.
    pub state: StartTaskState,
    /// When its last try started.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Its exit code, if it exited.
    pub exit_code: Option<i32>,
    /// How often it was tried again.
    pub retry_count: u32,
    /// How it ended.
    pub result: Option<ExecutionResult>,
    /// Why it failed.
    pub failure: Option<FailureInfo>,
}
