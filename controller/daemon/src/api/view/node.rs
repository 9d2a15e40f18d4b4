//! Compute nodes as clients see them.
//!
//! Every node is dedicated in this version. What a node says of its machine is told as it was reported; what it may do
//! is not decided here.

use muster_controller_core::record::NodeRow;
use muster_proto::convert::{capacity_out, etag_out, timestamp_out};
use muster_proto::wire;

/// A node.
pub(in crate::api) fn node(row: &NodeRow) -> wire::ComputeNode {
    let error = |(code, message): &(String, String)| wire::NodeError {
        code: code.clone(),
        message: message.clone(),
        details: Vec::new(),
        occur_time: None,
    };
    wire::ComputeNode {
        pool_id: row.pool.to_string(),
        id: row.id.to_string(),
        state: wire::NodeState::from(row.state).into(),
        state_transition_time: Some(timestamp_out(row.state_since)),
        scheduling_state: wire::SchedulingState::from(row.scheduling).into(),
        last_boot_time: Some(timestamp_out(row.facts.boot_time)),
        allocation_time: Some(timestamp_out(row.joined)),
        ip_address: row.facts.ip_address.clone(),
        hostname: row.facts.hostname.clone(),
        agent_version: row.facts.agent_version.clone(),
        capacity: Some(capacity_out(&row.facts.capacity)),
        capabilities: Some((&row.facts.capabilities).into()),
        task_slots: row.slots,
        total_tasks_run: row.tasks_run,
        total_tasks_succeeded: row.tasks_succeeded,
        running_tasks_count: row.running_tasks,
        running_task_slots_count: row.running_slots,
        start_task_info: row.start_task.as_ref().map(Into::into),
        errors: row.errors.iter().map(error).collect(),
        is_dedicated: true,
        operating_system: row.facts.os.clone(),
        etag: etag_out(row.revision),
        ..wire::ComputeNode::default()
    }
}
