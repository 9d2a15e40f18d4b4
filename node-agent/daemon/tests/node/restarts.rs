//! Restarts of the machine by the operator's commands, and of the supervisor by a new build.
//!
//! No machine goes down here: the commands write what they were told, or fail. What the controller makes of it is tested with
//! the controller; that tasks outlive both daemons, in `custody`.

use super::controller::plan;
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::controller_message::Body;

fn restart(reimage: bool) -> Body {
    Body::Reboot(wire::Reboot { reason: "a test".to_owned(), reimage })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_s_command_restarts_the_machine_and_a_failure_is_told() {
    let mut world = World::prepare(1).await;
    let said = world.root.with_extension("said");
    world.flag("--set");
    world.flag(&format!(
        "hooks.reboot=sh -c 'echo $MUSTER_NODE_ID $MUSTER_ROOT $MUSTER_HOOK > {}; sleep 1000'",
        said.display()
    ));
    world.flag("--set");
    world.flag("hooks.reimage=sh -c 'exit 7'");
    world.start_agent();
    world.controller.connected(1).await;
    let told = world.controller.with(|state| state.hellos[0].facts.clone().unwrap().capabilities.unwrap());
    assert!(told.reboot && told.reimage);
    world.controller.send(restart(true));
    let error = world.controller.health("RestartFailed").await;
    assert!(error.contains("hooks.reimage") && error.contains("exit status: 7"), "{error}");
    world.controller.send(restart(false));
    let written = || std::fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n'));
    eventually("the command to run", written).await;
    let wanted = format!("node-1 {} reboot\n", world.root.display());
    assert_eq!(std::fs::read_to_string(&said).unwrap(), wanted);
    // Nothing of a test stays: the command waits in a process group of its own, which outlives agents.
    world.end_processes_with("MUSTER_HOOK=reboot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_of_another_build_is_replaced_and_tasks_go_on() {
    let mut world = World::start(1).await;
    let line = "sh -c 'touch runs; while ! test -e go; do sleep 0.02; done; exit 5'";
    world.controller.assign(vec![plan("t", line)]);
    let runs = world.task_dir("t").join("wd/runs");
    eventually("the task to run", || runs.exists()).await;
    world.kill_agent();
    let upgraded = world.root.with_extension("supervisor");
    std::fs::copy(&world.supervisor, &upgraded).unwrap();
    world.supervisor = upgraded;
    world.start_agent();
    world.controller.connected(2).await;
    assert!(world.log().contains("replaced the supervisor"), "{}", world.log());
    assert!(world.log().contains("re-attached"));
    std::fs::write(world.task_dir("t").join("wd/go"), "").unwrap();
    let result = world.controller.finished("t").await;
    assert_eq!(result.exit_code, Some(5), "{result:?}");
    assert_eq!(world.controller.finishes("t").len(), 1);
}
