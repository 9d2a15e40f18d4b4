//! A task that is changed, ended, deleted and tried again in each of its states, and what it needs beside slots.
//!
//! States are reached with gates, never by waiting for a guess of time; clocks are compared with other clocks. Illegal commands as
//! one table are in `bad_transitions.rs`.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::{CONFLICT, NOT_FOUND};
use muster_e2e::machine::{self, Need};
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, when};
use muster_e2e::work::{cause, counts, failure_text, most_at_one_time, with};
use muster_e2e::{Cluster, User, wait_until};
use serde_json::{Value, json};

#[test]
fn wall_clock_that_is_shortened_ends_a_running_task_at_once_and_a_longer_one_lets_it_live()
-> anyhow::Result<()> {
    let cluster = Cluster::new().slots(3).dev()?;
    let limit = json!({ "constraints": { "max_wall_clock_time": "2s" } });
    let longer = with(cluster.gated("longer", "gate"), &limit);
    cluster.job("clocks", &[longer, cluster.gated("shorter", "never")])?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.ok(&["task", "update", "clocks", "longer", "--max-wall-clock", "1h"])?;
    cluster.ok(&["task", "update", "clocks", "shorter", "--max-wall-clock", "1s"])?;
    let shown = cluster.completed("clocks", "shorter")?;
    assert_eq!(cause(&shown), "WALL_CLOCK", "{shown}");
    let said = failure_text(&shown);
    ensure!(
        said.contains("limit") && said.contains("elapsed"),
        "limit and elapsed time are not told: {said}"
    );
    // A task that starts now with the old limit ends; the one that was given more time lives.
    cluster.job("clock", &[with(cluster.gated("old", "never"), &limit)])?;
    assert_eq!(cause(&cluster.completed("clock", "old")?), "WALL_CLOCK");
    assert_eq!(cluster.task_state("clocks", "longer")?, "running");
    cluster.open("gate")?;
    let shown = cluster.completed("clocks", "longer")?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(0), "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(1), "{shown}");
    Ok(())
}

#[test]
fn constraints_of_a_waiting_task_change_and_those_of_a_completed_one_do_not() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    let fails = script_task("fails", "exit 1");
    cluster.job("j", &[cluster.gated("runs", "gate"), fails])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let etag = |task: &str| -> anyhow::Result<String> {
        let shown = cluster.shown("j", task)?;
        Ok(shown.get("etag").and_then(Value::as_str).context("no etag")?.to_owned())
    };
    let old = etag("fails")?;
    cluster.ok(&[
        "task",
        "update",
        "j",
        "fails",
        "--max-retries",
        "2",
        "--retention",
        "1h",
        "--etag",
        &old,
    ])?;
    let stale = cluster.muster(&["task", "update", "j", "fails", "--max-retries", "9", "--etag", &old])?;
    stale.refused(CONFLICT, &["changed", &old])?;
    let shown = cluster.shown("j", "fails")?;
    assert_eq!(number(&shown, "/constraints/max_task_retry_count"), Some(2), "{shown}");
    assert_eq!(shown.pointer("/constraints/retention_time"), Some(&json!("3600s")), "{shown}");
    // What is not given stays.
    cluster.ok(&["task", "update", "j", "fails", "--max-wall-clock", "1h"])?;
    assert_eq!(number(&cluster.shown("j", "fails")?, "/constraints/max_task_retry_count"), Some(2));
    cluster.open("gate")?;
    let shown = cluster.completed("j", "fails")?;
    assert_eq!(number(&shown, "/attempt"), Some(3), "{shown}");
    let late = cluster.muster(&["task", "update", "j", "fails", "--max-retries", "5"])?;
    late.refused(CONFLICT, &["'fails'", "completed"])?;
    assert_eq!(cluster.shown("j", "fails")?, shown, "nothing changed");
    Ok(())
}

