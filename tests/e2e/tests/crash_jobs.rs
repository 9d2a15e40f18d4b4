//! kill -9 while jobs are on their way: preparing, being changed, ending. What was acknowledged holds, and nothing runs twice.
//!
//! What tasks and streams go through is in `crash.rs`, `sweeps.rs` and `streams.rs`.

use anyhow::ensure;
use muster_e2e::Cluster;
use muster_e2e::exit_code::NOT_FOUND;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, when};
use muster_e2e::wait_until;
use muster_e2e::work::{cause, counts, with};
use serde_json::{Value, json};

fn command(script: &str) -> Value {
    json!({ "command_line": script_task("-", script)["command_line"] })
}

#[test]
fn preparation_and_release_outlive_both_daemons_and_run_once() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().slots(2).split()?;
    let (prepared, released) = (cluster.shared("prepared"), cluster.shared("released"));
    let preparation =
        command(&format!("echo once >> {prepared}; {}; echo data > made", cluster.until_open("prepare")));
    let release = command(&format!("echo once >> {released}; {}", cluster.until_open("release")));
    let job = json!({ "id": "film", "job_preparation_task": preparation, "job_release_task": release });
    let reads = script_task("t", "cat $AZ_BATCH_JOB_PREP_WORKING_DIR/made");
    cluster.job_of(&job, &[reads])?;
    cluster.wait_for_lines("prepared", 1, SOON)?;
    cluster.kill_controller()?;
    cluster.kill_agent(0)?;
    cluster.open("prepare")?;
    cluster.start_controller()?;
    assert_eq!(cluster.task_state("film", "t")?, "preparing");
    cluster.start_agent(0)?;
    cluster.completed("film", "t")?;
    assert_eq!(cluster.ok(&["task", "logs", "film", "t"])?, "data\n");
    cluster.ok(&["job", "terminate", "film", "--reason", "enough"])?;
    cluster.wait_for_lines("released", 1, SOON)?;
    cluster.kill_controller()?;
    cluster.start_controller()?;
    assert_eq!(cluster.job_state("film")?, "terminating");
    cluster.open("release")?;
    let shown = cluster.wait_for_job("film", "completed")?;
    assert_eq!(shown.pointer("/execution_info/terminate_reason"), Some(&json!("enough")));
    assert_eq!((cluster.shared_lines("prepared").len(), cluster.shared_lines("released").len()), (1, 1));
    let nodes = cluster.list(&["job", "nodes", "film"])?;
    let result = nodes[0].pointer("/job_release_task_execution_info/result");
    assert_eq!(result, Some(&json!("EXECUTION_RESULT_SUCCESS")), "{nodes:?}");
    Ok(())
}

#[test]
fn changes_of_jobs_and_tasks_hold_after_a_crash() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().slots(4).split()?;
    let limit = json!({ "constraints": { "max_wall_clock_time": "3s" } });
    let tasks = [
        with(cluster.gated("lives", "gate"), &limit),
        cluster.gated("ends", "never"),
        cluster.noted("waits"),
    ];
    cluster.job_of(&json!({ "id": "kept", "max_parallel_tasks": 2 }), &tasks)?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.job("off", &[cluster.gated("stopped", "gate")])?;
    cluster.wait_for_lines("started", 3, SOON)?;
    cluster.ok(&["job", "update", "kept", "--priority", "77"])?;
    cluster.ok(&["task", "update", "kept", "lives", "--max-wall-clock", "1h"])?;
    cluster.ok(&["job", "disable", "off", "--tasks", "requeue"])?;
    cluster.kill_controller()?;
    cluster.start_controller()?;
    assert_eq!(number(&cluster.json(&["job", "show", "kept"])?, "/priority"), Some(77));
    cluster.wait_for_job("off", "disabled")?;
    cluster.wait_for_counts("off", counts(1, 0, 0, 0))?;
    assert_eq!(cluster.counts("kept")?, counts(1, 2, 0, 0), "the limit of parallel tasks holds");
    // The shorter limit is given after the crash, and kills at once; the longer one was given before, and lets live.
    cluster.ok(&["task", "update", "kept", "ends", "--max-wall-clock", "1s"])?;
    assert_eq!(cause(&cluster.completed("kept", "ends")?), "WALL_CLOCK");
    cluster.completed("kept", "waits")?;
    let clock =
        with(cluster.gated("clock", "never"), &json!({ "constraints": { "max_wall_clock_time": "3s" } }));
    cluster.job("clock", &[clock])?;
    cluster.completed("clock", "clock")?;
    assert_eq!(cluster.task_state("kept", "lives")?, "running");
    cluster.open("gate")?;
    let shown = cluster.completed("kept", "lives")?;
    assert_eq!((number(&shown, "/attempt"), number(&shown, "/execution_info/exit_code")), (Some(1), Some(0)));
    cluster.ok(&["job", "enable", "off"])?;
    let again = cluster.completed("off", "stopped")?;
    assert_eq!(number(&again, "/attempt"), Some(2), "{again}");
    cluster.ensure_counts_are_right("kept")
}

