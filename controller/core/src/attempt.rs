//! One placement of a task, from the node that gets it to what follows its end.
//!
//! Every word about an attempt is checked against the task first: only the current attempt on the node that holds it
//! counts, anything else is stale and changes nothing (promise 2). Whether a failure is followed by another attempt is
//! decided in `retry`; where that goes in `placement`.

use crate::effect::{KillReason, NodeMessage};
use crate::node::Held;
use crate::record::{AttemptRow, Ending, FileRow, Record};
use crate::retry::{self, Failed, Verdict};
use crate::task::TaskEvent;
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::{job_life, resize};
use muster_model::cause::Cause;
use muster_model::state::ExecutionResult;
use muster_model::{AttemptId, AttemptResult, FailureInfo, JobId, NodeId, TaskId, Timestamp};

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

/// The node has started an attempt. Stale and repeated words change nothing.
pub(crate) fn started(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
    time: Timestamp,
) {
    if !is_current(tenant, node_id, attempt) {
        return;
    }
    let Some(node) = tenant.nodes.get_mut(node_id) else { return };
    if !node.mark_running(attempt) {
        return;
    }
    if let Some(job) = tenant.jobs.get_mut(&attempt.job) {
        if let Some(task) = job.tasks.get_mut(&attempt.task) {
            task.progress_mut().started = Some(time);
        }
        job.shift(turn, &attempt.task, TaskEvent::Start);
    }
    save_node(tenant, turn, node_id);
}

/// An attempt that was recalled had not started: its task waits again, and nothing counts against it.
pub(crate) fn returned(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId) {
    if !is_current(tenant, node_id, attempt) {
        return;
    }
    if !let_go(tenant, turn, node_id, attempt) {
        return;
    }
    let ending = tenant.task(&attempt.job, &attempt.task).ok().and_then(|task| task.ending());
    match ending {
        None | Some(Ending::Requeue) => release(tenant, turn, &attempt.job, &attempt.task),
        Some(Ending::Terminate) => complete_terminated(tenant, turn, &attempt.job, &attempt.task),
        Some(Ending::Delete) => remove(tenant, turn, &attempt.job, &attempt.task),
    }
    job_life::settle(tenant, turn, &attempt.job);
    resize::release_if_leaving(tenant, turn, node_id);
}

/// How an attempt came to its end.
pub(crate) struct End {
    pub(crate) result: AttemptResult,
    /// Whether the command ran, or may have run.
    pub(crate) may_have_run: bool,
}

