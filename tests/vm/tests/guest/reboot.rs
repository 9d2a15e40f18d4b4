//! The machine goes away and comes back: another boot id, so nothing of before can run any more.
//!
//! What ran is reported lost at once, not when a lease ends, and runs again where it may; what it left on the disk and in
//! the control groups is gone; and the start task runs again, because a boot undoes what it prepared.

use crate::words::{ensure_cause, ensure_exit_code};
use anyhow::ensure;
use muster_e2e::user::script_task;
use muster_e2e::work::with;
use muster_vm::Site;
use muster_vm::site::{POOL, ROOT, SHARED, timed};
use serde_json::json;

/// Notes that it began, and ends only when it has begun before.
const SECOND_TIME_LUCKY: &str = "cd $AZ_BATCH_NODE_SHARED_DIR; echo begin >> again.notes; \
    [ $(wc -l < again.notes) -ge 2 ] && exit 0; exec sleep 71100";

pub(crate) fn machine_without_power_reports_its_attempts_lost_and_runs_them_again(
    site: &mut Site,
) -> anyhow::Result<()> {
    let preparation = "/bin/sh -c 'echo prepared >> $AZ_BATCH_NODE_SHARED_DIR/prepared.notes'";
    let again =
        json!({ "id": "again", "pool_id": POOL, "job_preparation_task": { "command_line": preparation } });
    let task = script_task("again", SECOND_TIME_LUCKY);
    site.cluster.job_of(&again, &[with(task, &json!({ "constraints": { "max_task_retry_count": 1 } }))])?;
    let once = json!({ "constraints": { "max_task_retry_count": 0 } });
    site.start_task(
        "once",
        "cd $AZ_BATCH_NODE_SHARED_DIR; echo begin >> once.notes; exec sleep 71101",
        &once,
    )?;
    let running = format!("cd {SHARED}; test -s again.notes && test -s once.notes && sync");
    site.guest.wait_for("both tasks to run", &running)?;
    let starts = site.guest.sh(&format!("cat {SHARED}/starts"))?;
    ensure!(starts == "start", "the start task has not run once before the reboot: {starts}");

    timed("reboot", || site.guest.cut_the_power())?;
    site.guest.wait_for("the agent's service", "systemctl is-active muster-agent")?;
    ensure_exit_code(&timed("second run", || site.completed("again"))?, 0)?;
    ensure_cause(&site.completed("once")?, "NODE_LOST")?;
    let notes = site.guest.sh(&format!("cd {SHARED}; cat again.notes once.notes prepared.notes starts"))?;
    let wanted = "begin\nbegin\nbegin\nprepared\nprepared\nstart\nstart";
    ensure!(
        notes == wanted,
        "the task twice, the one without retries once, preparation and start task twice: {notes}"
    );
    site.guest.wait_for("no process of before", "! pgrep -f '[s]leep 7110'")?;
    let mounts =
        site.guest.sh(&format!("findmnt --noheadings --list -o TARGET | grep '^{ROOT}/' || true"))?;
    ensure!(mounts.is_empty(), "mounts of before are left: {mounts}");
    site.wait_until_idle()?;
    site.still_works("reboot")
}
