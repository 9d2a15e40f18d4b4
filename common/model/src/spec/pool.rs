//! The specification of a pool and of its start task, and the part of it that an update may change.
//!
//! How many nodes a pool has, and which, is state; here is only how many it should have.

use super::common::{EnvironmentSetting, MetadataItem, ResourceFile, RetryLimit, UserIdentity};
use crate::id::{PoolId, UserName};
use crate::state::{
    ElevationLevel, IsolationLevel, JobDefaultOrder, NodeFillType, OnLeaseExpiry, TaskNetwork,
};
use std::time::Duration;

/// A command that runs on every node at each boot, before tasks (reference 3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartTaskSpec {
    /// Run without a shell.
    pub command_line: String,
    /// Files in its working directory.
    pub resource_files: Vec<ResourceFile>,
    /// Its environment.
    pub environment: Vec<EnvironmentSetting>,
    /// As whom it runs.
    pub user_identity: UserIdentity,
    /// How often it is tried again.
    pub max_task_retry_count: RetryLimit,
    /// Whether tasks wait until it has succeeded (default true).
    pub wait_for_success: bool,
}

/// A set of nodes that are alike (reference 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its id.
    pub id: PoolId,
    /// For people.
    pub display_name: String,
    /// How many nodes it should have.
    pub target_dedicated_nodes: u32,
    /// How many slots each node has, 1 to 256.
    pub task_slots_per_node: u32,
    /// Spread or pack.
    pub node_fill_type: NodeFillType,
    /// The order of jobs of equal priority.
    pub job_default_order: JobDefaultOrder,
    /// What each node runs first.
    pub start_task: Option<StartTaskSpec>,
    /// When an unfinished resize is given up.
    pub resize_timeout: Duration,
    /// What a node does when its lease ends.
    pub on_lease_expiry: OnLeaseExpiry,
    /// For people and tools.
    pub metadata: Vec<MetadataItem>,
    /// How strongly tasks are separated, at least; `None` is the strongest that each node can.
    pub isolation_level: Option<IsolationLevel>,
    /// What tasks see of the network.
    pub task_network: TaskNetwork,
    /// Named users of its nodes; names are unique.
    pub user_accounts: Vec<UserAccount>,
}

/// A named user of every node of a pool (reference 3.2, `userAccounts`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAccount {
    /// Its name.
    pub name: UserName,
    /// What it may do.
    pub elevation: ElevationLevel,
    /// Its numeric user and group id; `None`: each node chooses.
    pub ids: Option<(u32, u32)>,
}

/// The fields of a pool that an update changes; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolPatch {
    /// New display name.
    pub display_name: Option<String>,
    /// New start task, or none at all; reaches a node at its next boot.
    pub start_task: Option<Option<StartTaskSpec>>,
    /// New metadata, replacing all of the old.
    pub metadata: Option<Vec<MetadataItem>>,
    /// New slots for each node.
    pub task_slots_per_node: Option<u32>,
    /// New fill type.
    pub node_fill_type: Option<NodeFillType>,
}
