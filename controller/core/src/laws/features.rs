//! Stories of jobs and tasks in full: managers, preparation and release, exit conditions, retries, limits, placement.
//!
//! Each story is one promise of the model; the stories of sweeps are in `sweeps`, those of nodes and leases in `stories`.

use super::world::{self, World, job_id, task_id};
use crate::input::{Command, DisableTasks};
use crate::reject::Reject;
use muster_model::cause::Cause;
use muster_model::spec::*;
use muster_model::state::*;
use muster_model::{AttemptId, FailureInfo, Resources, Timestamp};
use std::time::Duration;

/// A pool of `slots` slots a node with one node, and the job.
fn on(slots: u32, spec: JobSpec) -> (World, usize) {
    let mut world = World::new();
    world.command(Command::CreatePool(world::pool(1, slots)));
    world.command(Command::CreateJob(Box::new(spec)));
    let node = world.join();
    world.check();
    (world, node)
}

fn failure(cause: Cause) -> Option<FailureInfo> {
    Some(FailureInfo::new(cause, "so it was"))
}

fn queue(world: &World, node: usize) -> Vec<String> {
    world.machines[node].queue.iter().map(|attempt: &AttemptId| attempt.task.to_string()).collect()
}

fn job_state(world: &World) -> JobState {
    world.rows.jobs[0].state
}

#[test]
fn a_job_manager_comes_first_alone_on_its_node_and_ends_the_job() {
    let mut spec = world::job("film");
    spec.manager = Some(JobManagerSpec {
        task: world::task("manager"),
        kill_job_on_completion: true,
        run_exclusive: true,
    });
    let (mut world, node) = on(4, spec);
    world.add_tasks("film", vec![world::task("a"), world::task("b")]);
    world.check();
    assert_eq!(queue(&world, node), ["manager"]);
    let second = world.join();
    world.check();
    assert_eq!(queue(&world, second), ["a", "b"], "another node serves the others meanwhile");
    world.start(node);
    world.start(second);
    world.finish(node, None);
    world.check();
    assert_eq!(world.rows.jobs[0].terminate_reason.as_deref(), Some("JMComplete"));
    assert_eq!(job_state(&world), JobState::Completed);
    assert_eq!(world.row("film", "a").failure.as_ref().unwrap().cause, Cause::Terminated);
}

#[test]
fn a_job_manager_that_is_terminated_ends_the_job_too() {
    let mut spec = world::job("film");
    spec.manager = Some(JobManagerSpec {
        task: world::task("manager"),
        kill_job_on_completion: true,
        run_exclusive: false,
    });
    let (mut world, _) = on(2, spec);
    world.add_tasks("film", vec![world::task("a")]);
    world.command(Command::TerminateTask { job: job_id("film"), task: task_id("manager"), if_match: None });
    world.check();
    assert_eq!(world.rows.jobs[0].terminate_reason.as_deref(), Some("JMComplete"));
    assert_eq!(job_state(&world), JobState::Completed);
}

#[test]
fn tasks_wait_on_their_node_for_the_job_preparation_and_release_follows_the_end() {
    let mut spec = world::job("film");
    spec.preparation = Some(world::preparation("prep"));
    spec.release = Some(world::release("rel"));
    let (mut world, node) = on(2, spec);
    world.add_tasks("film", vec![world::task("a"), world::task("b"), world::task("c")]);
    world.check();
    assert_eq!(queue(&world, node), ["prep"]);
    assert_eq!(world.state("film", "a"), TaskState::Preparing);
    let counts = world.core.task_counts(&world::account(), &job_id("film")).unwrap();
    assert_eq!((counts.active, counts.running), (1, 2), "preparing counts as running");
    world.start(node);
    world.crash();
    world.connect(node);
    world.check();
    world.finish(node, None);
    world.check();
    assert_eq!(queue(&world, node), ["a", "b"]);
    for _ in 0..3 {
        world.start(node);
        world.finish(node, None);
    }
    world.check();
    let end = Command::TerminateJob { job: job_id("film"), reason: "done".to_owned(), if_match: None };
    world.command(end);
    world.check();
    assert_eq!((queue(&world, node), job_state(&world)), (vec!["rel".to_owned()], JobState::Terminating));
    world.start(node);
    world.finish(node, failure(Cause::ExitCode));
    world.check();
    assert_eq!(job_state(&world), JobState::Completed, "a failed release does not hold the job up");
    let row = &world.rows.job_nodes[0];
    assert_eq!(row.preparation.result, Some(ExecutionResult::Success));
    assert_eq!(row.release.as_ref().unwrap().result, Some(ExecutionResult::Failure));
}

