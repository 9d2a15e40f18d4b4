//! How compute nodes look.
//!
//! The row has what one chooses a node by, the record all that helps when one is ill: its errors, its start task, what ran
//! there last.

use muster_proto::wire;

use super::words;
use crate::outlet::{Field, Tone};

/// Headings of a list of nodes.
pub(crate) const HEADINGS: [&str; 7] = ["id", "state", "slots", "cores", "memory", "tasks run", "hostname"];

/// A node as a row.
#[must_use]
pub(crate) fn row(node: &wire::ComputeNode) -> Vec<Field> {
    let capacity = node.capacity.clone().unwrap_or_default();
    vec![
        node.id.as_str().into(),
        words::state(node.state().as_str_name(), "NODE_STATE_"),
        Field::at_right(format!("{}/{}", node.running_task_slots_count, node.task_slots)),
        Field::at_right(words::cores(capacity.cpu_millis)),
        Field::at_right(words::size(capacity.memory_bytes)),
        Field::number(node.total_tasks_run),
        node.hostname.as_str().into(),
    ]
}

/// A node as a record.
#[must_use]
pub(crate) fn record(node: &wire::ComputeNode) -> Vec<(&'static str, Field)> {
    let capacity = node.capacity.clone().unwrap_or_default();
    let mut fields: Vec<(&'static str, Field)> = vec![
        ("id", node.id.as_str().into()),
        ("pool", node.pool_id.as_str().into()),
        ("state", words::state(node.state().as_str_name(), "NODE_STATE_")),
        ("since", words::time(node.state_transition_time.as_ref()).into()),
        ("scheduling", words::name(node.scheduling_state().as_str_name(), "SCHEDULING_STATE_").into()),
        ("hostname", node.hostname.as_str().into()),
        ("address", node.ip_address.as_str().into()),
        ("system", node.operating_system.as_str().into()),
        ("agent", node.agent_version.as_str().into()),
        ("cores", words::cores(capacity.cpu_millis).into()),
        ("memory", words::size(capacity.memory_bytes).into()),
        ("disk", words::size(capacity.disk_bytes).into()),
        ("enforces", enforced(node).into()),
        ("slots", format!("{} of {} in use", node.running_task_slots_count, node.task_slots).into()),
        ("tasks run", format!("{}, {} succeeded", node.total_tasks_run, node.total_tasks_succeeded).into()),
        ("booted", words::time(node.last_boot_time.as_ref()).into()),
        ("joined", words::time(node.allocation_time.as_ref()).into()),
        ("lease until", words::time(node.lease_expire_time.as_ref()).into()),
    ];
    if let Some(start_task) = &node.start_task_info {
        fields.push(("start task", start_task_field(start_task)));
    }
    for error in &node.errors {
        fields.push(("error", Field::toned(format!("{}: {}", error.code, error.message), Tone::Bad)));
    }
    for task in &node.recent_tasks {
        let state = words::name(task.state().as_str_name(), "TASK_STATE_");
        let text = format!("{}/{} attempt {} ({state})", task.job_id, task.task_id, task.attempt);
        fields.push(("recent task", text.into()));
    }
    fields
}

fn enforced(node: &wire::ComputeNode) -> String {
    let Some(can) = &node.capabilities else { return String::new() };
    let parts = [(can.memory_limit, "memory"), (can.cpu_limit, "cpu"), (can.pids_limit, "processes")];
    let parts: Vec<&str> = parts.iter().filter(|(can, _)| *can).map(|(_, word)| *word).collect();
    if parts.is_empty() { "no limits".to_owned() } else { format!("{} limits", parts.join(", ")) }
}

fn start_task_field(info: &wire::StartTaskInfo) -> Field {
    let state = words::name(info.state().as_str_name(), "START_TASK_STATE_");
    match &info.failure_info {
        Some(failure) => Field::toned(format!("{state}: {}", failure.message), Tone::Bad),
        None => {
            let result = words::name(info.result().as_str_name(), "EXECUTION_RESULT_");
            format!("{state} {result}").trim_end().to_owned().into()
        }
    }
}
