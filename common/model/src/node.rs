//! What a machine says of itself when it joins and connects.
//!
//! Facts only: what the controller makes of them (identity, placement) is its core's business.

use crate::resources::Resources;
use crate::state::{DiskLimit, ExecutionResult, IsolationLevel, StartTaskState};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// "v1", "v2" or "none".
    pub cgroup: String,
    /// Memory limits hold.
    pub memory_limit: bool,
    /// Processor limits hold.
    pub cpu_limit: bool,
    /// Process-count limits hold.
    pub pids_limit: bool,
    /// Tasks run as other users than the agent.
    pub user_switch: bool,
    /// Each task can have a user of its own.
    pub task_users: bool,
    /// Tasks may run as administrators.
    pub admin_tasks: bool,
    /// The strongest isolation.
    pub isolation: IsolationLevel,
    /// Tasks can be kept from the network.
    pub network_isolation: bool,
    /// Filters of system calls hold.
    pub seccomp: bool,
    /// The version of Landlock's interface; 0 without it.
    pub landlock_abi: u32,
    /// How the size of task directories is bounded; `None` if it is not.
    pub disk_limit: Option<DiskLimit>,
    /// Read and written bytes of each attempt are counted.
    pub io_accounting: bool,
    /// The operator configured a command that restarts the machine.
    pub reboot: bool,
    /// The operator configured a command that sets the machine up anew.
    pub reimage: bool,
    /// What is missing and why, for people; at most [`crate::limits::CAPABILITY_NOTES_MAX`].
    pub notes: Vec<String>,
}

impl Default for Capabilities {
    /// A node that can enforce nothing.
    fn default() -> Self {
        Self {
            cgroup: "none".to_owned(),
            memory_limit: false,
            cpu_limit: false,
            pids_limit: false,
            user_switch: false,
            task_users: false,
            admin_tasks: false,
            isolation: IsolationLevel::None,
            network_isolation: false,
            seccomp: false,
            landlock_abi: 0,
            disk_limit: None,
            io_accounting: false,
            reboot: false,
            reimage: false,
            notes: Vec::new(),
        }
    }
}

/// Something that is wrong with a node, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// What, in the words of the reference where it has one: see [`NodeError::DISK_PRESSURE`] and the others.
    pub code: String,
    /// A sentence that names the thing, the value, the limit and the way out.
    pub message: String,
    /// Facts by name.
    pub details: Vec<(String, String)>,
    /// Since when.
    pub time: Timestamp,
}

impl NodeError {
    /// The node's disk has less free space than its reserve.
    pub const DISK_PRESSURE: &str = "DiskPressure";
    /// The node's clock differs too much from the controller's.
    pub const CLOCK_SKEW: &str = "ClockSkew";
    /// Several attempts in a row could not be started for reasons of the node's own.
    pub const LAUNCH_FAILURES: &str = "RepeatedLaunchFailures";
    /// The start task failed for good.
    pub const START_TASK_FAILED: &str = "StartTaskFailed";
    /// The node cannot separate tasks as strongly as its pool asks.
    pub const ISOLATION_UNAVAILABLE: &str = "IsolationUnavailable";
    /// The command that was to restart the machine, or to set it up anew, failed.
    pub const RESTART_FAILED: &str = "RestartFailed";
    /// Something in the agent or supervisor does not work.
    pub const AGENT_FAULT: &str = "AgentFault";
}

/// What a node uses at the moment, for people; never durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeMetrics {
    /// When it was measured, by the node's clock.
    pub time: Timestamp,
    /// Processor time per time since the measurement before, in thousandths of one processor.
    pub cpu_millis: u64,
    /// Memory that is not available to a further program, in bytes.
    pub memory_used_bytes: u64,
    /// All memory, in bytes.
    pub memory_total_bytes: u64,
    /// Free bytes of the file system of task directories.
    pub disk_free_bytes: u64,
    /// All its bytes.
    pub disk_total_bytes: u64,
    /// Bytes in the cache of resource files.
    pub cache_bytes: u64,
    /// Memory of agent and supervisor together, in bytes.
    pub agent_memory_bytes: u64,
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
