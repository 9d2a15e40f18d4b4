//! How a pool comes to the number of nodes that it should have.
//!
//! Machines join by themselves or are started by a provider that watches the target; here it is only decided who must
//! leave and when the pool is steady. A node that leaves is first relieved of its attempts (`drain`): they wait again only
//! once the node has confirmed their end or its lease is over, never before.

use crate::drain;
use crate::effect::{LeaveReason, NodeMessage};
use crate::job_life;
use crate::pool::Pool;
use crate::record::{Drain, Record};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::state::{AfterDrain, AllocationState, DrainOption, NodeState, PoolState};
use muster_model::{NodeId, PoolId, Timestamp};
use std::time::Duration;

pub(crate) fn resize(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &PoolId,
    target: u32,
    timeout: Option<Duration>,
    option: DrainOption,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(id)?;
    pool.require(if_match)?;
    if pool.row.allocation_state != AllocationState::Steady {
        return Err(Reject::PoolBeingResized { pool: id.clone(), state: pool.row.allocation_state });
    }
    pool.row.spec.target_dedicated_nodes = target;
    pool.row.spec.resize_timeout = timeout.unwrap_or(pool.row.spec.resize_timeout);
    begin(tenant, turn, id, option);
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
    option: DrainOption,
    timeout: Option<Duration>,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(pool_id)?;
    pool.require(if_match)?;
    let deadline = turn.now.after(timeout.unwrap_or(pool.row.spec.resize_timeout));
    for node in nodes {
        tenant.node_mut(pool_id, node)?;
    }
    for node in nodes {
        leave(tenant, turn, node, option, deadline);
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

/// Starts the way to the pool's target. Nodes that must leave are relieved of their tasks by the option.
pub(crate) fn begin(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId, option: DrainOption) {
    let Some(pool) = tenant.pools.get_mut(id) else { return };
    let deadline = turn.now.after(pool.row.spec.resize_timeout);
    pool.row.resize_error = None;
    pool.row.resize_deadline = Some(deadline);
    pool.enter_allocation(turn, AllocationState::Resizing);
    pool.save(turn);
    turn.wake(deadline, Deadline::Resize(turn.account.clone(), id.clone()));
    dismiss_surplus(tenant, turn, id, option, deadline);
    settle(tenant, turn, id);
}

/// The resize has taken too long, if it is still under way.
pub(crate) fn timed_out(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) {
    let Some(pool) = tenant.pools.get(id) else { return };
    if pool.row.resize_deadline.is_none_or(|at| at > turn.now) {
        return;
    }
    let (have, want) = (staying(&tenant.nodes, &pool.nodes), pool.row.spec.target_dedicated_nodes as usize);
    let seconds = pool.row.spec.resize_timeout.as_secs();
    let message = if have < want {
        format!(
            "pool '{id}' has {have} of {want} nodes after {seconds} s: start more machines with a join token, or lower the target"
        )
    } else {
        let leaving = pool.nodes.len().saturating_sub(have);
        format!(
            "{leaving} nodes of pool '{id}' have not left after {seconds} s: their tasks are being requeued"
        )
    };
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

/// How many nodes a pool is to have.
fn target(pool: &Pool) -> usize {
    match pool.row.state {
        PoolState::Deleting => 0,
        PoolState::Active => pool.row.spec.target_dedicated_nodes as usize,
    }
}

/// Sends away who is too many.
fn dismiss_surplus(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &PoolId,
    option: DrainOption,
    deadline: Timestamp,
) {
    let Some(pool) = tenant.pools.get(id) else { return };
    // A steady pool sends nobody away: its target was met, or its resize was given up.
    if pool.row.allocation_state == AllocationState::Steady {
        return;
    }
    let surplus = staying(&tenant.nodes, &pool.nodes).saturating_sub(target(pool));
    if surplus == 0 {
        return;
    }
    for node in least_useful(tenant, id, surplus) {
        leave(tenant, turn, &node, option, deadline);
    }
}

/// The pool is being deleted: nodes that were leaving at their leisure are not waited for any more.
pub(crate) fn hasten(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) {
    let Some(pool) = tenant.pools.get(id) else { return };
    let leaving =
        |id: &&NodeId| tenant.nodes.get(*id).is_some_and(|node| node.row.state == NodeState::LeavingPool);
    let nodes: Vec<NodeId> = pool.nodes.iter().filter(leaving).cloned().collect();
    for node in nodes {
        leave(tenant, turn, &node, DrainOption::Requeue, turn.now);
    }
}

/// Looks where a pool stands: sends surplus nodes away, becomes steady, or ends.
pub(crate) fn settle(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) {
    // Whoever comes while the pool is on its way and is too many has no tasks yet.
    dismiss_surplus(tenant, turn, id, DrainOption::Requeue, turn.now);
    let Some(pool) = tenant.pools.get_mut(id) else { return };
    match pool.row.state {
        PoolState::Deleting if pool.nodes.is_empty() => {
            tenant.pools.remove(id);
            turn.record(Record::PoolGone(turn.account.clone(), id.clone()));
        }
        PoolState::Active
            if pool.nodes.len() == target(pool) && pool.row.allocation_state != AllocationState::Steady =>
        {
            pool.row.resize_deadline = None;
            pool.row.resize_error = None;
            pool.enter_allocation(turn, AllocationState::Steady);
            pool.save(turn);
        }
        PoolState::Deleting | PoolState::Active => {}
    }
}

/// The nodes whose leaving costs least: out of contact first, then those that take no tasks, then those with the least work,
/// the newest first.
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
            node.is_serving(),
            node.held.len(),
            std::cmp::Reverse(node.row.joined),
            node.id().clone(),
        )
    });
    nodes.into_iter().take(count).map(|node| node.id().clone()).collect()
}

/// Makes a node leave: nothing more is placed on it, its attempts end by the option, with task completion at the latest by the
/// deadline, and then it is gone.
fn leave(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId, option: DrainOption, deadline: Timestamp) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    let leaving = node.row.state == NodeState::LeavingPool;
    let before = node.row.drain.map(|drain| drain::strength(drain.option));
    if leaving && before.is_some_and(|before| drain::strength(option) <= before) {
        return;
    }
    node.enter(NodeState::LeavingPool, turn.now);
    let deadline = Some(deadline);
    drain::begin(tenant, turn, id, Drain { option, deadline, then: AfterDrain::Leave });
    release(tenant, turn, id);
}

/// Lets a leaving node go once it holds nothing.
pub(crate) fn release(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
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
