//! Job preparation and release: once on each node before its first task, once at the end where it was prepared.
//!
//! Preparations note their node in a shared file, so that a second run on one node is seen. How they outlive crashes is in
//! `crash_jobs.rs`.

use anyhow::{Context, ensure};
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, when};
use muster_e2e::work::{counts, with};
use muster_e2e::{Cluster, User, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn command(script: &str) -> Value {
    let task = script_task("-", script);
    json!({ "command_line": task["command_line"] })
}

/// A job with a preparation and a release task.
fn prepared_job(id: &str, preparation: &Value, release: &Value) -> Value {
    json!({ "id": id, "job_preparation_task": preparation, "job_release_task": release })
}

fn node_of(cluster: &User, job: &str, task: &str) -> anyhow::Result<String> {
    let shown = cluster.shown(job, task)?;
    let node = shown.pointer("/node_info/node_id").and_then(Value::as_str);
    Ok(node.with_context(|| format!("no node: {shown}"))?.to_owned())
}

fn set(lines: Vec<String>) -> BTreeSet<String> {
    lines.into_iter().collect()
}

/// What a job's own tasks did on the nodes, by node.
fn statuses(cluster: &User, job: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let listed = cluster.list(&["job", "nodes", job])?.into_iter();
    listed
        .map(|status| {
            let node = status.get("node_id").and_then(Value::as_str).context("no node")?.to_owned();
            Ok((node, status))
        })
        .collect()
}

#[test]
fn each_node_prepares_once_before_its_first_task_and_releases_at_the_end() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(3).slots(2).dev()?;
    let (done, released) = (cluster.shared("prepared"), cluster.shared("released"));
    let preparation = command(&format!("echo data > made; echo $AZ_BATCH_NODE_ID >> {done}"));
    let release =
        command(&format!("cat $AZ_BATCH_JOB_PREP_WORKING_DIR/made && echo $AZ_BATCH_NODE_ID >> {released}"));
    // Four tasks at one time: on two nodes at least, and twice on one of them.
    let task = |id: &str| {
        let gated = cluster.until_open("gate");
        script_task(
            id,
            &format!("{gated}; cat $AZ_BATCH_JOB_PREP_WORKING_DIR/made; ls $AZ_BATCH_JOB_PREP_DIR/wd/made"),
        )
    };
    let ids = ["1", "2", "3", "4"];
    cluster.job_of(&prepared_job("film", &preparation, &release), &ids.map(task))?;
    cluster.wait_for_counts("film", counts(0, 4, 0, 0))?;
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "film"])?;
    let mut nodes = BTreeSet::new();
    for id in ids {
        ensure!(cluster.ok(&["task", "logs", "film", id])?.starts_with("data\n"));
        nodes.insert(node_of(&cluster, "film", id)?);
    }
    assert_eq!(cluster.shared_lines("prepared").len(), nodes.len(), "once on each node");
    assert_eq!(set(cluster.shared_lines("prepared")), nodes);
    ensure!(cluster.shared_lines("released").is_empty(), "released before the end of the job");
    cluster.ok(&["job", "terminate", "film"])?;
    cluster.wait_for_job("film", "completed")?;
    assert_eq!(cluster.shared_lines("released").len(), nodes.len(), "once on each node");
    assert_eq!(set(cluster.shared_lines("released")), nodes);

    let statuses = statuses(&cluster, "film")?;
    assert_eq!(statuses.iter().map(|(node, _)| node.clone()).collect::<BTreeSet<_>>(), nodes);
    for (node, status) in statuses {
        for part in ["preparation", "release"] {
            let info = status.get(format!("job_{part}_task_execution_info")).context("no info")?;
            assert_eq!(info.get("state"), Some(&json!("JOB_NODE_TASK_STATE_COMPLETED")), "{node}: {status}");
            assert_eq!(info.get("result"), Some(&json!("EXECUTION_RESULT_SUCCESS")), "{node}: {status}");
            assert_eq!(number(info, "/exit_code"), Some(0), "{node}: {status}");
            ensure!(info.get("start_time").is_some() && info.get("end_time").is_some(), "{status}");
        }
    }
    // They are no tasks of the job: neither listed nor counted.
    assert_eq!(cluster.list(&["task", "list", "film"])?.len(), 4);
    assert_eq!(cluster.counts("film")?, counts(0, 0, 4, 0));
    Ok(())
}