#[test]
fn what_is_met_of_dependencies_and_used_of_retries_is_known_after_a_crash() -> anyhow::Result<()> {
    // More slots than tasks that wait for a gate: one that is sent ahead must not keep the second try out.
    let mut cluster = Cluster::new().slots(8).split()?;
    let tries = cluster.shared("tries");
    let job = json!({ "id": "part", "uses_task_dependencies": true, "on_dependency_failure": "ON_DEPENDENCY_FAILURE_FAIL" });
    let nearly = json!({ "depends_on": { "groups": [{ "sweeps": [{ "sweep_id": "s" }], "percent": 80 }] } });
    let every = json!({ "depends_on": { "sweeps": [{ "sweep_id": "s" }] } });
    let again = json!({ "constraints": { "max_task_retry_count": 3 } });
    let waits_on_gate = format!(
        "echo try >> {tries}; test $(wc -l < {tries}) -lt 2 || {{ {}; }}; exit 1",
        cluster.until_open("retry")
    );
    cluster.job_of(
        &job,
        &[
            with(cluster.noted("nearly"), &nearly),
            with(cluster.noted("every"), &every),
            with(script_task("tried", &waits_on_gate), &again),
        ],
    )?;
    // Half of the members end before the crash, one of them badly; the other half waits for the gate.
    let script = format!("test {{i}} -le 5 || {{ {}; }}; test {{i}} -ne 3", cluster.until_open("gate"));
    cluster.ok(&["task", "add", "part", "--sweep", "1-10", "--id", "s", "--", "/bin/sh", "-c", &script])?;
    wait_until(SOON, "half of the sweep and the second try", || {
        let sweep = cluster.json(&["sweep", "show", "part", "s"])?;
        Ok(when(number(&sweep, "/counts/completed") == Some(5) && cluster.shared_lines("tries").len() == 2))
    })?;
    // All of them can never be met any more, and that is known before the crash already.
    assert_eq!(cause(&cluster.completed("part", "every")?), "DEPENDENCY_FAILED");
    cluster.kill_controller()?;
    cluster.start_controller()?;
    assert_eq!(cluster.task_state("part", "nearly")?, "active");
    cluster.open("gate")?;
    cluster.open("retry")?;
    cluster.completed("part", "nearly")?;
    let shown = cluster.completed("part", "tried")?;
    assert_eq!(number(&shown, "/attempt"), Some(4), "three retries in all: {shown}");
    assert_eq!(cluster.shared_lines("tries").len(), 4);
    assert_eq!(cluster.shared_lines("ledger"), ["nearly"]);
    cluster.wait_for_counts("part", counts(0, 0, 10, 3))?;
    ensure!(cluster.list(&["task", "attempts", "part", "tried"])?.len() == 4);
    cluster.ensure_counts_are_right("part")
}

#[test]
fn members_run_once_each_while_every_daemon_is_killed_in_turn() -> anyhow::Result<()> {
    const MEMBERS: usize = 160;
    let mut cluster = Cluster::new().nodes(2).slots(2).split()?;
    let ledger = cluster.shared("ledger");
    let job = json!({ "id": "turns", "uses_task_dependencies": true });
    let after = json!({ "depends_on": { "sweeps": [{ "sweep_id": "s" }] } });
    cluster.job_of(&job, &[with(cluster.noted("last"), &after)])?;
    // Every tenth fails: a failure is reported once, like a success, and is not tried again.
    let script = format!("echo {{i}} >> {ledger}; test $(({{i}} % 10)) -ne 0");
    let range = format!("1-{MEMBERS}");
    cluster.ok(&["task", "add", "turns", "--sweep", &range, "--id", "s", "--", "/bin/sh", "-c", &script])?;
    for (lines, agent) in [(10, 0), (40, 1), (80, 0), (110, 1)] {
        cluster.wait_for_lines("ledger", lines, SOON)?;
        cluster.kill_agent(agent)?;
        cluster.kill_controller()?;
        cluster.start_agent(agent)?;
        cluster.start_controller()?;
    }
    let failed = MEMBERS as u64 / 10;
    cluster.wait_for_counts("turns", counts(1, 0, MEMBERS as u64 - failed, failed))?;
    cluster.ensure_each_once(MEMBERS)?;
    cluster.ensure_counts_are_right("turns")?;
    // What failed is tried again, once more each, and fails again: the last one goes on waiting.
    std::fs::remove_file(&ledger)?;
    cluster.ok(&["sweep", "reactivate", "turns", "s"])?;
    cluster.wait_for_lines("ledger", usize::try_from(failed)?, SOON)?;
    cluster.wait_for_counts("turns", counts(1, 0, MEMBERS as u64 - failed, failed))?;
    cluster.ensure_each_once(usize::try_from(failed)?)
}

#[test]
fn job_that_is_made_again_after_a_crash_is_not_taken_for_the_deleted_one() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    let prepared = cluster.shared("prepared");
    let job = json!({ "id": "same", "job_preparation_task": command(&format!("echo once >> {prepared}")) });
    for time in 1..=3 {
        cluster.job_of(&job, &[cluster.noted("t")])?;
        cluster.ok(&["job", "wait", "same"])?;
        assert_eq!(
            (cluster.shared_lines("prepared").len(), cluster.shared_lines("ledger").len()),
            (time, time)
        );
        cluster.ok(&["job", "delete", "same"])?;
        wait_until(SOON, "the job to be gone", || {
            Ok(when(cluster.muster(&["job", "show", "same"])?.code() == NOT_FOUND))
        })?;
        cluster.kill_controller()?;
        cluster.start_controller()?;
    }
    Ok(())
}
