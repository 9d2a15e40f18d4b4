//! How a job ends by itself: all tasks complete, a task fails, its time is over. And what it gives to all of its tasks.
//!
//! The reason of the end is required each time: it is what tells one end from another. What a user does to a job is in
//! `job_control.rs`.

use anyhow::ensure;
use muster_e2e::exit_code::CONFLICT;
use muster_e2e::user::{number, script_task};
use muster_e2e::work::{cause, counts, with};
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};

fn reason(shown: &Value) -> &str {
    shown.pointer("/execution_info/terminate_reason").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn job_that_terminates_when_all_is_done_does_so_and_an_empty_one_at_once() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.ok(&["job", "create", "empty", "--pool", "default", "--terminate-when-done"])?;
    assert_eq!(reason(&cluster.wait_for_job("empty", "completed")?), "AllTasksComplete");

    // The usual way: add the tasks, then say that they are all.
    cluster.job("usual", &[cluster.gated("1", "gate"), cluster.gated("2", "gate")])?;
    cluster.ok(&["job", "update", "usual", "--on-all-tasks-complete", "terminate-job"])?;
    cluster.wait_for_counts("usual", counts(0, 2, 0, 0))?;
    assert_eq!(cluster.job_state("usual")?, "active");
    cluster.open("gate")?;
    assert_eq!(reason(&cluster.wait_for_job("usual", "completed")?), "AllTasksComplete");
    assert_eq!(cluster.counts("usual")?, counts(0, 0, 2, 0));
    cluster
        .muster(&["task", "add", "usual", "3", "--", "true"])?
        .refused(CONFLICT, &["usual", "completed"])?;
    // Said after the last task: the job ends with the word.
    cluster.job("late", &[cluster.noted("1")])?;
    cluster.ok(&["job", "wait", "late"])?;
    assert_eq!(cluster.job_state("late")?, "active");
    cluster.ok(&["job", "update", "late", "--on-all-tasks-complete", "terminate-job"])?;
    assert_eq!(reason(&cluster.wait_for_job("late", "completed")?), "AllTasksComplete");
    Ok(())
}

/// A job that acts on failures, with one task that ends with `code` and one that would go on.
fn job_with_failure(cluster: &User, id: &str, code: i32) -> anyhow::Result<()> {
    let job = json!({ "id": id, "on_task_failure": "ON_TASK_FAILURE_PERFORM_EXIT_OPTIONS_JOB_ACTION" });
    let action = |action: &str| json!({ "job_action": format!("JOB_ACTION_{action}") });
    let conditions = json!({
        "exit_codes": [{ "code": 3, "exit_options": action("NONE") }],
        "exit_code_ranges": [{ "start": 1, "end": 9, "exit_options": action("DISABLE") }],
        "default_options": action("TERMINATE"),
    });
    let ends = script_task("ends", &format!("exit {code}"));
    cluster
        .job_of(&job, &[with(ends, &json!({ "exit_conditions": conditions })), cluster.gated("goes", "gate")])
}

#[test]
fn failing_task_does_to_its_job_what_its_exit_conditions_say() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    for (id, code, state) in [
        ("exact", 3, "active"),
        ("first-of-range", 1, "disabled"),
        ("last-of-range", 9, "disabled"),
        ("default", 10, "completed"),
    ] {
        job_with_failure(&cluster, id, code)?;
        let shown = cluster.completed(id, "ends")?;
        assert_eq!(number(&shown, "/execution_info/exit_code"), Some(i64::from(code)));
        let job = cluster.wait_for_job(id, state)?;
        let wanted = if state == "completed" { "TaskFailed" } else { "" };
        assert_eq!(reason(&job), wanted, "{id}: {job}");
        cluster.ok(&["job", "delete", id])?;
    }
    // Without conditions a failure ends the job, and a success does not.
    let job = json!({ "id": "plain", "on_task_failure": "ON_TASK_FAILURE_PERFORM_EXIT_OPTIONS_JOB_ACTION" });
    cluster.job_of(&job, &[script_task("good", "exit 0")])?;
    cluster.completed("plain", "good")?;
    cluster.still_works()?;
    assert_eq!(cluster.job_state("plain")?, "active");
    cluster.add_tasks("plain", &[script_task("bad", "exit 1")])?.ok()?;
    assert_eq!(reason(&cluster.wait_for_job("plain", "completed")?), "TaskFailed");
    Ok(())
}

