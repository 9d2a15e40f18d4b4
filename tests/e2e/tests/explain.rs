//! Why something waits, in words for people and in codes for programs; and whether it could ever run, before it is added.
//!
//! What waits is brought about with gates and with needs that no node can meet. Codes and `can_ever_run` are what programs branch
//! on, so they are required exactly; of the text only the facts are, in any wording.

use anyhow::ensure;
use muster_e2e::exit_code::{CONFLICT, INVALID, NOT_FOUND};
use muster_e2e::user::script_task;
use muster_e2e::wait::SOON;
use muster_e2e::work::{counts, with};
use muster_e2e::{Cluster, User};
use muster_proto::wire;
use muster_proto::wire::compute_node_service_client::ComputeNodeServiceClient;
use serde_json::{Value, json};

/// The codes of the reasons why a task waits, in their order, and whether it could ever run.
fn codes(explained: &Value) -> (Vec<&str>, bool) {
    let reasons = explained.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let codes = reasons.filter_map(|reason| reason.get("code")?.as_str()).collect();
    (codes, explained.get("can_ever_run") == Some(&json!(true)))
}

/// Requires the first reason of a task, words in its text form, and whether it could ever run.
fn ensure_waits(
    cluster: &User,
    job: &str,
    task: &str,
    code: &str,
    words: &[&str],
    ever: bool,
) -> anyhow::Result<()> {
    let explained = cluster.json(&["task", "explain", job, task])?;
    let (found, can_ever_run) = codes(&explained);
    ensure!(found.first() == Some(&code), "{job}/{task}: wanted {code} first: {explained}");
    ensure!(can_ever_run == ever, "{job}/{task}: can it ever run? wanted {ever}: {explained}");
    let text = cluster.ok(&["task", "explain", job, task])?;
    for word in words {
        ensure!(text.contains(word), "{job}/{task}: no '{word}' in:\n{text}");
    }
    Ok(())
}

#[test]
fn each_reason_is_told_with_its_counts_and_the_nearest_miss() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    let slots = |id: &str, count: u32| with(cluster.noted(id), &json!({ "required_slots": count }));
    let after =
        |id: &str, task: &str| with(cluster.noted(id), &json!({ "depends_on": { "task_ids": [task] } }));
    let job = json!({ "id": "why", "uses_task_dependencies": true });
    cluster.job_of(&job, &[cluster.gated("runs", "gate"), script_task("fails", "sleep 0.3; exit 1")])?;
    cluster.completed("why", "fails")?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let memory = json!({ "resources": { "memory_bytes": 1_u64 << 50 } });
    let tasks = [
        with(cluster.noted("huge"), &memory),
        slots("wide", 2),
        after("later", "runs"),
        after("unknown", "not-there-yet"),
        after("never", "fails"),
    ];
    cluster.add_tasks("why", &tasks)?.ok()?;
    ensure_waits(&cluster, "why", "huge", "NODE_TOO_SMALL", &["1 node", "memory", "GiB"], false)?;
    ensure_waits(&cluster, "why", "wide", "NODE_BUSY", &["2", "1", "slot"], true)?;
    ensure_waits(&cluster, "why", "later", "DEPENDENCY", &["runs"], true)?;
    ensure_waits(&cluster, "why", "unknown", "DEPENDENCY", &["not-there-yet"], true)?;
    ensure_waits(&cluster, "why", "never", "DEPENDENCY_NEVER_MET", &["fails"], false)?;
    // What does not wait has no reasons.
    let running = cluster.json(&["task", "explain", "why", "runs"])?;
    assert_eq!((codes(&running).0.len(), running.get("state")), (0, Some(&json!("TASK_STATE_RUNNING"))));
    cluster.muster(&["task", "explain", "why", "nobody"])?.refused(NOT_FOUND, &["nobody"])?;

    // All at once: groups with the same reason, the oldest of each as the example.
    cluster.add_tasks("why", &[slots("wide-2", 2), after("never-2", "fails")])?.ok()?;
    let explained = cluster.json(&["job", "explain", "why"])?;
    let groups = explained.get("waiting").and_then(Value::as_array).cloned().unwrap_or_default();
    let count: u64 = groups.iter().filter_map(|group| group.get("count")?.as_u64()).sum();
    assert_eq!(count, 7, "{explained}");
    let text = cluster.ok(&["job", "explain", "why"])?;
    for word in ["huge", "wide", "later", "never"] {
        ensure!(text.contains(word), "no '{word}' in:\n{text}");
    }
    cluster.open("gate")?;
    cluster.wait_for_counts("why", counts(4, 0, 4, 1))
}

