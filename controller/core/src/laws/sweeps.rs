//! Stories of sweeps: what members cost, how they become tasks, and what happens to many of them at once.
//!
//! Each story is one promise of the issue; every step of a story is followed by a check of all laws.

use super::world::{self, World, job_id, task_id};
use crate::input::Command;
use crate::reject::Reject;
use crate::task::Phase;
use muster_model::cause::Cause;
use muster_model::spec::{DependencyGroup, Quota, RetryLimit, SweepMembers, TaskSet, TaskSpec};
use muster_model::state::{OnDependencyFailure, TaskState};
use muster_model::{FailureInfo, SweepId};

fn sweep_id(text: &str) -> SweepId {
    SweepId::parse(text).unwrap()
}

/// A pool with one node of `slots` slots and a job `film`.
fn film(slots: u32) -> (World, usize) {
    let mut world = World::new();
    world.command(Command::CreatePool(world::pool(1, slots)));
    world.command(Command::CreateJob(Box::new(world::job("film"))));
    let node = world.join();
    world.check();
    (world, node)
}

fn add_sweep(world: &mut World, id: &str, count: u64) {
    let sweep = Box::new(world::sweep(id, count));
    world.command(Command::CreateSweep { job: job_id("film"), sweep });
    world.check();
}

/// Lets a node run what it holds, again and again, until it holds nothing.
fn run_dry(world: &mut World, node: usize) {
    loop {
        world.start(node);
        if world.machines[node].running.is_empty() {
            break;
        }
        world.finish(node, None);
    }
    world.check();
}

fn failure() -> FailureInfo {
    FailureInfo::new(Cause::ExitCode, "exit code 1")
}

/// A task that waits for a part of a sweep.
fn after(id: &str, sweep: &str, quota: Quota) -> TaskSpec {
    let members = SweepMembers { sweep: sweep_id(sweep), numbers: None };
    let tasks = TaskSet { sweeps: vec![members], ..TaskSet::default() };
    let mut task = world::task(id);
    task.depends_on.groups.push(DependencyGroup { tasks, quota, ..DependencyGroup::default() });
    task
}

#[test]
fn a_sweep_is_one_row_until_its_members_start_and_then_runs_in_order() {
    let (mut world, node) = film(2);
    add_sweep(&mut world, "frame", 12);
    assert_eq!((world.rows.sweeps.len(), world.rows.members.len()), (1, 2));
    assert_eq!(format!("{:?}", world.rows.sweeps[0].1.pending), "2-11");
    let order: Vec<_> = world.machines[node].queue.iter().map(|a| a.task.to_string()).collect();
    assert_eq!(order, ["frame-01", "frame-02"]);
    run_dry(&mut world, node);
    let counts = world.core.task_counts(&world::account(), &job_id("film")).unwrap();
    assert_eq!((counts.active, counts.running, counts.succeeded), (0, 0, 12));
    let of_sweep = world.core.sweep_counts(&world::account(), &job_id("film"), &sweep_id("frame")).unwrap();
    assert_eq!(of_sweep, counts);
}

#[test]
fn a_sweep_of_a_hundred_million_costs_its_runs_and_not_its_members() {
    // A step that touched each member would not end before the test is stopped, or run out of memory.
    let (mut world, node) = film(2);
    add_sweep(&mut world, "frame", 100_000_000);
    let (job, sweep) = (job_id("film"), sweep_id("frame"));
    world.command(Command::TerminateSweep { job, sweep, numbers: None });
    world.check();
    run_dry(&mut world, node);
    let counts = world.core.task_counts(&world::account(), &job_id("film")).unwrap();
    assert_eq!((counts.active, counts.running, counts.failed), (0, 0, 100_000_000));
    assert_eq!(world.rows.members.len(), 2, "only the members that were on the node are rows");
}

