//! What the node and its tasks use is told while a session is open.
//!
//! Tasks are measured by their control groups, so this needs root and a machine that has them; it says so where it shows nothing.
//! The group that it makes is removed by the supervisor when the world ends.

use super::controller::plan;
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_node_and_its_running_tasks_are_measured_and_only_changes_are_told() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: control groups need root");
        return;
    }
    let mut world = World::prepare(2).await;
    world.cgroup_root = format!("muster-agent-test-{}", std::process::id());
    world.flag("--set");
    world.flag("metrics.interval=1s");
    world.start_agent();
    world.controller.connected(1).await;
    let told = world.controller.with(|state| state.hellos[0].facts.clone().unwrap().capabilities.unwrap());
    if told.cgroup_version == 0 {
        println!("skipped: this machine has no control groups: {:?}", told.notes);
        return;
    }
    let busy = plan("busy", "sh -c 'while :; do :; done'");
    world.controller.assign(vec![busy, plan("idle", "sleep 1000")]);
    let node = world
        .controller
        .wait("two measurements of the node", |state| {
            let told: Vec<_> = state.metrics.iter().filter_map(|metrics| metrics.node).collect();
            told.last().copied().filter(|_| told.len() >= 2)
        })
        .await;
    assert!(node.memory_total_bytes > node.memory_used_bytes && node.memory_used_bytes > 0, "{node:?}");
    println!("agent and supervisor hold {} KiB, this build", node.agent_memory_bytes / 1024);
    assert!(node.disk_total_bytes > 0 && node.agent_memory_bytes > 0, "{node:?}");
    let usage = world
        .controller
        .wait("the task's use of the processor", |state| {
            let told = state.metrics.iter().flat_map(|metrics| &metrics.attempts);
            let busy = told.filter(|told| told.attempt.as_ref().is_some_and(|a| a.task_id == "busy"));
            let usage = busy.filter_map(|told| told.usage).next_back()?;
            usage.user_cpu_time.is_some_and(|time| time.seconds > 0 || time.nanos > 0).then_some(usage)
        })
        .await;
    assert!(usage.peak_memory_bytes > 0, "{usage:?}");
    let before = idle_words(&world);
    world
        .controller
        .wait("two rounds more", |state| {
            let rounds = state.metrics.iter().filter(|metrics| metrics.node.is_some()).count();
            (rounds >= 5).then_some(())
        })
        .await;
    // One that sleeps is told of once or twice: while it starts, and when it has.
    assert!(before <= 2 && idle_words(&world) <= 2, "what has not changed is told again");
    world.controller.kill("idle", muster_proto::wire::KillReason::Terminated);
    world.controller.kill("busy", muster_proto::wire::KillReason::Terminated);
    world.controller.finished("busy").await;
}

/// How often the sleeping task was told of.
fn idle_words(world: &World) -> usize {
    world.controller.with(|state| {
        let told = state.metrics.iter().flat_map(|metrics| &metrics.attempts);
        told.filter(|told| told.attempt.as_ref().is_some_and(|a| a.task_id == "idle")).count()
    })
}