#[test]
fn a_failed_preparation_keeps_the_job_off_that_node_only() {
    let mut spec = world::job("film");
    spec.preparation = Some(world::preparation("prep"));
    let (mut world, node) = on(1, spec);
    world.command(Command::CreateJob(Box::new(world::job("other"))));
    world.add_tasks("film", vec![world::task("a")]);
    world.start(node);
    world.finish(node, failure(Cause::ExitCode));
    world.check();
    assert_eq!(world.state("film", "a"), TaskState::Active);
    let why = world.core.explain_task(&world::account(), &job_id("film"), &task_id("a"), world.now).unwrap();
    assert_eq!(why.reasons[0].code(), "JOB_PREPARATION_FAILED");
    assert!(!why.can_ever_run);
    world.add_tasks("other", vec![world::task("b")]);
    assert_eq!(queue(&world, node), ["b"]);
    let second = world.join();
    world.check();
    assert_eq!(queue(&world, second), ["prep"]);
    world.start(node);
    world.finish(node, None);
    world.reboot(node);
    world.check();
    world.add_tasks("film", vec![world::task("c")]);
    assert_eq!(queue(&world, node), ["prep"], "a reboot gives the node another chance");
}

#[test]
fn a_node_that_is_lost_while_it_prepares_costs_its_tasks_nothing() {
    let mut spec = world::job("film");
    spec.preparation = Some(world::preparation("prep"));
    let (mut world, node) = on(1, spec);
    world.add_tasks("film", vec![world::task("a")]);
    world.start(node);
    world.disconnect(node);
    world.pass(Duration::from_secs(60));
    world.check();
    let row = world.row("film", "a");
    assert_eq!((row.state, row.retry_count, row.server_retry_count), (TaskState::Active, 0, 0));
    world.connect(node);
    world.check();
    let prep = world.machines[node].queue.first().unwrap();
    assert_eq!((prep.task.as_str(), prep.number), ("prep", 2), "numbers grow, so that old words are known");
}

#[test]
fn a_preparation_of_an_earlier_boot_does_not_count() {
    let mut spec = world::job("film");
    spec.preparation = Some(world::preparation("prep"));
    let (mut world, node) = on(1, spec);
    world.add_tasks("film", vec![world::task("a")]);
    world.start(node);
    world.disconnect(node);
    // It ends well, but the machine boots anew before it can say so.
    world.finish(node, None);
    world.reboot(node);
    world.check();
    assert_eq!(queue(&world, node), ["prep"], "the node is prepared anew before the task runs there");
}

#[test]
fn exit_conditions_satisfy_dependents_and_act_on_the_job() {
    let mut spec = world::job("film");
    spec.on_task_failure = OnTaskFailure::PerformExitOptionsJobAction;
    let (mut world, node) = on(1, spec);
    let mut a = world::task("a");
    let go_on =
        ExitOptions { job_action: Some(JobAction::None), dependency_action: Some(DependencyAction::Satisfy) };
    a.exit_conditions =
        Some(ExitConditions { pre_processing_error: Some(go_on), ..ExitConditions::default() });
    let mut b = world::task("b");
    b.depends_on.tasks.ids.push(task_id("a"));
    world.add_tasks("film", vec![a, b]);
    assert_eq!(queue(&world, node), ["a"]);
    let attempt = world.machines[node].queue.remove(0);
    world.end_unstarted(node, attempt, FailureInfo::new(Cause::StagingNotFound, "no such file"));
    world.check();
    assert_eq!(world.state("film", "a"), TaskState::Completed);
    assert_eq!(queue(&world, node), ["b"], "the failure satisfies");
    world.start(node);
    world.finish(node, failure(Cause::ExitCode));
    world.check();
    assert_eq!(world.rows.jobs[0].terminate_reason.as_deref(), Some("TaskFailed"));
    assert_eq!(job_state(&world), JobState::Completed);
}

