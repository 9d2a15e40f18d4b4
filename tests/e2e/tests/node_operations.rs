//! What an operator does with a node: drains it in each way, brings it back, restarts it by a hook, removes it; and what a node does
//! by itself when it is not well.
//!
//! A reboot is played with real processes: all of the node end at once and its agent finds another boot id. A real one is in the
//! tests of the virtual machine.

use anyhow::{Context, ensure};
use muster_e2e::machine::{Need, has};
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::work::{cause, with};
use muster_e2e::{Cluster, wait_until};
use serde_json::{Value, json};

fn node_ids(cluster: &Split) -> anyhow::Result<Vec<String>> {
    let nodes = cluster.list(&["node", "list", "default"])?;
    nodes.iter().map(|node| Ok(node["id"].as_str().context("a node without an id")?.to_owned())).collect()
}

fn only_node(cluster: &Split) -> anyhow::Result<String> {
    node_ids(cluster)?.pop().context("no node")
}

fn show(cluster: &Split, node: &str) -> anyhow::Result<Value> {
    cluster.json(&["node", "show", "default", node])
}

fn wait_for_state(cluster: &Split, node: &str, state: &str) -> anyhow::Result<Value> {
    let mut last = Value::Null;
    let found = wait_until(WORK, &format!("node '{node}' to be {state}"), || {
        last = show(cluster, node)?;
        Ok(when(word(&last, "/state").as_deref() == Some(state)))
    });
    found.with_context(|| last.to_string())?;
    Ok(last)
}

/// Starts a gated task on the only node and waits until it runs.
fn start_gated(cluster: &Split, job: &str) -> anyhow::Result<()> {
    cluster.job(job, &[cluster.gated("t", "gate")])?;
    let lines = cluster.shared_lines("started").len();
    wait_until(SOON, "the task to run", || Ok(when(cluster.task_state(job, "t")? == "running")))?;
    cluster.wait_for_lines("started", lines.max(1), SOON)
}

#[test]
fn drained_by_requeue_the_task_runs_again_elsewhere_and_costs_no_retry() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(2).split()?;
    start_gated(&cluster, "j")?;
    let shown = cluster.shown("j", "t")?;
    let first = shown.pointer("/node_info/node_id").and_then(Value::as_str).context("no node")?.to_owned();
    cluster.ok(&["node", "disable", "default", &first, "--option", "requeue"])?;
    wait_for_state(&cluster, &first, "offline")?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.open("gate")?;
    let shown = cluster.completed("j", "t")?;
    ensure!(shown.pointer("/node_info/node_id").and_then(Value::as_str) != Some(&first), "{shown}");
    ensure!(number(&shown, "/execution_info/retry_count").unwrap_or(0) == 0, "{shown}");
    ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}");
    cluster.ok(&["node", "enable", "default", &first])?;
    wait_for_state(&cluster, &first, "idle")?;
    cluster.still_works()
}

#[test]
fn drained_by_terminate_the_task_is_over_for_good() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let node = only_node(&cluster)?;
    start_gated(&cluster, "j")?;
    cluster.ok(&["node", "disable", "default", &node, "--option", "terminate"])?;
    let shown = cluster.completed("j", "t")?;
    ensure!(cause(&shown) == "TERMINATED", "{shown}");
    wait_for_state(&cluster, &node, "offline")?;
    cluster.ok(&["node", "enable", "default", &node])?;
    cluster.still_works()
}

#[test]
fn drained_by_task_completion_the_task_ends_by_itself_and_nothing_follows_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let node = only_node(&cluster)?;
    start_gated(&cluster, "j")?;
    cluster.ok(&["node", "drain", "default", &node, "--option", "taskcompletion"])?;
    cluster.job("later", &[cluster.noted("later")])?;
    let shown = show(&cluster, &node)?;
    ensure!(word(&shown, "/scheduling_state").as_deref() == Some("disabled"), "{shown}");
    let why = cluster.ok(&["task", "explain", "later", "later"])?;
    ensure!(why.contains("being drained"), "{why}");
    cluster.open("gate")?;
    let done = cluster.completed("j", "t")?;
    ensure!(number(&done, "/execution_info/exit_code") == Some(0), "{done}");
    wait_for_state(&cluster, &node, "offline")?;
    ensure!(cluster.task_state("later", "later")? == "active", "nothing is placed on a drained node");
    cluster.ok(&["node", "enable", "default", &node])?;
    cluster.wait_for_task("later", "later", "completed")
}

