//! Retries that know the cause: memory that ran out, a network that comes back, nodes that are lost under a task.
//!
//! Failures of the command itself against its own budget are in `tasks.rs` and `job_ends.rs`.

use anyhow::{Context, ensure};
use muster_e2e::machine::{self, Need};
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{WORK, when};
use muster_e2e::work::{cause, failure_text, with};
use muster_e2e::{Cluster, HttpServer, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MIB: u64 = 1 << 20;

#[test]
fn task_that_runs_out_of_memory_gets_more_until_it_is_enough_or_there_is_no_more() -> anyhow::Result<()> {
    if !machine::has("memory_escalation", &[Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().dev()?;
    let grows = |most: u64| {
        json!({
            "resources": { "memory_bytes": 24 * MIB },
            "constraints": { "on_out_of_memory": { "factor": 2.0, "max_memory_bytes": most } },
        })
    };
    // 60 MiB in one line that `tail` must hold: too much for 24 and 48 MiB, not for 96.
    let hog = "head -c 62914560 /dev/zero | tail -n 1 | wc -c";
    cluster.job(
        "hogs",
        &[
            with(script_task("grows", hog), &grows(256 * MIB)),
            with(script_task("stays", hog), &grows(40 * MIB)),
        ],
    )?;
    let shown = cluster.completed("hogs", "grows")?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(0), "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(3), "{shown}");
    assert_eq!(
        number(&shown, "/execution_info/retry_count").unwrap_or(0),
        0,
        "the user's retries are untouched"
    );
    assert_eq!(number(&shown, "/execution_info/memory_bytes"), Some(96 << 20), "{shown}");
    assert_eq!(
        number(&shown, "/resources/memory_bytes"),
        Some(24 << 20),
        "what it asks for is what it asked for"
    );
    let attempts = cluster.list(&["task", "attempts", "hogs", "grows"])?;
    assert_eq!(attempts.iter().map(cause).collect::<Vec<_>>(), ["", "OUT_OF_MEMORY", "OUT_OF_MEMORY"]);
    assert_eq!(cluster.ok(&["task", "logs", "hogs", "grows"])?.trim(), "62914560");

    let shown = cluster.completed("hogs", "stays")?;
    assert_eq!(cause(&shown), "OUT_OF_MEMORY", "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(2), "24, then 40 MiB: {shown}");
    ensure!(failure_text(&shown).contains(&(40 * MIB).to_string()), "the limit is told: {shown}");
    Ok(())
}

#[test]
fn file_whose_server_comes_back_is_staged_without_a_retry_of_the_users() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let server = HttpServer::start(&[("/data", b"here")])?;
    let url = server.url("/data");
    drop(server);
    let file = json!({ "resource_files": [{ "http_url": url, "file_path": "data" }] });
    cluster.job("staged", &[with(script_task("t", "cat data"), &file)])?;
    cluster.wait_for_task("staged", "t", "running")?;
    let address = url.trim_start_matches("http://").trim_end_matches("/data").to_owned();
    let server = HttpServer::start_at(&address, &[("/data", b"here")])?;
    wait_until(WORK, "the task to get its file", || {
        Ok(when(cluster.task_state("staged", "t")? == "completed"))
    })?;
    let shown = cluster.shown("staged", "t")?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(0), "{shown}");
    assert_eq!(number(&shown, "/execution_info/retry_count").unwrap_or(0), 0, "{shown}");
    assert_eq!((server.hits(), cluster.ok(&["task", "logs", "staged", "t"])?.as_str()), (1, "here"));
    Ok(())
}

/// Short, so that the test is; long enough for a machine that is busy with another test.
const LEASE: [&str; 4] = ["--lease-ttl", "2s", "--lease-margin", "1s"];

/// The agent on whose node a task of this attempt writes its folder, and the node's name.
fn place(cluster: &Split, attempt: usize) -> anyhow::Result<(usize, String)> {
    let line =
        wait_until(WORK, "the next attempt", || Ok(cluster.shared_lines("places").get(attempt).cloned()))?;
    let (folder, node) = line.split_once(' ').context("no node in the line")?;
    let number = (0..4).find(|number| folder.starts_with(&*cluster.agent_root(*number).to_string_lossy()));
    Ok((number.with_context(|| format!("the folder of no agent: {line}"))?, node.to_owned()))
}

#[test]
fn task_whose_nodes_are_lost_moves_to_others_and_is_stopped_after_the_third() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(4).slots(1).controller_flags(&LEASE).split()?;
    let script = format!("echo $PWD $AZ_BATCH_NODE_ID >> {}; exec sleep 600", cluster.shared("places"));
    let again = json!({ "constraints": { "max_task_retry_count": 1 } });
    cluster.job("poison", &[with(script_task("t", &script), &again)])?;
    let mut lost = BTreeSet::new();
    for attempt in 0..3 {
        let (agent, node) = place(&cluster, attempt)?;
        ensure!(lost.insert(node.clone()), "it came back to {node}, which it has lost: {lost:?}");
        cluster.wait_for_task("poison", "t", "running")?;
        cluster.kill_agent(agent)?;
    }
    let shown = cluster.completed("poison", "t")?;
    assert_eq!(cause(&shown), "NODE_LOST", "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(3), "{shown}");
    assert_eq!(number(&shown, "/execution_info/retry_count").unwrap_or(0), 0, "{shown}");
    let said = failure_text(&shown);
    ensure!(said.contains("3 nodes were lost"), "{said}");
    let nodes: BTreeSet<String> = shown
        .pointer("/execution_info/nodes_lost")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|node| node.as_str().map(str::to_owned))
        .collect();
    assert_eq!(nodes, lost);
    let attempts = cluster.list(&["task", "attempts", "poison", "t"])?;
    assert_eq!(attempts.iter().map(cause).collect::<Vec<_>>(), ["NODE_LOST"; 3]);
    // The fourth node was never touched, and works.
    cluster.still_works()
}
