//! What clients read of nodes: that nothing goes to one that takes no tasks, and what was seen to become of them.
//!
//! Looked at after each step, from the rows alone. What really runs on a machine is the oracle's to look at.

use crate::book::{Book, Stand};
use crate::broken::{Kept, broken, promise};
use crate::oracle::Oracle;
use muster_controller_core::record::{NodeRow, Probation};
use muster_model::AttemptId;
use muster_model::node::NodeError;
use muster_model::state::{DrainOption, NodeState, SchedulingState};

/// A task has been placed: its node takes tasks, and only this one if it is being tried.
pub(crate) fn placed(book: &Book, oracle: &Oracle, attempt: &AttemptId, stand: &Stand) -> Kept {
    let row = stand.node.as_ref().and_then(|node| book.nodes.get(node));
    let row = row.ok_or_else(|| broken("a task is placed on a node", format!("{attempt}: {stand:?}")))?;
    // Its lease may have ended in the same step.
    let open = matches!(row.state, NodeState::Idle | NodeState::Running | NodeState::Unknown)
        && row.scheduling == SchedulingState::Enabled
        && row.drain.is_none()
        && row.errors.is_empty()
        && row.probation.until.is_none();
    promise("nothing is placed on a closed node", open, || format!("{attempt} is placed on {row:?}"))?;
    if !is_tried(&row.probation) {
        return Ok(());
    }
    // A controller that was started since then may count from another time.
    let Some(since) = oracle.struck.get(&row.id).copied() else { return Ok(()) };
    let here = |number: u32, node: &Stand| node.placed && node.node == stand.node && node.attempt == number;
    let newer = oracle.grants.iter().filter(|(other, grant)| {
        let known = book.task(&other.task_key());
        grant.step >= since && known.is_some_and(|known| here(other.number, &known.stand))
    });
    let others: Vec<_> = newer.map(|(other, _)| other).filter(|other| *other != attempt).collect();
    promise("a node is tried with one task at a time", others.is_empty(), || {
        format!("{attempt} is placed on {} beside {others:?}", row.id)
    })
}

/// Whether a node is being tried after it was found to fail.
const fn is_tried(probation: &Probation) -> bool {
    probation.error.is_some() && probation.strikes > 0 && probation.until.is_none()
}

/// Notes what has become of nodes in one step.
pub(crate) fn watch(book: &Book, oracle: &mut Oracle) {
    for (before, after) in &book.node_changes {
        if before.probation.error != after.probation.error {
            oracle.struck.insert(after.id.clone(), book.steps);
        }
        for what in changes(before, after) {
            oracle.saw(what);
        }
    }
}

fn changes(before: &NodeRow, after: &NodeRow) -> impl Iterator<Item = &'static str> {
    let entered = |state: NodeState| before.state != state && after.state == state;
    let option = |row: &NodeRow| row.drain.map(|drain| drain.option);
    let timed_out = before.drain.is_some_and(|drain| drain.deadline.is_some())
        && after.drain.is_some_and(|drain| drain.deadline.is_none());
    let was_tried = is_tried(&before.probation);
    let seen = [
        (before.drain.is_some() && after.drain.is_none(), "a node is drained"),
        (option(after) == Some(DrainOption::TaskCompletion), "a node waits for its tasks to end"),
        (timed_out, "the time that tasks had to end is up"),
        (entered(NodeState::Rebooting) || entered(NodeState::Reimaging), "a node is restarted on request"),
        (before.errors.is_empty() && !after.errors.is_empty(), "a node is unwell"),
        (!before.errors.is_empty() && after.errors.is_empty(), "a node is well again"),
        (after.probation.strikes > before.probation.strikes, "a node is taken out of use"),
        (was_tried && after.probation.strikes > before.probation.strikes, "a trial fails"),
        (was_tried && after.probation.strikes == 0, "a node stands its trial"),
        (entered(NodeState::StartTaskFailed), "a start task fails for good"),
        (starts_anew(before, after), "a start task is run again and succeeds"),
        (entered(NodeState::LeavingPool), "a node leaves its pool"),
    ];
    seen.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what)
}

fn starts_anew(before: &NodeRow, after: &NodeRow) -> bool {
    let code = before.probation.error.as_ref().map(|error| error.code.as_str());
    code == Some(NodeError::START_TASK_FAILED) && after.probation.strikes == 0
}

/// A node that has not come to rest, in words; `None` if all have.
pub(crate) fn to_come(book: &Book) -> Option<String> {
    let at_rest = |row: &&NodeRow| {
        row.drain.is_none()
            && matches!(row.state, NodeState::Idle)
            && row.scheduling == SchedulingState::Enabled
    };
    let restless = book.nodes.values().find(|row| !at_rest(row))?;
    Some(format!(
        "node {} is {}: {:?}, {:?}",
        restless.id, restless.state, restless.drain, restless.probation
    ))
}
