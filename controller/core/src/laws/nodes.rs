//! Stories of nodes: drained, restarted, unwell, on probation, and back.
//!
//! What an operator would see of one node. That nothing is placed on a closed node, and that every wait has its deadline, is
//! checked in `world` and `check` after each step of every history.

use super::world::{self, World, facts, job_id, pool_id, task, task_id};
use crate::input::Command;
use crate::reject::Reject;
use crate::reply::Reply;
use muster_model::cause::Cause;
use muster_model::node::{Capabilities, MachineFacts, NodeError};
use muster_model::spec::{PoolSpec, RetryLimit, TaskSpec, UserAccount, UserIdentity};
use muster_model::state::*;
use muster_model::{NodeId, UserName};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn world(nodes: u32, slots: u32) -> World {
    of_pool(nodes, world::pool(nodes, slots))
}

fn of_pool(nodes: u32, spec: PoolSpec) -> World {
    let mut world = World::new();
    world.command(Command::CreatePool(spec));
    for _ in 0..nodes {
        world.join();
    }
    world.command(Command::CreateJob(Box::new(world::job("film"))));
    world.check();
    world
}

fn name(world: &World, index: usize) -> NodeId {
    world.machines[index].id.clone()
}

fn disable(
    world: &mut World,
    index: usize,
    option: DrainOption,
    deadline: Option<Duration>,
) -> Result<Reply, Reject> {
    let node = name(world, index);
    world.try_command(Command::DisableScheduling { pool: pool_id(), node, option, deadline, if_match: None })
}

fn enable(world: &mut World, index: usize) -> Result<Reply, Reject> {
    let node = name(world, index);
    world.try_command(Command::EnableScheduling { pool: pool_id(), node, if_match: None })
}

fn restart(world: &mut World, index: usize, option: DrainOption, reimage: bool) -> Result<Reply, Reject> {
    let node = name(world, index);
    world.try_command(Command::RestartNode { pool: pool_id(), node, option, reimage, if_match: None })
}

fn code(result: Result<Reply, Reject>) -> &'static str {
    result.unwrap_err().code()
}

/// The codes of why a task waits.
fn why(world: &World, task: &str) -> Vec<&'static str> {
    let found = world.core.explain_task(&world::account(), &job_id("film"), &task_id(task), world.now);
    found.unwrap().reasons.iter().map(crate::explain::Reason::code).collect()
}

#[test]
fn requeueing_a_node_s_tasks_gives_them_to_others_and_costs_no_retry() {
    let mut world = world(1, 2);
    world.add_tasks("film", vec![task("a"), task("b"), task("c")]);
    world.start(0);
    disable(&mut world, 0, DrainOption::Requeue, None).unwrap();
    world.check();
    assert_eq!(world.node(0).state, NodeState::Offline);
    assert_eq!(world.node(0).drain, None);
    let row = world.row("film", "a");
    assert_eq!((row.state, row.requeue_count, row.retry_count), (TaskState::Active, 1, 0));
    assert_eq!(why(&world, "a"), ["SCHEDULING_DISABLED"]);
    let other = world.join();
    assert!(world.machines[other].queue.len() >= 2, "and some ahead: they were short");
    enable(&mut world, 0).unwrap();
    world.check();
    assert_eq!(world.node(0).state, NodeState::Idle);
    assert_ne!(world.machines[0].queue.len(), 0);
}

#[test]
fn terminating_a_node_s_tasks_ends_them_for_good() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    disable(&mut world, 0, DrainOption::Terminate, None).unwrap();
    world.check();
    assert_eq!(world.row("film", "a").failure.as_ref().unwrap().cause, Cause::Terminated);
    assert_eq!(world.state("film", "b"), TaskState::Active);
    assert_eq!(world.node(0).state, NodeState::Offline);
}

