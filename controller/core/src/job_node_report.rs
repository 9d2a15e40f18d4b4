//! What nodes report about preparation and release tasks, and what follows: as `custody` is for ordinary tasks.
//!
//! A success sends the tasks that waited for it out; a failure for good sends them back to waiting for any node, and keeps
//! the job off this one; a node that was lost is as if it had never been prepared. The steps are in `job_node`.

use crate::attempt;
use crate::effect::NodeMessage;
use crate::job::Job;
use crate::job_node::{self, Kind};
use crate::record::{JobNodeTask, Record};
use crate::task::Phase;
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::{job_life, node_life};
use muster_model::cause::{Cause, ErrorCategory};
use muster_model::spec::RetryLimit;
use muster_model::state::{ExecutionResult, JobNodeTaskState, JobState, NodeState};
use muster_model::{AttemptId, AttemptResult, FailureInfo, JobId, NodeId, Timestamp};

/// Changes the task that a current attempt is of, and records it.
fn change(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
    with: impl FnOnce(&mut JobNodeTask),
) {
    let Some(job) = tenant.jobs.get_mut(&attempt.job) else { return };
    let Some(kind) = job_node::kind_of(job, &attempt.task) else { return };
    let Some(row) = job.nodes.get_mut(node_id) else { return };
    match kind {
        Kind::Preparation => with(&mut row.preparation),
        Kind::Release => {
            if let Some(release) = &mut row.release {
                with(release);
            }
        }
    }
    turn.record(Record::JobNode(Box::new(row.clone())));
}

/// The node has started it.
pub(crate) fn started(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
    time: Timestamp,
) {
    let marked = tenant.nodes.get_mut(node_id).is_some_and(|node| node.mark_running(attempt, time, turn.now));
    if marked {
        change(tenant, turn, node_id, attempt, |task| task.started = Some(time));
    }
}

/// It never ran: the node gives it back, or never had it.
pub(crate) fn returned(tenant: &mut Tenant, turn: &mut Turn<'_>, node_id: &NodeId, attempt: &AttemptId) {
    if !attempt::let_go(tenant, turn, node_id, attempt) {
        return;
    }
    let failure = FailureInfo::new(Cause::NodeLost, format!("node '{node_id}' did not take it"));
    ended(tenant, turn, node_id, attempt, AttemptResult::not_started(failure, turn.now));
}

/// It is over. The caller has taken it off the node.
pub(crate) fn ended(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    node_id: &NodeId,
    attempt: &AttemptId,
    result: AttemptResult,
) {
    let Some(job) = tenant.jobs.get(&attempt.job) else { return };
    let Some(kind) = job_node::kind_of(job, &attempt.task) else { return };
    let Some(task) = job.nodes.get(node_id).and_then(|row| job_node::task_of(row, kind)) else { return };
    let next = what_next(tenant, turn, job, kind, task, node_id, &result);
    let now = turn.now;
    change(tenant, turn, node_id, attempt, |task| {
        task.placed = false;
        task.state = JobNodeTaskState::Completed;
        task.started = result.start_time.or(task.started);
        task.ended = Some(result.end_time);
        task.exit_code = result.exit_code;
        task.failure = result.failure;
        match next {
            Next::Again => {
                task.retry_count += 1;
                task.last_retry = Some(now);
            }
            Next::Over => task.result = Some(result.result),
            Next::Forget => {}
        }
    });
    let over_well = next == Next::Over && result.result == ExecutionResult::Success;
    match (kind, next) {
        (_, Next::Again) => {
            if let Some(attempt) = job_node::begin(tenant, turn, &attempt.job, node_id, kind) {
                tenant.tell(turn, node_id, NodeMessage::Dispatch { attempts: vec![attempt] });
            }
        }
        (Kind::Preparation, Next::Over) if over_well => send_out(tenant, turn, &attempt.job, node_id),
        (Kind::Preparation, Next::Over | Next::Forget) => send_back(tenant, turn, &attempt.job, node_id),
        (Kind::Release, Next::Over | Next::Forget) => {}
    }
    job_life::settle(tenant, turn, &attempt.job);
    node_life::look(tenant, turn, node_id);
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is tried again on the node.
    Again,
    /// It has ended for good.
    Over,
    /// It is as if it had not been.
    Forget,
}

fn what_next(
    tenant: &Tenant,
    turn: &Turn<'_>,
    job: &Job,
    kind: Kind,
    task: &JobNodeTask,
    node_id: &NodeId,
    result: &AttemptResult,
) -> Next {
    if kind == Kind::Preparation && job_node::is_of_earlier_boot(tenant, job, node_id) {
        return Next::Forget;
    }
    let Some(failure) = result.failure.as_ref().filter(|_| result.result == ExecutionResult::Failure) else {
        return Next::Over;
    };
    let ending = match job.row.state {
        JobState::Terminating | JobState::Completed | JobState::Deleting => true,
        JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling => false,
    };
    let leaving = tenant.nodes.get(node_id).is_none_or(|node| node.row.state == NodeState::LeavingPool);
    if kind == Kind::Release || ending {
        return Next::Over;
    }
    // The controller itself ends a preparation when its node is drained.
    if leaving || matches!(failure.cause, Cause::NodeLost | Cause::Terminated) {
        return Next::Forget;
    }
    let limit = match failure.cause.category() {
        ErrorCategory::User => {
            let own = job.row.spec.preparation.as_ref().and_then(|s| s.constraints.max_task_retry_count);
            own.unwrap_or(RetryLimit::Times(0))
        }
        ErrorCategory::Server => RetryLimit::Times(turn.settings.server_retries_max),
    };
    if limit.allows_another(task.retry_count) { Next::Again } else { Next::Over }
}

/// The tasks of a job that wait on a node for its preparation.
fn waiting_on(tenant: &Tenant, job_id: &JobId, node_id: &NodeId) -> Vec<AttemptId> {
    let Some(job) = tenant.jobs.get(job_id) else { return Vec::new() };
    let Some(node) = tenant.nodes.get(node_id) else { return Vec::new() };
    let of_job = node.held.values().filter(|held| held.attempt.job == *job_id && !held.of_job);
    let waits =
        |attempt: &AttemptId| job.tasks.get(&attempt.task).is_some_and(|task| task.phase == Phase::Preparing);
    let mut waiting: Vec<_> = of_job.map(|held| held.attempt.clone()).filter(waits).collect();
    waiting.sort_by_key(|attempt| job.tasks.get(&attempt.task).map(|task| task.sequence));
    waiting
}

/// The node is prepared: the tasks that waited for that go out to it.
fn send_out(tenant: &Tenant, turn: &mut Turn<'_>, job_id: &JobId, node_id: &NodeId) {
    let attempts = waiting_on(tenant, job_id, node_id);
    if !attempts.is_empty() {
        tenant.tell(turn, node_id, NodeMessage::Dispatch { attempts });
    }
}

/// The node will not be prepared now: the tasks that waited for that go back to waiting for any node.
fn send_back(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, node_id: &NodeId) {
    for attempt in waiting_on(tenant, job_id, node_id) {
        attempt::give_back(tenant, turn, node_id, &attempt);
    }
}
