//! What fails around a node: its disk, its network, its own processes. The node keeps its lease as long as it can, and begins
//! nothing that it could not answer for.
//!
//! Times are measured against the lease and printed; that something did *not* happen is asserted after something else has that
//! comes later.

use super::controller::{Controller, plan};
use super::relay::{Relay, Stall};
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use nix::sys::signal::{Signal, kill};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// A short lease: what is relative to it is seen soon.
const TTL: Duration = Duration::from_secs(3);

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can mount");
    }
    is_root
}

/// A task that runs until its directory has a file `go`, and tells how often it was begun.
fn waits(task: &str) -> wire::AttemptPlan {
    plan(task, "sh -c 'echo begun >> begun; while ! test -e go; do sleep 0.02; done'")
}

async fn begun(world: &World, task: &str) {
    let file = world.task_dir(task).join("wd/begun");
    eventually("the task to run", || file.exists()).await;
}

fn go(world: &World, task: &str) {
    std::fs::write(world.task_dir(task).join("wd/go"), "").unwrap();
}

/// Waits until so many more heartbeats were answered.
async fn heartbeats(controller: &Controller, more: usize) {
    let from = controller.with(|state| state.heartbeats);
    controller.wait("heartbeats", |state| (state.heartbeats >= from + more).then_some(())).await;
}

fn hellos(world: &World) -> usize {
    world.controller.with(|state| state.hellos.len())
}

/// Waits for the next session; answers how long that took.
async fn next_session(world: &World, since: Instant, number: usize) -> Duration {
    world.controller.connected(number).await;
    since.elapsed()
}

