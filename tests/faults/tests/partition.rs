//! A node that is cut off: what it runs has really ended before it lives elsewhere, and what it says later comes too late.
//!
//! The site is in a network of its own, each agent at the end of a cable that is cut for real. Tasks write down their lives in a
//! file that the partition does not concern; two lives of a task at one time are lines of the older one behind the first line
//! of the newer one.

use anyhow::{Context, ensure};
use muster_e2e::disguise::Who;
use muster_e2e::split::Split;
use muster_e2e::user::{number, script_task, word};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::work::{cause, with};
use muster_e2e::{Cluster, User, wait_until};
use muster_faults::net::{CONTROLLER, Cut, Line, Manner, Room, Way, in_a_room};
use serde_json::json;
use std::time::{Duration, Instant};

/// Short, so that the tests are; long enough for a machine that is busy with another test.
const LEASE: Duration = Duration::from_secs(3);
const FLAGS: [&str; 4] = ["--lease-ttl", "3s", "--lease-margin", "1s"];

/// Two nodes at two cables, or nothing on a machine that cannot do this.
fn with_two_nodes(
    test: &str,
    body: impl FnOnce(&mut Split, &Room) -> anyhow::Result<()> + Send,
) -> anyhow::Result<()> {
    if let Some(missing) = Room::missing() {
        eprintln!("skipped: {test}: this machine has no {missing}");
        return Ok(());
    }
    in_a_room(2, || {
        let room = Room::current()?;
        let cluster = Cluster::new().nodes(2).slots(1).controller_flags(&FLAGS);
        let cluster =
            cluster.controller_flags(&["--names", CONTROLLER]).node_listen(&format!("{CONTROLLER}:0"));
        let mut split = cluster.prepare()?;
        let cables = room.clone();
        split.disguise(move |who, command| match who {
            Who::Controller => command,
            Who::Agent(number) => cables.at(number, &command),
        });
        split.begin()?;
        body(&mut split, &room)
    })
}

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

/// Adds the task `t` that lives until the gate of its node opens, and then says so in `ended`.
fn add_task(cluster: &User, retries: i32) -> anyhow::Result<()> {
    let (ledger, ended, gate) = (cluster.shared("ledger"), cluster.shared("ended"), cluster.shared("gate"));
    let script = format!(
        "while [ ! -e {gate}-$AZ_BATCH_NODE_ID ]; do echo $AZ_BATCH_NODE_ID >> {ledger}; sleep 0.03; done; \
         echo $AZ_BATCH_NODE_ID >> {ended}; echo done on $AZ_BATCH_NODE_ID"
    );
    let task =
        with(script_task("t", &script), &json!({ "constraints": { "max_task_retry_count": retries } }));
    cluster.job("living", &[task])?;
    cluster.wait_for_lines("ledger", 3, SOON)
}

/// The node that the only task lives on, and the number of its agent.
fn place_of_task(cluster: &Split) -> anyhow::Result<(String, usize)> {
    let node = cluster.shared_lines("ledger").last().cloned().context("nobody lives")?;
    let has_task =
        |number: &usize| cluster.agent_root(*number).join("batch/workitems/living/job-1/t").exists();
    Ok((node, (0..2).find(has_task).context("the task is on neither node")?))
}

fn wait_until_it_moved(cluster: &Split) -> anyhow::Result<()> {
    wait_until(WORK, "the task to live on the other node", || {
        Ok(when(lives(&cluster.shared_lines("ledger"))?.len() > 1))
    })
}

/// Cuts the node of the task off for as long as it takes until the task lives elsewhere.
fn cut_off_until_it_moved(test: &str, way: Way, manner: Manner) -> anyhow::Result<()> {
    with_two_nodes(test, |cluster, room| {
        add_task(cluster, 5)?;
        let (first, agent) = place_of_task(cluster)?;
        let cut = room.cut(Line::Node(agent), way, manner)?;
        let since = Instant::now();
        wait_until_it_moved(cluster)?;
        ensure!(since.elapsed() >= LEASE, "it moved after {:?}: before the lease was over", since.elapsed());
        cut.heal()?;
        // The node is heard again, told that its attempt is stale, and as good as the other.
        cluster.wait_for_nodes("default", 2)?;
        ensure!(cluster.task_state("living", "t")? == "running");
        let second = cluster.shared_lines("ledger").last().cloned().unwrap_or_default();
        ensure!(second != first, "it lives on {second}");
        cluster.open(&format!("gate-{second}"))?;
        let shown = cluster.completed("living", "t")?;
        assert_eq!(number(&shown, "/attempt"), Some(2), "{shown}");
        assert_eq!(lives(&cluster.shared_lines("ledger"))?, [first, second]);
        cluster.still_works()
    })
}

#[test]
fn attempt_ends_before_it_lives_elsewhere_when_nobody_hears_anybody() -> anyhow::Result<()> {
    cut_off_until_it_moved("both ways", Way::Both, Manner::Silent)
}