#[test]
fn failing_command_that_cannot_start_takes_the_condition_for_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let job = json!({ "id": "j", "on_task_failure": "ON_TASK_FAILURE_PERFORM_EXIT_OPTIONS_JOB_ACTION" });
    let conditions = json!({
        "pre_processing_error": { "job_action": "JOB_ACTION_DISABLE" },
        "default_options": { "job_action": "JOB_ACTION_TERMINATE" },
    });
    let task = json!({ "id": "t", "command_line": "/no/such/program", "exit_conditions": conditions });
    cluster.job_of(&job, &[task])?;
    cluster.wait_for_job("j", "disabled")?;
    assert_eq!(cause(&cluster.shown("j", "t")?), "PROGRAM_NOT_FOUND");
    Ok(())
}

#[test]
fn environment_of_a_job_reaches_its_tasks_and_the_tasks_own_wins() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let settings = json!([{ "name": "COLOUR", "value": "red green" }, { "name": "SHAPE", "value": "round" }]);
    let own = json!({ "environment_settings": [{ "name": "SHAPE", "value": "square" }] });
    let say = script_task("says", "echo \"$COLOUR, $SHAPE\"");
    let job = json!({ "id": "env", "common_environment_settings": settings });
    cluster.job_of(&job, &[say.clone(), with(with(say, &own), &json!({ "id": "own" }))])?;
    cluster.ok(&["job", "wait", "env"])?;
    assert_eq!(cluster.ok(&["task", "logs", "env", "says"])?, "red green, round\n");
    assert_eq!(cluster.ok(&["task", "logs", "env", "own"])?, "red green, square\n");
    Ok(())
}

#[test]
fn job_whose_time_is_over_is_terminated_with_its_tasks() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(1).dev()?;
    cluster.ok(&["job", "create", "short", "--pool", "default", "--timeout", "2s"])?;
    cluster.add_tasks("short", &[cluster.gated("runs", "never"), cluster.noted("waits")])?.ok()?;
    cluster.wait_for_task("short", "runs", "running")?;
    let shown = cluster.wait_for_job("short", "completed")?;
    assert_eq!(reason(&shown), "MaxWallClockTimeExpiry");
    assert_eq!(cluster.counts("short")?, counts(0, 0, 0, 2));
    ensure!(cluster.shared_lines("ledger").is_empty());
    // A job that is given more time in time lives on; this one is given none at all.
    cluster.ok(&["job", "create", "long", "--pool", "default", "--timeout", "2s"])?;
    cluster.ok(&["job", "update", "long", "--timeout", "none"])?;
    cluster.ok(&["job", "create", "clock", "--pool", "default", "--timeout", "2s"])?;
    cluster.wait_for_job("clock", "completed")?;
    assert_eq!(cluster.job_state("long")?, "active");
    Ok(())
}

#[test]
fn retries_of_a_job_are_the_default_of_its_tasks() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let own = with(script_task("own", "exit 1"), &json!({ "constraints": { "max_task_retry_count": 0 } }));
    let job = json!({ "id": "again", "constraints": { "max_task_retry_count": 2 } });
    cluster.job_of(&job, &[script_task("jobs", "exit 1"), own])?;
    for (task, attempts) in [("jobs", 3), ("own", 1)] {
        let shown = cluster.completed("again", task)?;
        assert_eq!(number(&shown, "/attempt"), Some(attempts), "{shown}");
        assert_eq!(number(&shown, "/execution_info/retry_count").unwrap_or(0), attempts - 1, "{shown}");
    }
    cluster.ensure_counts_are_right("again")
}