#[test]
fn the_failed_members_of_a_sweep_are_tried_again_together() {
    let (mut world, node) = film(1);
    add_sweep(&mut world, "frame", 4);
    world.start(node);
    world.finish(node, Some(failure()));
    let cancelled =
        Command::TerminateSweep { job: job_id("film"), sweep: sweep_id("frame"), numbers: Some((3, 4)) };
    world.command(cancelled);
    world.check();
    run_dry(&mut world, node);
    let counts = world.core.task_counts(&world::account(), &job_id("film")).unwrap();
    assert_eq!((counts.succeeded, counts.failed), (1, 3));
    let (job, sweep) = (job_id("film"), sweep_id("frame"));
    world.command(Command::ReactivateSweep { job, sweep, numbers: None });
    world.check();
    run_dry(&mut world, node);
    let counts = world.core.task_counts(&world::account(), &job_id("film")).unwrap();
    assert_eq!((counts.active, counts.succeeded, counts.failed), (0, 4, 0));
    assert_eq!(world.row("film", "frame-1").attempt, 2, "attempt numbers only grow");
}

#[test]
fn one_member_is_named_with_or_without_its_zeros() {
    let (mut world, _) = film(1);
    add_sweep(&mut world, "frame", 100);
    let job = || job_id("film");
    world.command(Command::TerminateTask { job: job(), task: task_id("frame-50"), if_match: None });
    world.check();
    assert_eq!(world.state("film", "frame-050"), TaskState::Completed);
    let again =
        world.try_command(Command::TerminateTask { job: job(), task: task_id("FRAME-050"), if_match: None });
    assert!(matches!(again, Err(Reject::TaskState { state: TaskState::Completed, .. })));
    world.command(Command::DeleteTask { job: job(), task: task_id("frame-51"), if_match: None });
    world.check();
    let gone =
        world.try_command(Command::DeleteTask { job: job(), task: task_id("frame-051"), if_match: None });
    assert!(matches!(gone, Err(Reject::TaskNotFound { .. })));
    let counts = world.core.task_counts(&world::account(), &job()).unwrap();
    assert_eq!((counts.active, counts.failed), (98, 1));
}