/// An attempt is over: the ledger gets its line, its outputs are published, the task goes on.
pub(crate) fn ended(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
    end: End,
) {
    if !is_current(tenant, node_id, attempt) || !let_go(tenant, turn, node_id, attempt) {
        return;
    }
    let End { result, may_have_run } = end;
    count_on_node(tenant, turn, node_id, &result);
    let Some(job) = tenant.jobs.get_mut(&attempt.job) else { return };
    if let Some(start) = result.start_time {
        job.pace.note(result.end_time.since(start));
    }
    let Some(task) = job.tasks.get_mut(&attempt.task) else { return };
    let ending = task.ending();
    let progress = task.progress_mut();
    progress.exit_code = result.exit_code;
    progress.signal = result.signal;
    progress.started = result.start_time.or(progress.started);
    progress.ended = Some(result.end_time);
    progress.failure = result.failure.clone();
    if ending == Some(Ending::Delete) {
        remove(tenant, turn, &attempt.job, &attempt.task);
    } else {
        publish(turn, node_id, attempt, &result);
        conclude(tenant, turn, attempt, ending, result, may_have_run);
    }
    job_life::settle(tenant, turn, &attempt.job);
    resize::release_if_leaving(tenant, turn, node_id);
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

/// Takes the attempt off its node.
fn let_go(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId) -> bool {
    let Some(node) = tenant.nodes.get_mut(node_id) else { return false };
    let room = node.room();
    let Some(held) = node.drop_attempt(attempt) else { return false };
    turn.dirty.insert(node.row.pool.clone());
    tenant.reindex(node_id, room);
    if held.running {
        save_node(tenant, turn, node_id);
    }
    true
}

fn count_on_node(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, result: &AttemptResult) {
    if let Some(node) = tenant.nodes.get_mut(node_id) {
        node.row.tasks_run += 1;
        node.row.tasks_succeeded += u64::from(result.result == ExecutionResult::Success);
    }
    save_node(tenant, turn, node_id);
}

/// Brings a node's state up to date with what it runs, and records it.
pub(crate) fn save_node(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(node_id) else { return };
    let room = node.room();
    if node.contact.session.is_some()
        && let Some(pool) = tenant.pools.get(&node.row.pool)
    {
        let state = node.settled_state(&pool.row.spec);
        node.enter(state, turn.now);
    }
    node.save(turn);
    tenant.reindex(node_id, room);
}

fn publish(turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId, result: &AttemptResult) {
    let (account, now) = (turn.account.clone(), turn.now);
    for output in &result.outputs {
        turn.record(Record::File(FileRow {
            account: account.clone(),
            container: output.container.clone(),
            path: output.path.clone(),
            digest: output.digest,
            size: output.size,
            modified: now,
        }));
    }
    turn.record(Record::Attempt(Box::new(AttemptRow {
        account,
        job: attempt.job.clone(),
        task: attempt.task.clone(),
        number: attempt.number,
        node: node_id.clone(),
        result: result.clone(),
    })));
}

/// What becomes of the task.
fn conclude(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    attempt: &AttemptId,
    ending: Option<Ending>,
    result: AttemptResult,
    may_have_run: bool,
) {
    let (job_id, task_id) = (&attempt.job, &attempt.task);
    let Some(failure) = result.failure.filter(|_| result.result == ExecutionResult::Failure) else {
        return complete(tenant, turn, job_id, task_id, ExecutionResult::Success);
    };
    match ending {
        Some(Ending::Terminate | Ending::Delete) => {
            return complete_terminated(tenant, turn, job_id, task_id);
        }
        Some(Ending::Requeue) => {
            if let Some(job) = tenant.jobs.get_mut(job_id)
                && let Some(task) = job.tasks.get_mut(task_id)
            {
                task.progress_mut().requeue_count += 1;
            }
            return release(tenant, turn, job_id, task_id);
        }
        None => {}
    }
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    let Some(task) = job.tasks.get(task_id) else { return };
    let progress = task.progress();
    let verdict = retry::after(
        Failed {
            failure,
            may_have_run,
            limit: job.retry_limit(task),
            retry_count: progress.retry_count,
            server_retry_count: progress.server_retry_count,
        },
        turn.settings,
        turn.now,
    );
    let Some(task) = job.tasks.get_mut(task_id) else { return };
    match verdict {
        Verdict::RetryUser => task.progress_mut().retry_count += 1,
        Verdict::RetryServer(at) => {
            task.progress_mut().server_retry_count += 1;
            task.progress_mut().not_before = Some(at);
            turn.wake(
                at,
                crate::timer::Deadline::Retry(turn.account.clone(), job_id.clone(), task_id.clone()),
            );
        }
        Verdict::Fail(failure) => {
            task.progress_mut().failure = Some(failure);
            return complete(tenant, turn, job_id, task_id, ExecutionResult::Failure);
        }
    }
    release(tenant, turn, job_id, task_id);
}

fn complete(
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

fn release(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, task_id: &TaskId) {
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    if let Some(task) = job.tasks.get_mut(task_id) {
        task.progress_mut().ending = None;
    }
    job.shift(turn, task_id, TaskEvent::Release);
    tenant.requeue_job(job_id);
}

fn remove(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, task_id: &TaskId) {
    if let Some(job) = tenant.jobs.get_mut(job_id) {
        job.remove(turn, task_id);
    }
    tenant.requeue_job(job_id);
}
