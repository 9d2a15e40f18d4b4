//! Pools, the counts of their nodes, and join tokens without their secrets.
//!
//! A pool's row does not know its nodes: their number is handed in. A token's text cannot be told here at all, because
//! the row has only the hash of its secret.

use muster_controller_core::record::{PoolRow, TokenRow};
use muster_model::state::NodeState;
use muster_proto::convert::{etag_out, timestamp_out};
use muster_proto::wire;

/// A pool with so many nodes.
pub(in crate::api) fn pool(row: &PoolRow, nodes: u32) -> wire::Pool {
    let resize_error = |(code, message): &(String, String)| wire::ResizeError {
        code: code.clone(),
        message: message.clone(),
        values: Vec::new(),
    };
    wire::Pool {
        state: wire::PoolState::from(row.state).into(),
        state_transition_time: None,
        allocation_state: wire::AllocationState::from(row.allocation_state).into(),
        allocation_state_transition_time: Some(timestamp_out(row.allocation_since)),
        current_dedicated_nodes: nodes,
        resize_errors: row.resize_error.iter().map(resize_error).collect(),
        create_time: Some(timestamp_out(row.created)),
        update_time: Some(timestamp_out(row.modified)),
        etag: etag_out(row.revision),
        ..wire::Pool::from(&row.spec)
    }
}

/// How many nodes are in each state.
pub(in crate::api) fn node_counts(states: impl IntoIterator<Item = (NodeState, u32)>) -> wire::NodeCounts {
    let mut counts = wire::NodeCounts::default();
    for (state, number) in states {
        let counter = match state {
            NodeState::Idle => &mut counts.idle,
            NodeState::Running => &mut counts.running,
            NodeState::Rebooting => &mut counts.rebooting,
            NodeState::Reimaging => &mut counts.reimaging,
            NodeState::Unusable => &mut counts.unusable,
            NodeState::Creating => &mut counts.creating,
            NodeState::Starting => &mut counts.starting,
            NodeState::WaitingForStartTask => &mut counts.waiting_for_start_task,
            NodeState::StartTaskFailed => &mut counts.start_task_failed,
            NodeState::Unknown => &mut counts.unknown,
            NodeState::LeavingPool => &mut counts.leaving_pool,
            NodeState::Offline => &mut counts.offline,
            NodeState::Preempted => &mut counts.preempted,
            NodeState::UpgradingOs => &mut counts.upgrading_os,
            NodeState::Deallocated => &mut counts.deallocated,
            NodeState::Deallocating => &mut counts.deallocating,
        };
        *counter = counter.saturating_add(number);
        counts.total = counts.total.saturating_add(number);
    }
    counts
}

/// A join token, without its text.
pub(in crate::api) fn join_token(row: &TokenRow) -> wire::JoinToken {
    wire::JoinToken {
        id: row.id.to_string(),
        pool_id: row.pool.to_string(),
        expire_time: Some(timestamp_out(row.expires)),
        max_uses: row.uses_max,
        uses: row.uses,
        create_time: Some(timestamp_out(row.created)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_counted_and_the_total_is_their_sum() {
        let states = NodeState::ALL.iter().map(|state| (*state, 2));
        let counts = node_counts(states.chain([(NodeState::Idle, 5)]));
        assert_eq!((counts.idle, counts.running, counts.deallocated), (7, 2, 2));
        assert_eq!(counts.total, 2 * u32::try_from(NodeState::ALL.len()).unwrap() + 5);
    }
}
