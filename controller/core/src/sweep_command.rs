//! What clients may do with sweeps: add, terminate, reactivate, delete - all of their members or some.
//!
//! Each refusal comes before the first change. What happens to members that are no tasks costs the runs of the sweep, not
//! its members.

use crate::attempt;
use crate::class::Class;
use crate::dependency::Waiter;
use crate::job::Job;
use crate::record::{Ending, Record, SweepRow};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::sweep::Sweep;
use crate::task::{Phase, Task};
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::{job_life, task_command};
use muster_model::spec::SweepSpec;
use muster_model::state::ExecutionResult;
use muster_model::{JobId, SweepId, TaskId};

pub(crate) fn create(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    spec: SweepSpec,
) -> Result<Reply, Reject> {
    let job = tenant.job(job_id)?;
    task_command::refuse_ended(job)?;
    refuse_taken(job, &spec)?;
    task_command::refuse_hopeless(tenant, job, &spec.id.as_task_id(), &spec.template)?;
    task_command::refuse_bad_dependencies(job, &Waiter::Sweep(spec.id.clone()), &spec.template.depends_on)?;
    let row = SweepRow {
        account: turn.account.clone(),
        job: job_id.clone(),
        sequence: turn.next_sequences(spec.shape().count),
        created: turn.now,
        spec,
    };
    let job = tenant.job_mut(job_id)?;
    let class = Class { needs: row.spec.template.resources.clone(), exclusive: false };
    let sweep = Sweep::new(&row, job.classes.share(class));
    let state = sweep.row(&turn.account, job_id);
    turn.record(Record::Sweep(Box::new(row)));
    turn.record(Record::SweepState(Box::new(state)));
    job.admit_sweep(turn, sweep);
    tenant.requeue_job(job_id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}

/// Refuses a sweep whose id, or the id of one of whose members, is taken.
fn refuse_taken(job: &Job, spec: &SweepSpec) -> Result<(), Reject> {
    if let Some(known) = job.sweeps.get(&spec.id) {
        return Err(match known.deleting {
            true => Reject::SweepBeingDeleted(spec.id.clone()),
            false => Reject::SweepExists { job: job.id().clone(), sweep: spec.id.clone() },
        });
    }
    let shape = spec.shape();
    // Ids of members begin with the sweep's id and a dash, with leading zeros or without.
    let Ok(first) = TaskId::parse(&format!("{}-", spec.id)) else { return Ok(()) };
    let begins = |id: &&TaskId| {
        id.as_str().get(..first.as_str().len()).is_some_and(|t| t.eq_ignore_ascii_case(first.as_str()))
    };
    let named = job.tasks.range(&first..).map(|(id, _)| id).take_while(begins);
    let mut taken = named.filter(|id| shape.find(&spec.id, id).is_some());
    if let Some(task) = taken.next() {
        return Err(Reject::TaskExists { job: job.id().clone(), task: task.clone() });
    }
    Ok(())
}

/// The indices that are meant, if the sweep is there and has such members.
fn meant(
    tenant: &Tenant,
    job_id: &JobId,
    id: &SweepId,
    numbers: Option<(u64, u64)>,
) -> Result<(u64, u64), Reject> {
    let job = tenant.job(job_id)?;
    let missing = || Reject::SweepNotFound { job: job_id.clone(), sweep: id.clone() };
    let sweep = job.sweeps.get(id).ok_or_else(missing)?;
    if sweep.deleting {
        return Err(Reject::SweepBeingDeleted(id.clone()));
    }
    sweep.indices(numbers).ok_or_else(|| {
        let (first, last) = numbers.unwrap_or_default();
        let (from, to) = (sweep.shape.first, sweep.shape.last());
        Reject::SweepHasNoSuchMembers { sweep: id.clone(), first, last, from, to }
    })
}

/// The members within a range of indices that are tasks of some kind.
fn tasks_within(
    tenant: &Tenant,
    job: &JobId,
    id: &SweepId,
    (first, last): (u64, u64),
    wanted: impl Fn(&Task) -> bool,
) -> Vec<TaskId> {
    let Ok(job) = tenant.job(job) else { return Vec::new() };
    let Some(sweep) = job.sweeps.get(id) else { return Vec::new() };
    let tasks = job.book().member_tasks(sweep, first, last);
    tasks.filter(|(_, task)| wanted(task)).map(|(_, task)| task.id.clone()).collect()
}

pub(crate) fn terminate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &SweepId,
    numbers: Option<(u64, u64)>,
) -> Result<Reply, Reject> {
    let range = meant(tenant, job_id, id, numbers)?;
    let open = |task: &Task| !matches!(task.phase, Phase::Completed(_));
    // First those that wait: nothing may be placed in the room of those that run.
    job_life::end_members(tenant, turn, job_id, id, Some(range));
    for task in tasks_within(tenant, job_id, id, range, open) {
        job_life::end_task(tenant, turn, job_id, &task);
    }
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}

pub(crate) fn reactivate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &SweepId,
    numbers: Option<(u64, u64)>,
) -> Result<Reply, Reject> {
    let range = meant(tenant, job_id, id, numbers)?;
    task_command::refuse_reactivation(tenant.job(job_id)?)?;
    let failed = |task: &Task| task.phase == Phase::Completed(ExecutionResult::Failure);
    let tasks = tasks_within(tenant, job_id, id, range, failed);
    let job = tenant.job(job_id)?;
    if let Some(needs) = job.sweeps.get(id).and_then(|sweep| sweep.depends_on.as_ref()) {
        task_command::refuse_bad_dependencies(job, &Waiter::Sweep(id.clone()), needs)?;
    }
    for task in &tasks {
        task_command::refuse_circle(job, task)?;
    }
    let job = tenant.job_mut(job_id)?;
    let changed = job.reopen_ended(turn, id, range);
    job.stir(turn, changed);
    for task in tasks {
        task_command::revive(job, turn, &task);
    }
    tenant.requeue_job(job_id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}

pub(crate) fn delete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job_id: &JobId,
    id: &SweepId,
) -> Result<Reply, Reject> {
    let range = meant(tenant, job_id, id, None)?;
    let tasks = tasks_within(tenant, job_id, id, range, |_| true);
    tenant.job_mut(job_id)?.empty_sweep(turn, id);
    for task in tasks {
        match tenant.task(job_id, &task).map(|task| task.phase.is_placed()) {
            Ok(true) => attempt::stop(tenant, turn, job_id, &task, Ending::Delete),
            Ok(false) => tenant.job_mut(job_id)?.remove(turn, &task),
            Err(_) => {}
        }
    }
    tenant.job_mut(job_id)?.bury(turn, id);
    tenant.requeue_job(job_id);
    job_life::settle(tenant, turn, job_id);
    Ok(Reply::Done)
}

/// Records every sweep whose state has changed in this step, once.
pub(crate) fn save(tenant: &mut Tenant, turn: &mut Turn<'_>) {
    for (job, sweep) in std::mem::take(&mut turn.sweeps) {
        if let Some(job) = tenant.jobs.get_mut(&job) {
            job.save_sweep(turn, &sweep);
        }
    }
}
