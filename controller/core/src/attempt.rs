//! One placement of a task: given to a node, asked to stop, and the ways in which its task goes on.
//!
//! These are the steps; when each is taken is decided elsewhere: `placement` places, clients and resizes stop, `custody`
//! deals with what nodes report. A stop never takes an attempt off its node: it asks, and notes what follows. Only an
//! attempt that still waits for the job's preparation is not with its node yet, and goes back at once.

use crate::effect::{KillReason, NodeMessage};
use crate::job_node;
use crate::node::Held;
use crate::planted::Planted;
use crate::record::Ending;
use crate::task::{Phase, TaskEvent};
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::cause::Cause;
use muster_model::state::ExecutionResult;
use muster_model::{AttemptId, FailureInfo, JobId, NodeId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most directories that a node is told to remove in one step: as many as its agent keeps at all.
const DIRECTORIES_MAX: usize = 50_000;

/// Gives a ready task's next attempt to a node. The caller has checked that it fits, and dispatches what is answered:
/// the attempt, or the job's preparation there, or nothing yet.
pub(crate) fn place(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
    node_id: &NodeId,
) -> Vec<AttemptId> {
    let (mut dispatch, prepared) = job_node::prepare(tenant, turn, job_id, node_id);
    let Some(node) = tenant.nodes.get_mut(node_id) else { return dispatch };
    let Some(job) = tenant.jobs.get_mut(job_id) else { return dispatch };
    let Some(task) = job.tasks.get_mut(task_id) else { return dispatch };
    let class = Arc::clone(&task.class);
    let progress = task.progress_mut();
    progress.attempt += 1;
    progress.node = Some(node_id.clone());
    progress.not_before = None;
    progress.started = None;
    progress.ended = None;
    progress.exit_code = None;
    progress.signal = None;
    let attempt = task.attempt_id(job_id);
    job.shift(turn, task_id, if prepared { TaskEvent::Place } else { TaskEvent::PlaceToPrepare });
    let room = node.room();
    node.hold(Held {
        attempt: attempt.clone(),
        class,
        of_job: false,
        started: None,
        heard: None,
        recalled: false,
    });
    tenant.reindex(node_id, room);
    if prepared {
        dispatch.push(attempt);
    }
    dispatch
}

/// Whether this attempt is the current one of its task and this node holds it.
pub(crate) fn is_current(tenant: &Tenant, node: &NodeId, attempt: &AttemptId) -> bool {
    if job_node::is_of_job(tenant, attempt) {
        return job_node::is_current(tenant, node, attempt);
    }
    tenant
        .task(&attempt.job, &attempt.task)
        .is_ok_and(|task| task.holder() == Some(node) && task.attempt() == attempt.number)
}

/// Whether a current attempt of a task has been given to its node: not while that is being prepared for the job.
pub(crate) fn is_with_node(tenant: &Tenant, node: &NodeId, attempt: &AttemptId) -> bool {
    let preparing = tenant.task(&attempt.job, &attempt.task).is_ok_and(|task| task.phase == Phase::Preparing);
    !preparing || job_node::is_prepared(tenant, &attempt.job, node)
}

/// Asks for a held attempt to be stopped and notes what follows; a stronger wish replaces a weaker one.
pub(crate) fn stop(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
    ending: Ending,
) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    let Some(task) = job.tasks.get_mut(task_id) else { return };
    let Some(holder) = task.holder().cloned() else { return };
    if task.ending() >= Some(ending) {
        return;
    }
    task.progress_mut().ending = Some(ending);
    let attempt = task.attempt_id(job_id);
    if !turn.settings.planted.has(Planted::ForgetRecord) {
        job.touch(turn, task_id);
    }
    if !is_with_node(tenant, &holder, &attempt) {
        return give_back(tenant, turn, &holder, &attempt);
    }
    tenant.tell(turn, &holder, NodeMessage::Kill { attempts: vec![attempt], reason: kill_reason(ending) });
}

/// Takes the attempt off its node; false if the node does not hold it.
pub(crate) fn let_go(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
) -> bool {
    let Some(node) = tenant.nodes.get_mut(node_id) else { return false };
    let room = node.room();
    let Some(held) = node.drop_attempt(attempt) else { return false };
    if turn.settings.planted.has(Planted::ReleaseTwice) {
        node.load = node.load.minus(&held.class.needs);
    }
    turn.dirty.insert(node.row.pool.clone());
    tenant.reindex(node_id, room);
    if held.started.is_some() {
        tenant.save_node(turn, node_id);
    }
    true
}

