//! What a node says about an attempt, or what is concluded when it says nothing more: started, given back, ended.
//!
//! Every word is checked against the task first: only the current attempt on the node that holds it counts, anything else
//! is stale and changes nothing (promise 2). Whether a failure is followed by another attempt is decided in `retry`, what an
//! end means to others in `exit`; job and node look afterwards whether they move on. Preparation and release tasks go
//! their own way in `job_node_report`.

use crate::attempt::{self, is_current};
use crate::exit::{self, Consequence, Exit};
use crate::health;
use crate::job::Job;
use crate::planted::Planted;
use crate::record::{AttemptRow, Ending, FileRow, Record};
use crate::retry::{self, Failed, Verdict};
use crate::task::{Phase, Task, TaskEvent};
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use crate::{job_life, job_node, job_node_report, node_life, probation};
use muster_model::cause::{Cause, ErrorCategory};
use muster_model::state::ExecutionResult;
use muster_model::{AttemptId, AttemptResult, FailureInfo, NodeId, TaskId, Timestamp};

/// How many nodes at fault a task remembers: more than it has tries for server errors.
const AVOID_MAX: usize = 8;

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
    if job_node::is_of_job(tenant, attempt) {
        return job_node_report::started(tenant, turn, node_id, attempt, time);
    }
    let Some(node) = tenant.nodes.get_mut(node_id) else { return };
    if !node.mark_running(attempt, time, turn.now) {
        return;
    }
    if let Some(job) = tenant.jobs.get_mut(&attempt.job) {
        if let Some(task) = job.tasks.get_mut(&attempt.task) {
            task.progress_mut().started = Some(time);
        }
        job.shift(turn, &attempt.task, TaskEvent::Start);
    }
    if let Some(node) = tenant.nodes.get(node_id) {
        probation::started(node, turn);
    }
    tenant.save_node(turn, node_id);
}

/// An attempt that was recalled had not started: its task waits again, and nothing counts against it.
pub(crate) fn returned(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId) {
    if !is_current(tenant, node_id, attempt) {
        return;
    }
    if job_node::is_of_job(tenant, attempt) {
        return job_node_report::returned(tenant, turn, node_id, attempt);
    }
    attempt::give_back(tenant, turn, node_id, attempt);
    job_life::settle(tenant, turn, &attempt.job);
    node_life::look(tenant, turn, node_id);
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
    #[cfg(feature = "planted")]
    let (node_id, attempt) = &taken_for(tenant, turn, node_id, attempt);
    if !is_current(tenant, node_id, attempt) || !attempt::let_go(tenant, turn, node_id, attempt) {
        return;
    }
    let End { result, may_have_run } = end;
    judge(tenant, turn, node_id, attempt, &result);
    if job_node::is_of_job(tenant, attempt) {
        return job_node_report::ended(tenant, turn, node_id, attempt, result);
    }
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
        conclude(tenant, turn, node_id, attempt, ending, result, may_have_run);
    }
    job_life::settle(tenant, turn, &attempt.job);
    node_life::look(tenant, turn, node_id);
}

/// The planted fault of accepting what is stale: the attempt that is current in place of the one that was named.
#[cfg(feature = "planted")]
fn taken_for(tenant: &Tenant, turn: &Turn<'_>, node_id: &NodeId, attempt: &AttemptId) -> (NodeId, AttemptId) {
    let task = tenant.task(&attempt.job, &attempt.task).ok();
    match task
        .filter(|_| turn.settings.planted.has(Planted::AcceptStale))
        .and_then(|task| Some((task, task.holder()?)))
    {
        Some((task, holder)) => (holder.clone(), task.attempt_id(&attempt.job)),
        None => (node_id.clone(), attempt.clone()),
    }
}

