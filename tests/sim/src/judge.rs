//! Holds each change that clients can read against what really happened and what naive models say.
//!
//! A task is placed only when its dependencies are met and within its job's limit; an end that is recorded did happen; and
//! a dependency is only given up when it is hopeless. Looked at after each step, as a whole: what a client can read.

use crate::book::{Book, Change, Known, KnownJob, Stand};
use crate::broken::{Broken, Kept, broken, promise};
use crate::naive;
use crate::nodes;
use crate::oracle::{Grant, Oracle};
use muster_agent_core::input::{Ended, EndedBy};
use muster_controller_core::record::Ending;
use muster_model::state::{ExecutionResult, OnDependencyFailure};
use muster_model::{AttemptId, Cause, Resources, TaskId, Timestamp};
use std::collections::BTreeSet;

/// Looks at what one step changed.
pub(crate) fn judge(book: &Book, oracle: &mut Oracle, changes: &[Change], now: Timestamp) -> Kept {
    let mut grown = BTreeSet::new();
    nodes::watch(book, oracle);
    for change in changes {
        let Some(job) = book.jobs.get(&change.key.job) else { continue };
        let task = &change.key.task;
        let Some(after) = &change.after else {
            oracle.forget(job, task);
            continue;
        };
        let Some(known) = job.tasks.get(task) else { continue };
        let before = change.before.clone().unwrap_or_default();
        if after.placed && after.attempt > before.attempt {
            placed(job, known, oracle, (task, after), (now, book.steps))?;
            let attempt =
                AttemptId { job: change.key.job.clone(), task: task.clone(), number: after.attempt };
            nodes::placed(book, oracle, &attempt, after)?;
            grown.insert(change.key.job.clone());
        }
        if before.result.is_some() && after.result.is_none() {
            oracle.saw("a failed task is reactivated");
            oracle.allow_another(job, task);
        }
        if after.ending == Some(Ending::Requeue) && before.ending != after.ending {
            oracle.saw("a task goes back to waiting on request");
            oracle.allow_another(job, task);
        }
        if before.constraints != after.constraints {
            oracle.note_retries(job, known, task);
            limits_changed(job, oracle, (task, after), now);
        }
        if before.result.is_none() && after.result.is_some() && known.stand.result == after.result {
            ended(job, known, oracle, (task, after), book.has_grown)?;
        }
    }
    for id in grown {
        let Some(job) = book.jobs.get(&id) else { continue };
        if let Some(limit) = job.spec.max_parallel_tasks {
            promise("max_parallel_tasks", job.placed() as u64 <= u64::from(limit), || {
                format!("job {id} was given another place and has {} of {limit}", job.placed())
            })?;
            if job.placed() as u64 == u64::from(limit) {
                oracle.saw("a job has all tasks on nodes that it may have");
            }
        }
    }
    Ok(())
}

fn placed(
    job: &KnownJob,
    known: &Known,
    oracle: &mut Oracle,
    (task, stand): (&TaskId, &Stand),
    (now, step): (Timestamp, u64),
) -> Kept {
    let attempt = AttemptId { job: job.spec.id.clone(), task: task.clone(), number: stand.attempt };
    let needs = &known.spec.depends_on;
    promise(
        "a task is placed only when its dependencies are met",
        stand.attempt > 1 || needs.is_empty() || naive::standing(job, needs).met,
        || format!("{attempt} is placed and waits for {needs:?}"),
    )?;
    if stand.attempt == 1 && !needs.is_empty() {
        oracle.saw("a task's dependencies are met");
    }
    if stand.memory_bytes.is_some() {
        oracle.saw("a task is placed with more memory");
    }
    let manager = job.spec.manager.as_ref();
    let memory_bytes = stand.memory_bytes.unwrap_or(known.spec.resources.memory_bytes);
    oracle.ends.remove(&attempt);
    let grant = Grant {
        resources: Resources { memory_bytes, ..known.spec.resources.clone() },
        exclusive: manager.is_some_and(|manager| manager.run_exclusive && manager.task.id == *task),
        parallel: job.spec.max_parallel_tasks,
        at: now,
        step,
        wall_least: stand.constraints.unwrap_or(known.spec.constraints).max_wall_clock_time,
        changed: now,
    };
    oracle.grants.insert(attempt, grant);
    Ok(())
}

fn limits_changed(job: &KnownJob, oracle: &mut Oracle, (task, stand): (&TaskId, &Stand), now: Timestamp) {
    let attempt = AttemptId { job: job.spec.id.clone(), task: task.clone(), number: stand.attempt };
    let wall = stand.constraints.and_then(|constraints| constraints.max_wall_clock_time);
    if let Some(grant) = oracle.grants.get_mut(&attempt) {
        grant.wall_least = grant.wall_least.into_iter().chain(wall).min();
        grant.changed = now;
    }
}

/// An end that is recorded has happened. `has_grown`: tasks were added in the same step, one after the other, so that hope
/// may have been lost before it came again.
fn ended(
    job: &KnownJob,
    known: &Known,
    oracle: &mut Oracle,
    (task, stand): (&TaskId, &Stand),
    has_grown: bool,
) -> Kept {
    let really = oracle.was_ended_by(&job.spec.id, task, stand.attempt);
    let seen = || format!("{}/{task}: clients read {stand:?}, and its process ended {really:?}", job.spec.id);
    if let Some(satisfies) = stand.satisfies {
        promise("exit conditions say who may go on", satisfies == naive::satisfies(known), seen)?;
    }
    let by_itself = match really {
        Some((Ended::Exited(code), EndedBy::Itself)) => Some(code),
        Some(_) | None => None,
    };
    if stand.result == Some(ExecutionResult::Success) && stand.attempt > 0 {
        return promise("an end that is recorded has happened", by_itself == Some(0), seen);
    }
    let true_end = match stand.cause {
        None => {
            oracle.saw("a hopeless task is skipped");
            return given_up(job, known, OnDependencyFailure::Skip, has_grown, seen());
        }
        Some(Cause::DependencyFailed) => {
            oracle.saw("a hopeless task fails");
            return given_up(job, known, OnDependencyFailure::Fail, has_grown, seen());
        }
        Some(Cause::ExitCode) => by_itself.is_some_and(|code| code != 0) && stand.exit_code == by_itself,
        Some(Cause::UploadFailed) => by_itself == Some(0),
        Some(Cause::OutOfMemory) => really.is_some_and(|(_, by)| by == EndedBy::OutOfMemory),
        Some(Cause::WallClock) => really.is_none_or(|(_, by)| by != EndedBy::OutOfMemory),
        Some(Cause::StagingNotFound | Cause::StagingNetwork | Cause::Internal) => really.is_none(),
        Some(Cause::NodeLost | Cause::Terminated) => true,
        Some(
            Cause::Signal
            | Cause::DiskFull
            | Cause::StagingDenied
            | Cause::StagingCorrupt
            | Cause::ProgramNotFound
            | Cause::LaunchFailed
            | Cause::NodePreempted
            | Cause::PreparationFailed,
        ) => false,
    };
    promise("an end that is recorded has happened", true_end, seen)
}

/// A task ended without having run because of what it depends on.
fn given_up(
    job: &KnownJob,
    known: &Known,
    policy: OnDependencyFailure,
    has_grown: bool,
    seen: String,
) -> Result<(), Broken> {
    let hopeless = has_grown || naive::standing(job, &known.spec.depends_on).hopeless;
    if hopeless && job.spec.on_dependency_failure == policy && known.stand.attempt == 0 {
        return Ok(());
    }
    Err(broken("a dependency is given up only when it is hopeless", seen))
}
