//! How compute nodes look.
//!
//! The row is narrow: what a node does, and in a word or two why it takes no tasks. The record has all that helps when one
//! is ill or on its way out: errors, drain and probation in sentences, what it uses, what it runs. What it can enforce is a
//! table of its own (`capability.rs`).

use muster_proto::wire;

use super::{capability, failure, words};
use crate::outlet::{Field, Tone};

/// Headings of a list of nodes.
pub(crate) const HEADINGS: [&str; 6] = ["id", "state", "scheduling", "tasks", "slots", "why"];

/// A node as a row.
#[must_use]
pub(crate) fn row(node: &wire::ComputeNode) -> Vec<Field> {
    vec![
        node.id.as_str().into(),
        state(node),
        scheduling(node),
        Field::number(node.running_tasks_count),
        Field::at_right(format!("{}/{}", node.running_task_slots_count, node.task_slots)),
        why(node).into(),
    ]
}

fn state(node: &wire::ComputeNode) -> Field {
    words::state(node.state().as_str_name(), "NODE_STATE_")
}

fn scheduling(node: &wire::ComputeNode) -> Field {
    words::name(node.scheduling_state().as_str_name(), "SCHEDULING_STATE_").into()
}

/// Why it takes no tasks, or not as usual, in a few words.
fn why(node: &wire::ComputeNode) -> String {
    let mut reasons = Vec::new();
    match node.state() {
        wire::NodeState::Unusable => {
            reasons.extend(node.errors.first().map(|error| code_in_words(&error.code)));
        }
        wire::NodeState::StartTaskFailed => {
            let failure = node.start_task_info.as_ref().and_then(|info| info.failure_info.as_ref());
            reasons.extend(failure.map(failure::cause));
        }
        wire::NodeState::Unspecified
        | wire::NodeState::Creating
        | wire::NodeState::Starting
        | wire::NodeState::WaitingForStartTask
        | wire::NodeState::Idle
        | wire::NodeState::Running
        | wire::NodeState::Rebooting
        | wire::NodeState::Reimaging
        | wire::NodeState::Unknown
        | wire::NodeState::Offline
        | wire::NodeState::LeavingPool
        | wire::NodeState::Preempted
        | wire::NodeState::UpgradingOs
        | wire::NodeState::Deallocating
        | wire::NodeState::Deallocated => {}
    }
    if node.probation.is_some() {
        reasons.push("on probation".to_owned());
    }
    reasons.extend(node.drain.map(|drain| format!("draining{}", follows(&drain).unwrap_or_default())));
    reasons.join(", ")
}

/// A node as a record.
#[must_use]
pub(crate) fn record(node: &wire::ComputeNode) -> Vec<(&'static str, Field)> {
    let capacity = node.capacity.clone().unwrap_or_default();
    let mut fields: Vec<(&'static str, Field)> = vec![
        ("id", node.id.as_str().into()),
        ("pool", node.pool_id.as_str().into()),
        ("state", state(node)),
        ("since", words::time(node.state_transition_time.as_ref()).into()),
    ];
    fields.extend(node.errors.iter().map(|error| ("error", error_field(error))));
    fields.push(("scheduling", scheduling(node)));
    fields.extend(node.drain.map(|drain| ("drain", drain_in_words(&drain).into())));
    let probation = node.probation.map(|probation| probation_in_words(node.state(), &probation));
    fields.extend(probation.map(|words| ("probation", Field::toned(words, Tone::Busy))));
    fields.extend([
        ("hostname", node.hostname.as_str().into()),
        ("address", node.ip_address.as_str().into()),
        ("system", node.operating_system.as_str().into()),
        ("agent", node.agent_version.as_str().into()),
        ("cores", words::cores(capacity.cpu_millis).into()),
        ("memory", words::size(capacity.memory_bytes).into()),
        ("disk", words::size(capacity.disk_bytes).into()),
        ("isolation", isolation(node)),
        ("slots", format!("{} of {} in use", node.running_task_slots_count, node.task_slots).into()),
        ("tasks now", node.running_tasks_count.to_string().into()),
        ("tasks run", format!("{}, {} succeeded", node.total_tasks_run, node.total_tasks_succeeded).into()),
        ("booted", words::time(node.last_boot_time.as_ref()).into()),
        ("joined", words::time(node.allocation_time.as_ref()).into()),
        ("lease until", words::time(node.lease_expire_time.as_ref()).into()),
    ]);
    if let Some(start_task) = &node.start_task_info {
        fields.push(("start task", start_task_field(start_task)));
    }
    fields.extend(node.metrics.iter().flat_map(metrics));
    let is_running = |task: &&wire::RecentTask| task.state() == wire::TaskState::Running;
    let (running, over): (Vec<_>, Vec<_>) = node.recent_tasks.iter().partition(is_running);
    fields.extend(running.into_iter().map(|task| ("runs", running_task(task).into())));
    fields.extend(over.into_iter().map(|task| ("recent task", recent_task(task).into())));
    fields
}

