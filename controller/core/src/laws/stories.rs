//! Single cases, told one by one: what a user or an operator would see.
//!
//! Each is a sentence that a person could object to. Whatever holds for every history is in `random` instead.

use super::world::*;
use crate::input::{Command, Input};
use crate::reply::Reply;
use muster_model::cause::Cause;
use muster_model::spec::{DependsOn, RetryLimit, TaskSet};
use muster_model::state::*;
use muster_model::*;
use std::time::Duration;

fn world(nodes: usize, slots: u32) -> World {
    let mut world = World::new();
    world.command(Command::CreatePool(pool(u32::try_from(nodes).unwrap(), slots)));
    for _ in 0..nodes {
        world.join();
    }
    world.command(Command::CreateJob(Box::new(job("film"))));
    world
}

fn exit_code() -> Option<FailureInfo> {
    Some(FailureInfo::new(Cause::ExitCode, "exit code 1"))
}

/// Plain dependencies on tasks by id.
fn on(ids: &[&str]) -> DependsOn {
    let ids = ids.iter().map(|id| task_id(id)).collect();
    DependsOn { tasks: TaskSet { ids, ..TaskSet::default() }, groups: Vec::new() }
}

#[test]
fn a_task_runs_where_there_is_room_and_its_success_frees_its_dependents() {
    let mut world = world(1, 1);
    let mut merge = task("merge");
    merge.depends_on = on(&["a", "b"]);
    world.add_tasks("film", vec![merge, task("a"), task("b")]);
    for name in ["a", "b", "merge"] {
        assert_eq!(world.machines[0].queue.len(), 1);
        world.start(0);
        assert_eq!(world.state("film", name), TaskState::Running, "{name}");
        world.finish(0, None);
        assert_eq!(world.state("film", name), TaskState::Completed);
        world.check();
    }
    assert!(world.machines[0].queue.is_empty());
}

#[test]
fn a_failed_dependency_leaves_its_dependents_waiting_until_it_succeeds() {
    let mut world = world(1, 1);
    let mut merge = task("merge");
    merge.depends_on = on(&["a"]);
    world.add_tasks("film", vec![task("a"), merge]);
    world.start(0);
    world.finish(0, exit_code());
    assert_eq!(world.state("film", "merge"), TaskState::Active);
    assert!(world.machines[0].queue.is_empty());
    world.command(Command::ReactivateTask { job: job_id("film"), task: task_id("a"), if_match: None });
    world.start(0);
    world.finish(0, None);
    assert_eq!(world.machines[0].queue.len(), 1);
}

#[test]
fn user_failures_are_retried_as_often_as_asked_and_no_more() {
    let mut world = world(1, 1);
    let mut flaky = task("flaky");
    flaky.constraints.max_task_retry_count = Some(RetryLimit::Times(2));
    world.add_tasks("film", vec![flaky]);
    for _ in 0..3 {
        world.start(0);
        world.finish(0, exit_code());
    }
    let row = world.row("film", "flaky");
    assert_eq!((row.state, row.attempt, row.retry_count), (TaskState::Completed, 3, 2));
    assert_eq!(world.starts[&TaskKey { job: job_id("film"), task: task_id("flaky") }], 3);
}

#[test]
fn files_of_deleted_tasks_are_removed_where_their_last_attempts_ran_and_nowhere_else() {
    let mut world = world(1, 1);
    let mut never = task("d");
    never.depends_on = on(&["nobody"]);
    world.add_tasks("film", vec![task("a"), task("b"), task("c"), never]);
    for _ in 0..2 {
        world.start(0);
        world.finish(0, None);
    }
    world.start(0);
    let delete =
        |name: &str| Command::DeleteTask { job: job_id("film"), task: task_id(name), if_match: None };
    let names = |world: &World| {
        world.machines[0].cleared.iter().map(|attempt| attempt.task.as_str().to_owned()).collect::<Vec<_>>()
    };
    world.command(delete("d"));
    assert_eq!(names(&world), [""; 0], "it never ran");
    world.command(delete("a"));
    assert_eq!(names(&world), ["a"]);
    // It runs, so it is ended first; only then the world lets it be told (an attempt that is held is never named).
    world.command(delete("c"));
    assert_eq!(names(&world), ["a", "c"]);
    world.command(Command::DeleteJob { job: job_id("film"), if_match: None });
    assert_eq!(names(&world), ["a", "c", "b"]);
    world.check();
}

