//! Nodes: what they say of themselves, and how they are relieved of their tasks, restarted and taken back into use.
//!
//! The node is played by the test at the engine's door; what goes over its wire is in tests/nodes. When a node may do what is
//! the core's to decide and is tried there: here it is that calls are wired, and answered in the right words.

use super::super::testing::Client;
use super::studio::{Studio, task};
use muster_controller_core::effect::{KillReason, NodeMessage};
use muster_controller_core::input::Report;
use muster_model::node::{NodeError, NodeMetrics};
use muster_model::{Timestamp, Usage};
use muster_proto::convert::{Metrics, reason_of};
use muster_proto::wire::compute_node_service_client::ComputeNodeServiceClient;
use muster_proto::wire::{self, ErrorReason, NodeState, SchedulingState};
use tonic::Code;

type Nodes = ComputeNodeServiceClient<Client>;

async fn film() -> (Studio, Nodes) {
    let studio = Studio::with_film().await;
    let nodes = ComputeNodeServiceClient::new(studio.world.studio());
    (studio, nodes)
}

async fn node(nodes: &mut Nodes) -> wire::ComputeNode {
    let request =
        wire::GetNodeRequest { pool_id: "render".into(), node_id: "n1".into(), ..Default::default() };
    nodes.get_node(request).await.unwrap().into_inner()
}

fn disable(option: wire::DisableSchedulingOption) -> wire::DisableNodeSchedulingRequest {
    wire::DisableNodeSchedulingRequest {
        pool_id: "render".into(),
        node_id: "n1".into(),
        option: option.into(),
        ..Default::default()
    }
}

fn enable() -> wire::EnableNodeSchedulingRequest {
    wire::EnableNodeSchedulingRequest { pool_id: "render".into(), node_id: "n1".into(), ..Default::default() }
}

fn reboot() -> wire::RebootNodeRequest {
    wire::RebootNodeRequest { pool_id: "render".into(), node_id: "n1".into(), ..Default::default() }
}

#[tokio::test]
async fn what_a_node_and_its_tasks_use_is_shown_while_it_lasts() {
    let (mut studio, mut nodes) = film().await;
    let mut machine = studio.world.join("render", "n1").await;
    assert_eq!(node(&mut nodes).await.metrics, None);
    studio.add(task("f1")).await;
    let attempt = machine.dispatched().await.remove(0);
    machine.started(&attempt).await;
    assert_eq!(studio.task("f1").await.usage, None, "the node has told nothing yet");

    let usage = Usage { peak_memory_bytes: 5, read_bytes: 7, ..Usage::default() };
    let uses = NodeMetrics { cpu_millis: 1500, ..NodeMetrics::default() };
    machine.pen.tell(Metrics { node: Some(uses), attempts: vec![(attempt.clone(), usage)] });
    assert_eq!(node(&mut nodes).await.metrics.unwrap().cpu_millis, 1500);
    let list = wire::ListNodesRequest { pool_id: "render".into(), ..Default::default() };
    let listed = nodes.list_nodes(list).await.unwrap().into_inner().nodes;
    assert_eq!(listed[0].metrics.unwrap().cpu_millis, 1500);
    let live = studio.task("f1").await.usage.unwrap();
    assert_eq!((live.peak_memory_bytes, live.read_bytes), (5, 7));
    let list = wire::ListTasksRequest { job_id: "film".into(), ..Default::default() };
    let listed = studio.tasks.list_tasks(list).await.unwrap().into_inner().tasks;
    assert_eq!(listed[0].usage.unwrap().peak_memory_bytes, 5);

    machine.finished(&attempt, 3, b"").await;
    assert_eq!(studio.task("f1").await.usage.unwrap().peak_memory_bytes, 77, "what it used in all");
    let again =
        wire::ReactivateTaskRequest { job_id: "film".into(), task_id: "f1".into(), ..Default::default() };
    studio.tasks.reactivate_task(again).await.unwrap();
    let second = machine.dispatched().await.remove(0);
    machine.started(&second).await;
    assert_eq!(studio.task("f1").await.usage, None, "the first attempt's use is not the second's");
    drop(machine);
    assert_eq!(node(&mut nodes).await.metrics, None);
}