fn error_field(error: &wire::NodeError) -> Field {
    let since = words::time(error.occur_time.as_ref());
    let since = if since.is_empty() { since } else { format!(" (since {since})") };
    Field::toned(format!("{}: {}{since}", code_in_words(&error.code), error.message), Tone::Bad)
}

/// A code of the API in words: `DiskPressure` is `disk pressure`.
fn code_in_words(code: &str) -> String {
    let mut words = String::with_capacity(code.len() + 4);
    for letter in code.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// `drained by task completion until 2026-11-23 14:00:00Z, then restarted`.
fn drain_in_words(drain: &wire::NodeDrain) -> String {
    let how = match drain.option() {
        wire::DisableSchedulingOption::Unspecified | wire::DisableSchedulingOption::Requeue => {
            "requeueing its tasks"
        }
        wire::DisableSchedulingOption::Terminate => "terminating its tasks",
        wire::DisableSchedulingOption::TaskCompletion => "task completion",
    };
    let until = words::time(drain.deadline.as_ref());
    let until = if until.is_empty() { until } else { format!(" until {until}") };
    format!("drained by {how}{until}{}", follows(drain).unwrap_or_default())
}

/// What follows a drain, to be put behind it; `None` if nothing does.
fn follows(drain: &wire::NodeDrain) -> Option<&'static str> {
    match drain.then() {
        wire::AfterDrain::Unspecified | wire::AfterDrain::Stay => None,
        wire::AfterDrain::Reboot => Some(", then rebooted"),
        wire::AfterDrain::Reimage => Some(", then reimaged"),
        wire::AfterDrain::Leave => Some(", then leaves the pool"),
    }
}

/// `failed 3 times; tried again at ...`. Only the state says whether the pause is over: no clock is read here.
fn probation_in_words(state: wire::NodeState, probation: &wire::NodeProbation) -> String {
    let times =
        if probation.strikes == 1 { "once".to_owned() } else { format!("{} times", probation.strikes) };
    let retry = words::time(probation.retry_time.as_ref());
    let is_paused = matches!(state, wire::NodeState::Unusable | wire::NodeState::StartTaskFailed);
    if is_paused && !retry.is_empty() {
        format!("on probation: failed {times}, tried again at {retry}")
    } else {
        format!("on probation: failed {times}, takes one task at a time until one succeeds")
    }
}

/// The isolation in force, and the node's strongest where it differs.
fn isolation(node: &wire::ComputeNode) -> Field {
    let strongest = node.capabilities.as_ref().map(wire::NodeCapabilities::isolation_level);
    let (in_force, strongest) = (node.isolation_level(), strongest.unwrap_or_default());
    let unsaid = wire::IsolationLevel::Unspecified;
    let (word, limit) = (capability::level(in_force), capability::level(strongest));
    if in_force == unsaid || strongest == unsaid || in_force == strongest {
        word.into()
    } else if i32::from(in_force) < i32::from(strongest) {
        format!("{word} (it could give {limit})").into()
    } else {
        Field::toned(format!("{word}, but it can give {limit} at most"), Tone::Bad)
    }
}

fn start_task_field(info: &wire::StartTaskInfo) -> Field {
    let state = words::name(info.state().as_str_name(), "START_TASK_STATE_");
    match &info.failure_info {
        Some(failure) => Field::toned(format!("{state}: {}", failure::sentence(failure)), Tone::Bad),
        None => {
            let result = words::name(info.result().as_str_name(), "EXECUTION_RESULT_");
            format!("{state} {result}").trim_end().to_owned().into()
        }
    }
}

/// What it uses, as it told last.
fn metrics(now: &wire::NodeMetrics) -> Vec<(&'static str, Field)> {
    let of =
        |part: u64, word: &str, all: u64| format!("{} {word} of {}", words::size(part), words::size(all));
    vec![
        ("measured", words::time(now.measure_time.as_ref()).into()),
        ("cores used", words::cores(now.cpu_millis).into()),
        ("memory now", of(now.memory_used_bytes, "used", now.memory_total_bytes).into()),
        ("disk now", of(now.disk_free_bytes, "free", now.disk_total_bytes).into()),
        ("cache", words::size(now.cache_bytes).into()),
        ("agent memory", words::size(now.agent_memory_bytes).into()),
    ]
}

fn running_task(task: &wire::RecentTask) -> String {
    let started = task.execution_info.as_ref().and_then(|info| info.start_time.as_ref());
    let since = words::time(started);
    let since = if since.is_empty() { since } else { format!(" since {since}") };
    format!("{}/{} attempt {}{since}", task.job_id, task.task_id, task.attempt)
}

