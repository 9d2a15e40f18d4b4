//! kill -9 of the daemons, in each phase, and the same folders again: what was acknowledged happens, and happens once.
//!
//! Each task appends a line to a ledger outside of its own folder. A task that was lost leaves no line, one that ran
//! twice leaves two. Tasks wait for a gate file where the test must act while they run.

use anyhow::{Context, ensure};
use muster_e2e::leftovers::Leftovers;
use muster_e2e::pipe::Pipe;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::{Cluster, User, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Stdio;

/// A task that notes its start, waits for the gate, and notes its end. Short waits: the shell's, not the test's.
fn gated(cluster: &User, id: &str, end: &str) -> Value {
    let (started, gate, ledger) =
        (cluster.shared("started"), cluster.shared("gate"), cluster.shared("ledger"));
    let wait = format!("while [ ! -e {gate} ]; do sleep 0.02; done");
    script_task(id, &format!("echo {id} >> {started}; {wait}; echo {id} >> {ledger}; {end}"))
}

fn ledger_task(cluster: &User, id: &str) -> Value {
    script_task(id, &format!("echo {id} >> {}", cluster.shared("ledger")))
}

fn open_gate(cluster: &User) -> anyhow::Result<()> {
    Ok(std::fs::write(cluster.shared("gate"), "")?)
}

/// Requires each of `count` tasks once in the ledger, and nothing else.
fn ensure_each_once(cluster: &User, count: usize) -> anyhow::Result<()> {
    let lines = cluster.shared_lines("ledger");
    let distinct: BTreeSet<&String> = lines.iter().collect();
    ensure!(
        lines.len() == count && distinct.len() == count,
        "wanted {count} tasks once each: {} lines, {} different: {lines:?}",
        lines.len(),
        distinct.len()
    );
    Ok(())
}

fn ensure_all_succeeded(cluster: &User, job: &str, count: usize) -> anyhow::Result<()> {
    let tasks = cluster.list(&["task", "list", job])?;
    let succeeded = tasks.iter().filter(|task| number(task, "/execution_info/exit_code") == Some(0));
    assert_eq!(succeeded.count(), count, "{tasks:?}");
    Ok(())
}

#[test]
fn controller_killed_between_submit_and_completion_loses_and_repeats_nothing() -> anyhow::Result<()> {
    const TASKS: usize = 40;
    let mut cluster = Cluster::new().split()?;
    let tasks: Vec<Value> = (0..TASKS).map(|id| gated(&cluster, &id.to_string(), "exit 0")).collect();
    cluster.job("ledger", &tasks)?;
    cluster.wait_for_lines("started", 2, SOON)?;
    cluster.kill_controller()?;
    // The running tasks end while there is nobody to tell.
    open_gate(&cluster)?;
    cluster.wait_for_lines("ledger", 2, SOON)?;
    cluster.start_controller()?;
    cluster.ok(&["job", "wait", "ledger"])?;
    ensure_each_once(&cluster, TASKS)?;
    ensure_all_succeeded(&cluster, "ledger", TASKS)
}

#[test]
fn controller_killed_again_and_again_while_tasks_flow_loses_and_repeats_nothing() -> anyhow::Result<()> {
    const TASKS: usize = 100;
    let mut cluster = Cluster::new().split()?;
    let tasks: Vec<Value> = (0..TASKS).map(|id| ledger_task(&cluster, &id.to_string())).collect();
    cluster.job("ledger", &tasks)?;
    for lines in [1, 20, 50] {
        cluster.wait_for_lines("ledger", lines, WORK)?;
        cluster.kill_controller()?;
        cluster.start_controller()?;
    }
    cluster.ok(&["job", "wait", "ledger"])?;
    ensure_each_once(&cluster, TASKS)
}

#[test]
fn controller_killed_during_submission_keeps_what_it_acknowledged() -> anyhow::Result<()> {
    const TASKS: usize = 5000;
    let mut cluster = Cluster::new().nodes(0).split()?;
    cluster.ok(&["job", "create", "many", "--pool", "default"])?;
    let lines: Vec<String> =
        (0..TASKS).map(|id| format!(r#"{{"id":"{id}","command_line":"/bin/true"}}"#)).collect();
    let file = cluster.file("many.jsonl", lines.join("\n"))?;
    let command = cluster.command(&["task", "add", "many", "--file", &file]);
    let adding = std::thread::spawn(move || muster_e2e::outcome::run(&mut { command }, WORK));
    let count =
        |cluster: &User| -> anyhow::Result<usize> { Ok(cluster.list(&["task", "list", "many"])?.len()) };
    wait_until(SOON, "the first tasks", || Ok(when(count(&cluster)? > 0)))?;
    cluster.kill_controller()?;
    cluster.start_controller()?;
    let outcome = adding.join().map_err(|_| anyhow::anyhow!("the thread that adds panicked"))??;
    let there = count(&cluster)?;
    if outcome.status.success() {
        assert_eq!(there, TASKS, "a success means that all are there: {outcome}");
    } else {
        // Whoever gives up says how far it came; that much is there.
        let said: Vec<usize> =
            outcome.err().split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
        ensure!(said.iter().any(|acknowledged| *acknowledged <= there), "{there} tasks are there: {outcome}");
        // The same file again adds the rest: what is there is refused as a duplicate and not added twice.
        cluster.muster(&["task", "add", "many", "--file", &file])?;
        assert_eq!(count(&cluster)?, TASKS, "after the second try");
    }
    Ok(())
}

#[test]
fn agent_killed_while_a_task_runs_comes_back_to_it_and_reports_it_once() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    let task = gated(&cluster, "t", "echo said; echo complained >&2; exit 7");
    cluster.job("survivor", &[task])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.wait_for_task("survivor", "t", "running")?;
    cluster.kill_agent(0)?;
    cluster.start_agent(0)?;
    cluster.wait_for_nodes("default", 1)?;
    assert_eq!(cluster.task_state("survivor", "t")?, "running");
    open_gate(&cluster)?;
    cluster.wait_for_task("survivor", "t", "completed")?;
    ensure_survived(&cluster)
}

#[test]
fn agent_stopped_for_an_upgrade_leaves_its_task_running_and_takes_it_over_again() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    let task = gated(&cluster, "t", "echo said; echo complained >&2; exit 7");
    cluster.job("survivor", &[task])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.wait_for_task("survivor", "t", "running")?;
    cluster.stop_agent(0)?;
    cluster.start_agent(0)?;
    open_gate(&cluster)?;
    cluster.wait_for_task("survivor", "t", "completed")?;
    ensure_survived(&cluster)
}

#[test]
fn run_goes_on_when_the_controller_is_killed_under_it_and_misses_and_repeats_no_output() -> anyhow::Result<()>
{
    let mut cluster = Cluster::new().split()?;
    let gate = cluster.shared("gate");
    let script = format!("echo first; while [ ! -e {gate} ]; do sleep 0.02; done; echo last; exit 7");
    let mut command = cluster.command(&["run", "--pool", "default", "--", "/bin/sh", "-c", &script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (Pipe::read(child.stdout.take()), Pipe::read(child.stderr.take()));
    let survived = wait_until(SOON, "the first line", || Ok(when(stdout.has("first\n"))))
        .and_then(|()| cluster.kill_controller())
        .and_then(|()| cluster.start_controller())
        .and_then(|()| cluster.wait_for_nodes("default", 1))
        .and_then(|()| open_gate(&cluster))
        .and_then(|()| wait_until(WORK, "the end of the run", || Ok(child.try_wait()?)));
    if survived.is_err() {
        child.kill()?;
    }
    let (out, err) = (stdout.all(SOON)?, stderr.all(SOON)?);
    let said = String::from_utf8_lossy(&err).into_owned();
    assert_eq!(survived.context(said.clone())?.code(), Some(7), "{said}");
    assert_eq!(String::from_utf8_lossy(&out), "first\nlast\n", "{said}");
    Ok(())
}

#[test]
fn task_that_ends_while_its_agent_is_dead_is_reported_when_it_is_back() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    let task = gated(&cluster, "t", "echo said; echo complained >&2; exit 7");
    cluster.job("survivor", &[task])?;
    cluster.wait_for_task("survivor", "t", "running")?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.kill_agent(0)?;
    open_gate(&cluster)?;
    cluster.wait_for_lines("ledger", 1, SOON)?;
    cluster.start_agent(0)?;
    cluster.wait_for_task("survivor", "t", "completed")?;
    ensure_survived(&cluster)
}

/// The task ran once, in one attempt, and its exit code and output are known.
fn ensure_survived(cluster: &User) -> anyhow::Result<()> {
    ensure_each_once(cluster, 1)?;
    let shown = cluster.json(&["task", "show", "survivor", "t"])?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(7), "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(1), "{shown}");
    assert_eq!(word(&shown, "/state").as_deref(), Some("completed"));
    assert_eq!(cluster.ok(&["task", "logs", "survivor", "t"])?, "said\n");
    assert_eq!(cluster.ok(&["task", "logs", "survivor", "t", "--stderr"])?, "complained\n");
    Ok(())
}

#[test]
fn supervisor_killed_while_a_task_runs_is_replaced_and_the_task_goes_on() -> anyhow::Result<()> {
    let cluster = Cluster::new().split()?;
    let task = gated(&cluster, "t", "echo said; echo complained >&2; exit 7");
    cluster.job("survivor", &[task])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let supervisors = || -> Vec<i32> {
        let all = Leftovers::of(cluster.folder()).processes.into_iter();
        all.filter(|(_, words)| words.contains("muster-supervisor")).map(|(id, _)| id).collect()
    };
    let before = supervisors();
    assert_eq!(before.len(), 1, "one node, one supervisor");
    kill(Pid::from_raw(before[0]), Signal::SIGKILL)?;
    wait_until(SOON, "a new supervisor", || Ok(when(supervisors().iter().any(|id| *id != before[0]))))?;
    open_gate(&cluster)?;
    cluster.wait_for_task("survivor", "t", "completed")?;
    ensure_each_once(&cluster, 1)?;
    assert_eq!(cluster.ok(&["task", "logs", "survivor", "t"])?, "said\n");
    cluster.still_works()
}

#[test]
fn both_daemons_killed_at_once_come_back_to_the_running_task() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    let task = gated(&cluster, "t", "echo said; echo complained >&2; exit 7");
    cluster.job("survivor", &[task])?;
    cluster.wait_for_task("survivor", "t", "running")?;
    cluster.wait_for_lines("started", 1, SOON)?;
    cluster.kill_agent(0)?;
    cluster.kill_controller()?;
    cluster.start_controller()?;
    cluster.start_agent(0)?;
    open_gate(&cluster)?;
    cluster.wait_for_task("survivor", "t", "completed")?;
    ensure_survived(&cluster)
}

#[test]
fn controller_stopped_and_started_serves_the_same_state_and_a_second_one_is_refused() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    cluster.still_works()?;
    let mut second = cluster.controller_command();
    muster_e2e::outcome::run(&mut second, SOON)?.with_code(1)?.saying(&["another controller", "runs"])?;
    cluster.stop_controller()?;
    cluster.start_controller()?;
    cluster.still_works()?;
    assert_eq!(cluster.list(&["node", "list", "default"])?.len(), 1);
    Ok(())
}
