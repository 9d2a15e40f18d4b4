//! The life of a job: made, changed, disabled, enabled, terminated, deleted, and what ends it by itself.
//!
//! `settle` is looked into after every change of a job's tasks: it moves the job on when the last held attempt is over or
//! the last task has completed. Stopping a job never takes an attempt away from its node; it asks for its end and waits.
//! What remains to be done on nodes then is `job_node`'s.

use crate::input::DisableTasks;
use crate::job::Job;
use crate::record::{Ending, JobRow, Record, TaskSpecRow};
use crate::reject::Reject;
use crate::reply::Reply;
use crate::task::{Phase, Task};
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use crate::{attempt, job_node, users};
use muster_model::limits::TASK_LIFE_MAX;
use muster_model::spec::{JobPatch, JobSpec};
use muster_model::state::{
    ExecutionResult, JobAction, JobState, OnAllTasksComplete, OnTaskFailure, PoolState,
};
use muster_model::{JobId, PoolId, SweepId, TaskId, Timestamp};

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
    if let Some(pool) = tenant.pools.get(&spec.pool) {
        users::refuse_unknown_in_job(&pool.row.spec, &spec)?;
    }
    let id = spec.id.clone();
    let job = Job::new(JobRow {
        account: turn.account.clone(),
        state: JobState::Active,
        state_since: turn.now,
        previous_state: None,
        previous_state_since: None,
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
    watch_lives(turn, &job.row, turn.now);
    tenant.jobs.insert(id.clone(), job);
    add_manager(tenant, turn, &id);
    settle(tenant, turn, &id);
    Ok(Reply::Done)
}

/// Makes the job manager task: the first, and so the oldest, of the job's tasks.
fn add_manager(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) {
    let Some(job) = tenant.jobs.get_mut(id) else { return };
    let Some(manager) = &job.row.spec.manager else { return };
    let row = TaskSpecRow {
        account: turn.account.clone(),
        job: id.clone(),
        sequence: turn.next_sequence(),
        created: turn.now,
        spec: manager.task.clone(),
    };
    job.take_in(turn, row);
    tenant.requeue_job(id);
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

/// When the oldest task that a job may have reaches the end of its life.
pub(crate) fn watch_lives(turn: &mut Turn<'_>, row: &JobRow, oldest: Timestamp) {
    turn.wake(oldest.after(TASK_LIFE_MAX), lives(row));
}

/// The deadline at which the oldest tasks of a job are looked at.
pub(crate) fn lives(row: &JobRow) -> Deadline {
    Deadline::TaskLives(row.account.clone(), row.spec.id.clone())
}

/// Ends the tasks of a job that have lived as long as a task may, and waits for the next oldest.
pub(crate) fn lives_passed(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) {
    let Some(job) = tenant.jobs.get(id) else { return };
    let open = |task: &&Task| !matches!(task.phase, Phase::Completed(_));
    let now = turn.now;
    let is_old = move |created: Timestamp| created.after(TASK_LIFE_MAX) <= now;
    let old: Vec<_> = job.tasks.values().filter(open).filter(|task| is_old(task.created)).collect();
    let tasks: Vec<TaskId> = old.into_iter().map(|task| task.id.clone()).collect();
    let waiting = job.sweeps.values().filter(|sweep| !sweep.pending.is_empty());
    let sweeps: Vec<SweepId> =
        waiting.filter(|sweep| is_old(sweep.created)).map(|sweep| sweep.id.clone()).collect();
    for task in tasks {
        end_task(tenant, turn, id, &task);
    }
    for sweep in sweeps {
        end_members(tenant, turn, id, &sweep, None);
    }
    settle(tenant, turn, id);
    let Some(job) = tenant.jobs.get(id) else { return };
    let tasks = job.tasks.values().filter(open).map(|task| task.created);
    let sweeps = job.sweeps.values().filter(|sweep| !sweep.pending.is_empty()).map(|sweep| sweep.created);
    // A task that is being ended is looked at again when a task that comes now would be as old.
    let next = tasks.chain(sweeps).filter(|created| !is_old(*created)).min();
    watch_lives(turn, &job.row, next.unwrap_or(turn.now));
}

/// Ends one task that has not ended: at once, or when its node confirms.
pub(crate) fn end_task(tenant: &mut Tenant, turn: &mut Turn<'_>, job: &JobId, task: &TaskId) {
    let phase = tenant.task(job, task).map(|task| task.phase);
    match phase {
        Ok(Phase::Waiting) => attempt::complete_terminated(tenant, turn, job, task),
        Ok(Phase::Preparing | Phase::Assigned | Phase::Running) => {
            attempt::stop(tenant, turn, job, task, Ending::Terminate);
        }
        Ok(Phase::Completed(_)) | Err(_) => {}
    }
}

/// Ends members of a sweep that wait and are no tasks.
pub(crate) fn end_members(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    job: &JobId,
    sweep: &SweepId,
    indices: Option<(u64, u64)>,
) {
    let Some(job) = tenant.jobs.get_mut(job) else { return };
    let failure = attempt::terminated(job.row.terminate_reason.as_ref());
    let changed = job.end_pending(turn, sweep, indices, ExecutionResult::Failure, Some(failure));
    job.stir(turn, changed);
}

pub(crate) fn update(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    patch: JobPatch,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let job = tenant.job(id)?;
    require(job, if_match)?;
    refuse_unless_open(job, "only the fields of a job that has not ended can be changed")?;
    if let Some(pool) = &patch.pool {
        refuse_other_pool(tenant, job, pool)?;
    }
    // Its place in the line of its pool may change, and so may the pool.
    let (priority, sequence) = job.turn_in_pool();
    if let Some(pool) = tenant.pools.get_mut(&job.row.spec.pool.clone()) {
        pool.waiting_jobs.remove(&(priority, sequence, id.clone()));
    }
    let job = tenant.job_mut(id)?;
    let JobPatch {
        display_name,
        priority,
        max_parallel_tasks,
        pool,
        constraints,
        on_all_tasks_complete,
        metadata,
    } = patch;
    let spec = &mut job.row.spec;
    spec.max_parallel_tasks = max_parallel_tasks.unwrap_or(spec.max_parallel_tasks);
    spec.pool = pool.unwrap_or_else(|| spec.pool.clone());
    spec.display_name = display_name.unwrap_or_else(|| std::mem::take(&mut spec.display_name));
    spec.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut spec.metadata));
    spec.priority = priority.unwrap_or(spec.priority);
    spec.constraints = constraints.unwrap_or(spec.constraints);
    spec.on_all_tasks_complete = on_all_tasks_complete.unwrap_or(spec.on_all_tasks_complete);
    job.save(turn);
    watch_wall_clock(turn, &job.row);
    turn.dirty.insert(job.pool().clone());
    tenant.requeue_job(id);
    settle(tenant, turn, id);
    Ok(Reply::Done)
}

