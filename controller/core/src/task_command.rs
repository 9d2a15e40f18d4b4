//! What clients may do with tasks: add, change, terminate, reactivate, delete.
//!
//! Each refusal comes before the first change. Adding treats every task by itself, so one bad task in a thousand costs
//! only that one. A member of a sweep is named like any task; it becomes one when something happens to it alone.

use crate::attempt;
use crate::book::Found;
use crate::dependency::Waiter;
use crate::effect::NodeMessage;
use crate::job::Job;
use crate::record::{Ending, TaskSpecRow};
use crate::reject::Reject;
use crate::reply::{Reply, TaskRefused};
use crate::task::{Phase, TaskEvent};
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::{job_life, job_node, users};
use muster_model::spec::{DependsOn, TaskConstraints, TaskSpec};
use muster_model::state::{ExecutionResult, JobState, TaskState};
use muster_model::{JobId, TaskId};

pub(crate) fn add(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    tasks: Vec<TaskSpec>,
) -> Result<Reply, Reject> {
    refuse_ended(tenant.job(job_id)?)?;
    let mut refused = Vec::new();
    for (index, spec) in (0u32..).zip(tasks) {
        if let Err(reject) = add_one(tenant, turn, job_id, spec) {
            refused.push(TaskRefused::new(index, &reject));
        }
    }
    tenant.requeue_job(job_id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Tasks(refused))
}

/// Nothing is added to a job that has ended.
pub(crate) fn refuse_ended(job: &Job) -> Result<(), Reject> {
    match job.row.state {
        JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling => Ok(()),
        state @ (JobState::Terminating | JobState::Completed | JobState::Deleting) => {
            let wanted = "tasks can only be added to a job that has not ended";
            Err(Reject::JobState { job: job.id().clone(), state, wanted })
        }
    }
}

fn add_one(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, spec: TaskSpec) -> Result<(), Reject> {
    refuse_task(tenant, job_id, &spec)?;
    let row = TaskSpecRow {
        account: turn.account.clone(),
        job: job_id.clone(),
        sequence: turn.next_sequence(),
        created: turn.now,
        spec,
    };
    tenant.job_mut(job_id)?.take_in(turn, row);
    Ok(())
}

/// Refuses a task that cannot be added.
pub(crate) fn refuse_task(tenant: &Tenant, job_id: &JobId, spec: &TaskSpec) -> Result<(), Reject> {
    let job = tenant.job(job_id)?;
    if let Some(found) = job.find(&spec.id) {
        return Err(Reject::TaskExists { job: job_id.clone(), task: found.id() });
    }
    if let Some(what) = job_node::reserved(job, &spec.id) {
        return Err(Reject::TaskIdReserved { task: spec.id.clone(), what });
    }
    refuse_hopeless(tenant, job, &spec.id, spec)?;
    refuse_bad_dependencies(job, &Waiter::Task(spec.id.clone()), &spec.depends_on)
}

/// Refuses what no node of the job's pool could ever run, while there is such a pool.
pub(crate) fn refuse_hopeless(
    tenant: &Tenant,
    job: &Job,
    task: &TaskId,
    spec: &TaskSpec,
) -> Result<(), Reject> {
    if let Some(pool) = tenant.pools.get(job.pool()) {
        let (wanted, offered) = (spec.resources.slots, pool.row.spec.task_slots_per_node);
        if wanted > offered {
            let (pool, task) = (job.pool().clone(), task.clone());
            return Err(Reject::TooManySlots { pool, task, offered, wanted });
        }
        users::refuse_unknown(&pool.row.spec, &spec.user_identity, || format!("task '{task}'"))?;
    }
    Ok(())
}

pub(crate) fn refuse_bad_dependencies(
    job: &Job,
    waiter: &Waiter,
    depends_on: &DependsOn,
) -> Result<(), Reject> {
    if depends_on.is_empty() {
        return Ok(());
    }
    let task = match waiter {
        Waiter::Task(id) => id.clone(),
        Waiter::Sweep(id) => id.as_task_id(),
    };
    if !job.row.spec.uses_task_dependencies {
        return Err(Reject::TaskDependenciesNotSpecifiedOnJob { job: job.id().clone(), task });
    }
    match job.graph.cycle(waiter, depends_on, &job.book()) {
        None => Ok(()),
        Some(way) => {
            let chain = way.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ");
            Err(Reject::DependencyCycle { task, chain })
        }
    }
}

/// The task of that name and its phase, if it is what the caller has read.
fn look(
    tenant: &Tenant,
    job_id: &JobId,
    id: &TaskId,
    if_match: Option<u64>,
) -> Result<(TaskId, Phase), Reject> {
    let missing = || Reject::TaskNotFound { job: job_id.clone(), task: id.clone() };
    let found = tenant.job(job_id)?.find(id).ok_or_else(missing)?;
    if let (Some(given), Some(current)) = (if_match, found.revision())
        && given != current
    {
        let what = format!("task '{id}' of job '{job_id}'");
        return Err(Reject::EtagMismatch { what, given, current });
    }
    Ok((found.id(), found.phase()))
}

