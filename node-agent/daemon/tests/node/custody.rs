//! Leases, restarts, orders to stop and to leave: what happens to tasks when something else goes away.
//!
//! Tasks here say that they run and wait for a file, so a test knows that they run and decides when they end.

use super::controller::plan;
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use nix::sys::signal::Signal;
use std::time::Duration;

/// A command that says that it runs and then waits for the file `go`.
const WAITS: &str = "sh -c 'touch runs; while ! test -e go; do sleep 0.02; done; echo done; exit 5'";

async fn running(world: &World, task: &str) -> i32 {
    let runs = world.task_dir(task).join("wd/runs");
    eventually("the task to run", || runs.exists()).await;
    world.process_of(task, "sh").await
}

fn exists(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_lease_kills_and_is_reported_on_reconnect() {
    let mut world = World::prepare(1).await;
    world.controller.with(|state| state.lease_ttl = Duration::from_millis(1500));
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.assign(vec![plan("t", WAITS)]);
    let pid = running(&world, "t").await;
    world.controller.with(|state| state.grants_leases = false);
    eventually("the task to be killed", || !exists(pid)).await;
    world.controller.with(|state| state.grants_leases = true);
    let result = world.controller.finished("t").await;
    assert_eq!(result.failure_info.unwrap().cause(), Cause::NodeLost);
    let result = world.controller.run(plan("after", "true")).await;
    assert_eq!(result.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_ends_tasks_also_when_the_agent_is_gone() {
    let mut world = World::prepare(1).await;
    world.controller.with(|state| state.lease_ttl = Duration::from_millis(1500));
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.assign(vec![plan("t", WAITS)]);
    let pid = running(&world, "t").await;
    world.kill_agent();
    eventually("the supervisor to end the task", || !exists(pid)).await;
    world.start_agent();
    let result = world.controller.finished("t").await;
    assert_eq!(result.failure_info.unwrap().cause(), Cause::NodeLost);
    assert_eq!(world.controller.run(plan("after", "true")).await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_finds_its_tasks_again_and_reports_each_end_once() {
    let mut world = World::start(2).await;
    world.controller.assign(vec![
        plan("over", WAITS),
        plan("meanwhile", WAITS),
        plan("queued", "echo queued"),
    ]);
    let pids = [running(&world, "over").await, running(&world, "meanwhile").await];
    world.kill_agent();
    assert!(pids.iter().all(|pid| exists(*pid)), "tasks ended with the agent");
    std::fs::write(world.task_dir("meanwhile").join("wd/go"), "").unwrap();
    eventually("a task to end without the agent", || !exists(pids[1])).await;
    world.start_agent();
    world.controller.connected(2).await;
    let held = world.controller.with(|state| state.hellos[1].held.clone());
    assert_eq!(held.len(), 3, "{held:?}");
    let result = world.controller.finished("meanwhile").await;
    assert_eq!(result.exit_code, Some(5), "the exit code was lost: {result:?}");
    assert!(exists(pids[0]));
    std::fs::write(world.task_dir("over").join("wd/go"), "").unwrap();
    assert_eq!(world.controller.finished("over").await.exit_code, Some(5));
    assert_eq!(world.controller.finished("queued").await.exit_code, Some(0));
    for task in ["over", "meanwhile", "queued"] {
        assert_eq!(world.controller.finishes(task).len(), 1, "{task}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_were_not_acknowledged_come_again() {
    let mut world = World::start(1).await;
    world.controller.with(|state| state.acknowledges = false);
    world.controller.run(plan("t", "true")).await;
    world.controller.with(|state| {
        state.reports.clear();
        state.acknowledges = true;
    });
    world.controller.hang_up();
    world.controller.connected(2).await;
    world.controller.finished("t").await;
    // What comes after the acknowledgement is dealt with after it.
    world.controller.run(plan("after", "true")).await;
    world.controller.with(|state| state.reports.clear());
    world.kill_agent();
    world.start_agent();
    world.controller.connected(3).await;
    assert_eq!(world.controller.run(plan("u", "true")).await.exit_code, Some(0));
    let held = world.controller.with(|state| state.hellos[2].held.clone());
    let held = held.iter().any(|held| held.attempt.as_ref().is_some_and(|attempt| attempt.task_id == "t"));
    assert!(!held && world.controller.finishes("t").is_empty(), "an acknowledged report came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_attempt_is_killed_on_reconnect() {
    let world = World::start(1).await;
    world.controller.assign(vec![plan("t", WAITS)]);
    let pid = running(&world, "t").await;
    world.controller.with(|state| state.verdicts.insert("t".into(), wire::HeldVerdict::Kill));
    world.controller.hang_up();
    eventually("the stale task to be killed", || !exists(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_the_agent_and_leaves_its_tasks() {
    let mut world = World::start(1).await;
    world.controller.assign(vec![plan("t", WAITS)]);
    let pid = running(&world, "t").await;
    world.signal_agent(Signal::SIGTERM);
    assert!(world.agent_ended().await.success());
    assert!(exists(pid));
    world.start_agent();
    world.controller.connected(2).await;
    std::fs::write(world.task_dir("t").join("wd/go"), "").unwrap();
    assert_eq!(world.controller.finished("t").await.exit_code, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_stop_tasks_on_exit_tasks_and_supervisor_go_with_the_agent() {
    let mut world = World::prepare(1).await;
    world.flag("--stop-tasks-on-exit");
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.assign(vec![plan("t", WAITS), plan("queued", "true")]);
    let pid = running(&world, "t").await;
    world.signal_agent(Signal::SIGTERM);
    assert!(world.agent_ended().await.success());
    assert!(!exists(pid));
    for task in ["t", "queued"] {
        assert_eq!(
            world.controller.finished(task).await.failure_info.unwrap().cause(),
            Cause::NodeLost,
            "{task}"
        );
    }
    let socket = world.root.join("supervisor/supervisor.sock");
    eventually("the supervisor to end", || std::os::unix::net::UnixStream::connect(&socket).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_ends_everything_and_forgets_who_it_was() {
    let mut world = World::start(1).await;
    world.controller.assign(vec![plan("t", WAITS)]);
    let pid = running(&world, "t").await;
    world.controller.send(wire::controller_message::Body::Leave(wire::Leave { reason: "smaller".into() }));
    assert!(world.agent_ended().await.success());
    assert!(!exists(pid) && !world.root.join("agent/identity.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_the_controller_does_not_know_leaves_by_itself() {
    let mut world = World::start(1).await;
    world.controller.assign(vec![plan("t", WAITS)]);
    let pid = running(&world, "t").await;
    world.controller.with(|state| state.knows_the_node = false);
    world.controller.hang_up();
    assert!(world.agent_ended().await.success());
    assert!(!exists(pid) && !world.root.join("agent/identity.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
    let mut world = World::prepare(1).await;
    world.controller.with(|state| state.certificate_life = Duration::from_secs(3));
    world.start_agent();
    world.controller.wait("a renewal", |state| (state.renewals > 0).then_some(())).await;
    world.controller.hang_up();
    world.controller.connected(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused_with_the_controllers_words() {
    let mut world = World::prepare(1).await;
    world.flag("--token");
    let fingerprint = world.controller.token.rsplit_once('.').unwrap().1.to_owned();
    world.flag(&format!("mjt1.dG9r.b3RoZXI.{fingerprint}"));
    world.start_agent();
    let status = world.agent_ended().await;
    assert!(!status.success() && world.log().contains("the join token is used up"), "{}", world.log());
    let mut world = World::prepare(1).await;
    world.flag("--token");
    world.flag(&format!("mjt1.dG9r.c2VjcmV0.{}", "0".repeat(64)));
    world.start_agent();
    eventually("the pin to be refused", || world.log().contains("fingerprint")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_root_is_refused() {
    let mut world = World::start(1).await;
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_muster-agent"))
        .args(["--root", &world.root.display().to_string(), "--controller", "https://127.0.0.1:1"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(!status.status.success() && words.contains("another muster-agent runs on"), "{words}");
    world.signal_agent(Signal::SIGTERM);
    assert!(world.agent_ended().await.success());
}
