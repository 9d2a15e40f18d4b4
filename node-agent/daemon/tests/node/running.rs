//! Commands run, and their ends are told in full.
//!
//! Limits by control groups are the supervisor's and tested there; these nodes run without (`--cgroup-root none`).

use super::controller::{attempt, plan};
use super::world::World;
use muster_proto::wire;
use muster_proto::wire::FailureCause as Cause;
use std::time::{Duration, Instant};

fn text(excerpt: Option<&wire::OutputExcerpt>) -> String {
    String::from_utf8(excerpt.unwrap().head.to_vec()).unwrap()
}

fn failure(result: &wire::AttemptResult) -> (Cause, String) {
    let failure = result.failure_info.clone().unwrap_or_default();
    (failure.cause(), failure.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_end_to_end_in_the_directories_and_environment_of_the_reference() {
    let world = World::start(1).await;
    let script = "sh -c 'pwd; echo $AZ_BATCH_JOB_ID/$AZ_BATCH_TASK_ID $AZ_BATCH_NODE_ID $X; id -u; echo wrong >&2; \
                  echo x > out; env | grep -c CARGO'";
    let mut plan = plan("t1", script);
    plan.environment_settings = vec![wire::EnvironmentSetting { name: "X".into(), value: "y z".into() }];
    let result = world.controller.run(plan).await;
    let lines: Vec<String> = text(result.stdout.as_ref()).lines().map(str::to_owned).collect();
    let wd = world.task_dir("t1").join("wd");
    assert_eq!(lines[0], wd.display().to_string());
    assert_eq!(lines[1], "job/t1 node-1 y z");
    let user = if nix::unistd::geteuid().is_root() { 64_000 } else { nix::unistd::geteuid().as_raw() };
    assert_eq!(lines[2], user.to_string());
    assert_eq!(lines[3], "0", "the agent's environment leaks into tasks");
    assert_eq!(text(result.stderr.as_ref()), "wrong\n");
    // grep -c exits with 1 when it counts none.
    assert_eq!((result.exit_code, result.result()), (Some(1), wire::ExecutionResult::Failure));
    assert_eq!(failure(&result).0, Cause::ExitCode);
    assert!(result.start_time.is_some() && result.end_time.is_some());
    assert_eq!(std::fs::read_to_string(wd.join("out")).unwrap(), "x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_end_has_its_cause_and_words() {
    let world = World::start(4).await;
    let run = |task: &'static str, line: &'static str| world.controller.run(plan(task, line));
    let result = run("ok", "true").await;
    assert_eq!((result.exit_code, result.result()), (Some(0), wire::ExecutionResult::Success));
    assert!(result.failure_info.is_none());
    let result = run("seven", "sh -c 'exit 7'").await;
    assert_eq!((result.exit_code, failure(&result).0), (Some(7), Cause::ExitCode));
    let result = run("signal", "sh -c 'kill -USR1 $$'").await;
    assert_eq!((result.exit_code, result.signal, failure(&result).0), (None, Some(10), Cause::Signal));
    let result = run("none", "no-such-program --flag").await;
    let (cause, words) = failure(&result);
    assert_eq!(cause, Cause::ProgramNotFound);
    assert!(
        words.contains("'no-such-program' does not exist in PATH (/usr") && words.contains("start task"),
        "{words}"
    );
    let result = run("plain", "/etc/passwd").await;
    assert!(failure(&result).1.contains("not executable"), "{:?}", failure(&result));
    let result = run("quote", "echo 'open").await;
    assert!(failure(&result).1.contains("column 6"), "{:?}", failure(&result));
    assert!(result.start_time.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_clock_limit_ends_a_task_and_is_its_cause() {
    let world = World::start(1).await;
    let mut plan = plan("slow", "sleep 1000");
    plan.limits = Some(wire::AttemptLimits {
        wall_clock_time: Some(Duration::from_millis(300).try_into().unwrap()),
        ..Default::default()
    });
    let result = world.controller.run(plan).await;
    assert_eq!(failure(&result).0, Cause::WallClock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_a_running_and_a_waiting_task_and_one_that_is_not_there() {
    let world = World::start(1).await;
    world.controller.assign(vec![plan("runs", "sleep 1000"), plan("waits", "true")]);
    world.controller.progress("runs", wire::AttemptPhase::Staging).await;
    world.controller.kill("waits", wire::KillReason::Terminated);
    world.controller.kill("runs", wire::KillReason::Terminated);
    world.controller.kill("absent", wire::KillReason::Terminated);
    for task in ["runs", "waits", "absent"] {
        let result = world.controller.finished(task).await;
        assert_eq!(failure(&result).0, Cause::Terminated, "{task}");
    }
    let result = world.controller.run(plan("after", "true")).await;
    assert_eq!(result.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_takes_the_place_of_an_earlier_one_in_a_fresh_directory() {
    let world = World::start(2).await;
    world.controller.assign(vec![plan("t", "sh -c 'touch old; exec sleep 1000'")]);
    let old = world.task_dir("t").join("wd/old");
    super::world::eventually("the first attempt to begin", || old.exists()).await;
    let mut second = plan("t", "sh -c 'ls; true'");
    second.attempt = Some(attempt("t", 2));
    world.controller.assign(vec![second]);
    let second = world
        .controller
        .wait("the second attempt", |state| {
            state.reports.iter().find_map(|report| match &report.event {
                Some(wire::report::Event::Finished(result)) => {
                    (result.attempt.as_ref()?.attempt == 2).then(|| result.clone())
                }
                _ => None,
            })
        })
        .await;
    assert_eq!(text(second.stdout.as_ref()), "");
    world
        .controller
        .wait("the first attempt", |state| {
            (state
                .reports
                .iter()
                .filter(|report| matches!(report.event, Some(wire::report::Event::Finished(_))))
                .count()
                == 2)
                .then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_wait_for_the_start_task_which_runs_once_for_each_boot() {
    let mut world = World::prepare(1).await;
    let start_task = wire::StartTaskPlan {
        version: 1,
        command_line: "sh -c 'echo run >> $AZ_BATCH_NODE_SHARED_DIR/../startup/wd/runs; test -e tried || { touch tried; exit 3; }'".into(),
        environment_settings: Vec::new(),
        resource_files: Vec::new(),
        user_identity: None,
        max_task_retry_count: 1,
        wait_for_success: true,
    };
    world.controller.with(|state| state.settings.start_task = Some(start_task));
    world.start_agent();
    world.controller.connected(1).await;
    let result = world.controller.run(plan("after", "cat ../../../../../startup/wd/runs")).await;
    assert_eq!(text(result.stdout.as_ref()), "run\nrun\n", "{result:?}");
    let infos = world.controller.with(|state| {
        let events = state.reports.iter().filter_map(|report| report.event.clone());
        let infos = events.filter_map(|event| match event {
            wire::report::Event::StartTask(info) => Some((info.exit_code, info.retry_count, info.result())),
            _ => None,
        });
        infos.collect::<Vec<_>>()
    });
    assert_eq!(infos.last(), Some(&(Some(0), 1, wire::ExecutionResult::Success)), "{infos:?}");
    world.kill_agent();
    world.start_agent();
    world.controller.connected(2).await;
    let result = world.controller.run(plan("again", "cat ../../../../../startup/wd/runs")).await;
    assert_eq!(text(result.stdout.as_ref()), "run\nrun\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_tasks_do_not_hold_each_other_up() {
    let world = World::start(2).await;
    let count = 400;
    let begun = Instant::now();
    let plans = (0..count).map(|number| plan(&format!("s{number}"), "/bin/true"));
    world.controller.assign(plans.collect());
    world
        .controller
        .wait("all of them", |state| {
            let done = state
                .reports
                .iter()
                .filter(|r| matches!(r.event, Some(wire::report::Event::Finished(_))))
                .count();
            (done == count).then_some(())
        })
        .await;
    let rate = f64::from(u32::try_from(count).unwrap()) / begun.elapsed().as_secs_f64();
    println!("{rate:.0} short tasks a second with 2 slots, this build");
    for number in 0..count {
        assert_eq!(world.controller.finishes(&format!("s{number}")).len(), 1);
    }
}