#[test]
fn tasks_may_end_by_themselves_until_a_deadline_and_the_rest_is_requeued() {
    let mut world = world(1, 2);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    disable(&mut world, 0, DrainOption::TaskCompletion, Some(10 * MINUTE)).unwrap();
    world.check();
    assert_eq!(world.machines[0].running.len(), 2);
    world.finish(0, None);
    world.add_tasks("film", vec![task("c")]);
    assert_eq!((world.machines[0].queue.len(), why(&world, "c")), (0, vec!["NODE_DRAINING"]));
    world.beat_for(9 * MINUTE);
    world.check();
    assert_eq!((world.state("film", "b"), world.node(0).state), (TaskState::Running, NodeState::Running));
    world.beat_for(MINUTE);
    world.check();
    let row = world.row("film", "b");
    assert_eq!((row.state, row.requeue_count), (TaskState::Active, 1));
    assert_eq!((world.node(0).state, world.node(0).drain), (NodeState::Offline, None));
}

#[test]
fn what_a_draining_node_has_not_started_runs_elsewhere_at_once() {
    let mut world = world(2, 1);
    world.add_tasks("film", vec![task("a")]);
    let node = world.machines.iter().position(|machine| !machine.queue.is_empty()).unwrap();
    disable(&mut world, node, DrainOption::TaskCompletion, None).unwrap();
    world.check();
    assert_eq!(world.machines[1 - node].queue.len(), 1);
    assert_eq!(world.node(node).state, NodeState::Offline);
    let row = world.row("film", "a");
    assert_eq!((row.attempt, row.requeue_count, row.server_retry_count), (2, 0, 0));
}

#[test]
fn who_drains_a_node_sees_for_whom_it_waits() {
    let mut world = world(1, 2);
    world.add_tasks("film", vec![task("a")]);
    world.start(0);
    world.pass(Duration::from_secs(1));
    world.add_tasks("film", vec![task("b")]);
    world.start(0);
    world.add_tasks("film", vec![task("c")]);
    let on_node = |world: &World| {
        let tasks = world.core.tasks_on_node(&world::account(), &name(world, 0));
        tasks.into_iter().map(|(attempt, started)| (attempt.task, started.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(on_node(&world), [(task_id("b"), true), (task_id("a"), true)]);
    world.finish(0, None);
    assert_eq!(on_node(&world), [(task_id("b"), true), (task_id("c"), false)]);
}

#[test]
fn enabling_breaks_a_drain_off_and_only_a_stronger_wish_replaces_one() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a")]);
    world.start(0);
    assert_eq!(code(enable(&mut world, 0)), "NodeAlreadyInTargetSchedulingState");
    disable(&mut world, 0, DrainOption::TaskCompletion, None).unwrap();
    let again = disable(&mut world, 0, DrainOption::TaskCompletion, None);
    assert_eq!(code(again), "NodeAlreadyInTargetSchedulingState");
    disable(&mut world, 0, DrainOption::TaskCompletion, Some(MINUTE)).unwrap();
    enable(&mut world, 0).unwrap();
    world.beat_for(2 * MINUTE);
    world.check();
    assert_eq!(world.state("film", "a"), TaskState::Running, "the deadline went with the drain");
    disable(&mut world, 0, DrainOption::TaskCompletion, None).unwrap();
    disable(&mut world, 0, DrainOption::Requeue, None).unwrap();
    world.check();
    assert_eq!(world.state("film", "a"), TaskState::Active);
    assert_eq!(
        code(disable(&mut world, 0, DrainOption::Terminate, None)),
        "NodeAlreadyInTargetSchedulingState",
        "there is nothing to end any more"
    );
}

#[test]
fn a_drain_goes_on_over_restarts_of_the_controller_and_lost_words() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a")]);
    world.start(0);
    world.disconnect(0);
    disable(&mut world, 0, DrainOption::Requeue, None).unwrap();
    world.check();
    assert_eq!(world.machines[0].running.len(), 1);
    world.crash();
    world.connect(0);
    world.check();
    assert_eq!((world.machines[0].running.len(), world.node(0).state), (0, NodeState::Offline));
}

#[test]
fn a_change_of_a_node_holds_its_etag_against_what_is_there() {
    let mut world = world(1, 1);
    let node = name(&world, 0);
    let (pool, if_match) = (pool_id(), Some(world.node(0).revision + 1));
    let option = DrainOption::Requeue;
    let stale = [
        Command::DisableScheduling {
            pool: pool.clone(),
            node: node.clone(),
            option,
            deadline: None,
            if_match,
        },
        Command::EnableScheduling { pool: pool.clone(), node: node.clone(), if_match },
        Command::RestartNode { pool: pool.clone(), node: node.clone(), option, reimage: false, if_match },
        Command::RemoveNodes { pool, nodes: vec![node], option, timeout: None, if_match: Some(u64::MAX) },
    ];
    for command in stale {
        assert_eq!(code(world.try_command(command)), "ConditionNotMet");
    }
    let if_match = Some(world.node(0).revision);
    let node = name(&world, 0);
    world.command(Command::DisableScheduling { pool: pool_id(), node, option, deadline: None, if_match });
    world.check();
}

#[test]
fn a_node_is_restarted_once_its_tasks_have_ended_and_serves_after_its_boot() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    restart(&mut world, 0, DrainOption::TaskCompletion, false).unwrap();
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].restarts_told), (NodeState::Running, 0));
    let again = restart(&mut world, 0, DrainOption::TaskCompletion, false);
    assert_eq!(code(again), "NodeBeingRebooted");
    world.finish(0, None);
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].restarts_told), (NodeState::Rebooting, 1));
    assert_eq!(code(restart(&mut world, 0, DrainOption::Requeue, true)), "NodeBeingRebooted");
    world.disconnect(0);
    world.connect(0);
    world.check();
    assert_eq!(world.machines[0].restarts_told, 2, "the same boot is told again");
    assert_eq!((world.node(0).state, why(&world, "b")), (NodeState::Rebooting, vec!["NODE_STATE"]));
    world.pass(2 * MINUTE);
    assert_eq!(world.node(0).state, NodeState::Rebooting, "silence is what a restart sounds like");
    world.reboot(0);
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Idle, 1));
}