#[test]
fn one_live_attempt() {
    let mut world = world(2, 1);
    let mut only = task("only");
    only.constraints.max_task_retry_count = Some(RetryLimit::Times(1));
    world.add_tasks("film", vec![only]);
    let first = world.machines.iter().position(|m| !m.queue.is_empty()).unwrap();
    world.start(first);
    world.disconnect(first);
    // Neither the cut nor the end of the lease alone lets the task go elsewhere, only lease plus margin.
    for _ in 0..6 {
        world.pass(Duration::from_secs(5));
        world.heartbeat(1 - first);
        assert!(world.machines[1 - first].queue.is_empty());
        world.check();
    }
    world.pass(Duration::from_secs(5));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.machines[1 - first].queue.len(), 1);
    world.start(1 - first);
    // The old node comes back with a result: it is refused, by number.
    world.connect(first);
    let row = world.row("film", "only");
    assert_eq!((row.state, row.attempt), (TaskState::Running, 2));
    world.finish(1 - first, None);
    assert_eq!(world.row("film", "only").result, Some(ExecutionResult::Success));
    world.check();
}

#[test]
fn without_retries_a_lost_node_fails_the_task_rather_than_running_it_twice() {
    let mut world = world(2, 1);
    world.add_tasks("film", vec![task("once")]);
    let first = world.machines.iter().position(|m| !m.queue.is_empty()).unwrap();
    world.start(first);
    world.disconnect(first);
    world.pass(Duration::from_secs(36));
    let row = world.row("film", "once");
    assert_eq!((row.state, row.result), (TaskState::Completed, Some(ExecutionResult::Failure)));
    let failure = row.failure.as_ref().unwrap();
    assert_eq!(failure.cause, Cause::NodeLost);
    assert!(failure.message.contains("at most once"), "{}", failure.message);
    world.check();
}

#[test]
fn a_restarted_controller_waits_a_full_lease_and_keeps_what_nodes_still_hold() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a")]);
    world.start(0);
    world.crash();
    world.pass(Duration::from_secs(20));
    assert_eq!(world.state("film", "a"), TaskState::Running);
    world.connect(0);
    world.finish(0, None);
    assert_eq!(world.row("film", "a").result, Some(ExecutionResult::Success));
    assert_eq!(world.row("film", "a").attempt, 1);
    world.check();
}

#[test]
fn what_a_node_never_received_goes_back_to_waiting_without_cost() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a")]);
    world.machines[0].queue.clear();
    world.crash();
    world.connect(0);
    assert_eq!(world.machines[0].queue.len(), 1);
    let row = world.row("film", "a");
    assert_eq!((row.attempt, row.retry_count, row.server_retry_count), (2, 0, 0));
    world.check();
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_changes_nothing() {
    let mut world = world(0, 1);
    let request = RequestId::parse("r1").unwrap();
    let ask = |world: &mut World, tasks| {
        let command = Command::CreateTasks { job: job_id("film"), tasks };
        world.input(Input::Client { account: account(), request_id: Some(request.clone()), command })
    };
    assert_eq!(ask(&mut world, vec![task("a")]), Ok(Reply::Tasks(Vec::new())));
    assert_eq!(ask(&mut world, vec![task("a")]), Ok(Reply::Tasks(Vec::new())));
    assert!(ask(&mut world, vec![task("b")]).unwrap_err().to_string().contains("r1"));
    world.crash();
    assert_eq!(ask(&mut world, vec![task("a")]), Ok(Reply::Tasks(Vec::new())));
    assert_eq!(world.rows.tasks.len(), 1);
    world.check();
}

