//! What clients may do with pools: make, change, delete.
//!
//! Each refusal comes before the first change. Setting the number of nodes is `resize`'s business, and so is the way of the
//! nodes out of a pool that is being deleted.

use crate::pool::Pool;
use crate::record::{PoolRow, Record};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::resize;
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::users;
use muster_model::PoolId;
use muster_model::spec::{PoolPatch, PoolSpec};
use muster_model::state::{AllocationState, DrainOption, PoolState};

pub(crate) fn create(tenant: &mut Tenant, turn: &mut Turn<'_>, spec: PoolSpec) -> Result<Reply, Reject> {
    if let Some(pool) = tenant.pools.get(&spec.id) {
        return Err(match pool.row.state {
            PoolState::Active => Reject::PoolExists(spec.id),
            PoolState::Deleting => Reject::PoolBeingDeleted(spec.id),
        });
    }
    users::refuse_unknown_in_start_task(&spec)?;
    let id = spec.id.clone();
    let mut pool = Pool::new(PoolRow {
        account: turn.account.clone(),
        state: PoolState::Active,
        allocation_state: AllocationState::Steady,
        allocation_since: turn.now,
        resize_deadline: None,
        resize_error: None,
        created: turn.now,
        modified: turn.now,
        revision: 0,
        spec,
    });
    // Jobs may have been waiting for a pool of this name.
    for job in tenant.jobs.values().filter(|job| *job.pool() == id && job.has_work()) {
        let (priority, sequence) = job.turn_in_pool();
        pool.waiting_jobs.insert((priority, sequence, job.id().clone()));
    }
    tenant.pools.insert(id.clone(), pool);
    resize::begin(tenant, turn, &id, DrainOption::Requeue);
    Ok(Reply::Done)
}

pub(crate) fn update(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &PoolId,
    patch: PoolPatch,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(id)?;
    pool.require(if_match)?;
    let PoolPatch { display_name, start_task, metadata, task_slots_per_node, node_fill_type } = patch;
    if let Some(start_task) = &start_task {
        users::refuse_unknown_in_start_task(&PoolSpec {
            start_task: start_task.clone(),
            ..pool.row.spec.clone()
        })?;
    }
    let spec = &mut pool.row.spec;
    spec.display_name = display_name.unwrap_or_else(|| std::mem::take(&mut spec.display_name));
    spec.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut spec.metadata));
    // A changed start task or slot count reaches a node when it next connects.
    spec.start_task = start_task.unwrap_or_else(|| spec.start_task.take());
    spec.task_slots_per_node = task_slots_per_node.unwrap_or(spec.task_slots_per_node);
    spec.node_fill_type = node_fill_type.unwrap_or(spec.node_fill_type);
    pool.save(turn);
    Ok(Reply::Done)
}

pub(crate) fn delete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &PoolId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(id)?;
    pool.require(if_match)?;
    pool.row.state = PoolState::Deleting;
    pool.enter_allocation(turn, AllocationState::Resizing);
    pool.row.resize_deadline = None;
    pool.save(turn);
    let tokens: Vec<_> =
        tenant.tokens.values().filter(|token| token.pool == *id).map(|token| token.id.clone()).collect();
    for token in tokens {
        tenant.tokens.remove(&token);
        turn.record(Record::TokenGone(turn.account.clone(), token));
    }
    resize::hasten(tenant, turn, id);
    resize::settle(tenant, turn, id);
    Ok(Reply::Done)
}
