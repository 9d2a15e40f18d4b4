//! Limits are enforced, not hoped for: memory, processes, processor, wall clock. The recorded cause says which one ended a task.
//!
//! What cannot be limited without control groups is skipped, in words, on a machine that has none. No limit may leave a
//! process behind: each test looks for one.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::RUN_ENDED;
use muster_e2e::leftovers::Leftovers;
use muster_e2e::machine::{self, Need};
use muster_e2e::user::quoted;
use muster_e2e::wait::{SOON, wait_until, when};
use muster_e2e::{Cluster, User};
use serde_json::{Value, json};

/// A script with limits; what became of it once it is completed.
fn completed(cluster: &User, id: &str, script: &str, limits: &Value) -> anyhow::Result<Value> {
    let mut task = json!({ "id": id, "command_line": format!("/bin/sh -c {}", quoted(script)) });
    for (name, value) in limits.as_object().into_iter().flatten() {
        task[name.as_str()] = value.clone();
    }
    cluster.job(id, &[task])?;
    cluster.wait_for_task(id, id, "completed")?;
    cluster.json(&["task", "show", id, id])
}

fn cause(shown: &Value) -> anyhow::Result<String> {
    let cause = shown.pointer("/execution_info/failure_info/cause").and_then(Value::as_str);
    Ok(cause.with_context(|| format!("no cause: {shown}"))?.trim_start_matches("FAILURE_CAUSE_").to_owned())
}

/// Seconds of a protobuf duration in its JSON form.
fn seconds(value: &Value, pointer: &str) -> anyhow::Result<f64> {
    let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or("0s");
    Ok(text.trim_end_matches('s').parse()?)
}

/// Processes of tasks: those of the cluster that are none of its daemons.
fn task_processes(cluster: &User) -> Vec<String> {
    let all = Leftovers::of(cluster.folder()).processes;
    let is_daemon = |words: &str| words.split(' ').next().is_some_and(|program| program.contains("muster"));
    all.into_values().filter(|words| !is_daemon(words)).collect()
}

fn ensure_no_task_is_left(cluster: &User) -> anyhow::Result<()> {
    wait_until(SOON, "no process of a task to be left", || Ok(when(task_processes(cluster).is_empty())))
        .with_context(|| format!("{:?}", task_processes(cluster)))
}