#[test]
fn a_failure_that_satisfied_is_taken_back_when_its_task_is_reactivated() {
    let by_id = TaskSet { ids: vec![task_id("1")], ..TaskSet::default() };
    let by_number = TaskSet { ranges: vec![IdRange { start: 1, end: 1 }], ..TaskSet::default() };
    let by_pattern = TaskSet { globs: vec![TaskGlob::parse("1*").unwrap()], ..TaskSet::default() };
    for tasks in [by_id, by_number, by_pattern] {
        let (mut world, node) = on(1, world::job("film"));
        let mut first = world::task("1");
        let satisfy = ExitOptions { job_action: None, dependency_action: Some(DependencyAction::Satisfy) };
        first.exit_conditions = Some(ExitConditions { default: Some(satisfy), ..ExitConditions::default() });
        let mut both = world::task("both");
        both.depends_on.tasks = tasks.clone();
        both.depends_on.tasks.ids.push(task_id("late"));
        world.add_tasks("film", vec![first, both]);
        world.start(node);
        world.finish(node, failure(Cause::ExitCode));
        let (job, task) = (job_id("film"), task_id("1"));
        world.command(Command::ReactivateTask { job, task, if_match: None });
        world.check();
        world.start(node);
        world.add_tasks("film", vec![world::task("late")]);
        world.finish(node, failure(Cause::ExitCode));
        world.start(node);
        world.finish(node, None);
        world.check();
        assert_eq!(queue(&world, node), ["both"], "{tasks:?}");
    }
}

#[test]
fn an_exit_may_disable_the_job_with_requeue() {
    let mut spec = world::job("film");
    spec.on_task_failure = OnTaskFailure::PerformExitOptionsJobAction;
    let (mut world, node) = on(2, spec);
    let mut a = world::task("a");
    let disable = ExitOptions { job_action: Some(JobAction::Disable), dependency_action: None };
    a.exit_conditions = Some(ExitConditions { default: Some(disable), ..ExitConditions::default() });
    world.add_tasks("film", vec![a, world::task("b")]);
    world.start(node);
    world.finish(node, failure(Cause::ExitCode));
    world.check();
    assert_eq!(job_state(&world), JobState::Disabled);
    assert_eq!((world.state("film", "b"), world.row("film", "b").requeue_count), (TaskState::Active, 1));
    assert!(world.row("film", "b").last_requeue.is_some());
}

#[test]
fn tasks_in_vain_wait_fail_or_are_skipped_as_the_job_says() {
    for (policy, state, result) in [
        (OnDependencyFailure::Wait, TaskState::Active, None),
        (OnDependencyFailure::Fail, TaskState::Completed, Some(ExecutionResult::Failure)),
        (OnDependencyFailure::Skip, TaskState::Completed, Some(ExecutionResult::Success)),
    ] {
        let mut spec = world::job("film");
        spec.on_dependency_failure = policy;
        let (mut world, node) = on(1, spec);
        let mut chain = vec![world::task("t0")];
        for number in 1..200 {
            let mut next = world::task(&format!("t{number}"));
            next.depends_on.tasks.ids.push(task_id(&format!("t{}", number - 1)));
            chain.push(next);
        }
        world.add_tasks("film", chain);
        world.start(node);
        world.finish(node, failure(Cause::ExitCode));
        world.check();
        // One that is skipped satisfies the next; one that fails takes the whole chain with it.
        let told = if policy == OnDependencyFailure::Skip { "t1" } else { "t199" };
        let row = world.row("film", told);
        assert_eq!((row.state, row.result), (state, result), "{policy}");
        if policy == OnDependencyFailure::Fail {
            let told = world.row("film", "t1").failure.clone().unwrap().message;
            assert!(told.contains("waits for") && told.contains("t0"), "{told}");
        }
        let first = world.core.explain_task(&world::account(), &job_id("film"), &task_id("t1"), world.now);
        let never = first.unwrap().reasons.iter().any(|reason| reason.code() == "DEPENDENCY_NEVER_MET");
        assert_eq!(never, policy == OnDependencyFailure::Wait, "{policy}");
    }
}

