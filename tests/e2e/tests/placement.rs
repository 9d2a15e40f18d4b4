//! Where tasks go and in which order: pack and spread, and an old task that needs much among young ones that need little.
//!
//! Tasks are held in place with gates while others are placed beside them. Priorities of jobs are in `job_control.rs`, slots and
//! named resources of tasks in `task_control.rs`.

use anyhow::{Context, ensure};
use muster_e2e::wait::SOON;
use muster_e2e::work::{counts, with};
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn node_of(cluster: &User, job: &str, task: &str) -> anyhow::Result<String> {
    let shown = cluster.shown(job, task)?;
    let node = shown.pointer("/node_info/node_id").and_then(Value::as_str);
    Ok(node.with_context(|| format!("no node: {shown}"))?.to_owned())
}

#[test]
fn pool_packs_or_spreads_its_tasks_as_it_was_made() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    for (fill, wanted) in [("pack", vec![1, 3]), ("spread", vec![2, 2])] {
        cluster.ok(&["pool", "create", fill, "--nodes", "2", "--slots", "3", "--fill", fill, "--wait"])?;
        cluster.job_of(&json!({ "id": fill, "pool_id": fill }), &[])?;
        for number in 1..=4 {
            // One after another: each finds what the ones before it have left.
            cluster.add_tasks(fill, &[cluster.gated(&format!("{fill}-{number}"), "gate")])?.ok()?;
            cluster.wait_for_counts(fill, counts(0, number, 0, 0))?;
        }
        let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
        for number in 1..=4 {
            *nodes.entry(node_of(&cluster, fill, &format!("{fill}-{number}"))?).or_default() += 1;
        }
        let mut shares: Vec<usize> = nodes.into_values().collect();
        shares.sort_unstable();
        assert_eq!(shares, wanted, "{fill}");
    }
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "pack"])?;
    cluster.ok(&["job", "wait", "spread"]).map(drop)
}

#[test]
fn old_task_that_needs_a_whole_node_is_not_starved_by_small_ones() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    cluster.job("mixed", &[cluster.gated("holds", "gate")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let mut tasks = vec![with(cluster.noted("big"), &json!({ "required_slots": 4 }))];
    tasks.extend((0..20).map(|id| cluster.noted(&format!("small-{id}"))));
    cluster.add_tasks("mixed", &tasks)?.ok()?;
    let explained = cluster.json(&["task", "explain", "mixed", "small-0"])?.to_string();
    ensure!(explained.contains("NODE_KEPT_FREE"), "{explained}");
    // A job of the same priority that comes later does not pass it either; a more important one does.
    cluster.job("young", &[cluster.noted("young")])?;
    cluster.job_of(&json!({ "id": "urgent", "priority": 1 }), &[cluster.noted("urgent")])?;
    cluster.ok(&["job", "wait", "urgent"])?;
    assert_eq!(cluster.shared_lines("ledger"), ["urgent"]);
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "mixed"])?;
    cluster.ok(&["job", "wait", "young"])?;
    let lines = cluster.shared_lines("ledger");
    assert_eq!(lines[1..3], ["holds", "big"], "{lines:?}");
    cluster.ensure_each_once(24)
}

#[test]
fn memory_and_slots_both_bound_what_runs_at_one_time() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let node = cluster.list(&["node", "list", "default"])?.remove(0);
    let memory = node.pointer("/capacity/memory_bytes").and_then(Value::as_u64);
    let memory = memory.with_context(|| format!("no memory: {node}"))?;
    // Three of these do not fit, whatever the slots.
    let half = json!({ "resources": { "memory_bytes": memory / 5 * 2 } });
    let tasks: Vec<Value> = ["a", "b", "c"].iter().map(|id| with(cluster.gated(id, "gate"), &half)).collect();
    cluster.job("memory", &tasks)?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.still_works()?;
    assert_eq!(cluster.counts("memory")?, counts(1, 2, 0, 0));
    let explained = cluster.json(&["task", "explain", "memory", "c"])?.to_string();
    ensure!(explained.contains("NODE_BUSY") && explained.contains("memory"), "{explained}");
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "memory"]).map(drop)
}
