//! A pool as the controller knows it: its row, its nodes, and the two lists that make a choice cheap.
//!
//! Which task goes to which node is in `placement`; how a pool comes by the number of nodes that it should have in
//! `resize`; what clients may do with one in `pool_command`. `Tenant::reindex` and `Tenant::requeue_job` keep the lists.

use crate::record::{PoolRow, Record};
use crate::reject::Reject;
use crate::turn::Turn;
use muster_model::state::AllocationState;
use muster_model::{JobId, NodeId};
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

    /// Refuses a change of a pool that is not what the caller has read.
    pub(crate) fn require(&self, if_match: Option<u64>) -> Result<(), Reject> {
        let current = self.row.revision;
        match if_match {
            Some(given) if given != current => {
                Err(Reject::EtagMismatch { what: format!("pool '{}'", self.row.spec.id), given, current })
            }
            Some(_) | None => Ok(()),
        }
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