#[test]
fn a_restart_keeps_the_switch_and_outlives_the_controller() {
    let mut world = world(1, 1);
    disable(&mut world, 0, DrainOption::Requeue, None).unwrap();
    restart(&mut world, 0, DrainOption::Requeue, true).unwrap();
    world.check();
    assert_eq!(world.node(0).state, NodeState::Reimaging);
    world.crash();
    world.check();
    world.reboot(0);
    world.check();
    let row = world.node(0);
    assert_eq!((row.state, row.scheduling), (NodeState::Offline, SchedulingState::Disabled));
}

#[test]
fn a_node_without_the_operator_s_command_is_not_restarted() {
    let mut world = world(1, 1);
    world.connect_as(0, MachineFacts { capabilities: Capabilities::default(), ..facts() });
    for (reimage, setting) in [(false, "hooks.reboot"), (true, "hooks.reimage")] {
        let refused = restart(&mut world, 0, DrainOption::Requeue, reimage).unwrap_err();
        assert_eq!(refused.code(), "OperationNotValidOnNode");
        assert!(refused.to_string().contains(setting), "{refused}");
    }
    world.check();
}

#[test]
fn a_node_that_never_comes_back_from_its_restart_is_given_up_until_it_does() {
    let mut world = world(1, 1);
    restart(&mut world, 0, DrainOption::Requeue, false).unwrap();
    world.disconnect(0);
    world.pass(19 * MINUTE);
    assert_eq!(world.node(0).state, NodeState::Rebooting);
    world.pass(MINUTE);
    world.check();
    assert_eq!(world.node(0).state, NodeState::Unknown);
    assert_eq!(world.node(0).errors[0].code, "RestartTimedOut");
    world.reboot(0);
    world.check();
    assert_eq!((world.node(0).state, world.node(0).errors.len()), (NodeState::Idle, 0));
}

