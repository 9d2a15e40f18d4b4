//! How tasks look, and how the end of one is told.
//!
//! A failed task says why already in its row of a list, because that is what the list is looked at for.

use muster_proto::wire;
use muster_proto::wire::output_manifest_entry::Destination;

use super::{failure, usage, words};
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
        info.failure_info.as_ref().map(failure::cause).unwrap_or_default().into(),
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
        ("user", user(task.user_identity.as_ref()).into()),
        ("state", state(task, &info)),
        ("since", words::time(task.state_transition_time.as_ref()).into()),
        ("exit", exit(info.exit_code, info.signal).into()),
    ];
    if let Some(failure) = &info.failure_info {
        fields.push(("failed because", Field::toned(failure::sentence(failure), Tone::Bad)));
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
    let is_running = task.state() == wire::TaskState::Running;
    fields.extend(task.usage.iter().flat_map(|used| usage::fields(used, is_running)));
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

/// As whom it runs, if that is not the default.
fn user(identity: Option<&wire::UserIdentity>) -> String {
    use wire::user_identity::User;
    let Some(user) = identity.and_then(|identity| identity.user.as_ref()) else { return String::new() };
    match user {
        User::Username(name) => name.clone(),
        User::AutoUser(auto) => {
            let whose = match auto.scope() {
                wire::AutoUserScope::Task => "one of its own",
                wire::AutoUserScope::Unspecified | wire::AutoUserScope::Pool => "the pool's",
            };
            let is_admin = auto.elevation_level() == wire::ElevationLevel::Admin;
            format!("{whose}{}", if is_admin { ", administrator" } else { "" })
        }
    }
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

    #[test]
    fn a_running_tasks_figures_are_marked_and_its_user_named() {
        let auto = |scope: wire::AutoUserScope, level: wire::ElevationLevel| wire::UserIdentity {
            user: Some(wire::user_identity::User::AutoUser(wire::AutoUser {
                scope: scope.into(),
                elevation_level: level.into(),
            })),
        };
        use wire::AutoUserScope::{Pool, Task};
        use wire::ElevationLevel::{Admin, NonAdmin};
        let mut task = wire::Task {
            state: wire::TaskState::Running.into(),
            user_identity: Some(auto(Task, NonAdmin)),
            usage: Some(wire::ResourceUsage { peak_memory_bytes: 1 << 20, ..Default::default() }),
            ..Default::default()
        };
        let running = record(&task);
        assert!(running.contains(&("peak memory", Field::from("1.0 MiB so far"))), "{running:?}");
        assert!(running.contains(&("user", Field::from("one of its own"))), "{running:?}");
        task.state = wire::TaskState::Completed.into();
        assert!(record(&task).contains(&("peak memory", Field::from("1.0 MiB"))));
        assert_eq!(user(Some(&auto(Pool, Admin))), "the pool's, administrator");
        let named = wire::UserIdentity { user: Some(wire::user_identity::User::Username("ann".into())) };
        assert_eq!((user(Some(&named)), user(None)), ("ann".to_owned(), String::new()));
    }
}