#[test]
fn an_account_is_made_once_however_often_its_request_is_repeated() {
    let mut world = world(0, 1);
    let key = AccessKey::from_bytes([3; 32]);
    let ask = |world: &mut World, id: &str| {
        let command = Command::CreateAccount(crate::input::NewAccount {
            name: AccountName::parse("guests").unwrap(),
            display_name: String::new(),
            is_operator: false,
            primary: key.clone(),
            secondary: key.clone(),
        });
        let request_id = Some(RequestId::parse(id).unwrap());
        world.input(Input::Client { account: account(), request_id, command })
    };
    assert_eq!(ask(&mut world, "r1"), Ok(Reply::Done));
    assert_eq!(ask(&mut world, "r1"), Ok(Reply::Done));
    assert_eq!(ask(&mut world, "r2").unwrap_err().code(), "AccountExists");
    assert_eq!(world.rows.accounts.len(), 2);
    world.check();
}

#[test]
fn one_bad_task_does_not_hold_up_the_others() {
    let mut world = world(1, 2);
    let mut wide = task("wide");
    wide.resources.slots = 3;
    let mut own = task("own");
    own.depends_on = on(&["own"]);
    let Reply::Tasks(refused) = world.add_tasks("film", vec![task("a"), wide, task("A"), own]) else {
        panic!()
    };
    let codes: Vec<_> = refused.iter().map(|r| (r.index, r.code.as_str())).collect();
    assert_eq!(codes, [(1, "InvalidPropertyValue"), (2, "TaskExists"), (3, "DependencyCycle")]);
    assert!(refused[0].message.contains("has 2 task slots per node; task 'wide' asks for 3"));
    world.check();
}

#[test]
fn a_higher_priority_goes_first_and_age_decides_between_equals() {
    let mut world = world(0, 1);
    let mut urgent = job("urgent");
    urgent.priority = 5;
    world.command(Command::CreateJob(Box::new(urgent)));
    world.add_tasks("film", vec![task("f1"), task("f2")]);
    world.add_tasks("urgent", vec![task("u1")]);
    let node = world.join();
    let mut order = Vec::new();
    while let Some(next) = world.machines[node].queue.first().cloned() {
        order.push(next.task.to_string());
        world.start(node);
        world.pass(Duration::from_secs(1));
        world.heartbeat(node);
        world.finish(node, None);
    }
    assert_eq!(order, ["u1", "f1", "f2"]);
}

#[test]
fn a_task_finds_the_one_node_that_is_large_enough_among_many() {
    let mut world = world(80, 1);
    let mut large = task("large");
    large.resources.memory_bytes = 2 << 30;
    world.add_tasks("film", vec![large]);
    assert!(world.machines.iter().all(|machine| machine.queue.is_empty()));
    let mut facts = facts();
    facts.capacity.memory_bytes = 4 << 30;
    world.connect_as(79, facts);
    assert_eq!(world.machines[79].queue.len(), 1);
    world.check();
}

#[test]
fn a_job_ends_by_itself_when_all_tasks_are_complete_and_it_was_asked_to() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a")]);
    let patch = spec::JobPatch {
        on_all_tasks_complete: Some(OnAllTasksComplete::TerminateJob),
        ..spec::JobPatch::default()
    };
    world.command(Command::UpdateJob { job: job_id("film"), patch, if_match: None });
    assert_eq!(world.rows.jobs[0].state, JobState::Active);
    world.start(0);
    world.finish(0, None);
    let row = &world.rows.jobs[0];
    assert_eq!((row.state, row.terminate_reason.as_deref()), (JobState::Completed, Some("AllTasksComplete")));
    world.check();
}