#[test]
fn a_restart_that_fails_leaves_the_node_unusable_with_three_ways_back() {
    for way in 0..3 {
        let mut world = world(1, 1);
        restart(&mut world, 0, DrainOption::Requeue, false).unwrap();
        world.health(0, &[NodeError::RESTART_FAILED]);
        world.check();
        assert_eq!(world.node(0).state, NodeState::Unusable);
        world.pass(21 * MINUTE);
        world.connect(0);
        world.check();
        assert_eq!(
            world.node(0).state,
            NodeState::Unusable,
            "what the node said stands until it says otherwise"
        );
        match way {
            0 => world.health(0, &[]),
            1 => drop(enable(&mut world, 0).unwrap()),
            _ => {
                restart(&mut world, 0, DrainOption::Requeue, false).unwrap();
                assert_eq!(world.machines[0].restarts_told, 2);
                world.reboot(0);
            }
        }
        world.check();
        assert_eq!((world.node(0).state, world.node(0).errors.len()), (NodeState::Idle, 0), "way {way}");
    }
}

#[test]
fn a_removed_node_leaves_when_its_tasks_have_ended_or_their_time_is_up() {
    for in_time in [true, false] {
        let mut world = world(1, 1);
        world.add_tasks("film", vec![task("a")]);
        world.start(0);
        let (nodes, option) = (vec![name(&world, 0)], DrainOption::TaskCompletion);
        let timeout = Some(5 * MINUTE);
        world.command(Command::RemoveNodes { pool: pool_id(), nodes, option, timeout, if_match: None });
        world.beat_for(4 * MINUTE);
        world.check();
        assert_eq!(world.node(0).state, NodeState::LeavingPool);
        assert_eq!(code(enable(&mut world, 0)), "OperationInvalidForCurrentState");
        if in_time {
            world.finish(0, None);
        } else {
            world.beat_for(MINUTE);
        }
        world.check();
        assert_eq!(world.rows.nodes.len(), 0);
        let expected = if in_time { TaskState::Completed } else { TaskState::Active };
        assert_eq!(world.state("film", "a"), expected);
    }
}

#[test]
fn a_shrinking_pool_waits_for_tasks_if_asked_to_and_a_deleted_one_does_not() {
    let mut world = world(2, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    world.start(1);
    let option = DrainOption::TaskCompletion;
    world.command(Command::ResizePool { pool: pool_id(), target: 1, timeout: None, option, if_match: None });
    world.check();
    let leaving = world.rows.nodes.iter().filter(|row| row.state == NodeState::LeavingPool).count();
    assert_eq!((leaving, world.rows.nodes.len()), (1, 2));
    world.command(Command::DeletePool { pool: pool_id(), if_match: None });
    world.check();
    assert_eq!((world.rows.nodes.len(), world.rows.pools.len()), (0, 0));
}

#[test]
fn what_is_wrong_with_a_node_keeps_further_tasks_away_and_lets_running_ones_be() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    world.health(0, &[NodeError::DISK_PRESSURE, NodeError::CLOCK_SKEW]);
    world.check();
    assert_eq!((world.node(0).state, world.state("film", "a")), (NodeState::Unusable, TaskState::Running));
    world.finish(0, None);
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Unusable, 0));
    let found =
        world.core.explain_task(&world::account(), &job_id("film"), &task_id("b"), world.now).unwrap();
    assert_eq!(found.reasons[0].code(), "NODE_UNUSABLE");
    assert!(found.reasons[0].to_string().contains("DiskPressure: so it is"), "{}", found.reasons[0]);
    assert!(found.can_ever_run);
    world.crash();
    world.connect(0);
    world.health(0, &[NodeError::CLOCK_SKEW]);
    world.check();
    assert_eq!((world.node(0).state, world.node(0).errors.len()), (NodeState::Unusable, 1));
    world.health(0, &[]);
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Idle, 1));
}