/// What the end of an attempt says about its node.
fn judge(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
    result: &AttemptResult,
) {
    // What was to be stopped may end in any way.
    let task = tenant.task(&attempt.job, &attempt.task).ok();
    let of_task = task.and_then(|task| task.ending());
    let heard = task.filter(|task| task.phase == Phase::Running).map(|task| task.progress().since);
    if result.start_time.is_none() && of_task.or_else(|| job_node::ending(tenant, node_id, attempt)).is_some()
    {
        return;
    }
    let Some(node) = tenant.nodes.get_mut(node_id) else { return };
    let before = node.row.probation.clone();
    probation::note(node, turn, attempt, heard, result);
    if node.row.probation != before {
        tenant.save_node(turn, node_id);
        health::spare(tenant, turn, node_id);
    }
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
    node_id: &NodeId,
    attempt: &AttemptId,
    ending: Option<Ending>,
    result: AttemptResult,
    may_have_run: bool,
) {
    let (job_id, task_id) = (&attempt.job, &attempt.task);
    let exit = Exit {
        result: result.result,
        exit_code: result.exit_code,
        cause: result.failure.as_ref().map(|failure| failure.cause),
        ran: may_have_run,
    };
    let Some(failure) = result.failure.filter(|_| result.result == ExecutionResult::Failure) else {
        return conclude_for_good(tenant, turn, attempt, exit);
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
                task.progress_mut().last_requeue = Some(turn.now);
            }
            return attempt::release(tenant, turn, job_id, task_id);
        }
        None => {}
    }
    let Some(job) = tenant.jobs.get_mut(job_id) else { return };
    note_fault(job, task_id, node_id, failure.cause, may_have_run);
    let Some(task) = job.tasks.get(task_id) else { return };
    match retry::after(failed(job, task, failure, may_have_run), turn.settings, turn.now) {
        Verdict::Fail(failure) => {
            if let Some(task) = job.tasks.get_mut(task_id) {
                task.progress_mut().failure = Some(failure);
            }
            return conclude_for_good(tenant, turn, attempt, exit);
        }
        Verdict::RetryUser => {
            let Some(task) = job.tasks.get_mut(task_id) else { return };
            task.progress_mut().retry_count += 1;
            task.progress_mut().last_retry = Some(turn.now);
        }
        Verdict::RetryServer(at) => {
            let Some(task) = job.tasks.get_mut(task_id) else { return };
            task.progress_mut().server_retry_count += 1;
            task.progress_mut().not_before = Some(at);
            if !turn.settings.planted.has(Planted::ForgetRequeue) {
                turn.wake(at, Deadline::Retry(turn.account.clone(), job_id.clone(), task_id.clone()));
            }
        }
        Verdict::RetryWithMemory(bytes) => job.give_memory(task_id, bytes),
    }
    attempt::release(tenant, turn, job_id, task_id);
}

/// Notes on the task which nodes were at fault, and which were lost under it.
fn note_fault(job: &mut Job, task_id: &TaskId, node_id: &NodeId, cause: Cause, may_have_run: bool) {
    let Some(task) = job.tasks.get_mut(task_id) else { return };
    if cause.category() != ErrorCategory::Server {
        return;
    }
    let progress = task.progress_mut();
    progress.avoid.retain(|node| node != node_id);
    progress.avoid.push(node_id.clone());
    if progress.avoid.len() > AVOID_MAX {
        progress.avoid.remove(0);
    }
    if cause == Cause::NodeLost && may_have_run && !progress.nodes_lost.contains(node_id) {
        progress.nodes_lost.push(node_id.clone());
    }
}

/// What the rule of retries needs to know.
fn failed(job: &Job, task: &Task, failure: FailureInfo, may_have_run: bool) -> Failed {
    let progress = task.progress();
    Failed {
        failure,
        may_have_run,
        limit: job.retry_limit(task),
        retry_count: progress.retry_count,
        server_retry_count: progress.server_retry_count,
        more_memory: task.escalation().and_then(|escalation| escalation.next(task.class.needs.memory_bytes)),
        nodes_lost: progress.nodes_lost,
    }
}

/// The task has ended by itself, and what follows from that does.
fn conclude_for_good(tenant: &mut Tenant, turn: &mut Turn<'_>, attempt: &AttemptId, exit: Exit) {
    let (job_id, task_id) = (&attempt.job, &attempt.task);
    let Some(job) = tenant.jobs.get(job_id) else { return };
    let traits = job.tasks.get(task_id).and_then(|task| task.traits().cloned());
    let conditions = traits.as_ref().and_then(|traits| traits.exit_conditions.as_ref());
    let Consequence { job: action, satisfies } = exit::consequence(conditions, exit);
    attempt::complete(tenant, turn, job_id, task_id, exit.result, satisfies);
    job_life::after_task(tenant, turn, job_id, action);
}
