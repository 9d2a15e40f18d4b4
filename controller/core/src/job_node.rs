//! What a job does on each of its nodes beside its tasks: preparation before the first, release after the last.
//!
//! Both run as ordinary attempts that take no slots. A task that was placed on a node before the preparation there is done
//! waits, placed but not dispatched, and goes out with the preparation's success. A preparation that failed for good keeps
//! the job's tasks off that node; one that was lost is made again with the next task that is placed there. These are the
//! steps; what follows from what nodes report is in `job_node_report`.
//!
//! Invariant: attempt numbers of a job's task on a node only grow, so a word about an old one is known.

use crate::effect::{KillReason, NodeMessage};
use crate::job::Job;
use crate::node::Held;
use crate::record::{Ending, JobNodeRow, JobNodeTask, Record};
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::cause::ErrorCategory;
use muster_model::state::{AfterDrain, DrainOption, ExecutionResult, JobNodeTaskState, JobState, NodeState};
use muster_model::{AttemptId, JobId, NodeId, TaskId, Timestamp};
use std::sync::Arc;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Preparation,
    Release,
}

/// A task that nothing has been done for.
const NOTHING: JobNodeTask = JobNodeTask {
    attempt: 0,
    state: JobNodeTaskState::Completed,
    placed: false,
    started: None,
    ended: None,
    exit_code: None,
    retry_count: 0,
    last_retry: None,
    result: None,
    failure: None,
};

pub(crate) fn kind_of(job: &Job, task: &TaskId) -> Option<Kind> {
    let spec = &job.row.spec;
    if spec.preparation.as_ref().is_some_and(|preparation| preparation.id == *task) {
        return Some(Kind::Preparation);
    }
    spec.release.as_ref().is_some_and(|release| release.id == *task).then_some(Kind::Release)
}

pub(crate) fn task_of(row: &JobNodeRow, kind: Kind) -> Option<&JobNodeTask> {
    match kind {
        Kind::Preparation => Some(&row.preparation),
        Kind::Release => row.release.as_ref(),
    }
}

/// What the job's task of that id is, if it is not an ordinary one: its name for people.
pub(crate) fn reserved(job: &Job, task: &TaskId) -> Option<&'static str> {
    kind_of(job, task).map(|kind| match kind {
        Kind::Preparation => "job preparation task",
        Kind::Release => "job release task",
    })
}

/// Whether an attempt is one of a preparation or release task.
pub(crate) fn is_of_job(tenant: &Tenant, attempt: &AttemptId) -> bool {
    tenant.jobs.get(&attempt.job).is_some_and(|job| kind_of(job, &attempt.task).is_some())
}

/// Whether it is the current one and this node holds it.
pub(crate) fn is_current(tenant: &Tenant, node: &NodeId, attempt: &AttemptId) -> bool {
    let Some(job) = tenant.jobs.get(&attempt.job) else { return false };
    let Some(kind) = kind_of(job, &attempt.task) else { return false };
    let task = job.nodes.get(node).and_then(|row| task_of(row, kind));
    task.is_some_and(|task| task.placed && task.attempt == attempt.number)
}

/// Whether tasks that waited for the preparation of a node have gone out to it.
pub(crate) fn is_prepared(tenant: &Tenant, job: &JobId, node: &NodeId) -> bool {
    let row = tenant.jobs.get(job).and_then(|job| job.nodes.get(node));
    row.is_some_and(|row| row.preparation.result == Some(ExecutionResult::Success))
}

/// Whether tasks of a job may go out to a node as soon as they are placed there.
pub(crate) fn is_ready(job: &Job, node: &NodeId) -> bool {
    let prepared = || job.nodes.get(node).and_then(|row| row.preparation.result);
    job.row.spec.preparation.is_none() || prepared() == Some(ExecutionResult::Success)
}