#[test]
fn task_is_preparing_until_its_node_is_ready() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let preparation = command(&cluster.until_open("gate"));
    let job = json!({ "id": "slow", "job_preparation_task": preparation });
    cluster.job_of(&job, &[cluster.noted("1"), cluster.noted("2")])?;
    cluster.wait_for_task("slow", "1", "preparing")?;
    // A preparation takes no slots, and tasks that wait for it count as running.
    cluster.wait_for_counts("slow", counts(0, 2, 0, 0))?;
    let running = statuses(&cluster, "slow")?;
    let state = running[0].1.pointer("/job_preparation_task_execution_info/state");
    assert_eq!(state, Some(&json!("JOB_NODE_TASK_STATE_RUNNING")));
    ensure!(cluster.shared_lines("ledger").is_empty());
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "slow"])?;
    cluster.ensure_each_once(2)?;
    // One that ends while the preparation runs does not start.
    let preparation = command(&cluster.until_open("never"));
    let job = json!({ "id": "ended", "job_preparation_task": preparation });
    cluster.job_of(&job, &[cluster.noted("3")])?;
    cluster.wait_for_task("ended", "3", "preparing")?;
    cluster.ok(&["task", "terminate", "ended", "3"])?;
    cluster.completed("ended", "3")?;
    cluster.ok(&["job", "terminate", "ended"])?;
    cluster.wait_for_job("ended", "completed")?;
    cluster.ensure_each_once(2)
}

#[test]
fn node_whose_preparation_fails_runs_no_task_of_the_job_and_others_do() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(2).slots(2).dev()?;
    let (first, released) = (cluster.shared("first"), cluster.shared("released"));
    // The first node fails, the second does not.
    let preparation =
        command(&format!("mkdir {first} || exit 0; echo $AZ_BATCH_NODE_ID > {first}/node; exit 9"));
    let release = command(&format!("echo $AZ_BATCH_NODE_ID >> {released}; exit 1"));
    let tasks: Vec<_> = (0..6).map(|id| cluster.noted(&id.to_string())).collect();
    cluster.job_of(&prepared_job("picky", &preparation, &release), &tasks)?;
    cluster.ok(&["job", "wait", "picky"])?;
    cluster.ensure_each_once(6)?;
    let bad = cluster.shared_lines("first/node").concat();
    for id in 0..6 {
        ensure!(node_of(&cluster, "picky", &id.to_string())? != bad, "task {id} ran on the node that failed");
    }
    let mut statuses = statuses(&cluster, "picky")?;
    statuses.sort_by_key(|(node, _)| *node != bad);
    assert_eq!(statuses.len(), 2, "{statuses:?}");
    let failed = statuses[0].1.get("job_preparation_task_execution_info").context("no info")?;
    assert_eq!(number(failed, "/exit_code"), Some(9), "{failed}");
    assert_eq!(failed.get("result"), Some(&json!("EXECUTION_RESULT_FAILURE")), "{failed}");
    // The node is as good as ever for other jobs: both take a task at one time.
    cluster.job("others", &["x1", "x2", "x3", "x4"].map(|id| cluster.gated(id, "gate")))?;
    cluster.wait_for_counts("others", counts(0, 4, 0, 0))?;
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "others"])?;
    // A release that fails does not keep the job from ending.
    cluster.ok(&["job", "terminate", "picky"])?;
    cluster.wait_for_job("picky", "completed")?;
    ensure!(!cluster.shared_lines("released").is_empty());
    Ok(())
}

#[test]
fn tasks_whose_preparation_failed_everywhere_wait_and_explain_says_why() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let job =
        |id: &str, more: &Value| json!({ "id": id, "job_preparation_task": with(command("exit 1"), more) });
    cluster.job_of(&job("stuck", &json!({})), &[cluster.noted("1")])?;
    wait_until(SOON, "the reason of the task that waits", || {
        let explained = cluster.json(&["task", "explain", "stuck", "1"])?.to_string();
        Ok(when(explained.contains("JOB_PREPARATION_FAILED")))
    })?;
    assert_eq!(cluster.task_state("stuck", "1")?, "active");
    cluster.ok(&["job", "terminate", "stuck"])?;
    cluster.wait_for_job("stuck", "completed")?;
    // A job that does not wait for the success runs all the same.
    cluster.job_of(&job("brave", &json!({ "wait_for_success": false })), &[cluster.noted("2")])?;
    cluster.ok(&["job", "wait", "brave"])?;
    assert_eq!(cluster.shared_lines("ledger"), ["2"]);
    Ok(())
}

