//! What clients may do with tasks: add, change, terminate, reactivate, delete.
//!
//! Each refusal comes before the first change. Adding treats every task by itself, so one bad task in a thousand costs
//! only that one.

use crate::attempt;
use crate::job::Job;
use crate::job_life;
use crate::record::{Ending, Record, TaskSpecRow};
use crate::reject::Reject;
use crate::reply::{Reply, TaskRefused};
use crate::task::{Phase, Progress, Task, TaskEvent};
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::spec::{TaskConstraints, TaskSpec};
use muster_model::state::{ExecutionResult, JobState, TaskState};
use muster_model::{JobId, TaskId};

pub(crate) fn add(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    tasks: Vec<TaskSpec>,
) -> Result<Reply, Reject> {
    let state = tenant.job(job_id)?.row.state;
    match state {
        JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling => {}
        JobState::Terminating | JobState::Completed | JobState::Deleting => {
            let wanted = "tasks can only be added to a job that has not ended";
            return Err(Reject::JobState { job: job_id.clone(), state, wanted });
        }
    }
    let mut refused = Vec::new();
    for (index, spec) in (0u32..).zip(tasks) {
        if let Err(reject) = add_one(tenant, turn, job_id, spec) {
            refused.push(TaskRefused::new(index, &reject));
        }
    }
    tenant.requeue_job(job_id);
    Ok(Reply::Tasks(refused))
}

fn add_one(tenant: &mut Tenant, turn: &mut Turn<'_>, job_id: &JobId, spec: TaskSpec) -> Result<(), Reject> {
    refuse_hopeless(tenant, job_id, &spec)?;
    let job = tenant.job_mut(job_id)?;
    refuse_bad_dependencies(job, &spec)?;
    let row = TaskSpecRow {
        account: turn.account.clone(),
        job: job_id.clone(),
        sequence: turn.next_sequence(),
        created: turn.now,
        spec,
    };
    let task = Task::new(&row);
    let id = task.id.clone();
    let state = task.row(&turn.account, job_id);
    turn.record(Record::TaskSpec(Box::new(row)));
    turn.record(Record::TaskState(Box::new(state)));
    job.insert(task, turn.now);
    job.awaken(turn, &id);
    Ok(())
}

/// Refuses what no node of the job's pool could ever run, while there is such a pool.
fn refuse_hopeless(tenant: &Tenant, job_id: &JobId, spec: &TaskSpec) -> Result<(), Reject> {
    let job = tenant.job(job_id)?;
    if job.tasks.contains_key(&spec.id) {
        return Err(Reject::TaskExists { job: job_id.clone(), task: spec.id.clone() });
    }
    if let Some(pool) = tenant.pools.get(job.pool()) {
        let (wanted, offered) = (spec.resources.slots, pool.row.spec.task_slots_per_node);
        if wanted > offered {
            let (pool, task) = (job.pool().clone(), spec.id.clone());
            return Err(Reject::TooManySlots { pool, task, offered, wanted });
        }
    }
    Ok(())
}

fn refuse_bad_dependencies(job: &Job, spec: &TaskSpec) -> Result<(), Reject> {
    if spec.depends_on.is_empty() {
        return Ok(());
    }
    if !job.row.spec.uses_task_dependencies {
        let (job, task) = (job.id().clone(), spec.id.clone());
        return Err(Reject::TaskDependenciesNotSpecifiedOnJob { job, task });
    }
    match job.graph.cycle(&spec.id, &spec.depends_on) {
        None => Ok(()),
        Some(way) => {
            let chain = way.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> ");
            Err(Reject::DependencyCycle { task: spec.id.clone(), chain })
        }
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
    let task = tenant.task(job_id, id)?;
    if let Some(given) = if_match
        && given != task.revision
    {
        let what = format!("task '{id}' of job '{job_id}'");
        return Err(Reject::EtagMismatch { what, given, current: task.revision });
    }
    if task.phase.state() == TaskState::Completed {
        let wanted = "the constraints of a completed task cannot be changed";
        return Err(Reject::TaskState { task: id.clone(), state: TaskState::Completed, wanted });
    }
    let job = tenant.job_mut(job_id)?;
    if let Some(task) = job.tasks.get_mut(id) {
        task.retry_limit = constraints.max_task_retry_count;
        task.progress_mut().constraints = Some(constraints);
    }
    job.touch(turn, id);
    Ok(Reply::Done)
}

pub(crate) fn terminate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
) -> Result<Reply, Reject> {
    match tenant.task(job_id, id)?.phase {
        Phase::Completed(_) => {
            let wanted = "a completed task cannot be terminated";
            return Err(Reject::TaskState { task: id.clone(), state: TaskState::Completed, wanted });
        }
        Phase::Waiting => attempt::complete_terminated(tenant, turn, job_id, id),
        Phase::Assigned | Phase::Running => attempt::stop(tenant, turn, job_id, id, Ending::Terminate),
    }
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}

pub(crate) fn reactivate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
) -> Result<Reply, Reject> {
    let job = tenant.job(job_id)?;
    let state = job.row.state;
    match tenant.task(job_id, id)?.phase {
        Phase::Completed(ExecutionResult::Failure) => {}
        Phase::Completed(ExecutionResult::Success) => return Err(Reject::TaskSucceeded(id.clone())),
        phase @ (Phase::Waiting | Phase::Assigned | Phase::Running) => {
            let wanted = "only a failed task can be reactivated";
            return Err(Reject::TaskState { task: id.clone(), state: phase.state(), wanted });
        }
    }
    if matches!(state, JobState::Terminating | JobState::Completed | JobState::Deleting) {
        let wanted = "tasks can only be reactivated in a job that has not ended";
        return Err(Reject::JobState { job: job_id.clone(), state, wanted });
    }
    let job = tenant.job_mut(job_id)?;
    if let Some(task) = job.tasks.get_mut(id) {
        // All but the number of the attempt and the changed constraints begins anew (reference 3.7).
        let old = task.progress();
        *task.progress_mut() =
            Progress { attempt: old.attempt, constraints: old.constraints, ..Progress::default() };
    }
    job.shift(turn, id, TaskEvent::Reactivate);
    tenant.requeue_job(job_id);
    Ok(Reply::Done)
}

pub(crate) fn delete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &TaskId,
) -> Result<Reply, Reject> {
    if tenant.task(job_id, id)?.phase.is_placed() {
        attempt::stop(tenant, turn, job_id, id, Ending::Delete);
    } else {
        tenant.job_mut(job_id)?.remove(turn, id);
    }
    tenant.requeue_job(job_id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}
