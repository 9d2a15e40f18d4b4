//! Leases: how long a node may go on unheard, and what follows when it does.
//!
//! A lease is counted here from the moment of the answer and on the node from the moment of the question, so the node's
//! ends first; the margin covers clocks of different rates. Only after both may its attempts be placed again (promise 2).

use crate::attempt;
use crate::custody::{self, End};
use crate::effect::{CloseReason, NodeMessage};
use crate::input::SessionId;
use crate::node_life;
use crate::reject::Reject;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::cause::Cause;
use muster_model::state::{NodeState, OnLeaseExpiry};
use muster_model::{AttemptResult, FailureInfo, NodeId};

/// A node in session asks for its lease to go on.
pub(crate) fn renew(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &NodeId,
    session: SessionId,
    sequence: u64,
) -> Result<Reply, Reject> {
    let node = tenant.nodes.get_mut(id).ok_or_else(|| Reject::NodeUnknown(id.clone()))?;
    if node.contact.session != Some(session) {
        return Err(Reject::StaleSession(id.clone()));
    }
    let ttl = turn.settings.lease_ttl;
    node.contact.lease_until = turn.now.after(ttl);
    turn.tell(id, session, NodeMessage::Lease { sequence, ttl });
    Ok(Reply::Done)
}

/// Looks whether a node's lease, with its margin, has really ended, and deals with what it held.
pub(crate) fn expire(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    let end = turn.settings.lease_end(node.contact.lease_until);
    if end > turn.now {
        turn.wake(end, Deadline::Lease(turn.account.clone(), id.clone()));
        return;
    }
    let known =
        node.row.state == NodeState::Unknown || (node.is_restarting() && node.contact.session.is_none());
    if known && node.held.is_empty() {
        return;
    }
    let room = node.room();
    if let Some(session) = node.contact.session.take() {
        turn.tell(id, session, NodeMessage::Close { reason: CloseReason::LeaseEnded });
    }
    let leaving = node.row.state == NodeState::LeavingPool;
    // One that is being restarted has reason to be silent (`restart`).
    if !leaving && !node.is_restarting() {
        node.enter(NodeState::Unknown, turn.now);
    }
    node.save(turn);
    let held: Vec<_> = node.held.values().map(|held| held.attempt.clone()).collect();
    let policy = tenant.pools.get(&node.row.pool).map(|pool| pool.row.spec.on_lease_expiry);
    tenant.reindex(id, room);
    if policy == Some(OnLeaseExpiry::Keep) && !leaving {
        return;
    }
    let ttl = turn.settings.lease_ttl.as_secs();
    for attempt in held {
        if !attempt::is_with_node(tenant, id, &attempt) {
            // It was never dispatched: whatever happened to the node, it cannot have run.
            custody::returned(tenant, turn, id, &attempt);
            continue;
        }
        let failure = FailureInfo::new(
            Cause::NodeLost,
            format!("node '{id}' was not heard for longer than its lease of {ttl} s while it held attempt {attempt}"),
        )
        .with("node", id);
        let result = AttemptResult::not_started(failure, turn.now);
        custody::ended(tenant, turn, id, &attempt, End { result, may_have_run: true });
    }
    node_life::look(tenant, turn, id);
}