#[test]
fn a_node_that_cannot_isolate_as_its_pool_asks_is_unusable_with_words() {
    let level = Some(IsolationLevel::Sandbox);
    let mut world = of_pool(1, PoolSpec { isolation_level: level, ..world::pool(1, 1) });
    assert_eq!(world.node(0).state, NodeState::Unusable);
    assert_eq!(world.node(0).errors[0].code, NodeError::ISOLATION_UNAVAILABLE);
    world.health(0, &[]);
    assert_eq!(world.node(0).state, NodeState::Unusable, "its own word does not change what it can");
    let capabilities = Capabilities { isolation: IsolationLevel::Sandbox, ..facts().capabilities };
    world.connect_as(0, MachineFacts { capabilities, ..facts() });
    world.check();
    assert_eq!((world.node(0).state, world.node(0).errors.len()), (NodeState::Idle, 0));
}

fn tasks(count: u32) -> Vec<TaskSpec> {
    (1..=count).map(|number| task(&format!("t{number}"))).collect()
}

/// Fails the first task of the first node's queue, `count` times, over the tasks' own pauses.
fn fail(world: &mut World, count: u32) {
    for _ in 0..count {
        assert!(!world.machines[0].queue.is_empty(), "the node has nothing to fail");
        world.fail_to_launch(0);
        world.check();
    }
}

#[test]
fn a_node_that_cannot_start_tasks_is_left_alone_for_a_while_and_then_tried_with_one() {
    let mut world = world(1, 4);
    world.add_tasks("film", tasks(12));
    fail(&mut world, 5);
    let row = world.node(0);
    assert_eq!((row.state, row.probation.strikes), (NodeState::Unusable, 1));
    let error = row.all_errors().next().unwrap();
    assert_eq!(error.code, NodeError::LAUNCH_FAILURES);
    assert!(
        error.message.contains("5 attempts in a row") && error.message.contains("no supervisor"),
        "{error:?}"
    );
    assert_eq!(world.machines[0].queue.len(), 0, "what it had not started was taken back");
    world.beat_for(59 * MINUTE / 60);
    assert_eq!(world.machines[0].queue.len(), 0);
    world.beat_for(Duration::from_secs(2));
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Idle, 1));
    assert!(why(&world, "t12").contains(&"NODE_ON_PROBATION"), "{:?}", why(&world, "t12"));
    fail(&mut world, 1);
    assert_eq!((world.node(0).state, world.node(0).probation.strikes), (NodeState::Unusable, 2));
    world.crash();
    world.connect(0);
    world.check();
    world.beat_for(119 * MINUTE / 60);
    assert_eq!(world.node(0).state, NodeState::Unusable, "the second pause is longer");
    world.beat_for(Duration::from_secs(2));
    world.start(0);
    world.finish(0, None);
    world.check();
    assert_eq!(world.node(0).probation, crate::record::Probation::default());
    assert!(world.machines[0].queue.len() >= 4, "all slots are used again");
}

#[test]
fn a_task_that_runs_for_a_minute_ends_the_trial_and_one_from_before_does_not() {
    let mut world = world(1, 4);
    world.add_tasks("film", vec![task("old")]);
    world.start(0);
    world.beat_for(MINUTE);
    world.add_tasks("film", tasks(12));
    fail(&mut world, 5);
    assert_eq!(world.state("film", "old"), TaskState::Running);
    enable(&mut world, 0).unwrap();
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Running, 1));
    world.start(0);
    world.beat_for(59 * MINUTE / 60);
    assert_eq!((world.node(0).probation.strikes, world.machines[0].queue.len()), (1, 0));
    world.crash();
    world.connect(0);
    world.beat_for(Duration::from_secs(2));
    world.check();
    assert_eq!((world.node(0).probation.strikes, world.machines[0].queue.len()), (0, 2));
}

#[test]
fn one_bad_task_does_not_take_a_node_out_of_use_nor_do_failures_with_a_start_between() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("bad")]);
    for _ in 0..6 {
        world.beat_for(2 * MINUTE);
        fail(&mut world, 1);
    }
    assert_eq!((world.node(0).state, world.node(0).probation.strikes), (NodeState::Idle, 0));
    world.add_tasks("film", tasks(8));
    world.start(0);
    world.finish(0, None);
    fail(&mut world, 4);
    world.start(0);
    world.finish(0, None);
    fail(&mut world, 1);
    world.check();
    assert_eq!((world.node(0).probation.launch_failures, world.node(0).probation.strikes), (1, 0));
}

