//! The life of tasks and jobs as a user sees it: states, logs, waiting, retries, dependencies, ending, deleting, JSON.
//!
//! Tasks that must be seen in the middle of their life wait for a gate file that the test makes, so nothing depends on how
//! fast the machine is.

use anyhow::ensure;
use muster_e2e::exit_code::{NOT_FOUND, PARTLY};
use muster_e2e::pipe::Pipe;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::{SOON, wait_until, when};
use muster_e2e::{Cluster, User};
use serde_json::json;
use std::process::Stdio;

/// A script that goes on until the test makes the file `gate`.
fn until_gate(cluster: &User, before: &str, after: &str) -> String {
    format!("{before}; while [ ! -e {} ]; do sleep 0.02; done; {after}", cluster.shared("gate"))
}

fn open_gate(cluster: &User) -> anyhow::Result<()> {
    Ok(std::fs::write(cluster.shared("gate"), "")?)
}

#[test]
fn logs_are_followed_live_and_are_there_after_the_end() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let script = until_gate(&cluster, "echo first; echo problem >&2", "echo last");
    cluster.job("story", &[script_task("t", &script)])?;
    let mut follower = cluster.command(&["task", "logs", "story", "t", "--follow"]);
    let mut child = follower.stdout(Stdio::piped()).spawn()?;
    let stdout = Pipe::read(child.stdout.take());
    let live = wait_until(SOON, "the first line while the task runs", || Ok(when(stdout.has("first\n"))));
    let state = cluster.task_state("story", "t");
    open_gate(&cluster)?;
    let status = wait_until(SOON, "the follower to end with the task", || Ok(child.try_wait()?));
    if status.is_err() {
        child.kill()?;
    }
    live?;
    assert_eq!(state?, "running");
    ensure!(status?.success());
    assert_eq!(String::from_utf8(stdout.all(SOON)?)?, "first\nlast\n");
    assert_eq!(cluster.ok(&["task", "logs", "story", "t"])?, "first\nlast\n");
    assert_eq!(cluster.ok(&["task", "logs", "story", "t", "--stderr"])?, "problem\n");
    assert_eq!(cluster.ok(&["task", "logs", "story", "t", "--follow"])?, "first\nlast\n");
    Ok(())
}

#[test]
fn tasks_go_from_active_to_running_to_completed_as_slots_allow() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(1).slots(1).dev()?;
    let script = until_gate(&cluster, "true", "exit 0");
    cluster.job("queue", &[script_task("1", &script), script_task("2", &script)])?;
    cluster.wait_for_task("queue", "1", "running")?;
    assert_eq!(cluster.task_state("queue", "2")?, "active", "one slot runs one task");
    open_gate(&cluster)?;
    cluster.wait_for_task("queue", "2", "completed")?;
    let shown = cluster.json(&["task", "show", "queue", "2"])?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(0));
    for field in ["start_time", "end_time"] {
        ensure!(shown.pointer(&format!("/execution_info/{field}")).is_some(), "no {field}: {shown}");
    }
    let failed = cluster.list(&["task", "list", "queue", "--filter", "execution_info.exit_code != 0"])?;
    assert_eq!(failed.len(), 0);
    Ok(())
}

#[test]
fn waiting_for_a_job_ends_with_it_and_says_whether_all_succeeded() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("good", &[script_task("1", "exit 0"), script_task("2", "exit 0")])?;
    cluster.ok(&["job", "wait", "good"])?;
    cluster.job("mixed", &[script_task("1", "exit 0"), script_task("2", "exit 4")])?;
    let mixed = cluster.muster(&["job", "wait", "mixed"])?.with_code(PARTLY)?;
    ensure!(mixed.out().contains("2 completed (1 failed)"), "{mixed}");
    cluster.job("endless", &[script_task("1", "exec sleep 600")])?;
    let outcome = cluster.muster(&["job", "wait", "endless", "--timeout", "1s"])?.refused(1, &["1s"])?;
    ensure!(outcome.span < SOON, "{outcome}");
    cluster.ok(&["job", "terminate", "endless"])?;
    cluster.wait_for_task("endless", "1", "completed")
}

#[test]
fn task_that_fails_is_tried_again_as_often_as_it_may() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let tries = cluster.shared("tries");
    let third_time = format!("echo try >> {tries}; test $(wc -l < {tries}) -eq 3");
    cluster.ok(&["job", "create", "again", "--pool", "default"])?;
    let add = ["task", "add", "again"];
    cluster.ok(&[&add[..], &["lucky", "--retries", "4", "--", "/bin/sh", "-c", &third_time]].concat())?;
    cluster.ok(&[&add[..], &["hopeless", "--retries", "2", "--", "false"]].concat())?;
    cluster.ok(&[&add[..], &["once", "--", "false"]].concat())?;
    for (task, code, attempts) in [("lucky", 0, 3), ("hopeless", 1, 3), ("once", 1, 1)] {
        cluster.wait_for_task("again", task, "completed")?;
        let shown = cluster.json(&["task", "show", "again", task])?;
        assert_eq!(number(&shown, "/execution_info/exit_code"), Some(code), "{shown}");
        assert_eq!(number(&shown, "/attempt"), Some(attempts), "{shown}");
    }
    Ok(())
}