/// Sees to the preparation of a node on which a task is about to be placed. Answers what must be dispatched for it, and
/// whether the task may go out at once.
pub(crate) fn prepare(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    node_id: &NodeId,
) -> (Vec<AttemptId>, bool) {
    let Some(job) = tenant.jobs.get(job_id) else { return (Vec::new(), true) };
    let Some(spec) = &job.row.spec.preparation else { return (Vec::new(), true) };
    let waits = spec.wait_for_success;
    let done = job.nodes.get(node_id).map(|row| (row.preparation.placed, row.preparation.result));
    match done {
        Some((_, Some(ExecutionResult::Success))) => (Vec::new(), true),
        Some((true, _) | (_, Some(ExecutionResult::Failure))) => (Vec::new(), !waits),
        None | Some((false, None)) => {
            let attempt = begin(tenant, turn, job_id, node_id, Kind::Preparation);
            (attempt.into_iter().collect(), !waits)
        }
    }
}

/// Gives a node the next attempt of a preparation or release; the caller dispatches it.
pub(crate) fn begin(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    node_id: &NodeId,
    kind: Kind,
) -> Option<AttemptId> {
    let node = tenant.nodes.get_mut(node_id)?;
    let job = tenant.jobs.get_mut(job_id)?;
    let spec = &job.row.spec;
    let task_id = match kind {
        Kind::Preparation => spec.preparation.as_ref()?.id.clone(),
        Kind::Release => spec.release.as_ref()?.id.clone(),
    };
    let row = job.nodes.entry(node_id.clone()).or_insert_with(|| JobNodeRow {
        account: turn.account.clone(),
        job: job_id.clone(),
        node: node_id.clone(),
        pool: node.row.pool.clone(),
        boot_id: node.row.facts.boot_id.clone(),
        preparation: NOTHING,
        release: None,
    });
    let task = match kind {
        Kind::Preparation => {
            row.boot_id.clone_from(&node.row.facts.boot_id);
            &mut row.preparation
        }
        Kind::Release => row.release.get_or_insert(NOTHING),
    };
    task.attempt += 1;
    task.state = JobNodeTaskState::Running;
    task.placed = true;
    (task.started, task.ended, task.exit_code, task.result) = (None, None, None, None);
    let attempt = AttemptId { job: job_id.clone(), task: task_id, number: task.attempt };
    turn.record(Record::JobNode(Box::new(row.clone())));
    node.prepared_for.insert(job_id.clone());
    let room = node.room();
    node.hold(held(attempt.clone(), None));
    tenant.reindex(node_id, room);
    Some(attempt)
}

/// What a node holds of a preparation or release.
fn held(attempt: AttemptId, started: Option<Timestamp>) -> Held {
    Held { attempt, class: Arc::default(), of_job: true, started, heard: None, recalled: false }
}

/// What a loaded row says that its node holds.
pub(crate) fn held_by(job: &Job, row: &JobNodeRow) -> Option<Held> {
    let spec = &job.row.spec;
    let of = |id: &TaskId, task: &JobNodeTask| {
        let attempt = AttemptId { job: job.id().clone(), task: id.clone(), number: task.attempt };
        task.placed.then(|| held(attempt, task.started))
    };
    let preparation = spec.preparation.as_ref().and_then(|spec| of(&spec.id, &row.preparation));
    let release = || of(&spec.release.as_ref()?.id, row.release.as_ref()?);
    preparation.or_else(release)
}

/// Asks for the end of every preparation that is under way: the job is ending.
pub(crate) fn stop_preparations(tenant: &Tenant, turn: &mut Turn<'_>, job_id: &JobId) {
    let Some(job) = tenant.jobs.get(job_id) else { return };
    for (node, row) in job.nodes.iter().filter(|(_, row)| row.preparation.placed) {
        if let Some(held) = held_by(job, row) {
            let message = NodeMessage::Kill { attempts: vec![held.attempt], reason: KillReason::Terminated };
            tenant.tell(turn, node, message);
        }
    }
}

