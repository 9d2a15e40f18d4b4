//! How a pool comes to the number of nodes that it should have.
//!
//! Machines join by themselves or are started by a provider that watches the target; here it is only decided who must
//! leave and when the pool is steady. A node that leaves is first relieved of its attempts: they wait again only once the
//! node has confirmed their end or its lease is over, never before.

use crate::effect::{KillReason, LeaveReason, NodeMessage};
use crate::record::{Ending, Record};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use crate::{attempt, job_life};
use muster_model::state::{AllocationState, NodeState, PoolState};
use muster_model::{NodeId, PoolId};
use std::time::Duration;

pub(crate) fn resize(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &PoolId,
    target: u32,
    timeout: Option<Duration>,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(id)?;
    pool.require(if_match)?;
    if pool.row.allocation_state != AllocationState::Steady {
        return Err(Reject::PoolBeingResized { pool: id.clone(), state: pool.row.allocation_state });
    }
    pool.row.spec.target_dedicated_nodes = target;
    pool.row.spec.resize_timeout = timeout.unwrap_or(pool.row.spec.resize_timeout);
    begin(tenant, turn, id);
    Ok(Reply::Done)
}

pub(crate) fn stop(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &PoolId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(id)?;
    pool.require(if_match)?;
    if pool.row.allocation_state == AllocationState::Steady {
        return Err(Reject::PoolNotResizing(id.clone()));
    }
    // The target keeps its value (reference 3.2); only the wait for it ends.
    give_up(tenant, turn, id, "ResizeStopped", "the resize was stopped on request".to_owned());
    Ok(Reply::Done)
}

pub(crate) fn remove_nodes(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    pool_id: &PoolId,
    nodes: &[NodeId],
) -> Result<Reply, Reject> {
    tenant.active_pool_mut(pool_id)?;
    for node in nodes {
        tenant.node_mut(pool_id, node)?;
    }
    for node in nodes {
        leave(tenant, turn, node);
    }
    if let Some(pool) = tenant.pools.get_mut(pool_id) {
        let staying = staying(&tenant.nodes, &pool.nodes);
        pool.row.spec.target_dedicated_nodes =
            pool.row.spec.target_dedicated_nodes.min(u32::try_from(staying).unwrap_or(u32::MAX));
        pool.save(turn);
    }
    settle(tenant, turn, pool_id);
    Ok(Reply::Done)
}

/// Starts the way to the pool's target.
pub(crate) fn begin(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) {
    let Some(pool) = tenant.pools.get_mut(id) else { return };
    let deadline = turn.now.after(pool.row.spec.resize_timeout);
    pool.row.resize_error = None;
    pool.row.resize_deadline = Some(deadline);
    pool.enter_allocation(turn, AllocationState::Resizing);
    pool.save(turn);
    turn.wake(deadline, Deadline::Resize(turn.account.clone(), id.clone()));
    settle(tenant, turn, id);
}

/// The resize has taken too long, if it is still under way.
pub(crate) fn timed_out(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) {
    let Some(pool) = tenant.pools.get(id) else { return };
    if pool.row.resize_deadline.is_none_or(|at| at > turn.now) {
        return;
    }
    let (have, want) = (staying(&tenant.nodes, &pool.nodes), pool.row.spec.target_dedicated_nodes);
    let message = format!(
        "pool '{id}' has {have} of {want} nodes after {} s: start more machines with a join token, or lower the target",
        pool.row.spec.resize_timeout.as_secs()
    );
    give_up(tenant, turn, id, "AllocationTimedout", message);
}

fn give_up(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId, code: &str, message: String) {
    let Some(pool) = tenant.pools.get_mut(id) else { return };
    pool.row.resize_error = Some((code.to_owned(), message));
    pool.row.resize_deadline = None;
    pool.enter_allocation(turn, AllocationState::Steady);
    pool.save(turn);
}

fn staying(
    nodes: &std::collections::BTreeMap<NodeId, crate::node::Node>,
    of: &std::collections::BTreeSet<NodeId>,
) -> usize {
    of.iter().filter_map(|id| nodes.get(id)).filter(|node| node.row.state != NodeState::LeavingPool).count()
}

