//! Everything of one account, and the look-ups that name what is missing.
//!
//! No rule ever sees two accounts: the account is the boundary, so this is the largest thing a rule is handed.

use crate::effect::NodeMessage;
use crate::job::Job;
use crate::node::Node;
use crate::pool::Pool;
use crate::record::{AccountRow, RequestRow, TokenRow};
use crate::reject::Reject;
use crate::task::Task;
use crate::turn::Turn;
use muster_model::state::PoolState;
use muster_model::{JobId, NodeId, PoolId, RequestId, TaskId, TokenId};
use std::collections::BTreeMap;

/// One account's part of the world.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) row: AccountRow,
    pub(crate) pools: BTreeMap<PoolId, Pool>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) tokens: BTreeMap<TokenId, TokenRow>,
    pub(crate) requests: BTreeMap<RequestId, RequestRow>,
}

impl Tenant {
    pub(crate) fn new(row: AccountRow) -> Self {
        Self {
            row,
            pools: BTreeMap::new(),
            nodes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            tokens: BTreeMap::new(),
            requests: BTreeMap::new(),
        }
    }

    /// A pool that is not going away.
    pub(crate) fn active_pool_mut(&mut self, id: &PoolId) -> Result<&mut Pool, Reject> {
        match self.pools.get_mut(id) {
            None => Err(Reject::PoolNotFound(id.clone())),
            Some(pool) => match pool.row.state {
                PoolState::Active => Ok(pool),
                PoolState::Deleting => Err(Reject::PoolBeingDeleted(id.clone())),
            },
        }
    }

    pub(crate) fn job(&self, id: &JobId) -> Result<&Job, Reject> {
        self.jobs.get(id).ok_or_else(|| Reject::JobNotFound(id.clone()))
    }

    pub(crate) fn job_mut(&mut self, id: &JobId) -> Result<&mut Job, Reject> {
        self.jobs.get_mut(id).ok_or_else(|| Reject::JobNotFound(id.clone()))
    }

    pub(crate) fn task(&self, job: &JobId, id: &TaskId) -> Result<&Task, Reject> {
        let found = self.job(job)?.tasks.get(id);
        found.ok_or_else(|| Reject::TaskNotFound { job: job.clone(), task: id.clone() })
    }

    /// A node, if it is in that pool.
    pub(crate) fn node_mut(&mut self, pool: &PoolId, id: &NodeId) -> Result<&mut Node, Reject> {
        if !self.pools.contains_key(pool) {
            return Err(Reject::PoolNotFound(pool.clone()));
        }
        let found = self.nodes.get_mut(id).filter(|node| node.row.pool == *pool);
        found.ok_or_else(|| Reject::NodeNotFound { pool: pool.clone(), node: id.clone() })
    }

    /// Says something to a node, if it is in session.
    pub(crate) fn tell(&self, turn: &mut Turn<'_>, node: &NodeId, message: NodeMessage) {
        if let Some(session) = self.nodes.get(node).and_then(|node| node.contact.session) {
            turn.tell(node, session, message);
        }
    }

    /// Puts a node at its place in its pool's list of nodes with room, or takes it off; call after each change of
    /// room, state or contact. `room_before` is where it may stand now.
    pub(crate) fn reindex(&mut self, id: &NodeId, room_before: i64) {
        let Some(node) = self.nodes.get(id) else { return };
        let Some(pool) = self.pools.get_mut(&node.row.pool) else { return };
        if let Some(same_room) = pool.open_nodes.get_mut(&room_before) {
            same_room.remove(id);
            if same_room.is_empty() {
                pool.open_nodes.remove(&room_before);
            }
        }
        if node.is_open() {
            pool.open_nodes.entry(node.room()).or_default().insert(id.clone());
        }
    }

    /// Puts a job on its pool's list of jobs with work, or takes it off.
    pub(crate) fn requeue_job(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        let Some(pool) = self.pools.get_mut(job.pool()) else { return };
        let (priority, sequence) = job.turn_in_pool();
        let entry = (priority, sequence, id.clone());
        if job.has_work() {
            pool.waiting_jobs.insert(entry);
        } else {
            pool.waiting_jobs.remove(&entry);
        }
    }

    /// Brings a node's state up to date with what it runs, and records it.
    pub(crate) fn save_node(&mut self, turn: &mut Turn<'_>, node_id: &NodeId) {
        let Some(node) = self.nodes.get_mut(node_id) else { return };
        let room = node.room();
        if node.contact.session.is_some()
            && let Some(pool) = self.pools.get(&node.row.pool)
        {
            let state = node.settled_state(&pool.row.spec);
            node.enter(state, turn.now);
        }
        node.save(turn);
        self.reindex(node_id, room);
    }
}
