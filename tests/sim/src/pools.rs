//! Pools that are given another size: what clients ask for, what became of it, and the machines that come again at the end.
//!
//! A pool that shrinks lets nodes go with their tasks; machines that come meanwhile are sent away, and later ones make it
//! grow again. What becomes of the tasks is everybody's to look at; here only what clients read of pools is.

use crate::book::{Book, Change, Stand};
use crate::broken::{Kept, promise};
use crate::machine::Machine;
use crate::names::{machines_of, pool};
use crate::oracle::Oracle;
use crate::script::{PoolWish, Wish};
use crate::world::World;
use muster_controller_core::input::Command;
use muster_controller_core::record::Ending;
use muster_model::PoolId;
use muster_model::state::{AllocationState, DrainOption, NodeState};
use std::time::Duration;

/// The pools by their numbers.
const POOLS: [u8; 2] = [0, 1];

pub(crate) fn command(number: u8, wish: PoolWish, if_match: Option<u64>) -> Command {
    let pool = pool(number);
    match wish {
        PoolWish::Resize { target, option, seconds } => {
            let timeout = seconds.map(Duration::from_secs);
            Command::ResizePool { pool, target, timeout, option, if_match }
        }
        PoolWish::StopResize => Command::StopResize { pool, if_match },
    }
}

/// How many nodes clients read of a pool.
fn nodes(book: &Book, pool: &PoolId) -> usize {
    book.nodes.values().filter(|row| row.pool == *pool).count()
}

/// Whether a node has to leave since the last step.
pub(crate) fn has_to_leave(book: &Book) -> bool {
    let leaves = |state: NodeState| state == NodeState::LeavingPool;
    book.node_changes.iter().any(|(before, after)| !leaves(before.state) && leaves(after.state))
}

/// Looks at what one step did to pools.
pub(crate) fn watch(book: &Book, oracle: &mut Oracle) -> Kept {
    for (before, after) in &book.pool_changes {
        let id = &after.spec.id;
        let arrives = before.allocation_state == AllocationState::Resizing
            && after.allocation_state == AllocationState::Steady;
        if !arrives {
            continue;
        }
        match &after.resize_error {
            None => {
                // The same step may go on to change both.
                let target = book.pools.get(id).map_or(0, |row| row.spec.target_dedicated_nodes);
                let have = nodes(book, id);
                promise("a resize ends at its target", u32::try_from(have) == Ok(target), || {
                    format!("pool {id} is steady with {have} nodes of {target}")
                })?;
                oracle.saw("a pool comes to its size");
            }
            Some((code, _)) if code == "AllocationTimedout" => oracle.saw("a resize takes too long"),
            Some(_) => oracle.saw("a resize is stopped"),
        }
    }
    Ok(())
}

/// A pool that has not come to rest, in words; `None` if all have.
pub(crate) fn to_come(book: &Book) -> Option<String> {
    for number in POOLS {
        let id = pool(number);
        let (have, wanted) = (nodes(book, &id), machines_of(number));
        if have < wanted {
            return Some(format!("pool {id} has {have} nodes and had {wanted}"));
        }
        if let Some(row) = book.pools.get(&id).filter(|row| row.allocation_state != AllocationState::Steady) {
            return Some(format!("pool {id} is {}: {:?}", row.allocation_state, row.resize_deadline));
        }
    }
    None
}

impl World {
    /// Notes what the wish for another size led to at once, and lets somebody bring the machines that it asks for.
    pub(crate) fn look_at_resize(&mut self, call: u64, granted: bool, changes: &[Change]) {
        let Some(Wish::OfPool { pool, wish: PoolWish::Resize { target, .. } }) =
            self.calls.get(&call).filter(|_| granted).map(|call| call.wish)
        else {
            return;
        };
        if has_to_leave(&self.book) {
            self.oracle.saw("a resize takes nodes away");
        }
        let ending = |stand: &Option<Stand>| stand.as_ref().and_then(|stand| stand.ending);
        for change in changes {
            match ending(&change.after).filter(|after| ending(&change.before) != Some(*after)) {
                Some(Ending::Terminate) => self.oracle.saw("a resize ends a task"),
                Some(Ending::Requeue) => self.oracle.saw("a resize sends a task back"),
                Some(_) | None => {}
            }
        }
        let missing = usize::try_from(target).unwrap_or(0).saturating_sub(self.machines_in(pool));
        if missing > 0 {
            self.oracle.saw("a resize asks for more machines");
        }
        for _ in 0..missing {
            self.bring_one_more(pool);
        }
    }

    /// The machines of a pool that are there and reach the controller, or soon will.
    fn machines_in(&self, pool: u8) -> usize {
        let is_there = |on: &&Machine| on.pool == pool && !on.lost && !on.gone && !on.is_exiled;
        self.machines.iter().filter(is_there).count()
    }

    /// An operator gives each pool as many nodes as it had at first, and brings the machines that are missing.
    pub(crate) fn refill(&mut self) -> Kept {
        if !self.controller.is_up() {
            return Ok(());
        }
        for number in POOLS {
            let (have, wanted) = (self.machines_in(number), machines_of(number));
            if have >= wanted {
                continue;
            }
            self.say(|| format!("pool {} has {have} machines and is to have {wanted}", pool(number)));
            // Refused where no resize is under way.
            self.command(Command::StopResize { pool: pool(number), if_match: None })?;
            self.command(Command::ResizePool {
                pool: pool(number),
                target: u32::try_from(wanted).unwrap_or(u32::MAX),
                timeout: Some(Duration::from_secs(60)),
                option: DrainOption::Requeue,
                if_match: None,
            })?;
            (have..wanted).for_each(|_| self.bring(number));
        }
        Ok(())
    }
}
