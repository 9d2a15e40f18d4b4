//! A job manager task: it runs `muster` inside of its own job, with nothing but what its environment gives it.
//!
//! The managers here are shell scripts. Each notes what it saw in shared files, so a refusal inside is seen outside.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::DENIED;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::SOON;
use muster_e2e::work::{cause, counts, with};
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A job with a manager that runs a script; `$MUSTER` in it is the command line's program.
fn managed(cluster: &User, id: &str, script: &str, more: &Value) -> anyhow::Result<()> {
    let manager = with(script_task("manager", script), more);
    // Where tests run from a folder below /tmp, the programs under test would be hidden from tasks.
    let muster = cluster.shared("muster");
    if !std::path::Path::new(&muster).exists() {
        std::fs::copy(cluster.binary("muster"), &muster)?;
    }
    let manager = with(manager, &json!({ "environment_settings": [{ "name": "MUSTER", "value": muster }] }));
    cluster.job_of(&json!({ "id": id, "job_manager_task": manager }), &[])
}

/// The shell's words that wait until a task of the own job is completed.
const AWAIT: &str = r#"await() { until $MUSTER -o json task show $AZ_BATCH_JOB_ID $1 | grep -q TASK_STATE_COMPLETED; do sleep 0.05; done; }"#;

#[test]
fn manager_adds_tasks_to_its_own_job_and_to_no_other() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("other", &[cluster.noted("theirs")])?;
    cluster.ok(&["job", "wait", "other"])?;
    let (ledger, notes) = (cluster.shared("ledger"), cluster.shared("notes"));
    let script = format!(
        "{AWAIT}
        note() {{ echo \"$*\" >> {notes}; }}
        $MUSTER task add $AZ_BATCH_JOB_ID one -- /bin/sh -c 'echo one >> {ledger}; echo token=$MUSTER_JOB_TOKEN$AZ_BATCH_AUTHENTICATION_TOKEN >> {notes}' && await one
        $MUSTER task add $AZ_BATCH_JOB_ID --sweep 1-3 --id two -- /bin/sh -c 'echo {{i}} >> {ledger}' && await two-3
        $MUSTER task add other extra -- true 2> err; note other $? $(cat err)
        $MUSTER job terminate other 2> err; note terminate $? $(cat err)
        $MUSTER task list other 2> err; note list $? $(cat err)
        $MUSTER account show --keys 2> err; note keys $? $(cat err)
        $MUSTER job create mine --pool default 2> err; note create $? $(cat err)
        test -n \"$AZ_BATCH_AUTHENTICATION_TOKEN\"; note azure $?
        exit 0"
    );
    managed(&cluster, "managed", &script, &json!({ "run_exclusive": false }))?;
    let shown = cluster.wait_for_job("managed", "completed");
    let notes = cluster.shared_lines("notes");
    let shown = shown.with_context(|| format!("{notes:?}"))?;
    assert_eq!(shown.pointer("/execution_info/terminate_reason"), Some(&json!("JMComplete")), "{notes:?}");
    assert_eq!(number(&cluster.shown("managed", "manager")?, "/execution_info/exit_code"), Some(0));
    let ledger: BTreeSet<String> = cluster.shared_lines("ledger").into_iter().collect();
    assert_eq!(ledger.into_iter().collect::<Vec<_>>(), ["1", "2", "3", "one", "theirs"]);
    for what in ["other", "terminate", "list", "create"] {
        let line = notes.iter().find(|line| line.starts_with(what)).cloned().unwrap_or_default();
        ensure!(
            line.starts_with(&format!("{what} {DENIED} ")),
            "{what} was not refused as denied: {notes:?}"
        );
    }
    ensure!(notes.contains(&"azure 0".to_owned()), "{notes:?}");
    ensure!(!notes.contains(&"keys 0".to_owned()), "a manager reads no keys: {notes:?}");
    ensure!(notes.contains(&"token=".to_owned()), "an ordinary task has no token: {notes:?}");
    assert_eq!(cluster.counts("other")?, counts(0, 0, 1, 0));
    assert_eq!(cluster.job_state("other")?, "active");
    Ok(())
}

#[test]
fn job_ends_with_its_manager_unless_it_says_otherwise() -> anyhow::Result<()> {
    let cluster = Cluster::new().slots(2).dev()?;
    let script = "$MUSTER task add $AZ_BATCH_JOB_ID left -- sleep 600; exit 4";
    managed(&cluster, "kills", script, &json!({ "run_exclusive": false }))?;
    cluster.wait_for_job("kills", "completed")?;
    assert_eq!(cause(&cluster.completed("kills", "left")?), "TERMINATED");
    assert_eq!(number(&cluster.shown("kills", "manager")?, "/execution_info/exit_code"), Some(4));

    let keep = json!({ "run_exclusive": false, "kill_job_on_completion": false });
    managed(&cluster, "keeps", "exit 0", &keep)?;
    cluster.completed("keeps", "manager")?;
    cluster.add_tasks("keeps", &[cluster.noted("after")])?.ok()?;
    cluster.completed("keeps", "after")?;
    assert_eq!(cluster.job_state("keeps")?, "active");
    cluster.ensure_counts_are_right("keeps")
}

#[test]
fn exclusive_manager_has_its_node_for_itself_and_waits_for_an_empty_one() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(2).slots(2).dev()?;
    // One task on each node: the manager finds no empty one.
    cluster.job("before", &[cluster.gated("b1", "first"), cluster.gated("b2", "second")])?;
    cluster.wait_for_lines("started", 2, SOON)?;
    managed(&cluster, "alone", &cluster.until_open("manager"), &json!({}))?;
    let explained = cluster.json(&["task", "explain", "alone", "manager"])?;
    ensure!(explained.to_string().contains("NODE_EXCLUSIVE"), "{explained}");
    cluster.open("first")?;
    cluster.wait_for_task("alone", "manager", "running")?;
    let node = |job: &str, task: &str| -> anyhow::Result<Value> {
        Ok(cluster.shown(job, task)?.pointer("/node_info/node_id").cloned().unwrap_or_default())
    };
    let managers = node("alone", "manager")?;
    assert_eq!(managers, node("before", "b1")?);
    // Three tasks for the one slot that is left beside the exclusive node.
    let ids = ["a1", "a2", "a3"];
    cluster.job("after", &ids.map(|id| cluster.noted(id)))?;
    cluster.ok(&["job", "wait", "after"])?;
    for id in ids {
        ensure!(node("after", id)? != managers, "{id} ran beside the exclusive manager");
    }
    cluster.open("second")?;
    cluster.open("manager")?;
    cluster.wait_for_job("alone", "completed").map(drop)
}