/// Refuses a change of a job that is not what the caller has read.
fn require(job: &Job, if_match: Option<u64>) -> Result<(), Reject> {
    let current = job.row.revision;
    match if_match {
        Some(given) if given != current => {
            Err(Reject::EtagMismatch { what: format!("job '{}'", job.id()), given, current })
        }
        Some(_) | None => Ok(()),
    }
}

/// A job changes its pool only while none of its tasks is on a node (reference 3.5).
fn refuse_other_pool(tenant: &Tenant, job: &Job, pool: &PoolId) -> Result<(), Reject> {
    if pool == job.pool() {
        return Ok(());
    }
    if job.row.state != JobState::Disabled {
        return Err(Reject::JobPoolFixed { job: job.id().clone(), state: job.row.state });
    }
    match tenant.pools.get(pool) {
        Some(found) if found.row.state == PoolState::Deleting => Err(Reject::PoolBeingDeleted(pool.clone())),
        Some(_) | None => Ok(()),
    }
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
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    require(tenant.job(id)?, if_match)?;
    refuse_unless_open(tenant.job(id)?, "a job that has ended or is ending cannot be terminated again")?;
    end_tasks(tenant, turn, id, reason);
    Ok(Reply::Done)
}

/// Ends every task of a job: those that wait at once, those on a node when the node confirms.
fn end_tasks(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId, reason: String) {
    let Some(job) = tenant.jobs.get_mut(id) else { return };
    job.row.terminate_reason = Some(reason);
    job.enter(turn, JobState::Terminating);
    let open = job.tasks_where(|task| !matches!(task.phase, Phase::Completed(_)));
    let sweeps: Vec<SweepId> = job.sweeps.keys().cloned().collect();
    for task in open {
        end_task(tenant, turn, id, &task);
    }
    for sweep in sweeps {
        end_members(tenant, turn, id, &sweep, None);
    }
    job_node::stop_preparations(tenant, turn, id);
    tenant.requeue_job(id);
    settle(tenant, turn, id);
}