#[test]
fn slots_that_tasks_take_never_exceed_those_of_the_node() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let tasks: Vec<Value> = (0..12)
        .map(|number| with(cluster.passing(&format!("{}-{number}", number % 3 + 1)), &slots(number % 3 + 1)))
        .collect();
    cluster.job("slots", &tasks)?;
    cluster.ok(&["job", "wait", "slots"])?;
    let crowd = cluster.shared_lines("crowd");
    let weight = |id: &str| id.split('-').next().and_then(|slots| slots.parse().ok()).unwrap_or(0);
    let most = most_at_one_time(&crowd, weight);
    ensure!(crowd.len() == 24 && (2..=4).contains(&most), "{most} of 4 slots at one time: {crowd:?}");
    // What fits beside each other runs beside each other: 3 and 1, not 3 and 2.
    let gated = |id: &str, count: u32| with(cluster.gated(id, "gate"), &slots(count));
    cluster.job("beside", &[gated("three", 3), gated("two", 2), gated("one", 1)])?;
    cluster.wait_for_lines("started", 2, SOON)?;
    assert_eq!(cluster.counts("beside")?, counts(1, 2, 0, 0));
    assert_eq!(cluster.task_state("beside", "two")?, "active");
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "beside"]).map(drop)
}

fn slots(count: u32) -> Value {
    json!({ "required_slots": count })
}

#[test]
fn named_resources_such_as_licences_are_shared_out_and_never_twice() -> anyhow::Result<()> {
    let offer = ["--set", "resources.named=licence=2,tape=1"];
    let cluster = Cluster::new().slots(6).agent_flags(&offer).split()?;
    let wants =
        |id: &str, named: Value| with(cluster.gated(id, "gate"), &json!({ "resources": { "named": named } }));
    let tasks = [
        wants("a", json!({ "licence": 1 })),
        wants("b", json!({ "licence": 1, "tape": 1 })),
        wants("c", json!({ "licence": 1 })),
        wants("d", json!({ "tape": 1 })),
        wants("never", json!({ "licence": 3 })),
    ];
    cluster.job("named", &tasks)?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.add_tasks("named", &[cluster.gated("free", "gate")])?.ok()?;
    cluster.wait_for_counts("named", counts(3, 3, 0, 0))?;
    for (task, code, words) in [
        ("c", "NODE_BUSY", vec!["licence"]),
        ("d", "NODE_BUSY", vec!["tape"]),
        ("never", "NODE_TOO_SMALL", vec!["licence", "3", "2"]),
    ] {
        let explained = cluster.json(&["task", "explain", "named", task])?.to_string();
        for word in [vec![code], words].concat() {
            ensure!(explained.contains(word), "no '{word}' in why '{task}' waits: {explained}");
        }
    }
    let dry = ["task", "add", "named", "dry", "--named", "licence=3", "--dry-run", "--", "true"];
    cluster.muster(&dry)?.with_code(1)?;
    cluster.open("gate")?;
    cluster.wait_for_counts("named", counts(1, 0, 5, 0))
}

#[test]
fn gpus_are_given_to_one_task_each_and_named_to_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).agent_flags(&["--set", "resources.gpus=2"]).split()?;
    let (seen, gate) = (cluster.shared("seen"), cluster.until_open("gate"));
    let wants = |id: &str, gpus: u32| {
        let script = format!("echo $CUDA_VISIBLE_DEVICES $NVIDIA_VISIBLE_DEVICES >> {seen}; {gate}");
        with(script_task(id, &script), &json!({ "resources": { "gpus": gpus } }))
    };
    cluster.job("gpus", &[wants("a", 1), wants("b", 1), wants("both", 2), wants("never", 3)])?;
    cluster.wait_for_lines("seen", 2, SOON)?;
    cluster.wait_for_counts("gpus", counts(2, 2, 0, 0))?;
    let mut lines = cluster.shared_lines("seen");
    lines.sort();
    assert_eq!(lines, ["0 0", "1 1"]);
    cluster.open("gate")?;
    cluster.wait_for_counts("gpus", counts(1, 0, 3, 0))?;
    assert_eq!(cluster.shared_lines("seen").last().map(String::as_str), Some("0,1 0,1"));
    Ok(())
}

