//! How jobs and their task counts look.
//!
//! Counts are a sentence, the same in `job show` and `job wait`.

use muster_proto::wire;
use muster_proto::wire::job::PoolInfo;

use super::words;
use crate::outlet::{Field, Tone};

/// Headings of a list of jobs.
pub(crate) const HEADINGS: [&str; 6] = ["id", "state", "pool", "priority", "created", "ended because"];

/// A job as a row.
#[must_use]
pub(crate) fn row(job: &wire::Job) -> Vec<Field> {
    let reason = job.execution_info.as_ref().map(|info| info.terminate_reason.clone()).unwrap_or_default();
    vec![
        job.id.as_str().into(),
        words::state(job.state().as_str_name(), "JOB_STATE_"),
        pool(job).into(),
        Field::at_right(job.priority.to_string()),
        words::time(job.create_time.as_ref()).into(),
        reason.into(),
    ]
}

/// A job as a record.
#[must_use]
pub(crate) fn record(job: &wire::Job, counts: Option<&wire::TaskCounts>) -> Vec<(&'static str, Field)> {
    let info = job.execution_info.clone().unwrap_or_default();
    let constraints = job.constraints.unwrap_or_default();
    let mut fields: Vec<(&'static str, Field)> = vec![
        ("id", job.id.as_str().into()),
        ("name", job.display_name.as_str().into()),
        ("state", words::state(job.state().as_str_name(), "JOB_STATE_")),
        ("since", words::time(job.state_transition_time.as_ref()).into()),
        ("pool", pool(job).into()),
        ("priority", job.priority.to_string().into()),
        (
            "at one time",
            job.max_parallel_tasks
                .filter(|most| *most > 0)
                .map(|most| format!("{most} tasks"))
                .unwrap_or_default()
                .into(),
        ),
        ("time limit", words::span(constraints.max_wall_clock_time.as_ref()).into()),
        (
            "retries",
            constraints.max_task_retry_count.map(|count| count.to_string()).unwrap_or_default().into(),
        ),
        (
            "when all is done",
            words::name(job.on_all_tasks_complete().as_str_name(), "ON_ALL_TASKS_COMPLETE_").into(),
        ),
        ("when a task fails", words::name(job.on_task_failure().as_str_name(), "ON_TASK_FAILURE_").into()),
        (
            "when one never runs",
            words::name(job.on_dependency_failure().as_str_name(), "ON_DEPENDENCY_FAILURE_").into(),
        ),
        (
            "manager",
            job.job_manager_task
                .as_ref()
                .map(|own| format!("{}: {}", own.id, own.command_line))
                .unwrap_or_default()
                .into(),
        ),
        (
            "preparation",
            job.job_preparation_task.as_ref().map(|own| own.command_line.clone()).unwrap_or_default().into(),
        ),
        (
            "release",
            job.job_release_task.as_ref().map(|own| own.command_line.clone()).unwrap_or_default().into(),
        ),
        ("tasks", counts.map(counts_in_words).unwrap_or_default().into()),
        ("created", words::time(job.create_time.as_ref()).into()),
        ("ended", words::time(info.end_time.as_ref()).into()),
        ("ended because", info.terminate_reason.into()),
    ];
    let notes = job.metadata.iter().map(|note| ("note", format!("{}={}", note.name, note.value).into()));
    fields.extend(notes);
    fields.push(("etag", job.etag.as_str().into()));
    if let Some(error) = info.scheduling_error {
        fields.push(("cannot run", Field::toned(format!("{}: {}", error.code, error.message), Tone::Bad)));
    }
    fields
}

/// Headings of a job's counts.
pub(crate) const COUNT_HEADINGS: [&str; 6] = ["of", "active", "running", "completed", "succeeded", "failed"];

/// A job's counts: its tasks, and the slots that they need.
#[must_use]
pub(crate) fn count_rows(report: &wire::TaskCountsReport) -> Vec<Vec<Field>> {
    let row = |of: &str, counts: Option<wire::TaskCounts>| {
        let counts = counts.unwrap_or_default();
        let numbers = [counts.active, counts.running, counts.completed, counts.succeeded, counts.failed];
        std::iter::once(of.into()).chain(numbers.map(Field::number)).collect()
    };
    vec![row("tasks", report.task_counts), row("slots", report.task_slot_counts)]
}

/// Counts in a sentence.
#[must_use]
pub(crate) fn counts_in_words(counts: &wire::TaskCounts) -> String {
    let failed = if counts.failed > 0 { format!(" ({} failed)", counts.failed) } else { String::new() };
    format!("{} waiting, {} running, {} completed{failed}", counts.active, counts.running, counts.completed)
}

fn pool(job: &wire::Job) -> String {
    match &job.pool_info {
        Some(PoolInfo::PoolId(pool)) => pool.clone(),
        Some(PoolInfo::AutoPoolSpecification(_)) => "its own".to_owned(),
        None => String::new(),
    }
}