fn recent_task(task: &wire::RecentTask) -> String {
    let state = words::name(task.state().as_str_name(), "TASK_STATE_");
    format!("{}/{} attempt {} ({state})", task.job_id, task.task_id, task.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn text_of(node: &wire::ComputeNode, name: &str) -> String {
        let fields = record(node);
        let found = fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, field)| format!("{field:?}")).unwrap_or_default()
    }

    #[test]
    fn a_row_says_in_short_why_a_node_takes_no_tasks() {
        let error = wire::NodeError { code: "DiskPressure".into(), ..Default::default() };
        let ill = wire::ComputeNode {
            state: wire::NodeState::Unusable.into(),
            errors: vec![error],
            probation: Some(wire::NodeProbation::default()),
            ..Default::default()
        };
        assert_eq!(row(&ill)[5], Field::from("disk pressure, on probation"));
        let drain = wire::NodeDrain { then: wire::AfterDrain::Reboot.into(), ..Default::default() };
        let leaving = wire::ComputeNode { drain: Some(drain), running_tasks_count: 2, ..Default::default() };
        assert_eq!(row(&leaving)[5], Field::from("draining, then rebooted"));
        let stays = wire::NodeDrain { then: wire::AfterDrain::Stay.into(), ..Default::default() };
        let draining = wire::ComputeNode { drain: Some(stays), ..Default::default() };
        assert_eq!(row(&draining)[5], Field::from("draining"));
        assert_eq!(row(&wire::ComputeNode::default())[5], Field::from(""));
        assert_eq!(row(&draining).len(), HEADINGS.len());
    }

    #[test]
    fn a_drain_is_a_sentence() {
        let drain = |option: wire::DisableSchedulingOption, deadline, then: wire::AfterDrain| {
            drain_in_words(&wire::NodeDrain { option: option.into(), deadline, then: then.into() })
        };
        use wire::{AfterDrain, DisableSchedulingOption as Option};
        assert_eq!(
            drain(Option::TaskCompletion, at(1_700_000_000), AfterDrain::Reboot),
            "drained by task completion until 2023-11-14 22:13:20Z, then rebooted"
        );
        assert_eq!(drain(Option::Requeue, None, AfterDrain::Stay), "drained by requeueing its tasks");
        assert_eq!(
            drain(Option::Terminate, None, AfterDrain::Leave),
            "drained by terminating its tasks, then leaves the pool"
        );
    }

    #[test]
    fn probation_says_when_or_how_it_is_tried_again() {
        let told = |state, strikes, retry_time| {
            probation_in_words(state, &wire::NodeProbation { strikes, retry_time })
        };
        assert_eq!(
            told(wire::NodeState::Unusable, 3, at(1_700_000_000)),
            "on probation: failed 3 times, tried again at 2023-11-14 22:13:20Z"
        );
        let tried = "on probation: failed once, takes one task at a time until one succeeds";
        assert_eq!(told(wire::NodeState::Idle, 1, at(1_700_000_000)), tried);
        assert_eq!(told(wire::NodeState::Unusable, 1, None), tried);
    }

    #[test]
    fn isolation_names_what_is_in_force_and_what_the_node_could() {
        let shown = |in_force: wire::IsolationLevel, strongest: wire::IsolationLevel| {
            let capabilities =
                wire::NodeCapabilities { isolation_level: strongest.into(), ..Default::default() };
            isolation(&wire::ComputeNode {
                isolation_level: in_force.into(),
                capabilities: Some(capabilities),
                ..Default::default()
            })
        };
        use wire::IsolationLevel::{Process, Sandbox, Unspecified};
        assert_eq!(shown(Process, Sandbox), Field::from("process (it could give sandbox)"));
        assert_eq!(shown(Sandbox, Sandbox), Field::from("sandbox"));
        assert_eq!(shown(Process, Unspecified), Field::from("process"));
        let much = Field::toned("sandbox, but it can give process at most", Tone::Bad);
        assert_eq!(shown(Sandbox, Process), much);
    }

    #[test]
    fn a_record_has_errors_metrics_and_running_tasks() {
        let error = wire::NodeError {
            code: "ClockSkew".into(),
            message: "the clock is 40 s behind".into(),
            occur_time: at(1_700_000_000),
            ..Default::default()
        };
        let task = |state: wire::TaskState| wire::RecentTask {
            job_id: "film".into(),
            task_id: "t".into(),
            attempt: 2,
            state: state.into(),
            execution_info: Some(wire::TaskExecutionInfo { start_time: at(0), ..Default::default() }),
        };
        let node = wire::ComputeNode {
            errors: vec![error],
            metrics: Some(wire::NodeMetrics {
                cpu_millis: 1250,
                disk_free_bytes: 1 << 30,
                disk_total_bytes: 4 << 30,
                ..Default::default()
            }),
            recent_tasks: vec![task(wire::TaskState::Completed), task(wire::TaskState::Running)],
            ..Default::default()
        };
        for (name, part) in [
            ("error", "clock skew: the clock is 40 s behind (since 2023-11-14 22:13:20Z)"),
            ("cores used", "1.25"),
            ("disk now", "1.0 GiB free of 4.0 GiB"),
            ("runs", "film/t attempt 2 since 1970-01-01 00:00:00Z"),
            ("recent task", "film/t attempt 2 (completed)"),
        ] {
            assert!(text_of(&node, name).contains(part), "{name}: {}", text_of(&node, name));
        }
        assert_eq!(text_of(&wire::ComputeNode::default(), "measured"), "", "not told yet");
    }
}