#[test]
fn preparations_that_a_sick_node_failed_are_made_again_when_it_is_tried() {
    let mut world = world(1, 4);
    for name in ["one", "two"] {
        let mut spec = world::job(name);
        spec.preparation = Some(world::preparation("prep"));
        world.command(Command::CreateJob(Box::new(spec)));
        world.add_tasks(name, vec![task("a")]);
    }
    // A preparation that fails for the service's faults is tried six times.
    fail(&mut world, 9);
    assert_eq!(world.node(0).state, NodeState::Unusable);
    while !world.machines[0].queue.is_empty() {
        fail(&mut world, 1);
    }
    let failed = |world: &World| {
        let rows = world.rows.job_nodes.iter();
        rows.filter(|row| row.preparation.result == Some(ExecutionResult::Failure)).count()
    };
    assert_ne!(failed(&world), 0);
    enable(&mut world, 0).unwrap();
    world.check();
    assert_eq!((failed(&world), world.machines[0].queue.len()), (0, 1));
}

#[test]
fn what_was_to_be_stopped_is_not_held_against_the_node_however_it_ends() {
    let mut world = world(1, 1);
    for round in 0..6 {
        let id = format!("t{round}");
        world.add_tasks("film", vec![task(&id)]);
        let queued = std::mem::take(&mut world.machines[0].queue);
        world.command(Command::TerminateTask { job: job_id("film"), task: task_id(&id), if_match: None });
        world.machines[0].queue = queued;
        fail(&mut world, 1);
    }
    assert_eq!((world.node(0).state, world.node(0).probation.launch_failures), (NodeState::Idle, 0));
}

#[test]
fn a_failed_start_task_is_tried_again_by_the_clock_or_by_hand() {
    let mut world = of_pool(1, PoolSpec { start_task: Some(world::start_task()), ..world::pool(1, 1) });
    world.add_tasks("film", vec![task("a")]);
    assert_eq!(world.node(0).state, NodeState::WaitingForStartTask);
    let failed = Some(ExecutionResult::Failure);
    world.start_task(0, failed);
    world.check();
    assert_eq!(world.node(0).state, NodeState::StartTaskFailed);
    assert_eq!(world.node(0).all_errors().next().unwrap().code, NodeError::START_TASK_FAILED);
    world.beat_for(Duration::from_secs(61));
    assert_eq!(world.machines[0].start_tasks_told, 1);
    world.crash();
    world.connect(0);
    world.check();
    assert_eq!(world.machines[0].start_tasks_told, 2, "the word may have been lost");
    world.start_task(0, None);
    assert_eq!(world.node(0).state, NodeState::WaitingForStartTask);
    world.start_task(0, failed);
    world.check();
    assert_eq!((world.node(0).state, world.node(0).probation.strikes), (NodeState::StartTaskFailed, 2));
    enable(&mut world, 0).unwrap();
    assert_eq!(world.machines[0].start_tasks_told, 3);
    world.start_task(0, Some(ExecutionResult::Success));
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Idle, 1));
    assert_eq!(world.node(0).probation, crate::record::Probation::default());
}

#[test]
fn a_start_task_that_a_restart_ends_is_not_held_against_the_node() {
    let mut world = of_pool(1, PoolSpec { start_task: Some(world::start_task()), ..world::pool(1, 1) });
    world.start_task(0, None);
    restart(&mut world, 0, DrainOption::Requeue, false).unwrap();
    world.start_task(0, Some(ExecutionResult::Failure));
    world.check();
    assert_eq!((world.node(0).state, world.node(0).probation.strikes), (NodeState::Rebooting, 0));
    world.reboot(0);
    world.start_task(0, Some(ExecutionResult::Success));
    world.check();
    assert_eq!(world.node(0).state, NodeState::Idle);
}

#[test]
fn a_boot_is_a_trial_in_itself() {
    let mut world = world(1, 2);
    world.add_tasks("film", tasks(12));
    fail(&mut world, 5);
    world.reboot(0);
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].queue.len()), (NodeState::Idle, 1));
    assert_eq!(world.node(0).probation.strikes, 1);
}