#[test]
fn on_failure_edges_run_when_and_only_when_something_failed() {
    let (mut world, node) = on(1, world::job("film"));
    let group = |condition, quota| {
        let tasks = TaskSet { ids: vec![task_id("a"), task_id("b")], ..TaskSet::default() };
        DependencyGroup { tasks, condition, quota }
    };
    let mut alarm = world::task("alarm");
    alarm.depends_on.groups.push(group(DependencyCondition::Failed, Quota::AtLeast(1)));
    let mut always = world::task("always");
    always.depends_on.groups.push(group(DependencyCondition::Completed, Quota::All));
    world.add_tasks("film", vec![world::task("a"), world::task("b"), alarm, always]);
    world.start(node);
    world.finish(node, None);
    world.check();
    assert_eq!(queue(&world, node), ["b"]);
    world.start(node);
    world.finish(node, failure(Cause::ExitCode));
    world.check();
    assert_eq!(queue(&world, node), ["alarm", "always"], "short tasks are sent ahead");
}

#[test]
fn memory_grows_after_it_ran_out_and_costs_no_retry() {
    let (mut world, node) = on(1, world::job("film"));
    let mut hog = world::task("hog");
    hog.resources.memory_bytes = 1 << 28;
    hog.constraints.on_out_of_memory = Some(MemoryEscalation { factor_millis: 2000, max_bytes: 1 << 29 });
    world.add_tasks("film", vec![hog]);
    world.start(node);
    world.finish(node, failure(Cause::OutOfMemory));
    world.check();
    let row = world.row("film", "hog");
    assert_eq!((row.memory_bytes, row.retry_count, row.attempt), (Some(1 << 29), 0, 2));
    world.crash();
    world.connect(node);
    world.start(node);
    world.finish(node, failure(Cause::OutOfMemory));
    world.check();
    assert_eq!(world.state("film", "hog"), TaskState::Completed, "there is no more to give");
}

#[test]
fn a_task_under_which_three_nodes_are_lost_is_stopped_and_says_so() {
    let mut spec = world::job("film");
    spec.constraints.max_task_retry_count = RetryLimit::Unlimited;
    let (mut world, first) = on(1, spec);
    world.add_tasks("film", vec![world::task("poison")]);
    let mut nodes = vec![first];
    while world.state("film", "poison") != TaskState::Completed {
        assert!(nodes.len() < 5, "it must be stopped after three nodes");
        nodes.push(world.join());
        for node in &nodes {
            world.start(*node);
        }
        let holder = nodes.iter().copied().find(|node| !world.machines[*node].running.is_empty());
        if let Some(holder) = holder {
            world.disconnect(holder);
        }
        world.beat_for(Duration::from_secs(120));
        world.check();
    }
    let row = world.row("film", "poison");
    assert_eq!(row.nodes_lost.len(), 3);
    assert!(row.failure.as_ref().unwrap().message.contains("3 nodes were lost while they ran it"));
}

#[test]
fn a_circle_that_closed_meanwhile_is_refused_when_its_task_is_reactivated() {
    let (mut world, _) = on(1, world::job("film"));
    let waits_for = |id: &str, other: &str| {
        let mut task = world::task(id);
        task.depends_on.tasks.ids.push(task_id(other));
        task
    };
    world.add_tasks("film", vec![waits_for("a", "b")]);
    world.command(Command::TerminateTask { job: job_id("film"), task: task_id("a"), if_match: None });
    world.add_tasks("film", vec![waits_for("b", "a")]);
    world.check();
    let (job, task) = (job_id("film"), task_id("a"));
    let refused = world.try_command(Command::ReactivateTask { job, task, if_match: None });
    assert!(matches!(refused, Err(Reject::DependencyCycle { .. })), "{refused:?}");
    world.check();
}

#[test]
fn max_parallel_tasks_holds_and_changes_live() {
    let mut spec = world::job("film");
    spec.max_parallel_tasks = Some(1);
    let (mut world, node) = on(4, spec);
    world.add_tasks("film", (0..4).map(|n| world::task(&format!("t{n}"))).collect());
    assert_eq!(queue(&world, node), ["t0"]);
    let why = world.core.explain_task(&world::account(), &job_id("film"), &task_id("t1"), world.now).unwrap();
    assert_eq!(why.reasons[0].code(), "MAX_PARALLEL_TASKS");
    let patch = JobPatch { max_parallel_tasks: Some(None), ..JobPatch::default() };
    world.command(Command::UpdateJob { job: job_id("film"), patch, if_match: None });
    world.check();
    assert_eq!(queue(&world, node).len(), 4);
}

