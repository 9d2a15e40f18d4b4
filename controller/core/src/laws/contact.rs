//! Stories of contact: words that come late, machines that come back with less than they were given, clocks that are wrong.
//!
//! Found by the simulation; each is told here in the fewest steps.

use super::world::{World, account, facts, job, pool, task};
use crate::input::{Command, Connected, Input, NodeInput, NodeKey, NumberedReport, Report};
use crate::reject::Reject;
use muster_model::cause::Cause;
use muster_model::node::MachineFacts;
use muster_model::spec::{RetryLimit, TaskSpec};
use muster_model::state::TaskState;
use muster_model::{FailureInfo, Timestamp};
use std::time::Duration;

fn world(slots: u32) -> World {
    let mut world = World::new();
    world.command(Command::CreatePool(pool(1, slots)));
    world.join();
    world.command(Command::CreateJob(Box::new(job("film"))));
    world
}

fn with_retries(id: &str, limit: RetryLimit) -> TaskSpec {
    let mut task = task(id);
    task.constraints.max_task_retry_count = Some(limit);
    task
}

fn key(world: &World) -> NodeKey {
    NodeKey { account: account(), node: world.machines[0].id.clone() }
}

#[test]
fn a_hello_that_comes_after_that_of_a_later_connection_takes_nothing_back() {
    let mut world = world(1);
    world.add_tasks("film", vec![task("a")]);
    world.start(0);
    let facts = MachineFacts { boot_id: "b0".to_owned(), ..facts() };
    // It was on its way since before the node was given anything.
    let late =
        Connected { node: key(&world), session: 99, connection: 0, facts, held: vec![], start_task: None };
    let refused = world.input(Input::Node(NodeInput::Connected(Box::new(late))));
    assert!(matches!(refused, Err(Reject::StaleSession(_))), "{refused:?}");
    world.check();
    assert_eq!((world.state("film", "a"), world.row("film", "a").attempt), (TaskState::Running, 1));
    world.finish(0, None);
    assert_eq!(world.state("film", "a"), TaskState::Completed);
}

#[test]
fn what_a_machine_does_not_hold_after_a_boot_may_have_run() {
    let mut world = world(1);
    let tasks = vec![with_retries("once", RetryLimit::Times(0)), with_retries("again", RetryLimit::Times(1))];
    world.add_tasks("film", tasks);
    assert_eq!(world.machines[0].queue.len(), 1);
    // By all that the controller knows it has not started.
    world.reboot(0);
    world.check();
    let row = world.row("film", "once");
    let failure = row.failure.clone().unwrap();
    assert_eq!((row.state, failure.cause), (TaskState::Completed, Cause::NodeLost));
    assert!(
        failure.message.contains("booted anew") && failure.message.contains("at most once"),
        "{failure:?}"
    );
    world.reboot(0);
    world.check();
    assert_eq!(world.state("film", "again"), TaskState::Active, "it may be repeated");
}

#[test]
fn a_node_with_a_wrong_clock_is_tried_with_one_task_all_the_same() {
    let mut world = world(2);
    world.add_tasks("film", (1..=12).map(|number| task(&format!("t{number}"))).collect());
    for _ in 0..5 {
        world.fail_to_launch(0);
    }
    world.beat_for(Duration::from_secs(61));
    assert_eq!(world.machines[0].queue.len(), 1, "it is being tried");
    let attempt = world.machines[0].queue.remove(0);
    world.machines[0].running.insert(attempt.clone());
    let report = Report::Started { attempt: attempt.clone(), time: Timestamp::EPOCH };
    let (node, session) = (key(&world), world.machines[0].session.unwrap());
    let reports = vec![NumberedReport { number: 1_000, report }];
    world.input(Input::Node(NodeInput::Reports { node, session, reports })).unwrap();
    world.check();
    assert_eq!(world.machines[0].queue.len(), 0, "the first one is not taken for one from before");
    world.crash();
    world.connect(0);
    world.check();
    assert_eq!(world.machines[0].queue.len(), 0);
    world.finish(0, Some(FailureInfo::new(Cause::ExitCode, "exit code 1")));
    assert_eq!(
        world.node(0).probation,
        crate::record::Probation::default(),
        "it started what it was tried with"
    );
}
