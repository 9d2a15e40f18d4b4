//! A pool as the controller knows it, and the commands that make, change and delete one.
//!
//! How a pool comes by the number of nodes that it should have is in `resize`; which task goes to which node in
//! `placement`, for which this file keeps the two lists that make a choice cheap: jobs with work, nodes by room.

use crate::record::{PoolRow, Record};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::resize;
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::spec::{PoolPatch, PoolSpec};
use muster_model::state::{AllocationState, PoolState};
use muster_model::{JobId, NodeId, PoolId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A job's place among those of its pool: priority, age, name.
pub(crate) type PlaceInLine = (Reverse<i32>, u64, JobId);

/// A pool as the core knows it.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) row: PoolRow,
    pub(crate) nodes: BTreeSet<NodeId>,
    /// Jobs with work, the next to be served first: by priority, then by age.
    pub(crate) waiting_jobs: BTreeSet<PlaceInLine>,
    /// Nodes on which tasks may be placed, by the slots that they have left.
    pub(crate) open_nodes: BTreeMap<i64, BTreeSet<NodeId>>,
}

impl Pool {
    pub(crate) fn new(row: PoolRow) -> Self {
        Self { row, nodes: BTreeSet::new(), waiting_jobs: BTreeSet::new(), open_nodes: BTreeMap::new() }
    }

    pub(crate) fn save(&mut self, turn: &mut Turn<'_>) {
        self.row.modified = turn.now;
        self.row.revision += 1;
        turn.record(Record::Pool(Box::new(self.row.clone())));
    }

    pub(crate) fn enter_allocation(&mut self, turn: &Turn<'_>, state: AllocationState) {
        if self.row.allocation_state != state {
            self.row.allocation_state = state;
            self.row.allocation_since = turn.now;
        }
    }
}

pub(crate) fn create(tenant: &mut Tenant, turn: &mut Turn<'_>, spec: PoolSpec) -> Result<Reply, Reject> {
    if let Some(pool) = tenant.pools.get(&spec.id) {
        return Err(match pool.row.state {
            PoolState::Active => Reject::PoolExists(spec.id),
            PoolState::Deleting => Reject::PoolBeingDeleted(spec.id),
        });
    }
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
    resize::begin(tenant, turn, &id);
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
    if let Some(given) = if_match
        && given != pool.row.revision
    {
        return Err(Reject::EtagMismatch { what: format!("pool '{id}'"), given, current: pool.row.revision });
    }
    let PoolPatch { display_name, start_task, metadata, task_slots_per_node, node_fill_type } = patch;
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

pub(crate) fn delete(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &PoolId) -> Result<Reply, Reject> {
    let pool = tenant.active_pool_mut(id)?;
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
    resize::settle(tenant, turn, id);
    Ok(Reply::Done)
}
