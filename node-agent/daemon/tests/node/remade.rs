//! Tasks that are deleted and made again under their old id, on the node that has the earlier one.
//!
//! Which may begin when, and what is told, is decided and tested in muster-agent-core; here the processes, the supervisor's keys
//! and the directory are real.

use super::controller::plan;
use super::world::{World, eventually};
use muster_proto::wire;

fn made(incarnation: u64, command_line: &str) -> wire::AttemptPlan {
    wire::AttemptPlan { incarnation, ..plan("t", command_line) }
}

/// A command that makes the file `runs`, and stays when it is asked to go.
const STAYS: &str = "sh -c 'touch runs; trap : TERM; while true; do sleep 0.02; done'";
/// A command that fails unless its directory is new, and waits for the file `go`.
const NEW: &str =
    "sh -c 'test ! -e runs || exit 9; touch new; while ! test -e go; do sleep 0.02; done; exit 6'";

async fn has(world: &World, file: &str) {
    let file = world.task_dir("t").join("wd").join(file);
    eventually("the task to run", || file.exists()).await;
}

fn let_go(world: &World) {
    std::fs::write(world.task_dir("t").join("wd/go"), "").unwrap();
}

async fn only_end_is_of_the_later(world: &World) {
    assert_eq!(world.controller.finished("t").await.exit_code, Some(6));
    // Whatever else there was to tell comes before this.
    world.controller.run(plan("after", "true")).await;
    assert_eq!(world.controller.finishes("t").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_made_again_takes_the_place_of_one_that_still_runs() {
    let world = World::start(2).await;
    world.controller.assign(vec![made(5, STAYS)]);
    has(&world, "runs").await;
    world.controller.assign(vec![made(6, NEW)]);
    has(&world, "new").await;
    assert!(!world.task_dir("t").join("wd/runs").exists());
    let_go(&world);
    only_end_is_of_the_later(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_made_again_runs_where_the_earlier_one_ended_also_after_a_restart_of_the_agent() {
    let mut world = World::start(1).await;
    assert_eq!(world.controller.run(made(5, "sh -c 'touch runs; exit 5'")).await.exit_code, Some(5));
    world.controller.with(|state| state.reports.clear());
    world.kill_agent();
    world.start_agent();
    world.controller.connected(2).await;
    world.controller.assign(vec![made(5, "false"), made(6, NEW)]);
    has(&world, "new").await;
    // The agent that comes next finds the process under the key of the later one.
    world.kill_agent();
    world.controller.with(|state| state.reports.clear());
    world.start_agent();
    world.controller.connected(3).await;
    let_go(&world);
    only_end_is_of_the_later(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_controller_disowned_is_not_taken_for_the_later_task_by_an_agent_that_was_restarted() {
    let mut world = World::start(1).await;
    world.controller.assign(vec![made(5, STAYS)]);
    has(&world, "runs").await;
    world.kill_agent();
    world.controller.with(|state| {
        state.reports.clear();
        state.verdicts.insert("t".into(), wire::HeldVerdict::Kill);
    });
    world.start_agent();
    world.controller.connected(2).await;
    world.controller.assign(vec![made(6, NEW)]);
    has(&world, "new").await;
    let_go(&world);
    only_end_is_of_the_later(&world).await;
}
