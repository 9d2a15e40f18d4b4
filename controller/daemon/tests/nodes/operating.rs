//! What passes between a controller and a node beside tasks: health, metrics, restarts, start tasks, settings.
//!
//! Each test says something as an agent and looks at the store or the board, or orders something and reads it off the
//! stream. An agent of an older protocol is one that says so in its Hello.

use super::support::*;
use muster_controller_core::input::Command;
use muster_controller_core::record::NodeRow;
use muster_model::spec::{PoolSpec, TaskSpec};
use muster_model::state::{DrainOption, NodeState, TaskState};
use muster_proto::convert::timestamp_out;
use muster_proto::version::PROTOCOL_VERSION;
use muster_proto::wire;
use wire::agent_message;
use wire::controller_message::Body;
use wire::report::Event;

fn row(world: &World, agent: &Agent) -> NodeRow {
    world.engine.reader().node(&account(), &agent.key.node).unwrap().unwrap()
}

fn now() -> Option<prost_types::Timestamp> {
    Some(timestamp_out(muster_model::Timestamp::from_micros(muster_runtime::clock::wall_us())))
}

#[tokio::test]
async fn an_ill_node_gets_no_tasks_until_it_says_that_it_is_well() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let error = wire::NodeError {
        code: "DiskPressure".into(),
        message: "1 GiB of 5 GiB free".into(),
        occur_time: now(),
        ..Default::default()
    };
    let told = session.report(Event::Health(wire::NodeHealth { errors: vec![error] })).await;
    session.acknowledged(told).await;
    let ill = row(&world, &agent);
    assert_eq!((ill.state, ill.errors[0].code.as_str()), (NodeState::Unusable, "DiskPressure"));
    world.add_task(TaskSpec::try_from(task_spec("t")).unwrap()).await;
    assert_eq!(world.task("t").state.state, TaskState::Active);

    session.report(Event::Health(wire::NodeHealth::default())).await;
    assert_eq!(session.assigned().await.len(), 1);
    assert!(row(&world, &agent).errors.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn metrics_are_on_the_board_while_the_session_lasts() {
    let world = World::new().await;
    world.add_task(TaskSpec::try_from(task_spec("t")).unwrap()).await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let attempt = session.assigned().await.remove(0).attempt.unwrap();
    let usage = wire::ResourceUsage { peak_memory_bytes: 5, ..Default::default() };
    let metrics = wire::Metrics {
        node: Some(wire::NodeMetrics { measure_time: now(), cpu_millis: 12, ..Default::default() }),
        attempts: vec![wire::AttemptUsage { attempt: Some(attempt.clone()), usage: Some(usage) }],
    };
    // What cannot be read is passed over, and the session goes on.
    let unreadable = wire::Metrics { node: Some(wire::NodeMetrics::default()), attempts: Vec::new() };
    session.say(agent_message::Body::Metrics(unreadable)).await;
    session.say(agent_message::Body::Metrics(metrics)).await;
    let attempt_id = muster_model::AttemptId::try_from(attempt.clone()).unwrap();
    let board = || (world.board.node(&agent.key), world.board.attempt(&agent.key, &attempt_id));
    let both = async {
        loop {
            if let (Some(node), Some(usage)) = board() {
                return (node.cpu_millis, usage.peak_memory_bytes);
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(within(both).await, (12, 5));

    let last = session.report(Event::Finished(succeeded(&attempt, Vec::new()))).await;
    session.acknowledged(last).await;
    assert_eq!(board().1, None, "its result says what it used");
    drop(session);
    let gone = async {
        while board().0.is_some() {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
    world.stop().await;
}

#[tokio::test]
async fn a_node_is_told_to_restart_until_it_has() {
    let world = World::new().await;
    let agent = world.join("machine").await;
    let (mut session, _) = agent.session().await;
    let command = Command::RestartNode {
        pool: pool_id(),
        node: agent.key.node.clone(),
        option: DrainOption::Requeue,
        reimage: false,
        if_match: None,
    };
    world.command(command).await;
    let Body::Reboot(reboot) = session.next().await else { panic!("no order to restart") };
    assert!(!reboot.reimage && !reboot.reason.is_empty());
    drop(session);

    // Its agent comes back without the machine having restarted.
    let (mut session, _) = agent.session().await;
    assert!(matches!(session.next().await, Body::Reboot(_)));
    drop(session);
    let booted = wire::MachineFacts { boot_id: "next".into(), ..facts("machine") };
    let mut session = agent.open_as(PROTOCOL_VERSION, booted).await.unwrap();
    assert!(matches!(session.next().await, Body::Welcome(_)));
    assert_eq!(row(&world, &agent).state, NodeState::Idle);
    world.stop().await;
}

#[tokio::test]
async fn a_failed_start_task_is_run_again_when_the_node_is_tried_again() {
    let pool = wire::Pool {
        id: pool_id().to_string(),
        start_task: Some(wire::StartTask { command_line: "prepare".into(), ..Default::default() }),
        ..Default::default()
    };
    let world = World::with_pool(PoolSpec::try_from(pool).unwrap()).await;
    let agent = world.join("machine").await;
    let (mut session, welcome) = agent.session().await;
    assert!(welcome.settings.unwrap().start_task.is_some());
    let cause = wire::FailureInfo { cause: wire::FailureCause::ExitCode.into(), ..Default::default() };
    let failed = wire::StartTaskInfo {
        state: wire::StartTaskState::Completed.into(),
        start_time: now(),
        end_time: now(),
        exit_code: Some(1),
        result: wire::ExecutionResult::Failure.into(),
        failure_info: Some(cause),
        ..Default::default()
    };
    let told = session.report(Event::StartTask(failed)).await;
    session.acknowledged(told).await;
    let ill = row(&world, &agent);
    assert_eq!(ill.probation.error.unwrap().code, "StartTaskFailed");
    let again = Command::EnableScheduling { pool: pool_id(), node: agent.key.node.clone(), if_match: None };
    world.command(again).await;
    loop {
        if let Body::RunStartTask(run) = session.next().await {
            assert_eq!(run.start_task.unwrap().command_line, "prepare");
            break;
        }
    }
    world.stop().await;
}

fn pool_with_users() -> PoolSpec {
    let pool = wire::Pool {
        id: pool_id().to_string(),
        isolation_level: wire::IsolationLevel::Process.into(),
        user_accounts: vec![wire::UserAccount { name: "ann".into(), ..Default::default() }],
        ..Default::default()
    };
    PoolSpec::try_from(pool).unwrap()
}

fn task_of_ann() -> TaskSpec {
    let user = Some(wire::user_identity::User::Username("ann".into()));
    let task = wire::Task { user_identity: Some(wire::UserIdentity { user }), ..task_spec("t") };
    TaskSpec::try_from(task).unwrap()
}

#[tokio::test]
async fn a_node_is_told_of_users_and_separation() {
    let world = World::with_pool(pool_with_users()).await;
    world.add_task(task_of_ann()).await;
    let agent = world.join("machine").await;
    let (mut session, welcome) = agent.session().await;
    let settings = welcome.settings.unwrap();
    assert_eq!(settings.isolation_level(), wire::IsolationLevel::Process);
    assert_eq!(settings.task_network(), wire::TaskNetwork::Host);
    assert_eq!(settings.user_accounts[0].name, "ann");
    let plan = session.assigned().await.remove(0);
    assert_eq!(
        plan.user_identity,
        Some(wire::UserIdentity { user: Some(wire::user_identity::User::Username("ann".into())) })
    );
    world.stop().await;
}

#[tokio::test]
async fn an_agent_of_an_older_protocol_is_never_sent_a_user_that_it_cannot_read() {
    let world = World::with_pool(pool_with_users()).await;
    let agent = world.join("machine").await;
    let mut session = agent.open_as(2, facts("machine")).await.unwrap();
    let Body::Welcome(welcome) = session.next().await else { panic!("no Welcome") };
    assert_eq!(welcome.protocol_version, 2);
    let mut events = world.engine.subscribe();
    world.add_task(task_of_ann()).await;
    while world.task("t").state.server_retry_count == 0 {
        within(events.next()).await.unwrap();
    }
    let key = muster_model::TaskKey { job: job_id(), task: muster_model::TaskId::parse("t").unwrap() };
    let attempts = world.engine.reader().attempts(&account(), &key, &Default::default()).unwrap().items;
    let failure = attempts[0].result.failure.as_ref().unwrap();
    assert!(failure.message.contains("protocol 2"), "{}", failure.message);
    world.stop().await;
}