/// A current attempt of a task has not run and will not: what was asked for meanwhile is done, else its task waits again,
/// and nothing counts against it.
pub(crate) fn give_back(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId) {
    if !let_go(tenant, turn, node_id, attempt) {
        return;
    }
    let ending = tenant.task(&attempt.job, &attempt.task).ok().and_then(|task| task.ending());
    match ending {
        None | Some(Ending::Requeue) => release(tenant, turn, &attempt.job, &attempt.task),
        Some(Ending::Terminate) => complete_terminated(tenant, turn, &attempt.job, &attempt.task),
        Some(Ending::Delete) => remove(tenant, turn, &attempt.job, &attempt.task),
    }
}

pub(crate) const fn kill_reason(ending: Ending) -> KillReason {
    match ending {
        Ending::Requeue => KillReason::Requeued,
        Ending::Terminate | Ending::Delete => KillReason::Terminated,
    }
}

/// Ends a task for good. `satisfies`: whether tasks that wait for that may run.
pub(crate) fn complete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
    result: ExecutionResult,
    satisfies: bool,
) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    if let Some(task) = job.tasks.get_mut(task_id) {
        let progress = task.progress_mut();
        progress.ending = None;
        progress.satisfies = Some(satisfies);
        progress.ended = progress.ended.or(Some(turn.now));
        if result == ExecutionResult::Success {
            progress.failure = None;
        }
    }
    job.shift(turn, task_id, TaskEvent::Complete(result));
}

/// Why a task of this job counts as terminated.
pub(crate) fn terminated(reason: Option<&String>) -> FailureInfo {
    let message = match reason {
        Some(reason) => format!("the job was terminated ({reason})"),
        None => "the task was terminated on request".to_owned(),
    };
    FailureInfo::new(Cause::Terminated, message)
}

/// Completes a task that somebody ended, whatever its last attempt said.
pub(crate) fn complete_terminated(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    let failure = terminated(job.row.terminate_reason.as_ref());
    if let Some(task) = job.tasks.get_mut(task_id) {
        task.progress_mut().failure = Some(failure);
    }
    complete(tenant, turn, job_id, task_id, ExecutionResult::Failure, false);
}

/// Lets a task wait again after its attempt is over.
pub(crate) fn release(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, task_id: &TaskId) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    if let Some(task) = job.tasks.get_mut(task_id) {
        task.progress_mut().ending = None;
    }
    job.shift(turn, task_id, TaskEvent::Release);
    tenant.requeue_job(job_id);
}

/// Removes a task whose attempt is over.
pub(crate) fn remove(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, task_id: &TaskId) {
    clear_directories(tenant, turn, job_id, Some(task_id));
    if let Some(job) = tenant.jobs.get_mut(job_id) {
        job.remove(turn, task_id);
    }
    tenant.requeue_job(job_id);
}

/// Has the files removed that the last attempts of a task, or of all tasks of a job, left on their nodes. A node out of contact
/// keeps them until their retention ends, and so does one on which only an earlier attempt ran.
pub(crate) fn clear_directories(tenant: &Tenant, turn: &mut Turn<'_>, job_id: &JobId, only: Option<&TaskId>) {
    let Some(job) = tenant.jobs.get(job_id) else { return };
    let mut by_node: BTreeMap<&NodeId, Vec<AttemptId>> = BTreeMap::new();
    let one = only.and_then(|id| job.tasks.get(id));
    let all = only.is_none().then(|| job.tasks.values());
    for task in one.into_iter().chain(all.into_iter().flatten()) {
        let Some(progress) = task.progress_ref().filter(|progress| progress.attempt > 0) else { continue };
        let Some(node) = &progress.node else { continue };
        let attempts = by_node.entry(node).or_default();
        if attempts.len() < DIRECTORIES_MAX {
            attempts.push(AttemptId { job: job_id.clone(), task: task.id.clone(), number: progress.attempt });
        }
    }
    for (node, attempts) in by_node {
        tenant.tell(turn, node, NodeMessage::RemoveDirectories { attempts });
    }
}