async fn prepared(slots: u32) -> World {
    let world = World::prepare(slots).await;
    world.controller.with(|state| state.lease_ttl = TTL);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_costs_no_heartbeat_and_nothing_begins_until_it_goes_on() {
    if !is_root() {
        return;
    }
    let mut world = prepared(2).await;
    world.mount_image(96 * MIB);
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.run(plan("before", "true")).await;
    world.freeze(true);
    let since = Instant::now();
    world.controller.assign(vec![plan("late", "true")]);
    // Two whole leases.
    heartbeats(&world.controller, 6).await;
    println!("6 heartbeats within {:?} of a frozen disk", since.elapsed());
    assert_eq!(hellos(&world), 1, "the session lasts");
    let told = world.controller.with(|state| state.reports.len());
    assert!(world.controller.finishes("late").is_empty() && told > 0);
    world.freeze(false);
    assert_eq!(world.controller.finished("late").await.exit_code, Some(0));
    assert_eq!(hellos(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_what_runs_goes_on_and_is_told_once_and_nothing_begins() {
    if !is_root() {
        return;
    }
    let mut world = prepared(2).await;
    world.mount_small_disk(24 * MIB);
    world.set("disk_reserve=1M");
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.assign(vec![waits("ends"), waits("runs")]);
    for task in ["ends", "runs"] {
        begun(&world, task).await;
        // The test, too, needs room to write.
        std::fs::write(world.task_dir(task).join("wd/gone"), "").unwrap();
    }
    world.fill_disk();
    let words = world.controller.health("DiskPressure").await;
    assert!(words.contains("disk"), "{words}");
    eventually("the journal to find no room", || world.log().contains("nothing begins until there is room"))
        .await;
    world.controller.assign(vec![waits("late")]);
    // Longer than a lease.
    heartbeats(&world.controller, 4).await;
    std::fs::rename(world.task_dir("ends").join("wd/gone"), world.task_dir("ends").join("wd/go")).unwrap();
    assert_eq!(
        world.controller.finished("ends").await.exit_code,
        Some(0),
        "its end is told from the reserve"
    );
    // An agent that starts on the full disk takes over what runs, with its lease.
    world.kill_agent();
    world.start_agent();
    world.controller.connected(2).await;
    heartbeats(&world.controller, 4).await;
    assert!(!world.task_dir("late").exists(), "there was no room to record that it begins");
    std::fs::rename(world.task_dir("runs").join("wd/gone"), world.task_dir("runs").join("wd/go")).unwrap();
    assert_eq!(world.controller.finished("runs").await.exit_code, Some(0));
    world.empty_disk();
    world.controller.assign(vec![waits("late")]);
    begun(&world, "late").await;
    go(&world, "late");
    assert_eq!(world.controller.finished("late").await.exit_code, Some(0));
    for task in ["ends", "runs", "late"] {
        assert_eq!(world.controller.finishes(task).len(), 1, "{task}");
    }
    let starts = std::fs::read_to_string(world.task_dir("late").join("wd/begun")).unwrap();
    assert_eq!(starts, "begun\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_carries_nothing_any_more_is_replaced_within_the_lease() {
    let both = Stall { to_controller: true, to_agent: true };
    for stall in [Stall { to_agent: false, ..both }, Stall { to_controller: false, ..both }, both] {
        let mut world = prepared(1).await;
        let relay = Relay::start(world.controller.port).await;
        world.port = Some(relay.port);
        world.start_agent();
        world.controller.connected(1).await;
        world.controller.assign(vec![waits("t")]);
        begun(&world, "t").await;
        heartbeats(&world.controller, 1).await;
        let since = Instant::now();
        relay.stall_open(stall);
        let took = next_session(&world, since, 2).await;
        println!("{stall:?}: another session after {took:?} of a lease of {TTL:?}");
        assert!(took < TTL, "{stall:?}: {took:?}");
        heartbeats(&world.controller, 4).await;
        go(&world, "t");
        assert_eq!(world.controller.finished("t").await.exit_code, Some(0), "the task has not noticed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_answers_nobody_for_a_while_finds_its_nodes_back_within_the_lease() {
    let mut world = prepared(1).await;
    let relay = Relay::start(world.controller.port).await;
    world.port = Some(relay.port);
    world.start_agent();
    world.controller.connected(1).await;
    heartbeats(&world.controller, 1).await;
    // Stopped: its kernel accepts, and nobody answers.
    let since = Instant::now();
    relay.hang_new(true);
    relay.stall_open(Stall { to_controller: true, to_agent: true });
    world.controller.with(|state| state.grants_leases = false);
    eventually("a try to connect that hangs", || world.log().contains("does not answer; connecting anew"))
        .await;
    relay.hang_new(false);
    world.controller.with(|state| state.grants_leases = true);
    let back = Instant::now();
    let known = hellos(&world);
    world.controller.connected(known + 1).await;
    heartbeats(&world.controller, 1).await;
    println!("silent for {:?}, back {:?} after it answered again", back - since, back.elapsed());
    assert!(back.elapsed() < TTL, "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_supervisor_costs_no_heartbeat_and_is_replaced_and_its_task_goes_on() {
    let mut world = World::prepare(2).await;
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.assign(vec![waits("t")]);
    begun(&world, "t").await;
    let stopped = world.supervisor_process().unwrap();
    kill(stopped, Signal::SIGSTOP).unwrap();
    let since = Instant::now();
    let known = world.controller.with(|state| state.heartbeats);
    eventually("another supervisor", || world.supervisor_process().is_some_and(|now| now != stopped)).await;
    println!("a supervisor that was stopped is replaced after {:?}", since.elapsed());
    // It begins only when the new supervisor has taken it.
    assert_eq!(world.controller.run(plan("after", "true")).await.exit_code, Some(0));
    assert!(world.controller.with(|state| state.heartbeats) > known);
    assert_eq!(hellos(&world), 1);
    go(&world, "t");
    assert_eq!(world.controller.finished("t").await.exit_code, Some(0));
    assert!(world.log().contains("replacing the supervisor"), "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_stopped_beyond_its_lease_begins_nothing_of_before() {
    let mut world = prepared(1).await;
    world.start_agent();
    world.controller.connected(1).await;
    world.controller.assign(vec![waits("runs"), waits("queued")]);
    begun(&world, "runs").await;
    let pid = world.process_of("runs", "sh").await;
    world.signal_agent(Signal::SIGSTOP);
    let since = Instant::now();
    eventually("the task to be ended", || !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    println!("ended {:?} after the agent was stopped, with a lease of {TTL:?}", since.elapsed());
    assert!(since.elapsed() < TTL + Duration::from_secs(1), "{:?}", since.elapsed());
    world.signal_agent(Signal::SIGCONT);
    for task in ["runs", "queued"] {
        let failure = world.controller.finished(task).await.failure_info.unwrap();
        assert_eq!(failure.cause(), Cause::NodeLost, "{task}");
    }
    assert!(!world.task_dir("queued").exists(), "it was the lease's, and that is over");
    assert_eq!(world.controller.run(plan("after", "true")).await.exit_code, Some(0));
}