#[test]
fn a_large_old_task_is_not_overtaken_for_ever_by_small_young_ones() {
    let (mut world, node) = on(2, world::job("film"));
    // Tasks that ask for more than slots are never sent ahead.
    let sized = |id: String, slots| {
        let mut task = world::task(&id);
        task.resources = Resources { slots, cpu_millis: 1, ..Resources::default() };
        task
    };
    world.add_tasks("film", vec![sized("s0".into(), 1), sized("s1".into(), 1), sized("large".into(), 2)]);
    world.add_tasks("film", (2..8).map(|n| sized(format!("s{n}"), 1)).collect());
    world.start(node);
    world.finish(node, None);
    world.check();
    assert!(queue(&world, node).is_empty(), "the free slot is kept for the large one");
    let why = world.core.explain_task(&world::account(), &job_id("film"), &task_id("s5"), world.now).unwrap();
    assert!(why.reasons.iter().any(|reason| reason.code() == "NODE_KEPT_FREE"), "{:?}", why.reasons);
    world.finish(node, None);
    world.check();
    assert_eq!(queue(&world, node), ["large"]);
}

#[test]
fn what_a_kept_node_has_to_spare_is_used_meanwhile() {
    let (mut world, node) = on(4, world::job("film"));
    let hungry = |id: &str| {
        let mut task = world::task(id);
        task.resources.memory_bytes = 600 << 20;
        task
    };
    world.add_tasks("film", vec![hungry("m0"), hungry("m1"), world::task("small")]);
    world.check();
    assert_eq!(queue(&world, node), ["m0", "small"], "the small one takes nothing that m1 waits for");
}

#[test]
fn affinity_is_a_wish() {
    let (mut world, first) = on(1, world::job("film"));
    let second = world.join();
    let mut near = world::task("near");
    near.affinity = Some(world.machines[second].id.clone());
    world.add_tasks("film", vec![near.clone()]);
    assert_eq!((queue(&world, first).len(), queue(&world, second)), (0, vec!["near".to_owned()]));
    near.id = task_id("near2");
    world.add_tasks("film", vec![near]);
    world.check();
    assert_eq!(queue(&world, first), ["near2"], "another node is better than waiting");
}

#[test]
fn named_resources_are_counted() {
    let (mut world, node) = on(4, world::job("film"));
    let licensed = |id: &str| {
        let mut task = world::task(id);
        task.resources.named = muster_model::NamedCounts::new([("licence".to_owned(), 1)]);
        task
    };
    world.add_tasks("film", vec![licensed("a"), licensed("b"), world::task("c")]);
    world.check();
    assert_eq!(queue(&world, node), ["a", "c"]);
    let why = world.core.explain_task(&world::account(), &job_id("film"), &task_id("b"), world.now).unwrap();
    let words = why.reasons[0].to_string();
    assert!(words.contains("needs 1 licence") && words.contains("has 0 licence left"), "{words}");
}

#[test]
fn changed_constraints_reach_a_running_attempt_also_after_a_break() {
    let (mut world, node) = on(1, world::job("film"));
    world.add_tasks("film", vec![world::task("a")]);
    world.start(node);
    let constraints =
        TaskConstraints { max_wall_clock_time: Some(Duration::from_secs(9)), ..TaskConstraints::default() };
    world.disconnect(node);
    let (job, task) = (job_id("film"), task_id("a"));
    world.command(Command::UpdateTask { job, task, constraints, if_match: None });
    assert!(world.amended.is_empty());
    world.connect(node);
    world.check();
    assert_eq!(world.amended.values().next().unwrap().max_wall_clock_time, Some(Duration::from_secs(9)));
}

#[test]
fn a_job_changes_its_pool_only_while_disabled() {
    let (mut world, node) = on(1, world::job("film"));
    let mut other = world::pool(0, 1);
    other.id = muster_model::PoolId::parse("other").unwrap();
    let pool = other.id.clone();
    world.command(Command::CreatePool(other));
    let patch = JobPatch { pool: Some(pool.clone()), ..JobPatch::default() };
    let change = || Command::UpdateJob { job: job_id("film"), patch: patch.clone(), if_match: None };
    assert!(matches!(world.try_command(change()), Err(Reject::JobPoolFixed { .. })));
    world.add_tasks("film", vec![world::task("a")]);
    let (job, tasks) = (job_id("film"), DisableTasks::Requeue);
    world.command(Command::DisableJob { job: job.clone(), tasks, if_match: None });
    world.check();
    world.command(change());
    world.command(Command::EnableJob { job, if_match: None });
    world.check();
    assert!(queue(&world, node).is_empty());
    assert_eq!(world.rows.jobs[0].spec.pool, pool);
}