pub(crate) fn disable(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    tasks: DisableTasks,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    require(job, if_match)?;
    refuse_unless_open(job, "only a job that has not ended can be disabled")?;
    disable_with(tenant, turn, id, tasks);
    Ok(Reply::Done)
}

fn disable_with(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId, tasks: DisableTasks) {
    let Some(job) = tenant.jobs.get_mut(id) else { return };
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
}

pub(crate) fn enable(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    require(job, if_match)?;
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

pub(crate) fn delete(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    id: &JobId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let job = tenant.job_mut(id)?;
    require(job, if_match)?;
    if job.row.state == JobState::Deleting {
        let wanted = "wait until it is gone";
        return Err(Reject::JobState { job: id.clone(), state: JobState::Deleting, wanted });
    }
    job.enter(turn, JobState::Deleting);
    let held = job.tasks_where(|task| task.phase.is_placed());
    for task in held {
        attempt::stop(tenant, turn, id, &task, Ending::Delete);
    }
    job_node::stop_preparations(tenant, turn, id);
    tenant.requeue_job(id);
    settle(tenant, turn, id);
    Ok(Reply::Done)
}

/// What the end of a task by itself means to its job.
pub(crate) fn after_task(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId, action: JobAction) {
    let Some(job) = tenant.jobs.get(id) else { return };
    match job.row.state {
        JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling => {}
        JobState::Terminating | JobState::Completed | JobState::Deleting => return,
    }
    match (job.row.spec.on_task_failure, action) {
        (OnTaskFailure::NoAction, _) | (OnTaskFailure::PerformExitOptionsJobAction, JobAction::None) => {}
        (OnTaskFailure::PerformExitOptionsJobAction, JobAction::Terminate) => {
            end_tasks(tenant, turn, id, "TaskFailed".to_owned());
        }
        (OnTaskFailure::PerformExitOptionsJobAction, JobAction::Disable) => {
            disable_with(tenant, turn, id, DisableTasks::Requeue);
        }
    }
}

/// Whether the job manager has completed, however it ended, and the job ends with it.
fn is_managed_to_its_end(job: &Job) -> bool {
    let manager = job.row.spec.manager.as_ref().filter(|manager| manager.kill_job_on_completion);
    let task = manager.and_then(|manager| job.tasks.get(&manager.task.id));
    task.is_some_and(|task| matches!(task.phase, Phase::Completed(_)))
}

/// Looks whether a job moves on by itself.
pub(crate) fn settle(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) {
    let Some(job) = tenant.jobs.get(id) else { return };
    let (state, idle) = (job.row.state, job.placed == 0);
    let all_complete =
        job.counts.open() == 0 && job.row.spec.on_all_tasks_complete == OnAllTasksComplete::TerminateJob;
    let is_open =
        matches!(state, JobState::Active | JobState::Disabling | JobState::Disabled | JobState::Enabling);
    if is_open && is_managed_to_its_end(job) {
        return end_tasks(tenant, turn, id, "JMComplete".to_owned());
    }
    match state {
        JobState::Deleting if idle && job_node::finish(tenant, turn, id) => {
            return forget(tenant, turn, id);
        }
        JobState::Terminating if idle && job_node::finish(tenant, turn, id) => {
            if let Some(job) = tenant.jobs.get_mut(id) {
                job.row.ended = Some(turn.now);
                job.enter(turn, JobState::Completed);
            }
        }
        JobState::Disabling if idle => {
            if let Some(job) = tenant.jobs.get_mut(id) {
                job.enter(turn, JobState::Disabled);
            }
        }
        JobState::Active if all_complete => end_tasks(tenant, turn, id, "AllTasksComplete".to_owned()),
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

/// Removes a job that nothing is left of.
fn forget(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &JobId) {
    tenant.requeue_job(id);
    attempt::clear_directories(tenant, turn, id, None);
    let Some(job) = tenant.jobs.remove(id) else { return };
    for node in job.nodes.keys() {
        if let Some(node) = tenant.nodes.get_mut(node) {
            node.prepared_for.remove(id);
        }
    }
    turn.sweeps.retain(|(job, _)| job != id);
    turn.record(Record::JobGone(turn.account.clone(), id.clone()));
}
