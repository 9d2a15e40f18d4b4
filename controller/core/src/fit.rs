//! Whether a task fits on a node, and what is in the way: the predicates of placement and of `explain`.
//!
//! There is one copy of them. Placement asks whether there is a miss, `explain` says which.

use crate::class::Class;
use crate::job::Job;
use crate::node::{Closed, Node};
use muster_model::Shortage;
use muster_model::state::ExecutionResult;

/// What keeps a task from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Miss {
    Closed(Closed),
    /// The task wants the node for itself, and it holds others.
    NotEmpty,
    /// The job's preparation task failed there.
    PreparationFailed,
    /// Even empty the node could not run it.
    TooSmall(Shortage),
    /// It has not enough left.
    Busy(Shortage),
}

/// What keeps the tasks of a job from a node, whatever they take.
pub(crate) fn excluded(job: &Job, node: &Node) -> Option<Miss> {
    job.row.spec.preparation.as_ref().filter(|spec| spec.wait_for_success)?;
    let row = job.nodes.get(node.id())?;
    let failed = row.preparation.result == Some(ExecutionResult::Failure);
    failed.then_some(Miss::PreparationFailed)
}

/// What keeps a class from a node that is open and not excluded.
pub(crate) fn lacking(node: &Node, class: &Class) -> Option<Miss> {
    if class.exclusive && node.has_tasks() {
        return Some(Miss::NotEmpty);
    }
    if class.needs.fits(&node.free()) {
        return None;
    }
    Some(match class.needs.shortage(&node.offer()) {
        Some(shortage) => Miss::TooSmall(shortage),
        None => Miss::Busy(class.needs.shortage(&node.free())?),
    })
}

/// Whether the node could run it, were it empty.
pub(crate) fn could_fit(job: &Job, node: &Node, class: &Class) -> bool {
    excluded(job, node).is_none() && class.needs.fits(&node.offer())
}

/// What is in the way of a task of this class on this node; `None`: it can be placed.
pub(crate) fn miss(job: &Job, node: &Node, class: &Class) -> Option<Miss> {
    node.closed().map(Miss::Closed).or_else(|| excluded(job, node)).or_else(|| lacking(node, class))
}
