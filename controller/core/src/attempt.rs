//! One placement of a task: given to a node, asked to stop, and the ways in which its task goes on.
//!
//! These are the steps; when each is taken is decided elsewhere: `placement` places, clients and resizes stop, `custody`
//! deals with what nodes report. A stop never takes an attempt off its node: it asks, and notes what follows.

use crate::effect::{KillReason, NodeMessage};
use crate::node::Held;
use crate::record::Ending;
use crate::task::TaskEvent;
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::cause::Cause;
use muster_model::state::ExecutionResult;
use muster_model::{AttemptId, FailureInfo, JobId, NodeId, TaskId};

/// Gives a ready task's next attempt to a node. The caller has checked that it fits and dispatches it.
pub(crate) fn place(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
    node_id: &NodeId,
) -> Option<AttemptId> {
    let node = tenant.nodes.get_mut(node_id)?;
    let job = tenant.jobs.get_mut(job_id)?;
    let task = job.tasks.get_mut(task_id)?;
    let needs = task.needs;
    let progress = task.progress_mut();
    progress.attempt += 1;
    progress.node = Some(node_id.clone());
    progress.not_before = None;
    progress.started = None;
    progress.ended = None;
    progress.exit_code = None;
    progress.signal = None;
    let attempt = task.attempt_id(job_id);
    job.shift(turn, task_id, TaskEvent::Place);
    let room = node.room();
    node.hold(Held { attempt: attempt.clone(), needs, running: false, recalled: false });
    tenant.reindex(node_id, room);
    Some(attempt)
}

/// Whether this attempt is the current one of its task and this node holds it.
pub(crate) fn is_current(tenant: &Tenant, node: &NodeId, attempt: &AttemptId) -> bool {
    tenant
        .task(&attempt.job, &attempt.task)
        .is_ok_and(|task| task.holder() == Some(node) && task.attempt() == attempt.number)
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
    job.touch(turn, task_id);
    if let Some(session) = tenant.nodes.get(&holder).and_then(|node| node.contact.session) {
        let message = NodeMessage::Kill { attempts: vec![attempt], reason: kill_reason(ending) };
        turn.tell(&holder, session, message);
    }
}

pub(crate) const fn kill_reason(ending: Ending) -> KillReason {
    match ending {
        Ending::Requeue => KillReason::Requeued,
        Ending::Terminate | Ending::Delete => KillReason::Terminated,
    }
}

/// Ends a task for good.
pub(crate) fn complete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
    result: ExecutionResult,
) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    if let Some(task) = job.tasks.get_mut(task_id) {
        let progress = task.progress_mut();
        progress.ending = None;
        progress.ended = progress.ended.or(Some(turn.now));
        if result == ExecutionResult::Success {
            progress.failure = None;
        }
    }
    job.shift(turn, task_id, TaskEvent::Complete(result));
}

/// Completes a task that somebody ended, whatever its last attempt said.
pub(crate) fn complete_terminated(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    task_id: &TaskId,
) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    let message = match &job.row.terminate_reason {
        Some(reason) => format!("the job was terminated ({reason})"),
        None => "the task was terminated on request".to_owned(),
    };
    if let Some(task) = job.tasks.get_mut(task_id) {
        task.progress_mut().failure = Some(FailureInfo::new(Cause::Terminated, message));
    }
    complete(tenant, turn, job_id, task_id, ExecutionResult::Failure);
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
    if let Some(job) = tenant.jobs.get_mut(job_id) {
        job.remove(turn, task_id);
    }
    tenant.requeue_job(job_id);
}
