//! Plans of everything that is more than a plain task: members of sweeps, a job's own tasks, and what changes on the way.
//!
//! The agent here is the test; what it is sent is looked at field by field.

use crate::support::*;
use muster_controller_core::input::Command;
use muster_model::spec::{JobSpec, SweepSpec, TaskConstraints, TaskSpec};
use muster_model::state::TaskState;
use muster_model::{Cause, JobId};
use muster_proto::wire;
use std::time::Duration;
use wire::controller_message::Body;
use wire::report::Event;

fn value<'a>(plan: &'a wire::AttemptPlan, name: &str) -> Option<&'a str> {
    let found = plan.environment_settings.iter().find(|setting| setting.name == name);
    found.map(|setting| setting.value.as_str())
}

fn of(plan: &wire::AttemptPlan) -> wire::AttemptRef {
    plan.attempt.clone().unwrap()
}

fn failed(attempt: &wire::AttemptRef, cause: wire::FailureCause) -> wire::AttemptResult {
    let failure = wire::FailureInfo { cause: cause.into(), message: "so".into(), ..Default::default() };
    wire::AttemptResult {
        result: wire::ExecutionResult::Failure.into(),
        exit_code: Some(1),
        failure_info: Some(failure),
        ..succeeded(attempt, Vec::new())
    }
}

async fn add_sweep(world: &World, values: &[String], command_line: &str) {
    let rows = values.iter().map(|value| wire::SweepRow { values: vec![value.clone()] }).collect();
    let table = wire::SweepTable { names: vec!["scene".into()], rows };
    let sweep = wire::Sweep {
        id: "s".into(),
        template: Some(wire::Task { command_line: command_line.into(), ..Default::default() }),
        axes: vec![wire::SweepAxis { values: Some(wire::sweep_axis::Values::Table(table)) }],
        ..Default::default()
    };
    let sweep = Box::new(SweepSpec::try_from(sweep).unwrap());
    world.command(Command::CreateSweep { job: job_id(), sweep }).await;
}

#[tokio::test]
async fn a_member_of_a_sweep_is_planned_with_its_values() {
    let world = World::new().await;
    add_sweep(&world, &["a b".to_owned()], "render {scene} ${HOME}").await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let plan = session.assigned().await.remove(0);
    assert_eq!(of(&plan).task_id, "s-1");
    let words = muster_proto::command_line::split(&plan.command_line).unwrap();
    assert_eq!(words, ["render", "a b", "${HOME}"], "a value stays one argument");
    assert_eq!(value(&plan, "MUSTER_SWEEP_ID"), Some("s"));
    assert_eq!(value(&plan, "MUSTER_SWEEP_NUMBER"), Some("1"));
    assert_eq!(value(&plan, "MUSTER_PARAM_SCENE"), Some("a b"));
    assert_eq!((value(&plan, "SCENE"), plan.required_slots), (Some("one"), 1));
    assert_eq!(value(&plan, "MUSTER_JOB_TOKEN"), None, "that is for job managers");
    world.stop().await;
}

#[tokio::test]
async fn a_member_whose_values_make_no_command_fails_and_says_why() {
    let world = World::new().await;
    add_sweep(&world, &["x".repeat(70_000), "good".to_owned()], "render {scene}").await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let plan = session.assigned().await.remove(0);
    assert_eq!(of(&plan).task_id, "s-2", "the others run");
    let bad = world.task("s-1");
    assert_eq!(bad.state.state, TaskState::Completed);
    let failure = bad.state.failure.unwrap();
    assert_eq!(failure.cause, Cause::LaunchFailed);
    assert!(
        failure.message.contains("command_line") && failure.message.contains("65536"),
        "{}",
        failure.message
    );
    world.stop().await;
}

