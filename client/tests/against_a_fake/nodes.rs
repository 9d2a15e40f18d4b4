//! Operations on nodes, and waiting for them.
//!
//! What the looks at a node show is a list of the test's; which of them ends the waiting is what is tested.

use std::sync::Mutex;
use std::time::Duration;

use muster_client::{ErrorKind, NodeGoal, NodeWaitError};
use muster_proto::wire;
use muster_proto::wire::{AfterDrain, NodeState, SchedulingState};
use tonic::Status;

use crate::in_time;
use crate::support::Fake;

fn node(state: NodeState, scheduling: SchedulingState, tasks: u32) -> Option<wire::ComputeNode> {
    Some(wire::ComputeNode {
        id: "n1".into(),
        state: state.into(),
        scheduling_state: scheduling.into(),
        running_tasks_count: tasks,
        ..Default::default()
    })
}

#[tokio::test]
async fn an_operation_says_what_becomes_of_tasks_and_is_tried_again_as_the_same() {
    let fake = Fake::default();
    fake.world().faults = vec![Status::unavailable("down")];
    let client = fake.serve().await;
    let minute = Duration::from_secs(60);
    let option = wire::DisableSchedulingOption::TaskCompletion;
    in_time(client.disable_node_scheduling("p", "n1", option, Some(minute))).await.unwrap();
    in_time(client.reboot_node("p", "n1", wire::NodeDeallocationOption::Terminate)).await.unwrap();
    let nodes = vec!["n1".to_owned(), "n2".to_owned()];
    in_time(client.remove_nodes("p", nodes, wire::NodeDeallocationOption::Requeue, None)).await.unwrap();
    let world = fake.world();
    let [disabled] = &world.nodes.disabled[..] else { panic!("{:?}", world.nodes.disabled) };
    assert_eq!((disabled.option(), disabled.deadline.unwrap().seconds), (option, 60));
    let [rebooted] = &world.nodes.rebooted[..] else { panic!("{:?}", world.nodes.rebooted) };
    assert_eq!(rebooted.option(), wire::NodeDeallocationOption::Terminate);
    let [removed] = &world.nodes.removed[..] else { panic!("{:?}", world.nodes.removed) };
    assert_eq!((removed.node_ids.len(), removed.resize_timeout), (2, None));
    let ids = [&disabled.request_id, &rebooted.request_id, &removed.request_id];
    assert!(ids.iter().all(|id| !id.is_empty()) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn a_drain_is_waited_for_also_while_the_controller_is_away() {
    let fake = Fake::default();
    let off = SchedulingState::Disabled;
    fake.world().nodes.looks = vec![
        node(NodeState::Running, off, 2),
        node(NodeState::Running, off, 1),
        node(NodeState::Offline, off, 0),
    ];
    // More than one call is tried: the waiting outlasts it.
    fake.world().faults = (0..9).map(|_| Status::unavailable("down")).collect();
    let client = fake.serve().await;
    let seen = Mutex::new(Vec::new());
    let show = |node: &wire::ComputeNode| seen.lock().unwrap().push(node.running_tasks_count);
    let drained = in_time(client.wait_for_node("p", "n1", NodeGoal::Drained, None, show)).await.unwrap();
    assert_eq!(drained.unwrap().state(), NodeState::Offline);
    assert_eq!(*seen.lock().unwrap(), [2, 1, 0]);
}

#[tokio::test]
async fn waiting_ends_when_the_goal_is_out_of_reach() {
    let wait = async |looks: Vec<Option<wire::ComputeNode>>, goal, limit| {
        let fake = Fake::default();
        fake.world().nodes.looks = looks;
        let client = fake.serve().await;
        in_time(client.wait_for_node("p", "n1", goal, limit, |_| {})).await
    };
    let (on, off) = (SchedulingState::Enabled, SchedulingState::Disabled);
    let draining = || node(NodeState::Running, off, 1);
    let enabled = wait(vec![draining(), node(NodeState::Running, on, 1)], NodeGoal::Drained, None).await;
    assert!(matches!(&enabled, Err(NodeWaitError::Enabled { .. })), "{enabled:?}");
    let left = wait(vec![draining(), None], NodeGoal::Drained, None).await.unwrap_err();
    assert_eq!((left.kind(), left.to_string().contains("left its pool")), (ErrorKind::NotFound, true));
    assert!(wait(vec![draining(), None], NodeGoal::Gone, None).await.unwrap().is_none());
    let late = wait(vec![draining()], NodeGoal::Drained, Some(Duration::from_millis(50))).await.unwrap_err();
    let NodeWaitError::Late { state, tasks, .. } = &late else { panic!("{late:?}") };
    assert_eq!((state.as_str(), *tasks), ("running", 1));
    let mut rebooting = node(NodeState::Offline, off, 0).unwrap();
    rebooting.drain = Some(wire::NodeDrain { then: AfterDrain::Reboot.into(), ..Default::default() });
    let steps = vec![Some(rebooting), node(NodeState::Rebooting, off, 0), node(NodeState::Idle, on, 0)];
    assert_eq!(wait(steps, NodeGoal::Back, None).await.unwrap().unwrap().state(), NodeState::Idle);
}