#[test]
fn deadline_of_a_drain_requeues_what_did_not_end() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(2).split()?;
    start_gated(&cluster, "j")?;
    let shown = cluster.shown("j", "t")?;
    let first = shown.pointer("/node_info/node_id").and_then(Value::as_str).context("no node")?.to_owned();
    cluster.ok(&["node", "disable", "default", &first, "--option", "taskcompletion", "--deadline", "2s"])?;
    let told = cluster.ok(&["node", "show", "default", &first])?;
    ensure!(told.contains("task completion"), "{told}");
    cluster.wait_for_lines("started", 2, SOON)?;
    wait_for_state(&cluster, &first, "offline")?;
    cluster.open("gate")?;
    let shown = cluster.completed("j", "t")?;
    ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}");
    Ok(())
}

/// A cluster whose agents have a hook that notes that it ran, and a start task that notes each of its runs.
fn with_hooks() -> anyhow::Result<Split> {
    let start = "sh -c 'echo run >> $AZ_BATCH_NODE_SHARED_DIR/start-runs'";
    let hooks = [
        "--set",
        "hooks.reboot=sh -c 'echo reboot >> $MUSTER_ROOT/hook-ran'",
        "--set",
        "hooks.reimage=sh -c 'echo reimage >> $MUSTER_ROOT/hook-ran'",
    ];
    Cluster::new().agent_flags(&hooks).pool_flags(&["--start-task", start]).split()
}

fn hook_ran(cluster: &Split, word: &str) -> anyhow::Result<()> {
    let path = cluster.agent_root(0).join("hook-ran");
    wait_until(WORK, "the hook to run", || {
        Ok(when(std::fs::read_to_string(&path).unwrap_or_default().lines().any(|line| line == word)))
    })
}

#[test]
fn node_is_restarted_by_its_hook_and_comes_back_with_its_start_task_run_again() -> anyhow::Result<()> {
    if !has("reboot", &[Need::Root]) {
        return Ok(());
    }
    let mut cluster = with_hooks()?;
    let node = only_node(&cluster)?;
    let runs = |cluster: &Split| {
        let path = cluster.agent_root(0).join("batch/shared/start-runs");
        std::fs::read_to_string(path).unwrap_or_default().lines().count()
    };
    for (order, reimage) in [("reboot", false), ("reimage", true)] {
        let before = runs(&cluster);
        ensure!(before >= 1, "the start task ran");
        cluster.ok(&["node", order, "default", &node])?;
        hook_ran(&cluster, order)?;
        wait_for_state(&cluster, &node, if reimage { "reimaging" } else { "rebooting" })?;
        cluster.reboot_machine(0)?;
        wait_for_state(&cluster, &node, "idle")?;
        ensure!(runs(&cluster) == before + 1, "the start task runs again: {} after {before}", runs(&cluster));
        cluster.still_works()?;
    }
    Ok(())
}

#[test]
fn reboot_that_nobody_asked_for_loses_attempts_and_runs_them_again() -> anyhow::Result<()> {
    if !has("unasked_reboot", &[Need::Root]) {
        return Ok(());
    }
    let mut cluster = with_hooks()?;
    let node = only_node(&cluster)?;
    let task = with(cluster.gated("t", "gate"), &json!({ "constraints": { "max_task_retry_count": 3 } }));
    cluster.job("j", &[task])?;
    cluster.job("once", &[cluster.gated("t", "gate")])?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.reboot_machine(0)?;
    // The one that may run again does; the one that may run at most once says what happened to it.
    cluster.wait_for_lines("started", 3, WORK)?;
    cluster.open("gate")?;
    let again = cluster.completed("j", "t")?;
    ensure!(
        number(&again, "/execution_info/exit_code") == Some(0) && number(&again, "/attempt") == Some(2),
        "{again}"
    );
    let once = cluster.completed("once", "t")?;
    ensure!(cause(&once) == "NODE_LOST", "{once}");
    wait_for_state(&cluster, &node, "idle")?;
    // Nothing of the attempts of the boot before is in the way.
    ensure!(cluster.shared_lines("ledger").len() == 1, "{:?}", cluster.shared_lines("ledger"));
    cluster.still_works()
}

#[test]
fn node_without_hooks_refuses_to_restart_and_says_what_to_set() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let node = only_node(&cluster)?;
    for (order, setting) in [("reboot", "hooks.reboot"), ("reimage", "hooks.reimage")] {
        let refused = cluster.muster(&["node", order, "default", &node])?;
        ensure!(!refused.status.success() && refused.err().contains(setting), "{refused}");
    }
    cluster.still_works()
}