#[test]
fn preparation_is_tried_again_as_often_as_it_may_and_release_runs_when_the_job_is_deleted()
-> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let (tries, released) = (cluster.shared("tries"), cluster.shared("released"));
    let third = command(&format!("echo try >> {tries}; test $(wc -l < {tries}) -eq 3"));
    let third = with(third, &json!({ "constraints": { "max_task_retry_count": 4 } }));
    let release = command(&format!("echo released >> {released}"));
    cluster.job_of(&prepared_job("again", &third, &release), &[cluster.noted("1")])?;
    cluster.ok(&["job", "wait", "again"])?;
    let status = statuses(&cluster, "again")?.remove(0).1;
    assert_eq!(number(&status, "/job_preparation_task_execution_info/retry_count"), Some(2), "{status}");
    assert_eq!(number(&cluster.shown("again", "1")?, "/attempt"), Some(1), "its task is tried once");
    cluster.ok(&["job", "delete", "again"])?;
    cluster.wait_for_lines("released", 1, SOON)?;
    wait_until(SOON, "the job to be gone", || {
        Ok(when(cluster.muster(&["job", "show", "again"])?.code() == muster_e2e::exit_code::NOT_FOUND))
    })
}

#[test]
fn job_that_is_stopped_while_a_node_prepares_goes_on_or_ends_as_every_other() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let released = cluster.shared("released");
    let preparing = |id: &str| -> anyhow::Result<()> {
        let preparation = command(&cluster.until_open(&format!("{id}-gate")));
        let release = command(&format!("echo {id} >> {released}"));
        cluster.job_of(&prepared_job(id, &preparation, &release), &[cluster.noted(id)])?;
        cluster.wait_for_task(id, id, "preparing")
    };
    // Requeued: it waits again, and runs when the job goes on.
    preparing("requeue")?;
    cluster.ok(&["job", "disable", "requeue", "--tasks", "requeue"])?;
    cluster.wait_for_job("requeue", "disabled")?;
    cluster.wait_for_counts("requeue", counts(1, 0, 0, 0))?;
    cluster.open("requeue-gate")?;
    cluster.ok(&["job", "enable", "requeue"])?;
    cluster.completed("requeue", "requeue")?;
    // Awaited: the preparation ends, the task runs, then the job is disabled.
    preparing("wait")?;
    cluster.ok(&["job", "disable", "wait", "--tasks", "wait"])?;
    assert_eq!(cluster.job_state("wait")?, "disabling");
    cluster.open("wait-gate")?;
    cluster.wait_for_job("wait", "disabled")?;
    cluster.wait_for_counts("wait", counts(0, 0, 1, 0))?;
    // Terminated and deleted: the task does not run, the node is released all the same.
    preparing("terminate")?;
    cluster.ok(&["job", "terminate", "terminate"])?;
    cluster.wait_for_job("terminate", "completed")?;
    assert_eq!(cluster.counts("terminate")?, counts(0, 0, 0, 1));
    preparing("delete")?;
    cluster.ok(&["job", "delete", "delete"])?;
    wait_until(SOON, "the job to be gone", || {
        Ok(when(cluster.muster(&["job", "show", "delete"])?.code() == muster_e2e::exit_code::NOT_FOUND))
    })?;
    assert_eq!(cluster.shared_lines("ledger"), ["requeue", "wait"]);
    // The same job again begins from the start.
    preparing("delete")?;
    cluster.open("delete-gate")?;
    cluster.completed("delete", "delete")?;
    for id in ["requeue", "wait", "delete"] {
        cluster.ok(&["job", "terminate", id])?;
        cluster.wait_for_job(id, "completed")?;
    }
    let released = set(cluster.shared_lines("released"));
    for id in ["requeue", "wait", "terminate", "delete"] {
        ensure!(released.contains(id), "the node of '{id}' was not released: {released:?}");
    }
    cluster.still_works()
}

#[test]
fn job_at_its_limit_of_parallel_tasks_counts_those_that_prepare() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(4).dev()?;
    let preparation = command(&cluster.until_open("gate"));
    let job = json!({ "id": "two", "max_parallel_tasks": 2, "job_preparation_task": preparation });
    let tasks: Vec<Value> = (0..6).map(|id| cluster.passing(&format!("t{id}"))).collect();
    cluster.job_of(&job, &tasks)?;
    cluster.wait_for_counts("two", counts(4, 2, 0, 0))?;
    cluster.still_works()?;
    assert_eq!(cluster.counts("two")?, counts(4, 2, 0, 0));
    cluster.open("gate")?;
    cluster.ok(&["job", "wait", "two"])?;
    let crowd = cluster.shared_lines("crowd");
    let most = muster_e2e::work::most_at_one_time(&crowd, |_| 1);
    ensure!(crowd.len() == 12 && most <= 2, "{most} at one time: {crowd:?}");
    Ok(())
}