/// Why a held preparation or release is to be stopped, if it is.
pub(crate) fn ending(tenant: &Tenant, node_id: &NodeId, attempt: &AttemptId) -> Option<Ending> {
    let job = tenant.jobs.get(&attempt.job)?;
    let drain = tenant.nodes.get(node_id).and_then(|node| node.row.drain);
    let drained = drain.filter(|drain| drain.option != DrainOption::TaskCompletion);
    let leaves = drained.is_some_and(|drain| drain.then == AfterDrain::Leave);
    let over = matches!(job.row.state, JobState::Terminating | JobState::Deleting);
    let preparation = kind_of(job, &attempt.task) == Some(Kind::Preparation);
    (leaves || (preparation && (over || drained.is_some()))).then_some(Ending::Terminate)
}

/// Does what is to be done on nodes at the end of a job whose tasks are all over. True once nothing is left of it.
pub(crate) fn finish(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId) -> bool {
    let Some(job) = tenant.jobs.get(job_id) else { return true };
    if job.nodes.values().any(|row| row.preparation.placed) {
        return false;
    }
    // A job that has completed has run its release tasks already.
    if job.row.spec.release.is_some() && job.row.ended.is_none() {
        let ran = |task: &JobNodeTask| task.started.is_some() || task.retry_count > 0;
        let due = job.nodes.values().filter(|row| row.release.is_none() && ran(&row.preparation));
        let reachable = |node: &NodeId| {
            tenant.nodes.get(node).is_some_and(|node| {
                node.row.state != NodeState::Unknown
                    && node.row.state != NodeState::LeavingPool
                    && !node.is_restarting()
            })
        };
        let due: Vec<_> = due.map(|row| row.node.clone()).filter(|node| reachable(node)).collect();
        for node in due {
            if let Some(attempt) = begin(tenant, turn, job_id, &node, Kind::Release) {
                tenant.tell(turn, &node, NodeMessage::Dispatch { attempts: vec![attempt] });
            }
        }
    }
    let Some(job) = tenant.jobs.get(job_id) else { return true };
    !job.nodes.values().any(|row| row.release.as_ref().is_some_and(|release| release.placed))
}

/// Whether the preparation of a node was begun before its last boot, and the job wants it again after one.
pub(crate) fn is_of_earlier_boot(tenant: &Tenant, job: &Job, node_id: &NodeId) -> bool {
    let again = job.row.spec.preparation.as_ref().is_some_and(|s| s.rerun_on_node_reboot_after_success);
    let boot_id = tenant.nodes.get(node_id).map(|node| &node.row.facts.boot_id);
    again && job.nodes.get(node_id).map(|row| &row.boot_id) != boot_id
}

/// A node that was out of use for faults of its own is tried again: preparations that failed for such a fault are, too.
pub(crate) fn tried_again(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId) {
    let Some(node) = tenant.nodes.get(node_id) else { return };
    for id in &node.prepared_for {
        let Some(job) = tenant.jobs.get_mut(id) else { continue };
        let Some(row) = job.nodes.get_mut(node_id) else { continue };
        let preparation = &mut row.preparation;
        let category = preparation.failure.as_ref().map(|failure| failure.cause.category());
        let failed = preparation.result == Some(ExecutionResult::Failure) && !preparation.placed;
        if failed && category == Some(ErrorCategory::Server) {
            preparation.result = None;
            preparation.retry_count = 0;
            turn.record(Record::JobNode(Box::new(row.clone())));
            turn.dirty.insert(job.row.spec.pool.clone());
        }
    }
}

/// A node has booted anew: jobs that want it are prepared again with their next task there.
pub(crate) fn booted(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, boot_id: &str) {
    let Some(node) = tenant.nodes.get(node_id) else { return };
    let jobs: Vec<JobId> = node.prepared_for.iter().cloned().collect();
    for id in jobs {
        let Some(job) = tenant.jobs.get_mut(&id) else { continue };
        let again = job.row.spec.preparation.as_ref().is_some_and(|s| s.rerun_on_node_reboot_after_success);
        let Some(row) = job.nodes.get_mut(node_id) else { continue };
        if again && row.boot_id != boot_id && !row.preparation.placed && row.preparation.result.is_some() {
            row.preparation.result = None;
            row.preparation.retry_count = 0;
            turn.record(Record::JobNode(Box::new(row.clone())));
            turn.dirty.insert(job.row.spec.pool.clone());
        }
    }
}