/// Looks where a pool stands: sends surplus nodes away, becomes steady, or ends.
pub(crate) fn settle(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) {
    let Some(pool) = tenant.pools.get(id) else { return };
    let target = match pool.row.state {
        PoolState::Deleting => 0,
        PoolState::Active => pool.row.spec.target_dedicated_nodes as usize,
    };
    // A steady pool sends nobody away: its target was met, or its resize was given up.
    let steady = pool.row.allocation_state == AllocationState::Steady;
    let surplus = staying(&tenant.nodes, &pool.nodes).saturating_sub(target);
    if surplus > 0 && !steady {
        for node in least_useful(tenant, id, surplus) {
            leave(tenant, turn, &node);
        }
    }
    let Some(pool) = tenant.pools.get_mut(id) else { return };
    match pool.row.state {
        PoolState::Deleting if pool.nodes.is_empty() => {
            tenant.pools.remove(id);
            turn.record(Record::PoolGone(turn.account.clone(), id.clone()));
        }
        PoolState::Active
            if pool.nodes.len() == target && pool.row.allocation_state != AllocationState::Steady =>
        {
            pool.row.resize_deadline = None;
            pool.row.resize_error = None;
            pool.enter_allocation(turn, AllocationState::Steady);
            pool.save(turn);
        }
        PoolState::Deleting | PoolState::Active => {}
    }
}

/// The nodes whose leaving costs least: out of contact first, then those with the least work, the newest first.
fn least_useful(tenant: &Tenant, pool: &PoolId, count: usize) -> Vec<NodeId> {
    let Some(pool) = tenant.pools.get(pool) else { return Vec::new() };
    let mut nodes: Vec<_> = pool
        .nodes
        .iter()
        .filter_map(|id| tenant.nodes.get(id))
        .filter(|node| node.row.state != NodeState::LeavingPool)
        .collect();
    nodes.sort_by_key(|node| {
        (
            node.contact.session.is_some(),
            node.held.len(),
            std::cmp::Reverse(node.row.joined),
            node.id().clone(),
        )
    });
    nodes.into_iter().take(count).map(|node| node.id().clone()).collect()
}

/// Makes a node leave: nothing more is placed on it, its attempts are stopped, and then it is gone.
fn leave(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    if node.row.state == NodeState::LeavingPool {
        return;
    }
    let room = node.room();
    node.enter(NodeState::LeavingPool, turn.now);
    node.save(turn);
    let held: Vec<_> = node.held.values().map(|held| (held.attempt.clone(), held.of_job)).collect();
    tenant.reindex(id, room);
    for (attempt, of_job) in held {
        if of_job {
            let message = NodeMessage::Kill { attempts: vec![attempt], reason: KillReason::Terminated };
            tenant.tell(turn, id, message);
        } else {
            attempt::stop(tenant, turn, &attempt.job, &attempt.task, Ending::Requeue);
        }
    }
    release_if_leaving(tenant, turn, id);
}

/// Lets a leaving node go once it holds nothing.
pub(crate) fn release_if_leaving(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get(id) else { return };
    if node.row.state != NodeState::LeavingPool || !node.held.is_empty() {
        return;
    }
    let Some(node) = tenant.nodes.remove(id) else { return };
    let mut reason = LeaveReason::Removed;
    if let Some(pool) = tenant.pools.get_mut(&node.row.pool) {
        pool.nodes.remove(id);
        if pool.row.state == PoolState::Deleting {
            reason = LeaveReason::PoolDeleted;
        }
    }
    turn.record(Record::NodeGone(turn.account.clone(), id.clone()));
    if let Some(session) = node.contact.session {
        turn.tell(id, session, NodeMessage::Leave { reason });
    }
    for job_id in &node.prepared_for {
        let job = tenant.jobs.get_mut(job_id);
        if job.is_some_and(|job| job.nodes.remove(id).is_some()) {
            turn.record(Record::JobNodeGone(turn.account.clone(), job_id.clone(), id.clone()));
        }
        job_life::settle(tenant, turn, job_id);
    }
    settle(tenant, turn, &node.row.pool);
}