#[tokio::test]
async fn a_node_names_what_it_runs_those_that_started_last_first() {
    let (mut studio, mut nodes) = film().await;
    let mut machine = studio.world.join("render", "n1").await;
    for id in ["f1", "f2", "f3"] {
        studio.add(task(id)).await;
        let attempt = machine.dispatched().await.remove(0);
        if id != "f3" {
            machine.started(&attempt).await;
        }
    }
    let recent = node(&mut nodes).await.recent_tasks;
    let mut ids: Vec<_> = recent.iter().map(|task| task.task_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["f1", "f2"], "one that has not started is not running");
    assert!(recent.iter().all(|task| task.state() == wire::TaskState::Running && task.attempt == 1));
    assert!(recent[0].execution_info.as_ref().unwrap().start_time.is_some());
}

#[tokio::test]
async fn what_is_wrong_with_a_node_keeps_it_from_use_until_it_is_well() {
    let (studio, mut nodes) = film().await;
    let mut machine = studio.world.join("render", "n1").await;
    let error = |code: &str, seconds: i64| NodeError {
        code: code.to_owned(),
        message: "look at it".to_owned(),
        details: vec![("free_bytes".to_owned(), "1".to_owned())],
        time: Timestamp::from_micros(seconds * 1_000_000),
    };
    let wrong = vec![error(NodeError::DISK_PRESSURE, 10), error(NodeError::CLOCK_SKEW, 20)];
    machine.report(Report::Health(wrong)).await;
    let ill = node(&mut nodes).await;
    assert_eq!(ill.state(), NodeState::Unusable);
    let codes: Vec<_> = ill.errors.iter().map(|error| error.code.as_str()).collect();
    assert_eq!(codes, ["ClockSkew", "DiskPressure"], "newest first");
    assert_eq!(ill.errors[1].occur_time.unwrap().seconds, 10);
    assert_eq!(ill.errors[1].details[0].name, "free_bytes");
    machine.report(Report::Health(Vec::new())).await;
    let well = node(&mut nodes).await;
    assert_eq!((well.state(), well.errors.len()), (NodeState::Idle, 0));
}

#[tokio::test]
async fn a_node_says_what_it_can_do_and_how_it_separates_tasks() {
    let (mut studio, mut nodes) = film().await;
    let _machine = studio.world.join("render", "n1").await;
    let strongest = node(&mut nodes).await;
    assert_eq!(strongest.isolation_level(), wire::IsolationLevel::Sandbox);
    assert_eq!(strongest.capabilities.unwrap().notes, ["no command for a reimage"]);

    let user = wire::UserAccount { name: "ann".into(), uid: Some(7), gid: Some(8), ..Default::default() };
    let pool = wire::Pool {
        id: "apart".into(),
        isolation_level: wire::IsolationLevel::Process.into(),
        user_accounts: vec![user],
        ..Default::default()
    };
    let request = wire::CreatePoolRequest { pool: Some(pool), ..Default::default() };
    let made = studio.pools.create_pool(request).await.unwrap().into_inner();
    assert_eq!((made.user_accounts[0].name.as_str(), made.user_accounts[0].uid), ("ann", Some(7)));
    let _machine = studio.world.join("apart", "n2").await;
    let request =
        wire::GetNodeRequest { pool_id: "apart".into(), node_id: "n2".into(), ..Default::default() };
    let asked = nodes.get_node(request).await.unwrap().into_inner();
    assert_eq!(asked.isolation_level(), wire::IsolationLevel::Process);
}