#[test]
fn affinity_brings_a_task_to_the_node_that_it_names() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(2).slots(2).dev()?;
    cluster.job("near", &[cluster.gated("first", "gate")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let place = |task: &str, field: &str| -> anyhow::Result<String> {
        let shown = cluster.shown("near", task)?;
        let place = shown.pointer(&format!("/node_info/{field}")).and_then(Value::as_str);
        Ok(place.with_context(|| format!("no {field}: {shown}"))?.to_owned())
    };
    // The pool spreads: without a wish the second would go to the empty node.
    let wish = json!({ "affinity_id": place("first", "affinity_id")? });
    cluster.add_tasks("near", &[with(cluster.gated("second", "gate"), &wish)])?.ok()?;
    cluster.wait_for_lines("started", 2, SOON)?;
    assert_eq!(place("second", "node_id")?, place("first", "node_id")?);
    // It is a wish: where there is no room it goes elsewhere.
    cluster.add_tasks("near", &[with(cluster.gated("third", "gate"), &wish)])?.ok()?;
    cluster.wait_for_lines("started", 3, SOON)?;
    ensure!(place("third", "node_id")? != place("first", "node_id")?);
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "near"]).map(drop)
}

#[test]
fn ledger_has_every_attempt_with_its_times_its_outcome_and_what_it_used() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let tries = cluster.shared("tries");
    // 10 MB in a variable of the shell, and some processor time; a different end each time.
    let script = format!(
        "x=$(head -c 10000000 /dev/zero | tr '\\0' x); n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; \
         echo try >> {tries}; case $(wc -l < {tries}) in 1) exit 5;; 2) kill -9 $$;; *) exit 0;; esac"
    );
    let limits = json!({ "constraints": { "max_task_retry_count": 5 } });
    cluster.job("tried", &[with(script_task("t", &script), &limits)])?;
    cluster.completed("tried", "t")?;
    let attempts = cluster.list(&["task", "attempts", "tried", "t"])?;
    let numbers: Vec<_> = attempts.iter().map(|attempt| number(attempt, "/attempt")).collect();
    assert_eq!(numbers, [Some(3), Some(2), Some(1)], "newest first: {attempts:?}");
    let causes: Vec<_> = attempts.iter().map(cause).collect();
    assert_eq!(causes, ["", "SIGNAL", "EXIT_CODE"]);
    assert_eq!(number(&attempts[2], "/exit_code"), Some(5));
    assert_eq!(number(&attempts[1], "/signal"), Some(9));
    let text = |attempt: &Value, name: &str| -> anyhow::Result<String> {
        let found = attempt.get(name).and_then(Value::as_str);
        Ok(found.with_context(|| format!("no {name}: {attempt}"))?.to_owned())
    };
    let measured = machine::has("attempt_memory", &[Need::Cgroups]);
    for attempt in &attempts {
        ensure!(text(attempt, "start_time")? < text(attempt, "end_time")?, "{attempt}");
        ensure!(!text(attempt, "node_id")?.is_empty() && text(attempt, "pool_id")? == "default");
        let peak = number(attempt, "/usage/peak_memory_bytes").unwrap_or(0);
        ensure!(!measured || peak > 9_000_000, "peak memory {peak}: {attempt}");
        let cpu = attempt.pointer("/usage/user_cpu_time").and_then(Value::as_str).unwrap_or("0s");
        ensure!(cpu.trim_end_matches('s').parse::<f64>()? > 0.0, "no processor time: {attempt}");
    }
    // People see the same.
    let table = cluster.ok(&["task", "attempts", "tried", "t"])?;
    for word in ["success", "exit", "signal", "MiB"] {
        ensure!(table.to_lowercase().contains(&word.to_lowercase()), "no '{word}' in:\n{table}");
    }
    Ok(())
}

/// A task in each state, by its name.
fn in_each_state(cluster: &User) -> anyhow::Result<()> {
    let tasks = [script_task("good", "exit 0"), script_task("bad", "exit 1")];
    cluster.job("states", &tasks)?;
    cluster.completed("states", "good")?;
    cluster.completed("states", "bad")?;
    cluster.add_tasks("states", &[cluster.gated("running", "gate"), cluster.noted("waiting")])?.ok()?;
    cluster.wait_for_lines("started", 1, SOON)
}