fn prepared() -> wire::Job {
    let setting = |value: &str| wire::EnvironmentSetting { name: "STEP".into(), value: value.into() };
    let input = wire::ResourceFile {
        source: Some(wire::resource_file::Source::FileStore(store_path("scene", "ball.pov"))),
        file_path: "ball.pov".into(),
        ..Default::default()
    };
    let retention = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    wire::Job {
        id: "prepared".into(),
        pool_info: Some(wire::job::PoolInfo::PoolId(pool_id().to_string())),
        job_preparation_task: Some(wire::JobPreparationTask {
            id: "prep".into(),
            command_line: "/bin/prepare".into(),
            environment_settings: vec![setting("prepare")],
            resource_files: vec![input],
            constraints: Some(wire::TaskConstraints { retention_time: retention, ..Default::default() }),
            ..Default::default()
        }),
        job_release_task: Some(wire::JobReleaseTask {
            command_line: "/bin/tidy".into(),
            environment_settings: vec![setting("tidy")],
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn add(world: &World, job: &JobId, id: &str) {
    let tasks = vec![TaskSpec::try_from(task_spec(id)).unwrap()];
    world.command(Command::CreateTasks { job: job.clone(), tasks }).await;
}

#[tokio::test]
async fn preparation_tasks_and_release_are_planned_in_turn() {
    let world = World::new().await;
    let digest = world.put("scene", "ball.pov", b"sphere").await;
    world.command(Command::CreateJob(Box::new(JobSpec::try_from(prepared()).unwrap()))).await;
    let job = JobId::parse("prepared").unwrap();
    let mut agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    add(&world, &job, "t").await;

    let plan = session.assigned().await.remove(0);
    assert_eq!((of(&plan).task_id.as_str(), of(&plan).attempt), ("prep", 1));
    assert_eq!((plan.required_slots, plan.command_line.as_str()), (0, "/bin/prepare"));
    assert_eq!((value(&plan, "STEP"), plan.job_preparation_task_id.as_str()), (Some("prepare"), "prep"));
    assert_eq!(plan.retention_time.unwrap().seconds, 60);
    let fetch = wire::FetchFileRequest {
        for_whom: Some(wire::fetch_file_request::ForWhom::Attempt(of(&plan))),
        sha256: digest.to_string(),
        offset: 0,
    };
    within(agent.client.fetch_file(fetch.clone())).await.unwrap();
    // Also when the controller does not remember the plan: it is made again.
    drop(session);
    let (mut session, _) = agent.session().await;
    let plan = session.assigned().await.remove(0);
    assert_eq!((of(&plan).task_id.as_str(), of(&plan).attempt), ("prep", 2), "the first was never held");
    session.report(Event::Finished(succeeded(&of(&plan), Vec::new()))).await;
    let plan = session.assigned().await.remove(0);
    let stale = within(agent.client.fetch_file(fetch)).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::PermissionDenied, "{stale}");
    assert_eq!((of(&plan).task_id.as_str(), plan.required_slots), ("t", 1));
    assert_eq!(plan.job_preparation_task_id, "prep");
    let sequence = session.report(Event::Finished(succeeded(&of(&plan), Vec::new()))).await;
    session.acknowledged(sequence).await;
    let reason = "done".to_owned();
    world.command(Command::TerminateJob { job, reason, if_match: None }).await;
    let plan = session.assigned().await.remove(0);
    assert_eq!((of(&plan).task_id.as_str(), plan.required_slots), ("jobrelease", 0));
    assert_eq!(
        (value(&plan, "STEP"), plan.limits.unwrap().wall_clock_time.unwrap().seconds),
        (Some("tidy"), 900)
    );
    world.stop().await;
}

#[tokio::test]
async fn a_job_manager_is_told_how_to_reach_its_job_and_others_are_not() {
    let world = World::new().await;
    let manager = wire::JobManagerTask {
        id: "manager".into(),
        command_line: "/bin/manage".into(),
        environment_settings: vec![wire::EnvironmentSetting {
            name: "MUSTER_ENDPOINT".into(),
            value: "https://elsewhere:1".into(),
        }],
        run_exclusive: Some(false),
        ..Default::default()
    };
    let job = wire::Job { job_manager_task: Some(manager), id: "managed".into(), ..prepared_not() };
    world.command(Command::CreateJob(Box::new(JobSpec::try_from(job).unwrap()))).await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let plan = session.assigned().await.remove(0);
    assert_eq!(of(&plan).task_id, "manager");
    assert_eq!(value(&plan, "MUSTER_ACCOUNT"), Some("studio"));
    assert_eq!(value(&plan, "MUSTER_CA"), Some(world.authority.pem()));
    assert_eq!(value(&plan, "MUSTER_ENDPOINT"), Some("https://elsewhere:1"), "the task's own setting wins");
    let token = value(&plan, "MUSTER_JOB_TOKEN").unwrap();
    assert_eq!(value(&plan, "AZ_BATCH_AUTHENTICATION_TOKEN"), Some(token));
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).unwrap().claims;
    assert_eq!((claims["sub"].as_str(), claims["job"].as_str()), (Some("studio"), Some("managed")));
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(Duration::from_secs(life), muster_controller::auth::JOB_TOKEN_LIFE_MAX);
    world.stop().await;
}

/// A job on the pool with nothing of its own.
fn prepared_not() -> wire::Job {
    wire::Job { job_preparation_task: None, job_release_task: None, ..prepared() }
}

#[tokio::test]
async fn memory_that_was_not_enough_is_more_with_the_next_attempt() {
    let world = World::new().await;
    let escalation = wire::MemoryEscalation { factor: 2.0, max_memory_bytes: 3 << 30 };
    let task = wire::Task {
        resources: Some(wire::ResourceRequests { memory_bytes: 1 << 30, ..Default::default() }),
        constraints: Some(wire::TaskConstraints { on_out_of_memory: Some(escalation), ..Default::default() }),
        ..task_spec("hungry")
    };
    world.add_task(TaskSpec::try_from(task).unwrap()).await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let plan = session.assigned().await.remove(0);
    assert_eq!(plan.limits.as_ref().unwrap().memory_bytes, 1 << 30);
    session.report(Event::Finished(failed(&of(&plan), wire::FailureCause::OutOfMemory))).await;
    let plan = session.assigned().await.remove(0);
    assert_eq!((of(&plan).attempt, plan.limits.as_ref().unwrap().memory_bytes), (2, 2 << 30));
    world.stop().await;
}

#[tokio::test]
async fn new_constraints_of_a_running_task_reach_its_node() {
    let world = World::new().await;
    world.add_task(TaskSpec::try_from(task_spec("t")).unwrap()).await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let attempt = of(&session.assigned().await.remove(0));
    let constraints = TaskConstraints {
        max_wall_clock_time: Some(Duration::from_secs(90)),
        retention_time: Some(Duration::from_secs(30)),
        ..TaskConstraints::default()
    };
    let task = muster_model::TaskId::parse("t").unwrap();
    world.command(Command::UpdateTask { job: job_id(), task, constraints, if_match: None }).await;
    loop {
        if let Body::Amend(amend) = session.next().await {
            assert_eq!(amend.attempt, Some(attempt));
            assert_eq!(
                (amend.wall_clock_time.unwrap().seconds, amend.retention_time.unwrap().seconds),
                (90, 30)
            );
            break;
        }
    }
    world.stop().await;
}