#[tokio::test]
async fn tasks_name_users_of_their_pool_alone() {
    let (mut studio, _) = film().await;
    let named = wire::UserIdentity { user: Some(wire::user_identity::User::Username("ann".into())) };
    let request = wire::CreateTaskRequest {
        job_id: "film".into(),
        task: Some(wire::Task { user_identity: Some(named), ..task("f1") }),
        ..Default::default()
    };
    let refused = studio.tasks.create_task(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(reason_of(&refused), Some(ErrorReason::InvalidPropertyValue));
    assert!(refused.message().contains("'ann'") && refused.message().contains("'render'"), "{refused:?}");
}

#[tokio::test]
async fn a_node_waits_for_its_tasks_or_ends_them_as_asked() {
    let (mut studio, mut nodes) = film().await;
    let mut machine = studio.world.join("render", "n1").await;
    studio.add(task("f1")).await;
    let attempt = machine.dispatched().await.remove(0);
    machine.started(&attempt).await;

    let deadline = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let wait = wire::DisableNodeSchedulingRequest {
        deadline,
        ..disable(wire::DisableSchedulingOption::TaskCompletion)
    };
    let stale = wire::DisableNodeSchedulingRequest { etag: "99999".into(), ..wait.clone() };
    let stale = nodes.disable_node_scheduling(stale).await.unwrap_err();
    assert_eq!((stale.code(), reason_of(&stale)), (Code::Aborted, Some(ErrorReason::ConditionNotMet)));
    let waiting = nodes.disable_node_scheduling(wait).await.unwrap().into_inner();
    assert_eq!(waiting.scheduling_state(), SchedulingState::Disabled);
    let drain = waiting.drain.unwrap();
    assert_eq!(drain.option(), wire::DisableSchedulingOption::TaskCompletion);
    assert_eq!((drain.then(), drain.deadline.is_some()), (wire::AfterDrain::Stay, true));
    let broken_off = nodes.enable_node_scheduling(enable()).await.unwrap().into_inner();
    assert_eq!((broken_off.scheduling_state(), broken_off.drain), (SchedulingState::Enabled, None));

    let requeue = disable(wire::DisableSchedulingOption::Unspecified);
    nodes.disable_node_scheduling(requeue).await.unwrap();
    loop {
        if let NodeMessage::Kill { attempts, reason } = machine.told().await {
            assert_eq!((attempts, reason), (vec![attempt.clone()], KillReason::Requeued));
            break;
        }
    }
    machine.finished(&attempt, 1, b"").await;
    let requeued = studio.task("f1").await;
    assert_eq!(requeued.state(), wire::TaskState::Active, "it waits for another node");
    assert_eq!(node(&mut nodes).await.state(), NodeState::Offline);
}

#[tokio::test]
async fn a_node_is_rebooted_once_and_told_again_when_it_comes_back_without_having_done_so() {
    let (studio, mut nodes) = film().await;
    let machine = studio.world.join("render", "n1").await;
    let id = machine.key.node.clone();
    let going = nodes.reboot_node(reboot()).await.unwrap().into_inner();
    assert_eq!(going.state(), NodeState::Rebooting);
    let twice = nodes.reboot_node(reboot()).await.unwrap_err();
    assert_eq!(
        (twice.code(), reason_of(&twice)),
        (Code::FailedPrecondition, Some(ErrorReason::NodeBeingRebooted))
    );
    drop(machine);
    let mut machine = studio.world.connect(&id).await;
    loop {
        if let NodeMessage::Restart { reimage } = machine.told().await {
            assert!(!reimage);
            break;
        }
    }
    assert_eq!(node(&mut nodes).await.state(), NodeState::Rebooting);
    drop(machine);
    let _machine = studio.world.connect_after(&id, "another boot").await;
    assert_eq!(node(&mut nodes).await.state(), NodeState::Idle);
}

#[tokio::test]
async fn a_node_without_a_command_for_it_is_not_reimaged() {
    let (studio, mut nodes) = film().await;
    let _machine = studio.world.join("render", "n1").await;
    let reimage =
        wire::ReimageNodeRequest { pool_id: "render".into(), node_id: "n1".into(), ..Default::default() };
    let refused = nodes.reimage_node(reimage).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused)),
        (Code::FailedPrecondition, Some(ErrorReason::OperationNotValidOnNode))
    );
    assert!(refused.message().contains("configuration"), "{}", refused.message());
    let nobody = wire::RebootNodeRequest { node_id: "n9".into(), ..reboot() };
    assert_eq!(reason_of(&nodes.reboot_node(nobody).await.unwrap_err()), Some(ErrorReason::NodeNotFound));
}

#[tokio::test]
async fn nodes_leave_when_their_tasks_have_ended_if_asked() {
    let (mut studio, mut nodes) = film().await;
    let mut machine = studio.world.join("render", "n1").await;
    studio.add(task("f1")).await;
    let attempt = machine.dispatched().await.remove(0);
    machine.started(&attempt).await;
    let remove = wire::RemoveNodesRequest {
        pool_id: "render".into(),
        node_ids: vec!["n1".into()],
        node_deallocation_option: wire::NodeDeallocationOption::TaskCompletion.into(),
        resize_timeout: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        ..Default::default()
    };
    let stale = wire::RemoveNodesRequest { etag: "99999".into(), ..remove.clone() };
    assert_eq!(nodes.remove_nodes(stale).await.unwrap_err().code(), Code::Aborted);
    nodes.remove_nodes(remove).await.unwrap();
    let leaving = node(&mut nodes).await.drain.unwrap();
    assert_eq!((leaving.then(), leaving.deadline.is_some()), (wire::AfterDrain::Leave, true));
    assert_eq!(studio.task("f1").await.state(), wire::TaskState::Running);
    machine.finished(&attempt, 0, b"").await;
    assert_eq!(studio.task("f1").await.state(), wire::TaskState::Completed);
    loop {
        if let NodeMessage::Leave { .. } = machine.told().await {
            return;
        }
    }
}