#[test]
fn a_task_names_only_users_that_its_pool_has() {
    let user = |name: &str| UserName::parse(name).unwrap();
    let account = UserAccount { name: user("render"), elevation: ElevationLevel::NonAdmin, ids: None };
    let named = |name: &str| UserIdentity::Named(user(name));
    let spec = PoolSpec { user_accounts: vec![account], ..world::pool(0, 1) };
    let mut world = of_pool(0, spec.clone());
    let of = |id: &str, name: &str| TaskSpec { user_identity: named(name), ..task(id) };
    let Reply::Tasks(refused) = world.add_tasks("film", vec![of("a", "render"), of("b", "root")]) else {
        panic!("not about tasks")
    };
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].index, refused[0].code.as_str()), (1, "InvalidPropertyValue"));
    assert!(refused[0].message.contains("user 'root'") && refused[0].message.contains("user_accounts"));
    let mut sweep = world::sweep("s", 3);
    sweep.template.user_identity = named("root");
    let create = Command::CreateSweep { job: job_id("film"), sweep: Box::new(sweep) };
    assert_eq!(code(world.try_command(create)), "InvalidPropertyValue");
    for part in 0..3 {
        let mut job = world::job("other");
        let mut preparation = world::preparation("prep");
        let mut release = world::release("rel");
        match part {
            0 => preparation.user_identity = named("root"),
            1 => release.user_identity = named("root"),
            _ => {
                job.manager = Some(muster_model::spec::JobManagerSpec {
                    task: of("manager", "root"),
                    kill_job_on_completion: true,
                    run_exclusive: false,
                });
            }
        }
        (job.preparation, job.release) = (Some(preparation), Some(release));
        assert_eq!(
            code(world.try_command(Command::CreateJob(Box::new(job)))),
            "InvalidPropertyValue",
            "{part}"
        );
    }
    let start_task =
        Some(muster_model::spec::StartTaskSpec { user_identity: named("root"), ..world::start_task() });
    let patch = muster_model::spec::PoolPatch { start_task: Some(start_task.clone()), ..Default::default() };
    let update = Command::UpdatePool { pool: pool_id(), patch, if_match: None };
    assert_eq!(code(world.try_command(update)), "InvalidPropertyValue");
    let id = muster_model::PoolId::parse("second").unwrap();
    let create = Command::CreatePool(PoolSpec { id, start_task, ..spec });
    assert_eq!(code(world.try_command(create)), "InvalidPropertyValue");
    world.check();
}

#[test]
fn a_preparation_that_a_drain_ends_is_made_again_and_not_held_against_the_node() {
    let mut world = world(1, 1);
    let mut spec = world::job("clip");
    spec.preparation = Some(world::preparation("prep"));
    world.command(Command::CreateJob(Box::new(spec)));
    let mut once = task("a");
    once.constraints.max_task_retry_count = Some(RetryLimit::Times(0));
    world.add_tasks("clip", vec![once]);
    world.start(0);
    world.check();
    assert_eq!(world.state("clip", "a"), TaskState::Preparing);
    world.disconnect(0);
    disable(&mut world, 0, DrainOption::Requeue, None).unwrap();
    world.check();
    assert_eq!(world.state("clip", "a"), TaskState::Active, "it was not with the node yet");
    enable(&mut world, 0).unwrap();
    world.connect(0);
    world.check();
    world.disconnect(0);
    disable(&mut world, 0, DrainOption::Terminate, None).unwrap();
    world.connect(0);
    world.check();
    assert_eq!((world.node(0).state, world.machines[0].running.len()), (NodeState::Offline, 0));
    enable(&mut world, 0).unwrap();
    world.check();
    let prepares = |world: &World| {
        let machine = &world.machines[0];
        machine.queue.iter().chain(&machine.running).any(|attempt| attempt.task == task_id("prep"))
    };
    assert!(world.state("clip", "a") == TaskState::Completed || prepares(&world));
}
