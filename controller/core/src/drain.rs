//! How a node is relieved of its tasks: by ending them, or by waiting for their ends.
//!
//! A drain is a wish in the node's row until the node holds nothing any more; what follows then is `node_life`'s to do. It
//! places nothing and takes nothing off a node by itself: attempts are asked to stop (`attempt`), and what the node has
//! not started is asked back, which costs nobody anything.
//!
//! Invariant: a stronger wish is never weakened by a later one, and tasks that are being ended stay so.

use crate::attempt;
use crate::effect::{KillReason, NodeMessage};
use crate::record::{Drain, Ending, NodeRow};
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use crate::{job_life, job_node};
use muster_model::state::DrainOption;
use muster_model::{AttemptId, NodeId};

/// How much a choice takes from the tasks of a node.
pub(crate) const fn strength(option: DrainOption) -> u8 {
    match option {
        DrainOption::TaskCompletion => 0,
        DrainOption::Requeue => 1,
        DrainOption::Terminate => 2,
    }
}

/// When tasks of a node that have not ended by themselves are to be requeued.
pub(crate) fn deadline(row: &NodeRow) -> Option<muster_model::Timestamp> {
    row.drain.and_then(|drain| drain.deadline)
}

/// Begins to relieve a node, or asks for more than was asked for before: of the two options the stronger holds, what
/// follows is what takes the node furthest away, and the new deadline replaces the old.
pub(crate) fn begin(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId, wish: Drain) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    let mut drain = wish;
    if let Some(before) = node.row.drain {
        if strength(before.option) > strength(wish.option) {
            drain.option = before.option;
        }
        drain.then = wish.then.max(before.then);
    }
    if drain.option != DrainOption::TaskCompletion {
        drain.deadline = None;
    }
    node.row.drain = Some(drain);
    if let Some(at) = drain.deadline {
        turn.wake(at, Deadline::Drain(turn.account.clone(), id.clone()));
    }
    tenant.save_node(turn, id);
    press(tenant, turn, id);
}

/// Does to the tasks of a draining node what was asked for.
pub(crate) fn press(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get(id) else { return };
    let ending = match node.row.drain.map(|drain| drain.option) {
        None => return,
        Some(DrainOption::TaskCompletion) => return recall_unstarted(tenant, turn, id),
        Some(DrainOption::Requeue) => Ending::Requeue,
        Some(DrainOption::Terminate) => Ending::Terminate,
    };
    let held: Vec<_> = node.held.values().map(|held| (held.attempt.clone(), held.of_job)).collect();
    for (attempt, of_job) in held {
        if !of_job {
            attempt::stop(tenant, turn, &attempt.job, &attempt.task, ending);
            job_life::settle(tenant, turn, &attempt.job);
        } else if job_node::ending(tenant, id, &attempt).is_some() {
            let message = NodeMessage::Kill { attempts: vec![attempt], reason: KillReason::Terminated };
            tenant.tell(turn, id, message);
        }
    }
}

/// Asks a node for all that it has not started, and takes back at once what has not been sent to it: these run elsewhere
/// meanwhile. A word that was lost is said again.
pub(crate) fn recall_unstarted(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get(id) else { return };
    let unstarted = node.held.values().filter(|held| held.started.is_none() && !held.of_job);
    let unstarted: Vec<AttemptId> = unstarted.map(|held| held.attempt.clone()).collect();
    let (there, here): (Vec<_>, Vec<_>) =
        unstarted.into_iter().partition(|attempt| attempt::is_with_node(tenant, id, attempt));
    for attempt in here {
        attempt::give_back(tenant, turn, id, &attempt);
        job_life::settle(tenant, turn, &attempt.job);
    }
    if there.is_empty() {
        return;
    }
    if let Some(node) = tenant.nodes.get_mut(id) {
        for attempt in &there {
            if let Some(held) = node.held.get_mut(&attempt.task_key()) {
                held.recalled = true;
            }
        }
    }
    tenant.tell(turn, id, NodeMessage::Recall { attempts: there });
}
