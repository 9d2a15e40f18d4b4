//! What is wrong with a node is told, and told to be over; what fills its disk is ended before others are harmed.
//!
//! The disk is a small one, mounted for the test, and the clock is the controller's, which says what it likes. Where the thresholds
//! are is tested beside them.

use super::controller::{State, plan};
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What was said last about the node's health.
fn codes(state: &State) -> Option<Vec<String>> {
    let events = state.reports.iter().rev().filter_map(|report| report.event.as_ref());
    events.into_iter().find_map(|event| match event {
        wire::report::Event::Health(health) => {
            Some(health.errors.iter().map(|error| error.code.clone()).collect())
        }
        _ => None,
    })
}

async fn is_well(world: &World) {
    world
        .controller
        .wait("all to be well", |state| (codes(state)? == Vec::<String>::new()).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fills_the_node_s_disk_is_ended_and_the_node_is_well_again() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can mount");
        return;
    }
    let mut world = World::prepare(2).await;
    world.mount_small_disk(192 * MIB);
    world.set("disk_reserve=64M");
    world.start_agent();
    world.controller.connected(1).await;
    is_well(&world).await;
    // Large, but it does not grow.
    let innocent =
        "sh -c 'head -c 30000000 /dev/zero > mine; touch runs; while ! test -e go; do sleep 0.02; done'";
    world.controller.assign(vec![plan("innocent", innocent)]);
    eventually("the innocent to run", || world.task_dir("innocent").join("wd/runs").exists()).await;
    let fills = "sh -c 'i=0; while test $i -lt 1000; do head -c 4000000 /dev/zero >> big; i=$((i+1)); sleep 0.1; done'";
    world.controller.assign(vec![plan("fills", fills)]);
    let words = world.controller.health("DiskPressure").await;
    assert!(words.contains("reserve of 67108864 bytes") && words.contains("disk_reserve"), "{words}");
    let result = world.controller.finished("fills").await;
    let failure = result.failure_info.clone().unwrap();
    assert_eq!(failure.cause(), Cause::DiskFull, "{failure:?}");
    let detail = |name: &str| {
        let value = failure.details.iter().find(|detail| detail.name == name).map(|detail| &detail.value);
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(detail("limit_bytes") < 32 * MIB && detail("peak_bytes") > 30 * MIB, "{failure:?}");
    is_well(&world).await;
    assert!(world.controller.finishes("innocent").is_empty());
    std::fs::write(world.task_dir("innocent").join("wd/go"), "").unwrap();
    assert_eq!(world.controller.finished("innocent").await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_is_told_with_both_times_until_it_agrees() {
    let mut world = World::prepare(1).await;
    world.controller.with(|state| {
        state.clock_off = Some(-600);
        // With its answers to heartbeats the controller tells its clock.
        state.lease_ttl = Duration::from_secs(3);
    });
    world.start_agent();
    let words = world.controller.health("ClockSkew").await;
    assert!(words.contains("600") || words.contains("599"), "{words}");
    assert!(words.contains("30s") && words.contains("clock_skew_max") && words.contains("NTP"), "{words}");
    world.controller.with(|state| state.clock_off = Some(2));
    is_well(&world).await;
    world.controller.with(|state| state.clock_off = Some(600));
    world.controller.health("ClockSkew").await;
    assert_eq!(world.controller.with(|state| state.hellos.len()), 1, "all on one session");
}

/// The process of the supervisor, as the agent's log has it.
fn supervisor_of(world: &World) -> Pid {
    let log = world.log();
    let line = log.lines().rfind(|line| line.contains("connected to the supervisor")).unwrap();
    let digits = line.split("pid=").nth(1).unwrap().chars().take_while(char::is_ascii_digit);
    Pid::from_raw(digits.collect::<String>().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_cannot_be_started_is_told_until_it_can() {
    let mut world = World::prepare(1).await;
    let (real, link) = (world.supervisor.clone(), world.root.with_extension("supervisor"));
    std::os::unix::fs::symlink(&real, &link).unwrap();
    world.supervisor = link.clone();
    world.start_agent();
    world.controller.connected(1).await;
    is_well(&world).await;
    std::fs::remove_file(&link).unwrap();
    kill(supervisor_of(&world), Signal::SIGKILL).unwrap();
    let words = world.controller.health("AgentFault").await;
    assert!(words.contains("supervisor does not answer") && words.contains("log"), "{words}");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    is_well(&world).await;
    assert_eq!(world.controller.run(plan("after", "true")).await.exit_code, Some(0));
}