#[test]
fn attempt_ends_before_it_lives_elsewhere_when_the_controller_does_not_hear_the_node() -> anyhow::Result<()> {
    cut_off_until_it_moved("to the controller", Way::ToController, Manner::Silent)
}

#[test]
fn attempt_ends_before_it_lives_elsewhere_when_the_node_does_not_hear_the_controller() -> anyhow::Result<()> {
    cut_off_until_it_moved("from the controller", Way::FromController, Manner::Silent)
}

#[test]
fn attempt_ends_before_it_lives_elsewhere_when_every_connection_is_reset() -> anyhow::Result<()> {
    cut_off_until_it_moved("resets", Way::Both, Manner::Reset)
}

/// A partition during which the attempt ends with success on its node, which can tell nobody until it is too late.
fn cut_off_while_it_succeeds<'a>(cluster: &Split, room: &'a Room) -> anyhow::Result<(String, Cut<'a>)> {
    let (node, agent) = place_of_task(cluster)?;
    let cut = room.cut(Line::Node(agent), Way::Both, Manner::Silent)?;
    cluster.open(&format!("gate-{node}"))?;
    cluster.wait_for_lines("ended", 1, SOON)?;
    Ok((node, cut))
}

#[test]
fn success_that_is_told_after_the_task_was_placed_elsewhere_is_refused() -> anyhow::Result<()> {
    with_two_nodes("late success", |cluster, room| {
        add_task(cluster, 5)?;
        let (first, cut) = cut_off_while_it_succeeds(cluster, room)?;
        wait_until_it_moved(cluster)?;
        cut.heal()?;
        cluster.wait_for_nodes("default", 2)?;
        let shown = cluster.shown("living", "t")?;
        assert_eq!(
            word(&shown, "/state").as_deref(),
            Some("running"),
            "the late word counts for nothing: {shown}"
        );
        assert_eq!(number(&shown, "/attempt"), Some(2), "{shown}");
        let second = cluster.shared_lines("ledger").last().cloned().unwrap_or_default();
        cluster.open(&format!("gate-{second}"))?;
        let shown = cluster.completed("living", "t")?;
        assert_eq!(number(&shown, "/attempt"), Some(2), "{shown}");
        assert_eq!(
            cluster.ok(&["task", "logs", "living", "t"])?,
            format!("done on {second}\n"),
            "not on {first}"
        );
        cluster.still_works()
    })
}

#[test]
fn success_that_is_told_after_a_task_without_retries_was_given_up_changes_nothing() -> anyhow::Result<()> {
    with_two_nodes("late success without retries", |cluster, room| {
        add_task(cluster, 0)?;
        let (_, cut) = cut_off_while_it_succeeds(cluster, room)?;
        let given_up = cluster.completed("living", "t")?;
        assert_eq!(cause(&given_up), "NODE_LOST", "{given_up}");
        cut.heal()?;
        cluster.wait_for_nodes("default", 2)?;
        cluster.still_works()?;
        let later = cluster.shown("living", "t")?;
        assert_eq!(cause(&later), "NODE_LOST", "{later}");
        assert_eq!(later.get("etag"), given_up.get("etag"), "what was told once stays: {later}");
        assert_eq!(lives(&cluster.shared_lines("ledger"))?.len(), 1, "it ran once");
        Ok(())
    })
}

#[test]
fn cut_that_is_shorter_than_the_lease_costs_nothing() -> anyhow::Result<()> {
    with_two_nodes("short cuts", |cluster, room| {
        add_task(cluster, 0)?;
        let (first, agent) = place_of_task(cluster)?;
        let all = [
            (Way::Both, Manner::Silent),
            (Way::ToController, Manner::Silent),
            (Way::FromController, Manner::Silent),
            (Way::Both, Manner::Reset),
        ];
        for (way, manner) in all {
            let cut = room.cut(Line::Node(agent), way, manner)?;
            // The only thing that tells the end of a cut's time is time.
            let since = Instant::now();
            wait_until(SOON, "a third of a lease", || Ok(when(since.elapsed() >= LEASE / 3)))?;
            cut.heal()?;
            cluster.wait_for_nodes("default", 2)?;
            // It is heard again, and not only still remembered: its lease would have ended by now.
            let since = Instant::now();
            wait_until(SOON, "a lease", || Ok(when(since.elapsed() >= LEASE)))?;
            assert_eq!(cluster.task_state("living", "t")?, "running", "after {way:?} {manner:?}");
        }
        cluster.open(&format!("gate-{first}"))?;
        let shown = cluster.completed("living", "t")?;
        assert_eq!(number(&shown, "/attempt"), Some(1), "{shown}");
        assert_eq!(lives(&cluster.shared_lines("ledger"))?, [first]);
        Ok(())
    })
}