#[test]
fn memory_limit_is_recorded_as_the_cause_and_not_as_signal_9() -> anyhow::Result<()> {
    if !machine::has("memory_limit", &[Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().dev()?;
    let limit = json!({ "resources": { "memory_bytes": 64 << 20 } });
    // The hog itself dies, and a child whose parent lives on to report it.
    for (id, script) in [("hog", "exec tail /dev/zero"), ("child", "tail /dev/zero; exit $?")] {
        let shown = completed(&cluster, id, script, &limit)?;
        assert_eq!(cause(&shown)?, "OUT_OF_MEMORY", "{shown}");
        let peak = shown.pointer("/usage/peak_memory_bytes").and_then(Value::as_u64).unwrap_or_default();
        ensure!((32 << 20..=65 << 20).contains(&peak), "peak memory of {id}: {peak}");
    }
    let shown = completed(&cluster, "modest", "head -c 8000000 /dev/zero | tail -c 4000000 | wc -c", &limit)?;
    assert_eq!(shown.pointer("/execution_info/exit_code"), Some(&json!(0)), "{shown}");
    cluster.still_works()
}

#[test]
fn fork_bomb_stays_within_its_number_of_processes_and_is_swept_away() -> anyhow::Result<()> {
    if !machine::has("fork_bomb", &[Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().dev()?;
    let limits = json!({ "resources": { "pids_max": 24 }, "constraints": { "max_wall_clock_time": "2s" } });
    let count = "n=0; while [ $n -lt 100 ]; do sleep 600 & n=$((n+1)); done; echo all";
    let shown = completed(&cluster, "many", count, &limits)?;
    ensure!(
        shown.pointer("/execution_info/exit_code") != Some(&json!(0)),
        "100 processes in a limit of 24: {shown}"
    );
    ensure_no_task_is_left(&cluster)?;
    completed(&cluster, "bomb", "bomb() { bomb | bomb & wait; }; bomb", &limits)?;
    ensure_no_task_is_left(&cluster)?;
    cluster.still_works()
}

#[test]
fn processor_quota_bounds_the_processor_time() -> anyhow::Result<()> {
    if !machine::has("processor_quota", &[Need::Cgroups]) {
        return Ok(());
    }
    let cluster = Cluster::new().dev()?;
    let limit = json!({ "resources": { "cpu_millis": 200 } });
    let shown = completed(&cluster, "busy", "timeout 3 sh -c 'while :; do :; done'; true", &limit)?;
    let used = seconds(&shown, "/usage/user_cpu_time")? + seconds(&shown, "/usage/kernel_cpu_time")?;
    // A fifth of three seconds, and one period of grace; a busy loop without a quota would take three.
    ensure!((0.05..1.2).contains(&used), "used {used:.2} s of processor time: {shown}");
    Ok(())
}

#[test]
fn wall_clock_asks_first_and_kills_what_does_not_listen() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let limit = json!({ "constraints": { "max_wall_clock_time": "1s" } });
    let polite = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done";
    let shown = completed(&cluster, "polite", polite, &limit)?;
    assert_eq!(cause(&shown)?, "WALL_CLOCK", "{shown}");
    assert_eq!(cluster.ok(&["task", "logs", "polite", "polite"])?, "hello\nbye\n");

    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let shown = completed(&cluster, "deaf", deaf, &limit)?;
    assert_eq!(cause(&shown)?, "WALL_CLOCK", "{shown}");
    ensure_no_task_is_left(&cluster)?;
    cluster.run_script(&["--timeout", "1s"], "sleep 600")?.refused(RUN_ENDED, &["1s"])?;
    cluster.still_works()
}

#[test]
fn children_that_a_command_leaves_behind_are_ended_with_it() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let shown = completed(&cluster, "parent", "setsid sleep 600 & sleep 600 & exit 0", &json!({}))?;
    assert_eq!(shown.pointer("/execution_info/exit_code"), Some(&json!(0)), "{shown}");
    ensure_no_task_is_left(&cluster)?;
    cluster.still_works()
}

#[test]
fn operator_s_settings_bound_open_files_and_turn_processors_into_shares() -> anyhow::Result<()> {
    if !machine::has("open_files_and_weight", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    let settings = ["--set", "limits.open_files=256", "--set", "limits.cpu=weight"];
    let cluster = Cluster::new().agent_flags(&settings).split()?;
    let files = "import os; [os.open(\"/dev/null\", 0) for _ in range(300)]; print(\"not reached\")";
    let script = format!("ulimit -n; ulimit -c; python3 -c '{files}'; echo refused");
    let shown = completed(&cluster, "files", &script, &json!({}))?;
    assert_eq!(shown.pointer("/execution_info/exit_code"), Some(&json!(0)), "{shown}");
    let said = cluster.ok(&["task", "logs", "files", "files"])?;
    ensure!(said.starts_with("256\n0\n") && said.ends_with("refused\n"), "{said}");
    let complained = cluster.ok(&["task", "logs", "files", "files", "--stderr"])?;
    ensure!(complained.contains("Too many open files"), "{complained}");
    // A share takes nothing away while nobody else wants the processor: a quota of a tenth would.
    let busy = "timeout 2 sh -c 'while :; do :; done'; true";
    let shown = completed(&cluster, "busy", busy, &json!({ "resources": { "cpu_millis": 100 } }))?;
    let used = seconds(&shown, "/usage/user_cpu_time")? + seconds(&shown, "/usage/kernel_cpu_time")?;
    ensure!(used > 0.6, "used {used:.2} s of two seconds: {shown}");
    Ok(())
}
