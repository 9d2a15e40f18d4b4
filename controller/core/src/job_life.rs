//! The life of a job: made, changed, disabled, enabled, terminated, deleted, and what ends it by itself.
//!
//! `settle` is looked into after every change of a job's tasks: it moves the job on when the last held attempt is over or
//! the last task has completed. Stopping a job never takes an attempt away from its node; it asks for its end and waits.

use crate::attempt;
use crate::input::DisableTasks;
use crate::job::Job;
use crate::record::{Ending, JobRow, Record};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::task::Phase;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::spec::{JobPatch, JobSpec};
use muster_model::state::{JobState, OnAllTasksComplete, PoolState};
use muster_model::{JobId, Timestamp};

pub(crate) fn create(tenant: &mut Tenant, turn: &mut Turn<'_>, spec: JobSpec) -> Result<Reply, Reject> {
    if tenant.jobs.contains_key(&spec.id) {
        return Err(Reject::JobExists(spec.id));
    }
    // A pool may come later (reference 3.5), but one that is going away will never run this job.
    if let Some(pool) = tenant.pools.get(&spec.pool)
        && pool.row.state == PoolState::Deleting
    {
        return Err(Reject::PoolBeingDeleted(spec.pool));
    }
    let id = spec.id.clone();
    let job = Job::new(JobRow {
        account: turn.account.clone(),
        state: JobState::Active,
        state_since: turn.now,
        previous_state: None,
        sequence: turn.next_sequence(),
        created: turn.now,
        modified: turn.now,
        ended: None,
        terminate_reason: None,
        revision: 1,
        spec,
    });
    turn.record(Record::Job(Box::new(job.row.clone())));
    watch_wall_clock(turn, &job.row);
    tenant.jobs.insert(id.clone(), job);
    settle(tenant, turn, &id);
    Ok(Reply::Done)
}

/// When a job's wall clock runs out.
pub(crate) fn wall_clock_end(row: &JobRow) -> Option<Timestamp> {
    match row.state {
        JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling => {
            row.spec.constraints.max_wall_clock_time.map(|span| row.created.after(span))
        }
        JobState::Terminating | JobState::Completed | JobState::Deleting => None,
    }
}

fn watch_wall_clock(turn: &mut Turn<'_>, row: &JobRow) {
    if let Some(end) = wall_clock_end(row) {
        turn.wake(end, Deadline::JobWallClock(turn.account.clone(), row.spec.id.clone()));
    }
}

pub(crate) fn wall_clock_passed(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) {
    let due = tenant.jobs.get(id).and_then(|job| wall_clock_end(&job.row));
    if due.is_some_and(|end| end <= turn.now) {
        end_tasks(tenant, turn, id, "MaxWallClockTimeExpiry".to_owned());
    }
}

pub(crate) fn update(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    patch: JobPatch,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    if let Some(given) = if_match
        && given != job.row.revision
    {
        return Err(Reject::EtagMismatch { what: format!("job '{id}'"), given, current: job.row.revision });
    }
    refuse_unless_open(job, "only the fields of a job that has not ended can be changed")?;
    let JobPatch { display_name, priority, constraints, on_all_tasks_complete, metadata } = patch;
    let before = job.turn_in_pool();
    let spec = &mut job.row.spec;
    spec.display_name = display_name.unwrap_or_else(|| std::mem::take(&mut spec.display_name));
    spec.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut spec.metadata));
    spec.priority = priority.unwrap_or(spec.priority);
    spec.constraints = constraints.unwrap_or(spec.constraints);
    spec.on_all_tasks_complete = on_all_tasks_complete.unwrap_or(spec.on_all_tasks_complete);
    job.save(turn);
    watch_wall_clock(turn, &job.row);
    let pool = job.pool().clone();
    if let Some(pool) = tenant.pools.get_mut(&pool) {
        pool.waiting_jobs.remove(&(before.0, before.1, id.clone()));
    }
    tenant.requeue_job(id);
    settle(tenant, turn, id);
    Ok(Reply::Done)
}

