//! A node that cannot be heard: its work ends before the same work starts elsewhere, and it is taken back when it wakes.
//!
//! Tasks write who they are into one ledger again and again. The order of its lines is the order in which they lived: two
//! attempts that were alive at one time are seen as lines of the older one behind the first line of the newer one.

use anyhow::{Context, ensure};
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::{Cluster, User, wait_until};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

/// Short, so that the test is; long enough for a machine that is busy with another test.
const LEASE: [&str; 4] = ["--lease-ttl", "3s", "--lease-margin", "1s"];

/// Who has written, in the order of their first lines. An error if one wrote after the next had begun.
fn lives(lines: &[String]) -> anyhow::Result<Vec<&str>> {
    let mut lives: Vec<&str> = Vec::new();
    for line in lines {
        if lives.last() == Some(&line.as_str()) {
            continue;
        }
        ensure!(!lives.contains(&line.as_str()), "{line} was still alive when its successor ran: {lives:?}");
        lives.push(line);
    }
    Ok(lives)
}

/// Adds the task that shows its life, with retries: without them a lost node is the end of a task.
fn add_living_task(cluster: &User, retries: i32) -> anyhow::Result<()> {
    let ledger = cluster.shared("ledger");
    let script = format!("while :; do echo $AZ_BATCH_NODE_ID/$$ >> {ledger}; sleep 0.03; done");
    let mut task = script_task("t", &script);
    task["constraints"] = json!({ "max_task_retry_count": retries });
    cluster.job("living", &[task])?;
    cluster.wait_for_lines("ledger", 3, SOON)
}

/// The number of the agent on whose node the only task runs: the one whose folder is in the task's path.
fn agent_of_task(cluster: &muster_e2e::split::Split) -> anyhow::Result<usize> {
    let has_task =
        |number: &usize| cluster.agent_root(*number).join("batch/workitems/living/job-1/t").exists();
    (0..2).find(has_task).context("the task is on neither node")
}

#[test]
fn work_of_a_node_that_went_silent_ends_before_it_starts_elsewhere() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(2).slots(1).controller_flags(&LEASE).split()?;
    add_living_task(&cluster, 5)?;
    let silent = agent_of_task(&cluster)?;
    cluster.agent(silent)?.signal(Signal::SIGSTOP)?;
    let moved = wait_until(WORK, "the task to live on the other node", || {
        Ok(when(lives(&cluster.shared_lines("ledger"))?.len() > 1))
    });
    cluster.agent(silent)?.signal(Signal::SIGCONT)?;
    moved?;
    // The node wakes up, is told that its attempt is stale, and is as good as the other again.
    cluster.wait_for_nodes("default", 2)?;
    cluster.ok(&["job", "terminate", "living"])?;
    cluster.wait_for_task("living", "t", "completed")?;
    lives(&cluster.shared_lines("ledger"))?;
    cluster.still_works()
}

/// What happens to a node's agent and supervisor at once, with nobody there to start them again.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Killed,
    Frozen,
}

/// The life of a task before and after both daemons of its node are dead or frozen.
fn work_moves_after(blow: Blow, isolation: &str) -> anyhow::Result<()> {
    let mut cluster = Cluster::new()
        .nodes(2)
        .slots(1)
        .pool_flags(&["--isolation", isolation])
        .controller_flags(&LEASE)
        .split()?;
    add_living_task(&cluster, 5)?;
    let lost = agent_of_task(&cluster)?;
    let supervisor = cluster.supervisor(lost).context("the node has no supervisor")?;
    match blow {
        Blow::Killed => {
            cluster.kill_agent(lost)?;
            cluster.kill_supervisor(lost)?;
        }
        Blow::Frozen => {
            kill(supervisor, Signal::SIGSTOP)?;
            cluster.agent(lost)?.signal(Signal::SIGSTOP)?;
        }
    }
    let moved = wait_until(WORK, "the task to live on the other node", || {
        Ok(when(lives(&cluster.shared_lines("ledger"))?.len() > 1))
    });
    match blow {
        Blow::Killed => cluster.start_agent(lost)?,
        Blow::Frozen => {
            kill(supervisor, Signal::SIGCONT)?;
            cluster.agent(lost)?.signal(Signal::SIGCONT)?;
        }
    }
    moved?;
    cluster.wait_for_nodes("default", 2)?;
    cluster.ok(&["job", "terminate", "living"])?;
    cluster.wait_for_task("living", "t", "completed")?;
    ensure!(lives(&cluster.shared_lines("ledger"))?.len() == 2, "it lived twice, one life after the other");
    cluster.still_works()
}

#[test]
fn work_of_a_node_whose_daemons_are_both_dead_or_frozen_ends_before_it_starts_elsewhere() -> anyhow::Result<()>
{
    for blow in [Blow::Killed, Blow::Frozen] {
        for isolation in ["none", "process"] {
            if isolation != "none" && !nix::unistd::geteuid().is_root() {
                println!("SKIPPED: isolation takes root");
                continue;
            }
            work_moves_after(blow, isolation).with_context(|| format!("{blow:?}, isolation {isolation}"))?;
        }
    }
    Ok(())
}

#[test]
fn task_without_retries_is_not_run_again_when_its_node_is_lost() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().nodes(2).slots(1).controller_flags(&LEASE).split()?;
    add_living_task(&cluster, 0)?;
    let lost = agent_of_task(&cluster)?;
    cluster.agent(lost)?.signal(Signal::SIGSTOP)?;
    let ended = cluster.wait_for_task("living", "t", "completed");
    cluster.agent(lost)?.signal(Signal::SIGCONT)?;
    ended?;
    let shown = cluster.json(&["task", "show", "living", "t"])?;
    let cause = shown.pointer("/execution_info/failure_info/cause");
    assert_eq!(cause, Some(&json!("FAILURE_CAUSE_NODE_LOST")), "{shown}");
    assert_eq!(number(&shown, "/attempt"), Some(1), "{shown}");
    assert_eq!(lives(&cluster.shared_lines("ledger"))?.len(), 1, "it ran at most once");
    cluster.still_works()
}

#[test]
fn lives_that_overlap_are_seen_and_lives_in_a_row_are_not() -> anyhow::Result<()> {
    let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    assert_eq!(lives(&lines("aabbb"))?, ["a", "b"]);
    ensure!(lives(&lines("aabab")).is_err(), "a wrote after b had begun");
    Ok(())
}