#[test]
fn names_of_members_are_taken() {
    let (mut world, _) = film(1);
    add_sweep(&mut world, "frame", 100);
    let refused = world.add_tasks("film", vec![world::task("frame-7")]);
    let crate::reply::Reply::Tasks(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(
        refused[0].message,
        "job 'film' already has a task 'frame-007': choose another id or delete it first"
    );
    world.add_tasks("film", vec![world::task("other-003")]);
    let sweep = Box::new(world::sweep("other", 5));
    let taken = world.try_command(Command::CreateSweep { job: job_id("film"), sweep });
    assert!(matches!(taken, Err(Reject::TaskExists { .. })));
    let sweep = Box::new(world::sweep("FRAME", 5));
    let taken = world.try_command(Command::CreateSweep { job: job_id("film"), sweep });
    assert!(matches!(taken, Err(Reject::SweepExists { .. })));
    world.check();
}

#[test]
fn ninety_percent_of_a_sweep_are_enough_where_that_is_asked() {
    let (mut world, node) = film(1);
    add_sweep(&mut world, "frame", 10);
    world.add_tasks(
        "film",
        vec![after("most", "frame", Quota::Percent(90)), after("all", "frame", Quota::All)],
    );
    world.check();
    world.start(node);
    world.finish(node, Some(failure()));
    for _ in 0..9 {
        assert!(world.machines[node].queue.iter().all(|attempt| attempt.task != task_id("most")));
        world.start(node);
        world.finish(node, None);
    }
    world.check();
    assert!(world.machines[node].queue.iter().any(|attempt| attempt.task == task_id("most")));
    run_dry(&mut world, node);
    assert_eq!(world.state("film", "most"), TaskState::Completed);
    assert_eq!(world.state("film", "all"), TaskState::Active, "one of ten has failed");
}

#[test]
fn a_sweep_may_wait_for_another_and_be_skipped_with_it() {
    let mut world = World::new();
    world.command(Command::CreatePool(world::pool(1, 1)));
    let mut spec = world::job("film");
    spec.on_dependency_failure = OnDependencyFailure::Fail;
    world.command(Command::CreateJob(Box::new(spec)));
    let node = world.join();
    add_sweep(&mut world, "frame", 2);
    let mut second = world::sweep("second", 1_000_000);
    second.template.depends_on = after("x", "frame", Quota::All).depends_on;
    world.command(Command::CreateSweep { job: job_id("film"), sweep: Box::new(second) });
    world.check();
    world.start(node);
    world.finish(node, Some(failure()));
    world.check();
    let counts = world.core.sweep_counts(&world::account(), &job_id("film"), &sweep_id("second")).unwrap();
    assert_eq!((counts.active, counts.failed), (0, 1_000_000));
    assert_eq!(world.rows.members.len(), 2, "members that never ran are no rows");
}

#[test]
fn a_deleted_sweep_is_gone_when_its_last_member_has_ended() {
    let (mut world, node) = film(2);
    add_sweep(&mut world, "frame", 10);
    world.start(node);
    world.finish(node, None);
    world.start(node);
    let (job, sweep) = (job_id("film"), sweep_id("frame"));
    // The node has not answered yet: a kill is delivered at once in this world, so take the node away first.
    world.disconnect(node);
    world.command(Command::DeleteSweep { job: job.clone(), sweep: sweep.clone() });
    world.check();
    assert!(world.rows.sweeps[0].1.deleting);
    let again = world.try_command(Command::DeleteSweep { job: job.clone(), sweep: sweep.clone() });
    assert!(matches!(again, Err(Reject::SweepBeingDeleted(_))));
    world.connect(node);
    world.check();
    assert!(world.rows.sweeps.is_empty() && world.rows.members.is_empty());
    let counts = world.core.task_counts(&world::account(), &job).unwrap();
    assert_eq!(counts, crate::TaskCounts::default());
    add_sweep(&mut world, "frame", 3);
}

#[test]
fn a_sweep_that_is_on_its_way_out_is_gone_for_those_that_wait_for_it() {
    for (quota, policy) in [
        (Quota::All, OnDependencyFailure::Wait),
        (Quota::Percent(50), OnDependencyFailure::Wait),
        (Quota::AtLeast(2), OnDependencyFailure::Fail),
    ] {
        let mut world = World::new();
        world.command(Command::CreatePool(world::pool(1, 1)));
        let mut spec = world::job("film");
        spec.on_dependency_failure = policy;
        world.command(Command::CreateJob(Box::new(spec)));
        let node = world.join();
        add_sweep(&mut world, "frame", 4);
        world.add_tasks("film", vec![after("merge", "frame", quota)]);
        world.start(node);
        world.disconnect(node);
        let (job, sweep) = (job_id("film"), sweep_id("frame"));
        world.command(Command::DeleteSweep { job, sweep });
        world.check();
        assert_eq!(world.state("film", "merge"), TaskState::Active, "a member still runs: {quota:?}");
        world.connect(node);
        world.check();
        assert_eq!(world.state("film", "merge"), TaskState::Active, "it may come again: {quota:?}");
        assert!(world.machines[node].queue.is_empty());
        add_sweep(&mut world, "frame", 2);
        run_dry(&mut world, node);
        assert_eq!(world.state("film", "merge"), TaskState::Completed, "{quota:?}");
    }
}

#[test]
fn members_share_the_retries_of_their_template() {
    let (mut world, node) = film(1);
    let mut spec = world::sweep("frame", 2);
    spec.template.constraints.max_task_retry_count = Some(RetryLimit::Times(1));
    world.command(Command::CreateSweep { job: job_id("film"), sweep: Box::new(spec) });
    for _ in 0..2 {
        world.start(node);
        world.finish(node, Some(failure()));
    }
    world.check();
    assert_eq!(
        (world.row("film", "frame-1").retry_count, world.state("film", "frame-1")),
        (1, TaskState::Completed)
    );
    let job = world.core.tenants().next().unwrap().1.jobs.values().next().unwrap();
    assert_eq!(
        job.find(&task_id("frame-1")).unwrap().phase(),
        Phase::Completed(muster_model::state::ExecutionResult::Failure)
    );
}

#[test]
fn a_range_that_no_member_has_is_refused_with_the_numbers_that_there_are() {
    let (mut world, _) = film(1);
    add_sweep(&mut world, "frame", 4);
    let (job, sweep) = (job_id("film"), sweep_id("frame"));
    let refused =
        world.try_command(Command::TerminateSweep { job, sweep, numbers: Some((7, 9)) }).unwrap_err();
    assert_eq!(refused.to_string(), "sweep 'frame' has no members from 7 to 9: its numbers go from 1 to 4");
}