#[test]
fn node_is_removed_once_its_task_has_ended_by_itself() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let node = only_node(&cluster)?;
    start_gated(&cluster, "j")?;
    cluster.ok(&["node", "remove", "default", &node, "--option", "taskcompletion"])?;
    ensure!(cluster.task_state("j", "t")? == "running", "it goes on");
    ensure!(node_ids(&cluster)?.len() == 1, "the node is there while its task runs");
    cluster.open("gate")?;
    let shown = cluster.completed("j", "t")?;
    ensure!(number(&shown, "/execution_info/exit_code") == Some(0), "{shown}");
    wait_until(SOON, "the node to leave", || Ok(when(node_ids(&cluster)?.is_empty())))
}

#[test]
fn node_that_cannot_launch_is_taken_out_of_use_and_comes_back_on_probation() -> anyhow::Result<()> {
    let cluster = Cluster::new().controller_flags(&["--nodes-probation-first", "3s"]).split()?;
    let node = only_node(&cluster)?;
    // Where the job's directory should be made there is a file: a fault of the node that no task can mend.
    let obstacle = cluster.agent_root(0).join("batch/workitems/blocked");
    std::fs::write(&obstacle, "")?;
    let tasks: Vec<Value> = (0..6)
        .map(|id| {
            with(
                script_task(&id.to_string(), "true"),
                &json!({ "constraints": { "max_task_retry_count": 5 } }),
            )
        })
        .collect();
    cluster.job("blocked", &tasks)?;
    let shown = wait_for_state(&cluster, &node, "unusable")?;
    ensure!(shown.to_string().contains("RepeatedLaunchFailures"), "{shown}");
    let told = cluster.ok(&["node", "show", "default", &node])?;
    ensure!(told.contains("probation"), "{told}");
    std::fs::remove_file(&obstacle)?;
    wait_until(WORK, "the node to be tried again", || {
        let shown = show(&cluster, &node)?;
        Ok(when(shown.pointer("/probation").is_none_or(Value::is_null)))
    })?;
    cluster.still_works()
}

#[test]
fn node_whose_start_task_fails_is_tried_again_by_itself() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(0).controller_flags(&["--nodes-probation-first", "2s"]).split()?;
    let flag = cluster.shared("repaired");
    let start = format!("test -e {flag}");
    cluster.ok(&["pool", "create", "fragile", "--nodes", "1", "--start-task", &start])?;
    let node = cluster.add_agent("fragile")?;
    let state = |cluster: &Split| -> anyhow::Result<Option<Value>> {
        Ok(cluster.list(&["node", "list", "fragile"])?.pop())
    };
    wait_until(SOON, "the start task to fail", || {
        Ok(when(
            state(&cluster)?.is_some_and(|node| word(&node, "/state").as_deref() == Some("starttaskfailed")),
        ))
    })?;
    std::fs::write(&flag, "")?;
    wait_until(WORK, "the node to be well", || {
        Ok(when(state(&cluster)?.is_some_and(|node| word(&node, "/state").as_deref() == Some("idle"))))
    })
    .with_context(|| cluster.agent_log(node))
}

#[test]
fn node_shows_its_capabilities_and_what_it_and_its_tasks_use() -> anyhow::Result<()> {
    let cluster = Cluster::new().agent_flags(&["--set", "metrics.interval=1s"]).split()?;
    let node = only_node(&cluster)?;
    let wait = cluster.until_open("gate");
    let hog = format!(
        "python3 -c 'import sys, time; a = bytearray(50 << 20); time.sleep(0.3); print(len(a))'; {wait}"
    );
    cluster.job("j", &[script_task("t", &hog)])?;
    let metrics = wait_until(SOON, "figures of the node", || {
        let shown = show(&cluster, &node)?;
        Ok(shown.pointer("/metrics/memory_total_bytes").and_then(Value::as_u64))
    })?;
    ensure!(metrics > 1 << 28, "{metrics}");
    wait_until(SOON, "figures of the running task", || {
        let shown = cluster.shown("j", "t")?;
        let peak = shown
            .pointer("/execution_info/usage/peak_memory_bytes")
            .or(shown.pointer("/usage/peak_memory_bytes"));
        let peak = peak.and_then(Value::as_u64).unwrap_or(0);
        Ok(when(cluster.task_state("j", "t")? == "running" && peak > 40 << 20))
    })?;
    let told = cluster.ok(&["node", "show", "default", &node])?;
    for word in [
        "isolation",
        "memory limit",
        "process limit",
        "disk limit",
        "system call filter",
        "landlock",
        "measured",
    ] {
        ensure!(told.to_lowercase().contains(word), "no {word}: {told}");
    }
    cluster.open("gate")?;
    cluster.wait_for_task("j", "t", "completed")
}