#[test]
fn task_that_is_given_to_a_node_ahead_of_its_time_says_so() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    // After very short tasks a node is given some more than it has slots for.
    cluster.job("ahead", &[script_task("short", "exit 0")])?;
    cluster.completed("ahead", "short")?;
    cluster.add_tasks("ahead", &[cluster.gated("runs", "gate"), cluster.noted("next")])?.ok()?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let explained = cluster.json(&["task", "explain", "ahead", "next"])?;
    let (found, can_ever_run) = codes(&explained);
    ensure!(!found.is_empty() && can_ever_run, "it waits and does not say why: {explained}");
    let explained = cluster.json(&["job", "explain", "ahead"])?.to_string();
    ensure!(explained.contains("next"), "it waits and is not told: {explained}");
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "ahead"]).map(drop)
}

#[test]
fn job_and_pool_that_hold_a_task_back_are_told() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    let task = || [cluster.noted("t")];
    cluster.job_of(&json!({ "id": "no-pool", "pool_id": "not-there" }), &task())?;
    ensure_waits(&cluster, "no-pool", "t", "POOL_NOT_FOUND", &["not-there"], false)?;
    cluster.ok(&["pool", "create", "empty", "--nodes", "0"])?;
    cluster.job_of(&json!({ "id": "no-nodes", "pool_id": "empty" }), &task())?;
    ensure_waits(&cluster, "no-nodes", "t", "NO_NODES", &["empty"], false)?;
    cluster.ok(&["job", "create", "off", "--pool", "default"])?;
    cluster.ok(&["job", "disable", "off"])?;
    cluster.add_tasks("off", &task())?.ok()?;
    ensure_waits(&cluster, "off", "t", "JOB_STATE", &["disabled"], true)?;
    let gated = [cluster.gated("one", "gate"), cluster.noted("t")];
    cluster.job_of(&json!({ "id": "narrow", "max_parallel_tasks": 1 }), &gated)?;
    cluster.wait_for_lines("started", 1, SOON)?;
    ensure_waits(&cluster, "narrow", "t", "MAX_PARALLEL_TASKS", &["1"], true)?;
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "narrow"]).map(drop)
}

#[test]
fn node_that_is_closed_for_tasks_is_told_while_it_works_and_when_it_is_idle() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    cluster.job("before", &[cluster.gated("runs", "gate")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let node = cluster.list(&["node", "list", "default"])?.remove(0);
    let node = node.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let api = cluster.api()?;
    let mut nodes = ComputeNodeServiceClient::new(api.wire());
    let disable = wire::DisableNodeSchedulingRequest {
        pool_id: "default".into(),
        node_id: node.clone(),
        option: wire::DisableSchedulingOption::TaskCompletion.into(),
        ..Default::default()
    };
    api.wait(nodes.disable_node_scheduling(disable))?;
    cluster.job("after", &[cluster.noted("t")])?;
    ensure_waits(&cluster, "after", "t", "NODE_DRAINING", &["1 node", &node], true)?;
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "before"])?;
    ensure_waits(&cluster, "after", "t", "SCHEDULING_DISABLED", &["1 node", &node], true)?;
    let enable =
        wire::EnableNodeSchedulingRequest { pool_id: "default".into(), node_id: node, ..Default::default() };
    api.wait(nodes.enable_node_scheduling(enable))?;
    cluster.ok(&["job", "wait", "after"]).map(drop)
}

#[test]
fn dry_run_says_whether_a_task_could_ever_run_and_adds_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    cluster.job("dry", &[script_task("there", "exit 0")])?;
    cluster.ok(&["job", "wait", "dry"])?;
    let check = |options: &[&str]| {
        cluster.muster(&[&["task", "add", "dry", "t", "--dry-run"], options, &["--", "true"]].concat())
    };
    check(&[])?.ok()?;
    let huge = check(&["--memory", "1000T"])?.with_code(1)?;
    let said = format!("{}{}", huge.out(), huge.err());
    ensure!(said.contains("memory"), "the nearest miss is told: {said}");
    let json = ["-o", "json", "task", "add", "dry", "t", "--dry-run", "--memory", "1000T", "--", "true"];
    let answer = cluster.muster(&json)?.with_code(1)?.json()?;
    assert_eq!(codes(&answer), (vec!["NODE_TOO_SMALL"], false), "{answer}");
    // It refuses what adding would refuse.
    check(&["--slots", "3"])?.refused(INVALID, &["3", "2", "slots"])?;
    let taken = ["task", "add", "dry", "there", "--dry-run", "--", "true"];
    cluster.muster(&taken)?.refused(CONFLICT, &["there"])?;
    let nowhere = ["task", "add", "nowhere", "t", "--dry-run", "--", "true"];
    cluster.muster(&nowhere)?.refused(NOT_FOUND, &["nowhere"])?;
    assert_eq!(cluster.list(&["task", "list", "dry"])?.len(), 1);
    assert_eq!(cluster.counts("dry")?, counts(0, 0, 1, 0));
    Ok(())
}