#[test]
fn every_mutation_holds_an_etag_against_what_is_there() {
    let (mut world, _) = on(1, world::job("film"));
    world.add_tasks("film", vec![world::task("a")]);
    let (job, task, stale) = (|| job_id("film"), || task_id("a"), Some(99));
    let commands = [
        Command::TerminateJob { job: job(), reason: String::new(), if_match: stale },
        Command::DisableJob { job: job(), tasks: DisableTasks::Wait, if_match: stale },
        Command::EnableJob { job: job(), if_match: stale },
        Command::DeleteJob { job: job(), if_match: stale },
        Command::UpdateJob { job: job(), patch: JobPatch::default(), if_match: stale },
        Command::TerminateTask { job: job(), task: task(), if_match: stale },
        Command::ReactivateTask { job: job(), task: task(), if_match: stale },
        Command::DeleteTask { job: job(), task: task(), if_match: stale },
        Command::UpdateTask {
            job: job(),
            task: task(),
            constraints: TaskConstraints::default(),
            if_match: stale,
        },
        Command::DeletePool { pool: world::pool_id(), if_match: stale },
        Command::ResizePool {
            pool: world::pool_id(),
            target: 2,
            timeout: None,
            option: DrainOption::Requeue,
            if_match: stale,
        },
        Command::StopResize { pool: world::pool_id(), if_match: stale },
    ];
    for command in commands {
        let before = format!("{:?}", world.rows.jobs);
        let refused = world.try_command(command.clone());
        assert!(matches!(refused, Err(Reject::EtagMismatch { .. })), "{command:?}: {refused:?}");
        assert_eq!(before, format!("{:?}", world.rows.jobs));
    }
}

#[test]
fn a_task_that_has_lived_for_180_days_is_ended() {
    let (mut world, _) = on(1, world::job("film"));
    world.command(Command::DisableJob { job: job_id("film"), tasks: DisableTasks::Wait, if_match: None });
    world.add_tasks("film", vec![world::task("old")]);
    let sweep = Box::new(world::sweep("many", 1_000_000));
    world.command(Command::CreateSweep { job: job_id("film"), sweep });
    world.now = Timestamp::after(world.now, muster_model::limits::TASK_LIFE_MAX - Duration::from_secs(60));
    world.add_tasks("film", vec![world::task("young")]);
    world.now = world.now.after(Duration::from_secs(61));
    world.check();
    assert_eq!(world.state("film", "old"), TaskState::Completed);
    assert_eq!(world.state("film", "young"), TaskState::Active);
    let counts = world.core.task_counts(&world::account(), &job_id("film")).unwrap();
    assert_eq!((counts.active, counts.failed), (1, 1_000_001));
}

#[test]
fn explain_names_the_nearest_miss_and_whether_it_could_ever_run() {
    let (mut world, node) = on(2, world::job("film"));
    let mut huge = world::task("huge");
    huge.resources = Resources { slots: 1, memory_bytes: 32 << 30, ..Resources::default() };
    world.add_tasks("film", vec![huge.clone(), world::task("a"), world::task("b"), world::task("c")]);
    world.start(node);
    let account = world::account();
    let why = world.core.explain_task(&account, &job_id("film"), &task_id("huge"), world.now).unwrap();
    assert!(!why.can_ever_run);
    let words = why.reasons[0].to_string();
    assert!(words.contains("needs 32 GiB") && words.contains("has 1 GiB"), "{words}");
    let why = world.core.explain_task(&account, &job_id("film"), &task_id("c"), world.now).unwrap();
    assert_eq!(why.reasons[0].code(), "NODE_BUSY");
    assert!(why.can_ever_run);
    let job = world.core.explain_job(&account, &job_id("film"), world.now).unwrap();
    let groups: Vec<_> =
        job.waiting.iter().map(|w| (w.count, w.example.to_string(), w.can_ever_run)).collect();
    assert_eq!(groups, [(1, "huge".to_owned(), false), (1, "c".to_owned(), true)]);
    huge.id = task_id("dry");
    let dry = world.core.explain_new(&account, &job_id("film"), &huge, world.now).unwrap();
    assert!(!dry.can_ever_run);
    assert!(world.core.explain_task(&account, &job_id("film"), &task_id("dry"), world.now).is_err());
}