/// Makes a member of a sweep that is no task yet one.
fn own(job: &mut Job, turn: &mut Turn<'_>, id: &TaskId) {
    if let Some(Found::Member(sweep, index, _)) = job.find(id) {
        let sweep = sweep.id.clone();
        job.take_out(turn, &sweep, index, false);
    }
}

pub(crate) fn update(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
    constraints: TaskConstraints,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let (id, phase) = look(tenant, job_id, id, if_match)?;
    if phase.state() == TaskState::Completed {
        let wanted = "the constraints of a completed task cannot be changed";
        return Err(Reject::TaskState { task: id, state: TaskState::Completed, wanted });
    }
    let job = tenant.job_mut(job_id)?;
    own(job, turn, &id);
    let mut with_node = None;
    if let Some(task) = job.tasks.get_mut(&id) {
        task.retry_limit = constraints.max_task_retry_count;
        task.progress_mut().constraints = Some(constraints);
        with_node = task.holder().cloned().map(|node| (node, task.attempt_id(job_id)));
    }
    job.touch(turn, &id);
    if let Some((node, attempt)) = with_node
        && attempt::is_with_node(tenant, &node, &attempt)
    {
        tenant.tell(turn, &node, NodeMessage::Amend { attempt, constraints });
    }
    Ok(Reply::Done)
}

pub(crate) fn terminate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let (id, phase) = look(tenant, job_id, id, if_match)?;
    if phase.state() == TaskState::Completed {
        let wanted = "a completed task cannot be terminated";
        return Err(Reject::TaskState { task: id, state: TaskState::Completed, wanted });
    }
    own(tenant.job_mut(job_id)?, turn, &id);
    job_life::end_task(tenant, turn, job_id, &id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}

/// Refuses to reactivate in a job that has ended.
pub(crate) fn refuse_reactivation(job: &Job) -> Result<(), Reject> {
    let state = job.row.state;
    if matches!(state, JobState::Terminating | JobState::Completed | JobState::Deleting) {
        let wanted = "tasks can only be reactivated in a job that has not ended";
        return Err(Reject::JobState { job: job.id().clone(), state, wanted });
    }
    Ok(())
}

pub(crate) fn reactivate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let (id, phase) = look(tenant, job_id, id, if_match)?;
    match phase {
        Phase::Completed(ExecutionResult::Failure) => {}
        Phase::Completed(ExecutionResult::Success) => return Err(Reject::TaskSucceeded(id)),
        Phase::Waiting | Phase::Preparing | Phase::Assigned | Phase::Running => {
            let wanted = "only a failed task can be reactivated";
            return Err(Reject::TaskState { task: id, state: phase.state(), wanted });
        }
    }
    let job = tenant.job(job_id)?;
    refuse_reactivation(job)?;
    refuse_circle(job, &id)?;
    let job = tenant.job_mut(job_id)?;
    own(job, turn, &id);
    revive(job, turn, &id);
    tenant.requeue_job(job_id);
    Ok(Reply::Done)
}

/// A task that ended without having been placed waits for others again when it is reactivated, and these may have come to
/// wait for it meanwhile.
pub(crate) fn refuse_circle(job: &Job, id: &TaskId) -> Result<(), Reject> {
    let needs = match job.find(id) {
        Some(Found::Task(task)) => task.would_need(),
        Some(Found::Member(sweep, _, _)) => sweep.depends_on.as_ref(),
        None => None,
    };
    needs.map_or(Ok(()), |needs| refuse_bad_dependencies(job, &Waiter::Task(id.clone()), needs))
}

/// Lets a failed task wait again, as new.
pub(crate) fn revive(job: &mut Job, turn: &mut Turn<'_>, id: &TaskId) {
    if let Some(task) = job.tasks.get_mut(id) {
        task.begin_anew();
    }
    job.shift(turn, id, TaskEvent::Reactivate);
}

pub(crate) fn delete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let (id, phase) = look(tenant, job_id, id, if_match)?;
    if phase.is_placed() {
        attempt::stop(tenant, turn, job_id, &id, Ending::Delete);
    } else {
        attempt::clear_directories(tenant, turn, job_id, Some(&id));
        let job = tenant.job_mut(job_id)?;
        match job.find(&id) {
            Some(Found::Member(sweep, index, _)) => {
                let sweep = sweep.id.clone();
                job.drop_member(turn, &sweep, index);
            }
            Some(Found::Task(_)) | None => job.remove(turn, &id),
        }
    }
    tenant.requeue_job(job_id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}
