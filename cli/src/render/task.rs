//! How tasks look, and how the end of one is told.
//!
//! A failed task says why already in its row of a list, because that is what the list is looked at for.

use muster_proto::wire;
use muster_proto::wire::output_manifest_entry::Destination;

use super::words;
use crate::outlet::{Field, Tone};

/// Headings of a list of tasks.
pub(crate) const HEADINGS: [&str; 6] = ["id", "state", "exit", "took", "node", "why"];

/// A task as a row.
#[must_use]
pub(crate) fn row(task: &wire::Task) -> Vec<Field> {
    let info = task.execution_info.clone().unwrap_or_default();
    vec![
        task.id.as_str().into(),
        state(task, &info),
        Field::at_right(exit(info.exit_code, info.signal)),
        Field::at_right(words::span_between(info.start_time.as_ref(), info.end_time.as_ref())),
        task.node_info.as_ref().map(|node| node.node_id.clone()).unwrap_or_default().into(),
        info.failure_info.map(|failure| cause(&failure)).unwrap_or_default().into(),
    ]
}

/// A task as a record.
#[must_use]
pub(crate) fn record(task: &wire::Task) -> Vec<(&'static str, Field)> {
    let info = task.execution_info.clone().unwrap_or_default();
    let node = task.node_info.clone().unwrap_or_default();
    let mut fields: Vec<(&'static str, Field)> = vec![
        ("id", task.id.as_str().into()),
        ("job", task.job_id.as_str().into()),
        ("sweep", sweep(task).into()),
        ("name", task.display_name.as_str().into()),
        ("command", task.command_line.as_str().into()),
        ("state", state(task, &info)),
        ("since", words::time(task.state_transition_time.as_ref()).into()),
        ("exit", exit(info.exit_code, info.signal).into()),
    ];
    if let Some(failure) = &info.failure_info {
        fields.push((
            "failed because",
            Field::toned(format!("{}: {}", cause(failure), failure.message), Tone::Bad),
        ));
    }
    fields.extend([
        ("node", node.node_id.into()),
        ("directory", node.task_root_directory.into()),
        ("attempt", if task.attempt > 0 { task.attempt.to_string() } else { String::new() }.into()),
        ("retries", retries(&info).into()),
        ("created", words::time(task.create_time.as_ref()).into()),
        ("started", words::time(info.start_time.as_ref()).into()),
        ("ended", words::time(info.end_time.as_ref()).into()),
        ("took", words::span_between(info.start_time.as_ref(), info.end_time.as_ref()).into()),
    ]);
    if info.memory_bytes > 0 {
        fields.push(("memory now", words::size(info.memory_bytes).into()));
    }
    if !info.nodes_lost.is_empty() {
        fields.push(("nodes lost", Field::toned(info.nodes_lost.join(", "), Tone::Bad)));
    }
    fields.push(("etag", task.etag.as_str().into()));
    if let Some(usage) = &task.usage {
        fields.push(("peak memory", words::size(usage.peak_memory_bytes).into()));
        let (user, kernel) =
            (words::span(usage.user_cpu_time.as_ref()), words::span(usage.kernel_cpu_time.as_ref()));
        fields.push(("processor time", format!("{user} user, {kernel} kernel").into()));
    }
    for output in &task.outputs {
        let place = match &output.destination {
            Some(Destination::FileStore(name)) => format!("{}/{}", name.container, name.path),
            Some(Destination::ObjectStoreUrl(url)) => url.clone(),
            None => continue,
        };
        fields.push(("output", format!("{place} ({})", words::size(output.size_bytes)).into()));
    }
    fields
}

/// A cause in words: `out of memory`.
#[must_use]
pub(crate) fn cause(failure: &wire::FailureInfo) -> String {
    words::name(failure.cause().as_str_name(), "FAILURE_CAUSE_")
}

/// The state of a task, and for one that is over how it went.
fn state(task: &wire::Task, info: &wire::TaskExecutionInfo) -> Field {
    if task.state() == wire::TaskState::Completed {
        let tone = if info.result() == wire::ExecutionResult::Failure { Tone::Bad } else { Tone::Good };
        let word = if tone == Tone::Bad { "failed" } else { "completed" };
        return Field::toned(word, tone);
    }
    words::state(task.state().as_str_name(), "TASK_STATE_")
}

/// How a command ended: its exit code, or the signal that ended it.
#[must_use]
pub(crate) fn exit(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => code.to_string(),
        (None, None) => String::new(),
    }
}

/// The sweep that a task is a member of, and its number there.
fn sweep(task: &wire::Task) -> String {
    match (task.sweep_id.as_str(), task.sweep_number) {
        ("", _) => String::new(),
        (sweep, Some(number)) => format!("{sweep}, number {number}"),
        (sweep, None) => sweep.to_owned(),
    }
}

fn retries(info: &wire::TaskExecutionInfo) -> String {
    let all = info.retry_count + info.requeue_count + info.server_retry_count;
    if all == 0 {
        return String::new();
    }
    format!(
        "{} after failures, {} put back, {} for faults of nodes",
        info.retry_count, info.requeue_count, info.server_retry_count
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_says_why_in_its_row() {
        let failure =
            wire::FailureInfo { cause: wire::FailureCause::OutOfMemory.into(), ..Default::default() };
        let info = wire::TaskExecutionInfo {
            signal: Some(9),
            result: wire::ExecutionResult::Failure.into(),
            failure_info: Some(failure),
            ..Default::default()
        };
        let task = wire::Task {
            id: "t".into(),
            state: wire::TaskState::Completed.into(),
            execution_info: Some(info),
            ..Default::default()
        };
        let row = row(&task);
        assert_eq!(row[1], Field::toned("failed", Tone::Bad));
        assert_eq!(row[2], Field::at_right("signal 9"));
        assert_eq!(row[5], Field::from("out of memory"));
    }
}