fn refuse_unless_open(job: &Job, wanted: &'static str) -> Result<(), Reject> {
    match job.row.state {
        JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling => Ok(()),
        state @ (JobState::Terminating | JobState::Completed | JobState::Deleting) => {
            Err(Reject::JobState { job: job.id().clone(), state, wanted })
        }
    }
}

pub(crate) fn terminate(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    reason: String,
) -> Result<Reply, Reject> {
    refuse_unless_open(tenant.job(id)?, "a job that has ended or is ending cannot be terminated again")?;
    end_tasks(tenant, turn, id, reason);
    Ok(Reply::Done)
}

/// Ends every task of a job: those that wait at once, those on a node when the node confirms.
fn end_tasks(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId, reason: String) {
    let Some(job) = tenant.jobs.get_mut(id) else { return };
    job.row.terminate_reason = Some(reason);
    job.enter(turn, JobState::Terminating);
    let waiting = job.tasks_where(|task| task.phase == Phase::Waiting);
    let held = job.tasks_where(|task| task.phase.is_placed());
    for task in waiting {
        attempt::complete_terminated(tenant, turn, id, &task);
    }
    for task in held {
        attempt::stop(tenant, turn, id, &task, Ending::Terminate);
    }
    tenant.requeue_job(id);
    settle(tenant, turn, id);
}

pub(crate) fn disable(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    tasks: DisableTasks,
) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    refuse_unless_open(job, "only a job that has not ended can be disabled")?;
    job.enter(turn, JobState::Disabling);
    let held = job.tasks_where(|task| task.phase.is_placed());
    let ending = match tasks {
        DisableTasks::Requeue => Some(Ending::Requeue),
        DisableTasks::Terminate => Some(Ending::Terminate),
        DisableTasks::Wait => None,
    };
    if let Some(ending) = ending {
        for task in held {
            attempt::stop(tenant, turn, id, &task, ending);
        }
    }
    tenant.requeue_job(id);
    settle(tenant, turn, id);
    Ok(Reply::Done)
}

pub(crate) fn enable(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    match job.row.state {
        JobState::Disabled | JobState::Disabling => {}
        state @ (JobState::Active
        | JobState::Enabling
        | JobState::Terminating
        | JobState::Completed
        | JobState::Deleting) => {
            let wanted = "only a disabled job can be enabled";
            return Err(Reject::JobState { job: id.clone(), state, wanted });
        }
    }
    job.enter(turn, JobState::Active);
    tenant.requeue_job(id);
    settle(tenant, turn, id);
    Ok(Reply::Done)
}

pub(crate) fn delete(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    if job.row.state == JobState::Deleting {
        let wanted = "wait until it is gone";
        return Err(Reject::JobState { job: id.clone(), state: JobState::Deleting, wanted });
    }
    job.enter(turn, JobState::Deleting);
    let held = job.tasks_where(|task| task.phase.is_placed());
    for task in held {
        attempt::stop(tenant, turn, id, &task, Ending::Delete);
    }
    tenant.requeue_job(id);
    settle(tenant, turn, id);
    Ok(Reply::Done)
}

/// Looks whether a job moves on by itself.
pub(crate) fn settle(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) {
    let Some(job) = tenant.jobs.get_mut(id) else { return };
    match job.row.state {
        JobState::Deleting if job.placed == 0 => {
            tenant.requeue_job(id);
            tenant.jobs.remove(id);
            turn.record(Record::JobGone(turn.account.clone(), id.clone()));
            return;
        }
        JobState::Terminating if job.placed == 0 => {
            job.row.ended = Some(turn.now);
            job.enter(turn, JobState::Completed);
        }
        JobState::Disabling if job.placed == 0 => job.enter(turn, JobState::Disabled),
        JobState::Active
            if job.counts.open() == 0
                && job.row.spec.on_all_tasks_complete == OnAllTasksComplete::TerminateJob =>
        {
            end_tasks(tenant, turn, id, "AllTasksComplete".to_owned());
        }
        JobState::Active
        | JobState::Enabling
        | JobState::Disabling
        | JobState::Disabled
        | JobState::Terminating
        | JobState::Completed
        | JobState::Deleting => {}
    }
    tenant.requeue_job(id);
}
