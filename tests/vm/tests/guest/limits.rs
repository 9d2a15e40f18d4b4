//! Limits on cgroup v2, below a scope that systemd delegated: in force, held, and named as the cause.
//!
//! Each task that misbehaves runs beside one that does not, and no process of it may be left. Processes are told apart by
//! the number of seconds that they sleep for, which no other scenario uses.

use crate::words::{detail, ensure_cause, ensure_exit_code, processor_seconds};
use anyhow::{Context, ensure};
use muster_e2e::user::number;
use muster_vm::Site;
use serde_json::json;

const MEBIBYTE: u32 = 1 << 20;

/// Requires that no process sleeps for so many seconds.
fn ensure_none_sleeps(site: &mut Site, seconds: u32) -> anyhow::Result<()> {
    // The brackets keep the pattern from finding itself.
    let none = format!("! pgrep -f '[s]leep {seconds}'");
    site.guest.wait_for("no process of the task to be left", &none).map(drop)
}

pub(crate) fn limits_of_a_task_are_those_of_its_delegated_group(site: &mut Site) -> anyhow::Result<()> {
    let resources = json!({ "memory_bytes": 96 * MEBIBYTE, "pids_max": 40, "cpu_millis": 1500 });
    site.start_task("limits", "exec sleep 71000", &json!({ "resources": resources }))?;
    let group = "sed s/^0::// /proc/$(pgrep -f '[s]leep 71000' | tail -n 1)/cgroup";
    let group = site.guest.wait_for("the task to run", group)?;
    let is_delegated = group.starts_with("/system.slice/muster-") && group.contains(".scope/muster-");
    ensure!(is_delegated, "the task's group is {group}");
    let files = "cat memory.max memory.oom.group memory.swap.max pids.max cpu.max";
    let said = site.guest.sh(&format!("cd /sys/fs/cgroup{group} && {files}"))?;
    let lines: Vec<&str> = said.lines().collect();
    let memory = (96 * MEBIBYTE).to_string();
    ensure!(lines.len() == 5 && lines[..3] == [memory.as_str(), "1", "0"], "{said}");
    let processes: u32 = lines[3].parse().context("pids.max")?;
    // A keeper may stand in the group beside the task.
    ensure!((40..=41).contains(&processes), "{said}");
    ensure!(lines[4] == "150000 100000", "{said}");
    site.cluster.ok(&["task", "terminate", "limits", "limits"])?;
    site.completed("limits")?;
    let gone = format!("! test -e /sys/fs/cgroup{group}");
    site.guest.wait_for("the group to be removed", &gone).map(drop)
}

pub(crate) fn memory_limit_ends_the_whole_attempt_and_nothing_else(site: &mut Site) -> anyhow::Result<()> {
    site.start_task("beside-memory", "sleep 6; exit 5", &json!({}))?;
    let limit = json!({ "resources": { "memory_bytes": 64 * MEBIBYTE } });
    // A child, one that has left its session, and one that nobody waits for; the parent would outlive the hog.
    let script = "sleep 71001 & setsid sleep 71001 & (sleep 71001 &) ; tail /dev/zero; sleep 71001";
    let shown = site.task("memory", script, &limit)?;
    ensure_cause(&shown, "OUT_OF_MEMORY")?;
    let limit = f64::from(64 * MEBIBYTE);
    ensure!(detail(&shown, "limit_bytes")? == limit, "{shown}");
    ensure!((limit / 2.0..=limit * 1.02).contains(&detail(&shown, "peak_bytes")?), "{shown}");
    ensure_none_sleeps(site, 71001)?;
    ensure_exit_code(&site.completed("beside-memory")?, 5)
}

pub(crate) fn fork_bomb_is_held_by_the_number_of_processes(site: &mut Site) -> anyhow::Result<()> {
    site.start_task("beside-bomb", "sleep 8; exit 6", &json!({}))?;
    let limit = json!({ "resources": { "pids_max": 24 } });
    let many = "n=0; while [ $n -lt 60 ]; do setsid sleep 71002 & n=$((n+1)); done; echo all";
    let shown = site.task("many", many, &limit)?;
    let exit_code = number(&shown, "/execution_info/exit_code");
    ensure!(exit_code.is_some_and(|code| code != 0), "60 processes in a limit of 24: {shown}");
    ensure!(detail(&shown, "process_limit")? == 24.0, "{shown}");
    ensure!(detail(&shown, "process_limit_hits")? >= 1.0, "{shown}");
    ensure_none_sleeps(site, 71002)?;

    let fields = json!({ "resources": { "pids_max": 24 }, "constraints": { "max_wall_clock_time": "3s" } });
    let bomb = "bomb() { bomb | bomb & wait; }; sleep 71002 & bomb; sleep 71002";
    ensure_cause(&site.task("bomb", bomb, &fields)?, "WALL_CLOCK")?;
    ensure_none_sleeps(site, 71002)?;
    ensure_exit_code(&site.completed("beside-bomb")?, 6)
}

pub(crate) fn processor_quota_bounds_the_processor_time(site: &mut Site) -> anyhow::Result<()> {
    let limit = json!({ "resources": { "cpu_millis": 400 } });
    let shown = site.task("busy", "timeout 3 sh -c 'while :; do :; done'; true", &limit)?;
    let used = processor_seconds(&shown)?;
    // Two fifths of three seconds, and what starting takes here; without a quota it would be three.
    ensure!((0.2..2.2).contains(&used), "used {used:.2} s of processor time: {shown}");
    Ok(())
}

pub(crate) fn deaf_task_is_killed_when_its_time_is_over(site: &mut Site) -> anyhow::Result<()> {
    let fields = json!({ "constraints": { "max_wall_clock_time": "2s" } });
    let deaf = "trap '' TERM; setsid sleep 71003 & while :; do sleep 0.2; done";
    let shown = site.task("deaf", deaf, &fields)?;
    ensure_cause(&shown, "WALL_CLOCK")?;
    ensure!(detail(&shown, "limit_seconds")? == 2.0 && detail(&shown, "elapsed_seconds")? >= 2.0, "{shown}");
    ensure_none_sleeps(site, 71003)
}

pub(crate) fn disk_limit_is_recorded_as_the_cause(site: &mut Site) -> anyhow::Result<()> {
    let node = site.node()?;
    ensure!(node["capabilities"]["disk_limit"] == json!("DISK_LIMIT_MEANS_PROJECT_QUOTA"), "{node}");
    let limit = json!({ "resources": { "disk_bytes": 16 * MEBIBYTE } });
    let fill = "head -c 64M /dev/zero > big; code=$?; ls -s big; exit $code";
    let shown = site.task("filler", fill, &limit)?;
    ensure_cause(&shown, "DISK_FULL")?;
    let limit = f64::from(16 * MEBIBYTE);
    ensure!(detail(&shown, "limit_bytes")? == limit, "{shown}");
    ensure!((limit / 2.0..=limit).contains(&detail(&shown, "peak_bytes")?), "{shown}");
    site.still_works("filler")
}