#[test]
fn terminating_a_job_ends_running_tasks_by_their_nodes_and_waiting_ones_at_once() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    world.disconnect(0);
    world.command(Command::TerminateJob {
        job: job_id("film"),
        reason: "UserTerminate".to_owned(),
        if_match: None,
    });
    assert_eq!(world.rows.jobs[0].state, JobState::Terminating);
    assert_eq!(world.state("film", "b"), TaskState::Completed);
    assert_eq!(world.state("film", "a"), TaskState::Running);
    world.connect(0);
    assert!(world.machines[0].running.is_empty());
    assert_eq!(world.rows.jobs[0].state, JobState::Completed);
    assert_eq!(world.row("film", "a").failure.as_ref().unwrap().cause, Cause::Terminated);
    world.check();
}

#[test]
fn a_shrinking_pool_relieves_its_nodes_before_they_go() {
    let mut world = world(2, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    world.start(0);
    world.start(1);
    let option = DrainOption::Requeue;
    let resize = Command::ResizePool { pool: pool_id(), target: 1, timeout: None, option, if_match: None };
    world.command(resize);
    assert_eq!(world.rows.nodes.len(), 1);
    assert_eq!(world.rows.pools[0].allocation_state, AllocationState::Steady);
    let waiting = ["a", "b"].iter().filter(|t| world.state("film", t) == TaskState::Active).count();
    assert_eq!(waiting, 1);
    world.check();
}

#[test]
fn short_tasks_are_sent_ahead_and_taken_back_for_an_idle_node() {
    let mut world = world(1, 1);
    world.add_tasks("film", (0..40).map(|n| task(&n.to_string())).collect());
    world.start(0);
    world.finish(0, None);
    assert!(world.machines[0].queue.len() > 1, "a queue of short tasks");
    world.machines[0].slots = 0;
    let second = world.join();
    assert_eq!(world.machines[second].queue.len(), world.machines[0].queue.len());
    while !world.machines[second].queue.is_empty() {
        world.start(second);
        world.finish(second, None);
    }
    assert_eq!(world.machines[0].queue.len(), 1, "only what fills its own slot is left");
    world.check();
}

#[test]
fn a_token_is_refused_when_unknown_expired_or_used_up() {
    use crate::input::{NewToken, NodeInput};
    use crate::reply::CreatedNode;
    let mut world = world(0, 1);
    let token = TokenId::parse("t").unwrap();
    let secret = Digest::from_bytes([1; 32]);
    let expires = world.now.after(Duration::from_secs(60));
    let new = NewToken { id: token.clone(), secret_hash: secret, pool: pool_id(), expires, uses: 1 };
    world.command(Command::CreateJoinToken(new));
    let join = |world: &mut World, node: &str, secret_hash| {
        let node = CreatedNode { node: NodeId::parse(node).unwrap(), account: None, pool: None };
        let facts = Box::new(facts());
        world.input(Input::Node(NodeInput::Join { token: token.clone(), secret_hash, node, facts }))
    };
    let code = |result: Result<Reply, crate::reject::Reject>| result.unwrap_err().code();
    assert_eq!(code(join(&mut world, "n0", Digest::from_bytes([2; 32]))), "JoinTokenUnknown");
    assert!(join(&mut world, "n1", secret).is_ok());
    assert_eq!(code(join(&mut world, "n2", secret)), "JoinTokenUsedUp");
    world.pass(Duration::from_secs(61));
    assert_eq!(code(join(&mut world, "n3", secret)), "JoinTokenExpired");
    world.check();
}

#[test]
fn numbers_of_creation_never_come_again() {
    let mut world = world(1, 1);
    world.add_tasks("film", vec![task("a"), task("b")]);
    let last = world.rows.tasks[1].0.sequence;
    world.command(Command::DeleteJob { job: job_id("film"), if_match: None });
    world.check();
    world.crash();
    world.command(Command::CreateJob(Box::new(job("film"))));
    assert!(world.rows.jobs[0].sequence > last, "an old attempt on a node is known by it");
}