#[test]
fn task_is_terminated_and_reactivated_in_the_states_that_allow_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    in_each_state(&cluster)?;
    let before = cluster.counts("states")?;
    for (verb, task, word) in [
        ("terminate", "good", "completed"),
        ("terminate", "bad", "completed"),
        ("reactivate", "good", "succeeded"),
        ("reactivate", "waiting", "active"),
        ("reactivate", "running", "running"),
    ] {
        cluster.muster(&["task", verb, "states", task])?.refused(CONFLICT, &[task, word])?;
    }
    assert_eq!(cluster.counts("states")?, before, "a refusal changes nothing");
    cluster.ok(&["task", "terminate", "states", "waiting"])?;
    assert_eq!(cause(&cluster.completed("states", "waiting")?), "TERMINATED");
    cluster.ok(&["task", "reactivate", "states", "waiting"])?;
    assert_eq!(cluster.task_state("states", "waiting")?, "active");
    cluster.ok(&["task", "terminate", "states", "running"])?;
    assert_eq!(cause(&cluster.completed("states", "running")?), "TERMINATED");
    cluster.completed("states", "waiting")?;
    cluster.open("gate")?;
    cluster.ok(&["task", "reactivate", "states", "running"])?;
    let shown = cluster.completed("states", "running")?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(0), "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(2), "{shown}");
    assert_eq!(cluster.shared_lines("ledger"), ["waiting", "running"]);
    assert_eq!(cluster.counts("states")?, counts(0, 0, 3, 1));
    cluster.ensure_counts_are_right("states")
}

#[test]
fn reactivated_task_has_its_retries_anew() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let once = json!({ "constraints": { "max_task_retry_count": 1 } });
    cluster.job("anew", &[with(script_task("t", "exit 1"), &once)])?;
    for attempts in [2, 4] {
        wait_until(SOON, "both tries", || {
            Ok(when(number(&cluster.completed("anew", "t")?, "/attempt") == Some(attempts)))
        })?;
        assert_eq!(number(&cluster.shown("anew", "t")?, "/execution_info/retry_count"), Some(1));
        cluster.ok(&["task", "reactivate", "anew", "t"])?;
    }
    wait_until(SOON, "the ledger of three times two tries", || {
        Ok(when(cluster.list(&["task", "attempts", "anew", "t"])?.len() == 6))
    })
}

#[test]
fn task_is_deleted_in_every_state_and_its_id_is_free_again() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    in_each_state(&cluster)?;
    for task in ["good", "bad", "waiting", "running"] {
        cluster.ok(&["task", "delete", "states", task])?;
        wait_until(SOON, "the task to be gone", || {
            Ok(when(cluster.muster(&["task", "show", "states", task])?.code() == NOT_FOUND))
        })?;
        cluster.muster(&["task", "delete", "states", task])?.refused(NOT_FOUND, &[task])?;
    }
    assert_eq!(cluster.counts("states")?, counts(0, 0, 0, 0));
    assert_eq!(cluster.list(&["task", "list", "states"])?.len(), 0);
    cluster.add_tasks("states", &[cluster.noted("running"), cluster.noted("good")])?.ok()?;
    cluster.ok(&["job", "wait", "states"])?;
    cluster.ensure_each_once(2)?;
    assert_eq!(number(&cluster.shown("states", "good")?, "/attempt"), Some(1));
    assert_eq!(cluster.list(&["task", "attempts", "states", "good"])?.len(), 1, "the first one's are gone");
    Ok(())
}

#[test]
fn deleted_task_and_deleted_job_leave_no_files_on_their_node() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let tasks: Vec<Value> = ["kept", "gone", "failed", "running"]
        .iter()
        .map(|id| match *id {
            "failed" => script_task(id, "echo x > file; exit 1"),
            "running" => cluster.gated(id, "never"),
            _ => script_task(id, "echo x > file"),
        })
        .collect();
    cluster.job("j", &tasks)?;
    for id in ["kept", "gone", "failed"] {
        cluster.wait_for_task("j", id, "completed")?;
    }
    cluster.wait_for_lines("started", 1, SOON)?;
    let folder = cluster.agent_root(0).join("batch/workitems/j/job-1");
    let is_there = |id: &str| folder.join(id).exists();
    assert!(["kept", "gone", "failed", "running"].iter().all(|id| is_there(id)), "each has its directory");
    for id in ["gone", "failed", "running"] {
        cluster.ok(&["task", "delete", "j", id])?;
        wait_until(SOON, "the directory of a deleted task to go", || Ok(when(!is_there(id))))?;
    }
    assert!(is_there("kept"), "only what was deleted goes");
    cluster.ok(&["job", "delete", "j"])?;
    wait_until(SOON, "the directories of a deleted job to go", || Ok(when(!is_there("kept"))))?;
    cluster.still_works()
}
