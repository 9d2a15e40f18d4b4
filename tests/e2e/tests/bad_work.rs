//! Work that cannot be done: what is missing, refused, broken or full is recorded as its cause, and the node goes on.
//!
//! The command line and the API have taken these tasks, because only a node can find out. What they refuse themselves is
//! in `bad_input.rs` and `bad_requests.rs`.

use anyhow::{Context, ensure};
use muster_e2e::machine::{self, Need};
use muster_e2e::user::script_task;
use muster_e2e::wait::{SOON, wait_until};
use muster_e2e::{Cluster, HttpServer, User};
use muster_proto::wire;
use muster_proto::wire::task_service_client::TaskServiceClient;
use serde_json::{Value, json};

/// Waits for a task to complete and requires a cause with words in its message.
fn ensure_failed(
    cluster: &User,
    job: &str,
    task: &str,
    cause: &str,
    words: &[&str],
) -> anyhow::Result<Value> {
    cluster.wait_for_task(job, task, "completed")?;
    let shown = cluster.json(&["task", "show", job, task])?;
    let failure =
        shown.pointer("/execution_info/failure_info").with_context(|| format!("no failure: {shown}"))?;
    let text = |name: &str| failure.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    ensure!(
        text("cause") == format!("failure_cause_{cause}"),
        "task '{task}' is to fail of {cause}: {failure}"
    );
    for word in words {
        ensure!(text("message").contains(&word.to_lowercase()), "no '{word}' in the message: {failure}");
    }
    Ok(failure.clone())
}

fn with_file(id: &str, file: Value) -> Value {
    json!({ "id": id, "command_line": "cat input", "resource_files": [file] })
}

fn from_url(id: &str, url: &str) -> Value {
    with_file(id, json!({ "http_url": url, "file_path": "input" }))
}

#[test]
fn inputs_that_cannot_be_had_end_the_task_with_the_reason() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let server = HttpServer::start(&[("/good", b"content")])?;
    let wrong_digest =
        json!({ "http_url": server.url("/good"), "file_path": "input", "sha256": "0".repeat(64) });
    let missing = json!({ "file_store": { "container": "nowhere", "path": "x" }, "file_path": "input" });
    let tasks = [
        from_url("missing", &server.url("/missing")),
        from_url("denied", &server.url("/denied")),
        with_file("corrupt", wrong_digest),
        with_file("no-such-file", missing),
        from_url("good", &server.url("/good")),
    ];
    cluster.job("staging", &tasks)?;
    ensure_failed(&cluster, "staging", "missing", "staging_not_found", &["/missing", "404"])?;
    ensure_failed(&cluster, "staging", "denied", "staging_denied", &["/denied", "403"])?;
    ensure_failed(&cluster, "staging", "corrupt", "staging_corrupt", &["000000"])?;
    ensure_failed(&cluster, "staging", "no-such-file", "staging_not_found", &["nowhere"])?;
    cluster.wait_for_task("staging", "good", "completed")?;
    assert_eq!(cluster.ok(&["task", "logs", "staging", "good"])?, "content");
    cluster.still_works()
}

/// Waits for the first attempt of a task to be over; its cause and the message.
fn first_failure(cluster: &User, job: &str, task: &str) -> anyhow::Result<(String, String)> {
    let api = cluster.api()?;
    let mut tasks = TaskServiceClient::new(api.wire());
    let request = || wire::ListTaskAttemptsRequest {
        job_id: job.to_owned(),
        task_id: task.to_owned(),
        ..Default::default()
    };
    let attempt = wait_until(SOON, "the first attempt to be over", || {
        Ok(api.wait(tasks.list_task_attempts(request()))?.into_inner().attempts.pop())
    })?;
    let failure = attempt.failure_info.context("an attempt that is over without a reason")?;
    Ok((failure.cause().as_str_name().trim_start_matches("FAILURE_CAUSE_").to_owned(), failure.message))
}

#[test]
fn source_that_cannot_be_reached_or_breaks_off_is_told_and_tried_again() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let server = HttpServer::start(&[])?;
    let tasks = [from_url("nobody", "http://127.0.0.1:1/x"), from_url("broken", &server.url("/broken"))];
    cluster.job("network", &tasks)?;
    // The network may come back: the task stays, and waits longer before each further attempt.
    for (task, place) in [("nobody", "127.0.0.1:1"), ("broken", "/broken")] {
        let (cause, message) = first_failure(&cluster, "network", task)?;
        ensure!(cause == "STAGING_NETWORK" && message.contains(place), "{task}: {cause}: {message}");
        ensure!(cluster.task_state("network", task)? != "completed", "one lost connection is not the end");
    }
    ensure!(server.hits() > 1, "a transfer that broke off is worth a second try");
    cluster.still_works()?;
    cluster.ok(&["job", "terminate", "network"])?;
    cluster.wait_for_task("network", "nobody", "completed")
}

#[test]
fn commands_that_cannot_start_are_told_from_commands_that_fail() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let command = |id: &str, line: &str| json!({ "id": id, "command_line": line });
    let tasks = [
        command("missing", "no-such-program --flag"),
        command("missing-path", "./not-here"),
        command("not-executable", "/etc/passwd"),
        command("folder", "/etc"),
        command("unclosed", "echo 'never closed"),
        command("fails", "false"),
    ];
    cluster.job("launch", &tasks)?;
    ensure_failed(&cluster, "launch", "missing", "program_not_found", &["no-such-program"])?;
    ensure_failed(&cluster, "launch", "missing-path", "program_not_found", &["./not-here"])?;
    ensure_failed(&cluster, "launch", "not-executable", "launch_failed", &["/etc/passwd"])?;
    ensure_failed(&cluster, "launch", "folder", "launch_failed", &["/etc"])?;
    ensure_failed(&cluster, "launch", "unclosed", "launch_failed", &["never closed"])?;
    ensure_failed(&cluster, "launch", "fails", "exit_code", &["1"])?;
    cluster.still_works()
}

#[test]
fn full_disk_is_the_cause_of_what_it_stops_and_nothing_else_stops() -> anyhow::Result<()> {
    if !machine::has("full_disk", &[Need::Root]) {
        return Ok(());
    }
    let cluster = Cluster::new().agent_disk(24).split()?;
    // An input larger than the disk: staging fails, what it wrote is removed, and there is room again.
    let large = cluster.file("large.bin", vec![7; 40 << 20])?;
    cluster.ok(&["file", "put", &large, "inputs/large.bin"])?;
    let file = json!({ "file_store": { "container": "inputs", "path": "large.bin" }, "file_path": "input" });
    cluster.job("staged", &[with_file("t", file)])?;
    ensure_failed(&cluster, "staged", "t", "disk_full", &["input", "disk"])?;
    cluster.still_works()?;

    // A command that fills the disk itself: it fails of its own, and what comes after it says why it cannot start.
    cluster.job("filled", &[script_task("t", "head -c 40000000 /dev/zero > big")])?;
    cluster.wait_for_task("filled", "t", "completed")?;
    cluster.job("after", &[script_task("t", "echo there is room")])?;
    cluster.wait_for_task("after", "t", "completed")?;
    // Deleting the task gives its space back; the node is as good as before.
    cluster.ok(&["task", "delete", "filled", "t"])?;
    wait_until(SOON, "room on the disk again", || Ok(cluster.run(&["true"])?.status.success().then_some(())))
}
