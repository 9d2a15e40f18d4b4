//! What jobs ask of a node beside running tasks: limits that change, preparations without slots.
//!
//! Which attempt begins when is decided and tested in muster-agent-core; here it is the whole way to the process.

use super::controller::plan;
use super::world::{World, eventually};
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use std::time::Duration;

fn text(excerpt: Option<&wire::OutputExcerpt>) -> String {
    String::from_utf8(excerpt.unwrap().head.to_vec()).unwrap()
}

fn limited(task: &str, command_line: &str, wall_clock: Duration) -> wire::AttemptPlan {
    let wall_clock_time = Some(wall_clock.try_into().unwrap());
    let limits = wire::AttemptLimits { wall_clock_time, ..Default::default() };
    wire::AttemptPlan { limits: Some(limits), ..plan(task, command_line) }
}

/// A command that makes the file `runs` and waits for the file `go`.
const WAITS: &str = "sh -c 'touch runs; while ! test -e go; do sleep 0.02; done'";

async fn running(world: &World, task: &str) {
    let file = world.task_dir(task).join("wd/runs");
    eventually("the task to run", || file.exists()).await;
}

fn let_go(world: &World, task: &str) {
    std::fs::write(world.task_dir(task).join("wd/go"), "").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_limit_that_is_shortened_ends_the_task_and_is_told_with_the_time_it_ran() {
    let world = World::start(1).await;
    world.controller.assign(vec![limited("t", WAITS, Duration::from_secs(3600))]);
    running(&world, "t").await;
    world.controller.amend("unknown", None);
    world.controller.amend("t", Some(Duration::from_millis(1)));
    let result = world.controller.finished("t").await;
    let failure = result.failure_info.unwrap();
    assert_eq!(failure.cause(), Cause::WallClock);
    let detail =
        |name: &str| failure.details.iter().find(|detail| detail.name == name).map(|d| d.value.clone());
    assert_eq!(detail("limit_seconds").as_deref(), Some("0.001"));
    assert!(
        detail("elapsed_seconds").is_some_and(|value| value.parse::<f64>().unwrap() > 0.001),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_limit_that_is_lifted_stays_so_when_the_agent_is_killed() {
    let mut world = World::start(1).await;
    let limit = Duration::from_secs(2);
    world
        .controller
        .assign(vec![limited("t", WAITS, limit), limited("waits", WAITS, Duration::from_millis(1))]);
    running(&world, "t").await;
    let begun = std::time::Instant::now();
    world.controller.amend("waits", None);
    world.controller.amend("t", None);
    eventually("the change to be taken", || world.log().matches("the terms of an attempt").count() == 2)
        .await;
    world.kill_agent();
    world.start_agent();
    world.controller.connected(2).await;
    eventually("the limit that was lifted to pass", || begun.elapsed() > limit).await;
    let_go(&world, "t");
    assert_eq!(world.controller.finished("t").await.exit_code, Some(0));
    running(&world, "waits").await;
    let_go(&world, "waits");
    assert_eq!(world.controller.finished("waits").await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_are_one_task_s_at_a_time_and_named_in_its_environment() {
    let mut world = World::prepare(4).await;
    world.flag("--set");
    world.flag("resources.gpus=2");
    world.flag("--set");
    world.flag("resources.named=licence=4");
    world.start_agent();
    world.controller.connected(1).await;
    let capacity = world.controller.with(|state| state.hellos[0].facts.clone().unwrap().capacity.unwrap());
    assert_eq!((capacity.gpus, capacity.named.get("licence")), (2, Some(&4)));
    let line = |then: &str| {
        format!(
            "sh -c 'echo ${{CUDA_VISIBLE_DEVICES-none}} ${{NVIDIA_VISIBLE_DEVICES-none}}; touch runs; {then}'"
        )
    };
    let waits = line("while ! test -e go; do sleep 0.02; done");
    let with = |task: &str, line: &str, gpus| wire::AttemptPlan { gpus, ..plan(task, line) };
    world.controller.assign(vec![with("a", &waits, 1), with("b", &waits, 1)]);
    running(&world, "a").await;
    running(&world, "b").await;
    world.controller.assign(vec![with("both", &line("true"), 2)]);
    eventually("the attempt to be accepted", || world.log().contains("job/both#1")).await;
    // The agent that comes next knows whose they are.
    world.kill_agent();
    world.start_agent();
    world.controller.connected(2).await;
    let_go(&world, "b");
    assert_eq!(text(world.controller.finished("b").await.stdout.as_ref()), "1 1\n");
    assert!(world.controller.finishes("both").is_empty() && !world.task_dir("both").join("wd/runs").exists());
    let_go(&world, "a");
    assert_eq!(text(world.controller.finished("a").await.stdout.as_ref()), "0 0\n");
    assert_eq!(text(world.controller.finished("both").await.stdout.as_ref()), "0,1 0,1\n");
    let none = world.controller.run(plan("none", &line("true"))).await;
    assert_eq!(text(none.stdout.as_ref()), "none none\n");
    let result = world.controller.run(with("three", "true", 3)).await;
    let failure = result.failure_info.unwrap();
    assert!(failure.message.contains("3 GPUs and the node has 2"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_preparation_runs_beside_a_full_node_and_leaves_its_files_to_the_tasks() {
    let world = World::start(1).await;
    world.controller.assign(vec![plan("full", WAITS), plan("waits", "true")]);
    running(&world, "full").await;
    let line = "sh -c 'mkdir data; echo prepared > data/in.txt; env | grep -c AZ_BATCH_JOB_PREP; true'";
    let mut prepare = plan("prep", line);
    (prepare.required_slots, prepare.job_preparation_task_id) = (0, "prep".to_owned());
    prepare.retention_time = Some(Duration::ZERO.try_into().unwrap());
    if nix::unistd::geteuid().is_root() {
        // What an administrator prepares is to be read by tasks that are none.
        let elevation_level = wire::ElevationLevel::Admin.into();
        let auto_user = wire::AutoUser { elevation_level, ..Default::default() };
        prepare.user_identity =
            Some(wire::UserIdentity { user: Some(wire::user_identity::User::AutoUser(auto_user)) });
    }
    let result = world.controller.run(prepare).await;
    assert_eq!((result.exit_code, text(result.stdout.as_ref()).as_str()), (Some(0), "0\n"), "{result:?}");
    let line = "sh -c 'cat $AZ_BATCH_JOB_PREP_WORKING_DIR/data/in.txt; cd $AZ_BATCH_JOB_PREP_DIR/wd && pwd; \
                touch $AZ_BATCH_JOB_PREP_WORKING_DIR/mine 2>/dev/null && id -u'";
    let user = wire::AttemptPlan { job_preparation_task_id: "prep".to_owned(), ..plan("user", line) };
    world.controller.assign(vec![user]);
    let_go(&world, "full");
    let result = world.controller.finished("user").await;
    let wd = world.task_dir("prep").join("wd");
    let said = text(result.stdout.as_ref());
    assert!(said.starts_with(&format!("prepared\n{}\n", wd.display())), "{said:?}");
    if nix::unistd::geteuid().is_root() {
        assert!(!wd.join("mine").exists(), "a task of another user wrote into the preparation's directory");
    }
}
