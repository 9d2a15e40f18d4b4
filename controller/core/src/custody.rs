//! What a node says about an attempt, or what is concluded when it says nothing more: started, given back, ended.
//!
//! Every word is checked against the task first: only the current attempt on the node that holds it counts, anything else
//! is stale and changes nothing (promise 2). Whether a failure is followed by another attempt is decided in `retry`; job
//! and node look afterwards whether they move on.

use crate::attempt::{self, is_current};
use crate::record::{AttemptRow, Ending, FileRow, Record};
use crate::retry::{self, Failed, Verdict};
use crate::task::TaskEvent;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use crate::{job_life, resize};
use muster_model::state::ExecutionResult;
use muster_model::{AttemptId, AttemptResult, NodeId, Timestamp};

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
    tenant.save_node(turn, node_id);
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
        None | Some(Ending::Requeue) => attempt::release(tenant, turn, &attempt.job, &attempt.task),
        Some(Ending::Terminate) => attempt::complete_terminated(tenant, turn, &attempt.job, &attempt.task),
        Some(Ending::Delete) => attempt::remove(tenant, turn, &attempt.job, &attempt.task),
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
        attempt::remove(tenant, turn, &attempt.job, &attempt.task);
    } else {
        publish(turn, node_id, attempt, &result);
        conclude(tenant, turn, attempt, ending, result, may_have_run);
    }
    job_life::settle(tenant, turn, &attempt.job);
    resize::release_if_leaving(tenant, turn, node_id);
}

/// Takes the attempt off its node.
fn let_go(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId) -> bool {
    let Some(node) = tenant.nodes.get_mut(node_id) else { return false };
    let room = node.room();
    let Some(held) = node.drop_attempt(attempt) else { return false };
    turn.dirty.insert(node.row.pool.clone());
    tenant.reindex(node_id, room);
    if held.running {
        tenant.save_node(turn, node_id);
    }
    true
}

fn count_on_node(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, result: &AttemptResult) {
    if let Some(node) = tenant.nodes.get_mut(node_id) {
        node.row.tasks_run += 1;
        node.row.tasks_succeeded += u64::from(result.result == ExecutionResult::Success);
    }
    tenant.save_node(turn, node_id);
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
        return attempt::complete(tenant, turn, job_id, task_id, ExecutionResult::Success);
    };
    match ending {
        Some(Ending::Terminate | Ending::Delete) => {
            return attempt::complete_terminated(tenant, turn, job_id, task_id);
        }
        Some(Ending::Requeue) => {
            if let Some(job) = tenant.jobs.get_mut(job_id)
                && let Some(task) = job.tasks.get_mut(task_id)
            {
                task.progress_mut().requeue_count += 1;
            }
            return attempt::release(tenant, turn, job_id, task_id);
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
            turn.wake(at, Deadline::Retry(turn.account.clone(), job_id.clone(), task_id.clone()));
        }
        Verdict::Fail(failure) => {
            task.progress_mut().failure = Some(failure);
            return attempt::complete(tenant, turn, job_id, task_id, ExecutionResult::Failure);
        }
    }
    attempt::release(tenant, turn, job_id, task_id);
}
