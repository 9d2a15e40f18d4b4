//! `muster dev`: a local cluster that starts, stops and carries on, and that mends itself.
//!
//! Stopping is part of every test here and elsewhere: a `muster dev` that leaves a process or a control group behind when
//! Ctrl-C is pressed fails the test that started it.

use anyhow::ensure;
use muster_e2e::exit_code::UNREACHABLE;
use muster_e2e::leftovers::Leftovers;
use muster_e2e::outcome::run;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, when};
use muster_e2e::{Cluster, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn cluster_that_was_interrupted_carries_on_with_the_same_state() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(2).dev()?;
    cluster.job("before", &[script_task("t", "echo kept; exit 3")])?;
    cluster.wait_for_task("before", "t", "completed")?;
    let file = cluster.file("kept.txt", "kept too")?;
    cluster.ok(&["file", "put", &file, "things/kept.txt"])?;
    let nodes = |cluster: &muster_e2e::User| -> anyhow::Result<Vec<String>> {
        let listed = cluster.list(&["node", "list", "default"])?;
        let ids = listed.iter().filter_map(|node| node.get("id")?.as_str());
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    };
    let before = nodes(&cluster)?;
    cluster.interrupt()?;
    cluster.muster(&["job", "list"])?.refused(UNREACHABLE, &["127.0.0.1"])?;

    cluster.resume()?;
    cluster.still_works()?;
    let shown = cluster.json(&["task", "show", "before", "t"])?;
    assert_eq!(number(&shown, "/execution_info/exit_code"), Some(3), "{shown}");
    assert_eq!(cluster.ok(&["task", "logs", "before", "t"])?, "kept\n");
    let copy = cluster.path("copy.txt").to_string_lossy().into_owned();
    cluster.ok(&["file", "get", "things/kept.txt", &copy])?;
    assert_eq!(std::fs::read_to_string(copy)?, "kept too");
    assert_eq!(nodes(&cluster)?, before, "the nodes are the same ones");
    Ok(())
}

#[test]
fn cluster_that_is_interrupted_at_work_leaves_no_process_and_goes_on_with_what_waited() -> anyhow::Result<()>
{
    let mut cluster = Cluster::new().slots(1).dev()?;
    let ledger = cluster.shared("ledger");
    let patient = script_task("1", &format!("echo 1 >> {ledger}; exec sleep 600"));
    cluster.job("work", &[patient, script_task("2", &format!("echo 2 >> {ledger}"))])?;
    cluster.wait_for_lines("ledger", 1, SOON)?;
    // It requires that nothing is left of the first task either.
    cluster.interrupt()?;
    cluster.resume()?;
    cluster.wait_for_task("work", "2", "completed")?;
    cluster.wait_for_task("work", "1", "completed")?;
    assert_eq!(cluster.shared_lines("ledger"), ["1", "2"], "a task without retries runs at most once");
    cluster.still_works()
}

#[test]
fn cluster_that_is_interrupted_while_nodes_are_joining_leaves_no_process() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(0).dev()?;
    cluster.ok(&["pool", "create", "late", "--nodes", "4"])?;
    wait_until(SOON, "the first supervisor", || {
        let processes = Leftovers::of(cluster.folder()).processes;
        Ok(when(processes.values().any(|words| words.contains("muster-supervisor"))))
    })?;
    cluster.interrupt()?;
    cluster.resume()?;
    cluster.muster(&["run", "--pool", "late", "--", "true"])?.ok()?;
    Ok(())
}

#[test]
fn cluster_whose_foreground_was_killed_starts_again_on_its_folder() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().dev()?;
    cluster.job("before", &[script_task("t", "exit 3")])?;
    cluster.wait_for_task("before", "t", "completed")?;
    cluster.kill_9()?;
    cluster.resume()?;
    assert_eq!(cluster.task_state("before", "t")?, "completed");
    cluster.still_works()
}

#[test]
fn second_cluster_on_one_folder_is_refused_and_the_first_goes_on() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    let outcome = run(&mut cluster.dev_command(), SOON)?;
    ensure!(!outcome.status.success(), "{outcome}");
    outcome.saying(&["another", "--data"])?;
    cluster.still_works()
}

#[test]
fn daemons_that_die_are_started_again() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.still_works()?;
    let agents = || -> Vec<i32> {
        let all = Leftovers::of(cluster.folder()).processes;
        all.into_iter().filter(|(_, words)| words.contains("muster-agent")).map(|(id, _)| id).collect()
    };
    let before = agents();
    assert_eq!(before.len(), 1, "one node, one agent");
    kill(Pid::from_raw(before[0]), Signal::SIGKILL)?;
    wait_until(SOON, "a new agent", || Ok(when(agents().iter().any(|id| *id != before[0]))))?;
    cluster.still_works()
}

#[test]
fn pools_that_are_made_and_resized_get_their_nodes_and_lose_them_again() -> anyhow::Result<()> {
    let cluster = Cluster::new().nodes(0).dev()?;
    let count = |wanted: usize| {
        wait_until(SOON, "the pool to have its nodes", || {
            Ok(when(cluster.list(&["node", "list", "second"])?.len() == wanted))
        })
    };
    cluster.ok(&["pool", "create", "second", "--nodes", "2", "--slots", "1"])?;
    count(2)?;
    cluster.muster(&["run", "--pool", "second", "--", "true"])?.ok()?;
    cluster.ok(&["pool", "resize", "second", "--nodes", "1"])?;
    count(1)?;
    cluster.muster(&["run", "--pool", "second", "--", "true"])?.ok()?;
    cluster.ok(&["pool", "delete", "second"])?;
    wait_until(SOON, "the pool to be gone", || Ok(when(!cluster.ok(&["pool", "list"])?.contains("second"))))
}