#[test]
fn dependent_task_starts_after_all_that_it_depends_on_and_never_after_a_failure() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.ok(&["job", "create", "chain", "--pool", "default", "--dependencies"])?;
    let add = |id: &str, depends_on: &str, script: &str| {
        let on = if depends_on.is_empty() { vec![] } else { vec!["--depends-on", depends_on] };
        cluster.ok(&[&["task", "add", "chain", id], &on[..], &["--", "/bin/sh", "-c", script]].concat())
    };
    let ledger = cluster.shared("ledger");
    add("last", "1-3,named", &format!("echo last >> {ledger}"))?;
    add("named", "", &format!("echo named >> {ledger}"))?;
    for id in ["1", "02", "3"] {
        add(id, "", &format!("echo {id} >> {ledger}"))?;
    }
    cluster.wait_for_task("chain", "last", "completed")?;
    let lines = cluster.shared_lines("ledger");
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (5, Some("last")), "{lines:?}");

    add("fails", "", "exit 1")?;
    add("blocked", "fails", "exit 0")?;
    cluster.wait_for_task("chain", "fails", "completed")?;
    cluster.still_works()?;
    assert_eq!(cluster.task_state("chain", "blocked")?, "active");
    Ok(())
}

#[test]
fn task_that_is_terminated_or_deleted_ends_and_frees_its_slot() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    let note = format!("trap 'echo asked >> {}; exit 0' TERM; echo here", cluster.shared("terms"));
    let patient = until_gate(&cluster, &note, "exit 0");
    cluster.job(
        "ending",
        &[script_task("1", &patient), script_task("2", &patient), script_task("3", "exit 0")],
    )?;
    cluster.wait_for_task("ending", "1", "running")?;
    let follow = cluster.command(&["task", "logs", "ending", "1", "--follow"]).stdout(Stdio::piped()).spawn();
    let mut follow = follow?;
    let said = Pipe::read(follow.stdout.take());
    let here = wait_until(SOON, "the task to trap the signal", || Ok(when(said.has("here"))));
    cluster.ok(&["task", "terminate", "ending", "1"])?;
    follow.wait()?;
    here?;
    cluster.wait_for_task("ending", "1", "completed")?;
    let shown = cluster.json(&["task", "show", "ending", "1"])?;
    let cause = shown.pointer("/execution_info/failure_info/cause");
    assert_eq!(cause, Some(&json!("FAILURE_CAUSE_TERMINATED")), "{shown}");
    assert_eq!(cluster.shared_lines("terms"), ["asked"], "a command is asked before it is killed");

    cluster.wait_for_task("ending", "2", "running")?;
    cluster.ok(&["task", "delete", "ending", "2"])?;
    cluster.wait_for_task("ending", "3", "completed")?;
    wait_until(SOON, "the task to be gone", || {
        Ok(when(cluster.muster(&["task", "show", "ending", "2"])?.code() == NOT_FOUND))
    })?;
    cluster.ok(&["job", "delete", "ending"])?;
    wait_until(SOON, "the job to be gone", || {
        Ok(when(cluster.muster(&["job", "show", "ending"])?.code() == NOT_FOUND))
    })?;
    cluster.still_works()
}

#[test]
fn output_files_are_published_as_the_condition_says() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let task = |id: &str, script: &str| {
        let mut task = script_task(id, script);
        let to = |path: &str| json!({ "container": "results", "path": format!("{id}/{path}") });
        task["output_files"] = json!([
            { "file_pattern": "**/*.txt", "file_store": to("all"), "upload_condition": "UPLOAD_CONDITION_TASK_COMPLETION" },
            { "file_pattern": "good", "file_store": to("good"), "upload_condition": "UPLOAD_CONDITION_TASK_SUCCESS" },
            { "file_pattern": "../stdout.txt", "file_store": to("std/out"), "upload_condition": "UPLOAD_CONDITION_TASK_FAILURE" },
            { "file_pattern": "../stderr.txt", "file_store": to("std/err"), "upload_condition": "UPLOAD_CONDITION_TASK_FAILURE" },
        ]);
        task
    };
    let make = "mkdir -p a/b; echo 1 > a/b/c.txt; echo 2 > d.txt; echo x > good; echo said";
    cluster.job("publish", &[task("fine", make), task("fails", &format!("{make}; exit 1"))])?;
    cluster.muster(&["job", "wait", "publish"])?.with_code(PARTLY)?;
    let mut names: Vec<String> = cluster
        .list(&["file", "list", "results"])?
        .iter()
        .filter_map(|file| file.pointer("/name/path")?.as_str().map(str::to_owned))
        .collect();
    names.sort();
    let wanted = [
        "fails/all/a/b/c.txt",
        "fails/all/d.txt",
        "fails/std/err",
        "fails/std/out",
        "fine/all/a/b/c.txt",
        "fine/all/d.txt",
        "fine/good",
    ];
    assert_eq!(names, wanted);
    Ok(())
}

#[test]
fn everything_that_is_listed_or_shown_is_json_with_the_names_of_the_api() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("j", &[script_task("t", "exit 0")])?;
    cluster.ok(&["job", "wait", "j"])?;
    let node = cluster.list(&["node", "list", "default"])?;
    let node = node[0].get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    for (command, id) in [
        (vec!["pool", "show", "default"], "default"),
        (vec!["node", "show", "default", &node], &node),
        (vec!["job", "show", "j"], "j"),
        (vec!["task", "show", "j", "t"], "t"),
    ] {
        let shown = cluster.json(&command)?;
        assert_eq!(shown.get("id").and_then(serde_json::Value::as_str), Some(id), "{shown}");
        ensure!(word(&shown, "/state").is_some(), "{shown}");
    }
    for command in [vec!["pool", "list"], vec!["job", "list"], vec!["task", "list", "j"]] {
        ensure!(cluster.list(&command)?.iter().all(|item| item.get("id").is_some()), "{command:?}");
    }
    cluster.json(&["version", "--server"])?;
    cluster.json(&["account", "show"])?;
    // What people read has the same things in it.
    for (command, part) in [(vec!["pool", "list"], "default"), (vec!["task", "list", "j"], "completed")] {
        let table = cluster.ok(&command)?;
        ensure!(table.contains(part), "no '{part}' in:\n{table}");
    }
    Ok(())
}
