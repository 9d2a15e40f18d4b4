//! Compute nodes as clients see them.
//!
//! Every node is dedicated in this version. What a node says of its machine is told as it was reported; what it may do
//! is not decided here.

use muster_controller_core::record::{Drain, NodeRow, Probation};
use muster_model::limits::NODE_ERRORS_MAX;
use muster_model::node::{NodeError, NodeMetrics};
use muster_model::spec::PoolSpec;
use muster_model::{AttemptId, Timestamp};
use muster_proto::convert::{capacity_out, etag_out, timestamp_out};
use muster_proto::wire;

/// A node of `pool`, with what it uses at the moment, if it has told.
pub(in crate::api) fn node(
    row: &NodeRow,
    pool: &PoolSpec,
    metrics: Option<&NodeMetrics>,
) -> wire::ComputeNode {
    let isolation = pool.isolation_level.unwrap_or(row.facts.capabilities.isolation);
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
        errors: errors(row),
        is_dedicated: true,
        operating_system: row.facts.os.clone(),
        etag: etag_out(row.revision),
        isolation_level: wire::IsolationLevel::from(isolation).into(),
        metrics: metrics.map(Into::into),
        drain: row.drain.as_ref().map(drain),
        probation: probation(&row.probation),
        ..wire::ComputeNode::default()
    }
}

/// What is wrong with a node and why it was taken out of use, newest first.
fn errors(row: &NodeRow) -> Vec<wire::NodeError> {
    let mut errors: Vec<&NodeError> = row.all_errors().collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.time));
    errors.into_iter().take(NODE_ERRORS_MAX).map(Into::into).collect()
}

fn drain(drain: &Drain) -> wire::NodeDrain {
    wire::NodeDrain {
        option: wire::DisableSchedulingOption::from(drain.option).into(),
        deadline: drain.deadline.map(timestamp_out),
        then: wire::AfterDrain::from(drain.then).into(),
    }
}

fn probation(probation: &Probation) -> Option<wire::NodeProbation> {
    (probation.strikes > 0).then(|| wire::NodeProbation {
        strikes: probation.strikes,
        retry_time: probation.until.map(timestamp_out),
    })
}

/// A task that a node runs since `started`.
pub(in crate::api) fn recent_task(attempt: &AttemptId, started: Timestamp) -> wire::RecentTask {
    wire::RecentTask {
        job_id: attempt.job.to_string(),
        task_id: attempt.task.to_string(),
        attempt: attempt.number,
        state: wire::TaskState::Running.into(),
        execution_info: Some(wire::TaskExecutionInfo {
            start_time: Some(timestamp_out(started)),
            ..wire::TaskExecutionInfo::default()
        }),
    }
}
