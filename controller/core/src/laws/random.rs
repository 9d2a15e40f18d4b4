//! Random histories: commands, reports, crashes and time in any order, with every law checked after each step.
//!
//! A failing history is shrunk and kept under proptest-regressions; it says what happened, not what should have. For that
//! write a case in `stories`.

use super::world::{self, World, job_id, task_id};
use crate::Settings;
use crate::input::{Command, DisableTasks};
use muster_model::cause::Cause;
use muster_model::node::NodeError;
use muster_model::spec::{
    DependencyGroup, DependsOn, ExitConditions, ExitOptions, IdRange, JobPatch, JobSpec, MemoryEscalation,
    PoolSpec, Quota, RetryLimit, SweepMembers, TaskConstraints, TaskGlob, TaskSet, TaskSpec,
};
use muster_model::state::{
    DependencyAction, DependencyCondition, DrainOption, ExecutionResult, JobAction, OnAllTasksComplete,
    OnDependencyFailure, OnTaskFailure,
};
use muster_model::{FailureInfo, JobId, NamedCounts, Resources, SweepId, TaskId};
use proptest::prelude::*;
use std::time::Duration;

/// One thing that may happen; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Happening {
    AddTask { job: u8, task: u8, traits: u8, retries: u8, after: Vec<u8>, group: Option<(u8, u8, u8)> },
    AddSweep { job: u8, sweep: u8, count: u8, after: Option<(u8, u8, u8)> },
    TerminateSweep { job: u8, sweep: u8, numbers: Option<(u8, u8)> },
    ReactivateSweep { job: u8, sweep: u8, numbers: Option<(u8, u8)> },
    DeleteSweep { job: u8, sweep: u8 },
    UpdateTask { job: u8, task: u8, retries: u8 },
    UpdateJob { job: u8, parallel: u8, priority: i8 },
    Reboot(u8),
    Join,
    Connect(u8),
    Disconnect(u8),
    Heartbeat(u8),
    Start(u8),
    Finish { node: u8, cause: u8 },
    Pass(u8),
    Crash,
    TerminateTask { job: u8, task: u8 },
    DeleteTask { job: u8, task: u8 },
    ReactivateTask { job: u8, task: u8 },
    DisableJob { job: u8, how: u8 },
    EnableJob(u8),
    TerminateJob(u8),
    DeleteJob(u8),
    CreateJob { job: u8, kind: u8 },
    Resize { target: u8, option: u8 },
    RemoveNode { node: u8, option: u8 },
    Disable { node: u8, option: u8, deadline: Option<u8> },
    Enable(u8),
    Restart { node: u8, option: u8, reimage: bool },
    Health { node: u8, what: u8 },
    FailToLaunch(u8),
    StartTask { node: u8, result: u8 },
    PassMinutes(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let b = any::<u8>;
    prop_oneof![
        8 => (b(), b(), b(), 0..3u8, proptest::collection::vec(b(), 0..3), proptest::option::of((b(), b(), b())))
            .prop_map(|(job, task, traits, retries, after, group)| H::AddTask { job, task, traits, retries, after, group }),
        3 => (b(), b(), 1..9u8, proptest::option::of((b(), b(), b())))
            .prop_map(|(job, sweep, count, after)| H::AddSweep { job, sweep, count, after }),
        1 => (b(), b(), proptest::option::of((b(), b())))
            .prop_map(|(job, sweep, numbers)| H::TerminateSweep { job, sweep, numbers }),
        1 => (b(), b(), proptest::option::of((b(), b())))
            .prop_map(|(job, sweep, numbers)| H::ReactivateSweep { job, sweep, numbers }),
        1 => (b(), b()).prop_map(|(job, sweep)| H::DeleteSweep { job, sweep }),
        1 => (b(), b(), b()).prop_map(|(job, task, retries)| H::UpdateTask { job, task, retries }),
        1 => (b(), b(), any::<i8>()).prop_map(|(job, parallel, priority)| H::UpdateJob { job, parallel, priority }),
        1 => b().prop_map(H::Reboot),
        2 => Just(H::Join),
        4 => b().prop_map(H::Connect),
        2 => b().prop_map(H::Disconnect),
        4 => b().prop_map(H::Heartbeat),
        8 => b().prop_map(H::Start),
        8 => (b(), b()).prop_map(|(node, cause)| H::Finish { node, cause }),
        4 => b().prop_map(H::Pass),
        1 => Just(H::Crash),
        1 => (b(), b()).prop_map(|(job, task)| H::TerminateTask { job, task }),
        2 => (b(), b()).prop_map(|(job, task)| H::DeleteTask { job, task }),
        2 => (b(), b()).prop_map(|(job, task)| H::ReactivateTask { job, task }),
        1 => (b(), b()).prop_map(|(job, how)| H::DisableJob { job, how }),
        1 => b().prop_map(H::EnableJob),
        1 => b().prop_map(H::TerminateJob),
        1 => b().prop_map(H::DeleteJob),
        2 => (b(), b()).prop_map(|(job, kind)| H::CreateJob { job, kind }),
        1 => (b(), b()).prop_map(|(target, option)| H::Resize { target, option }),
        1 => (b(), b()).prop_map(|(node, option)| H::RemoveNode { node, option }),
        2 => (b(), b(), proptest::option::of(b()))
            .prop_map(|(node, option, deadline)| H::Disable { node, option, deadline }),
        2 => b().prop_map(H::Enable),
        1 => (b(), b(), any::<bool>()).prop_map(|(node, option, reimage)| H::Restart { node, option, reimage }),
        1 => (b(), b()).prop_map(|(node, what)| H::Health { node, what }),
        6 => b().prop_map(H::FailToLaunch),
        2 => (b(), b()).prop_map(|(node, result)| H::StartTask { node, result }),
        2 => b().prop_map(H::PassMinutes),
    ]
}

fn job_name(number: u8) -> String {
    format!("job-{}", number % 3)
}

fn job(number: u8) -> JobId {
    job_id(&job_name(number))
}

/// Plain numbers, members of sweeps with and without leading zeros, and the tasks of the job itself.
fn task(number: u8) -> TaskId {
    match number % 24 {
        n @ 0..=7 => task_id(&n.to_string()),
        n @ 8..=15 => task_id(&format!("a-{}", n - 7)),
        n @ 16..=20 => task_id(&format!("b-0{}", n - 15)),
        21 => task_id("manager"),
        22 => task_id("prep"),
        _ => task_id("a-9"),
    }
}

fn sweep(number: u8) -> SweepId {
    SweepId::parse(["a", "b"][usize::from(number % 2)]).unwrap()
}

fn numbers(given: Option<(u8, u8)>) -> Option<(u64, u64)> {
    given.map(|(first, span)| (u64::from(first % 10), u64::from(first % 10 + span % 5)))
}

/// A group over tasks of any kind, with any condition and quota.
fn group((tasks, condition, quota): (u8, u8, u8)) -> DependencyGroup {
    let set = match tasks % 5 {
        0 => TaskSet { ranges: vec![IdRange { start: 0, end: 2 }], ..TaskSet::default() },
        1 => TaskSet { globs: vec![TaskGlob::parse("a-*").unwrap()], ..TaskSet::default() },
        2 => {
            let members = SweepMembers { sweep: sweep(tasks / 5), numbers: None };
            TaskSet { sweeps: vec![members], ..TaskSet::default() }
        }
        3 => {
            let members = SweepMembers { sweep: sweep(tasks / 5), numbers: Some((2, 4)) };
            TaskSet { sweeps: vec![members], ids: vec![task(tasks / 10)], ..TaskSet::default() }
        }
        _ => TaskSet { ids: vec![task(tasks / 5), task(tasks / 10)], ..TaskSet::default() },
    };
    let open = !set.globs.is_empty();
    DependencyGroup {
        tasks: set,
        condition: DependencyCondition::ALL[usize::from(condition % 3)],
        quota: match quota % 3 {
            0 => Quota::All,
            1 => Quota::AtLeast(u64::from(quota / 3 % 3 + 1)),
            _ if open => Quota::All,
            _ => Quota::Percent(quota % 100 + 1),
        },
    }
}

/// Jobs of every kind: with a manager, with preparation and release, that act on failures in each way.
fn job_spec(name: u8, kind: u8) -> JobSpec {
    let mut spec = world::job(&job_name(name));
    spec.on_dependency_failure = OnDependencyFailure::ALL[usize::from(kind % 3)];
    if kind & 4 != 0 {
        spec.on_all_tasks_complete = OnAllTasksComplete::TerminateJob;
    }
    if kind & 8 != 0 {
        spec.on_task_failure = OnTaskFailure::PerformExitOptionsJobAction;
    }
    if kind & 16 != 0 {
        spec.preparation = Some(world::preparation("prep"));
        spec.release = (kind & 32 != 0).then(|| world::release("release"));
    }
    if kind & 64 != 0 {
        let task = world::task("manager");
        let kill = kind & 128 != 0;
        spec.manager = Some(muster_model::spec::JobManagerSpec {
            task,
            kill_job_on_completion: kill,
            run_exclusive: true,
        });
    }
    spec
}

fn cause(number: u8) -> Option<FailureInfo> {
    let cause = match number % 8 {
        0..=3 => return None,
        4 => Cause::ExitCode,
        5 => Cause::StagingNetwork,
        6 => Cause::OutOfMemory,
        _ => Cause::StagingNotFound,
    };
    Some(FailureInfo::new(cause, "drawn by lot"))
}

fn apply(world: &mut World, happening: Happening) {
    // Refusals are part of life here: that they change nothing is checked like everything else.
    let _ = match happening {
        Happening::AddTask { job, task, traits, retries, after, group } => {
            let spec = add(task, traits, retries, &after, group);
            world.try_command(Command::CreateTasks { job: self::job(job), tasks: vec![spec] })
        }
        Happening::AddSweep { .. }
        | Happening::TerminateSweep { .. }
        | Happening::ReactivateSweep { .. }
        | Happening::DeleteSweep { .. } => return of_sweeps(world, happening),
        Happening::UpdateTask { .. } | Happening::UpdateJob { .. } => return of_updates(world, happening),
        Happening::TerminateTask { job, task } => world.try_command(Command::TerminateTask {
            job: self::job(job),
            task: self::task(task),
            if_match: None,
        }),
        Happening::DeleteTask { job, task } => world.try_command(Command::DeleteTask {
            job: self::job(job),
            task: self::task(task),
            if_match: None,
        }),
        Happening::ReactivateTask { job, task } => world.try_command(Command::ReactivateTask {
            job: self::job(job),
            task: self::task(task),
            if_match: None,
        }),
        Happening::DisableJob { job, how } => {
            let tasks =
                [DisableTasks::Requeue, DisableTasks::Terminate, DisableTasks::Wait][usize::from(how % 3)];
            world.try_command(Command::DisableJob { job: self::job(job), tasks, if_match: None })
        }
        Happening::EnableJob(job) => {
            world.try_command(Command::EnableJob { job: self::job(job), if_match: None })
        }
        Happening::TerminateJob(job) => world.try_command(Command::TerminateJob {
            job: self::job(job),
            reason: "lot".to_owned(),
            if_match: None,
        }),
        Happening::DeleteJob(job) => {
            world.try_command(Command::DeleteJob { job: self::job(job), if_match: None })
        }
        Happening::CreateJob { job, kind } => {
            world.try_command(Command::CreateJob(Box::new(job_spec(job, kind))))
        }
        Happening::Resize { .. }
        | Happening::RemoveNode { .. }
        | Happening::Disable { .. }
        | Happening::Enable(_)
        | Happening::Restart { .. } => return of_pool(world, happening),
        Happening::Join
        | Happening::Connect(_)
        | Happening::Disconnect(_)
        | Happening::Heartbeat(_)
        | Happening::Start(_)
        | Happening::Finish { .. }
        | Happening::Pass(_)
        | Happening::PassMinutes(_)
        | Happening::Crash
        | Happening::Health { .. }
        | Happening::FailToLaunch(_)
        | Happening::StartTask { .. }
        | Happening::Reboot(_) => return of_machines(world, happening),
    };
}

fn add(task: u8, traits: u8, retries: u8, after: &[u8], group: Option<(u8, u8, u8)>) -> TaskSpec {
    let mut spec = world::task(self::task(task).as_str());
    let licences = NamedCounts::new([("licence".to_owned(), u64::from(traits & 1))]);
    spec.resources = Resources {
        slots: u32::from(traits % 2 + 1),
        memory_bytes: if traits & 4 != 0 { 1 << 28 } else { 0 },
        named: if traits & 8 != 0 { licences } else { NamedCounts::default() },
        ..Resources::default()
    };
    spec.constraints.max_task_retry_count = (retries > 0).then_some(RetryLimit::Times(u32::from(retries)));
    if traits & 4 != 0 {
        let escalation = MemoryEscalation { factor_millis: 2000, max_bytes: 1 << 30 };
        spec.constraints.on_out_of_memory = Some(escalation);
    }
    if traits & 16 != 0 {
        let satisfied = ExitOptions {
            job_action: Some(JobAction::ALL[usize::from(traits % 3)]),
            dependency_action: Some(DependencyAction::ALL[usize::from(traits / 32 % 2)]),
        };
        spec.exit_conditions = Some(ExitConditions { default: Some(satisfied), ..ExitConditions::default() });
    }
    spec.depends_on = DependsOn {
        tasks: TaskSet {
            ids: after.iter().map(|number| self::task(*number)).collect(),
            ..TaskSet::default()
        },
        groups: group.map(self::group).into_iter().collect(),
    };
    spec
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a part of `apply`'s list")]
fn of_updates(world: &mut World, happening: Happening) {
    let _ = match happening {
        Happening::UpdateTask { job, task, retries } => {
            let constraints = TaskConstraints {
                max_task_retry_count: Some(RetryLimit::Times(u32::from(retries % 3))),
                ..TaskConstraints::default()
            };
            let (job, task) = (self::job(job), self::task(task));
            world.try_command(Command::UpdateTask { job, task, constraints, if_match: None })
        }
        Happening::UpdateJob { job, parallel, priority } => {
            let limit = (!parallel.is_multiple_of(3)).then(|| u32::from(parallel % 3));
            let patch = JobPatch {
                max_parallel_tasks: Some(limit),
                priority: Some(i32::from(priority)),
                ..JobPatch::default()
            };
            world.try_command(Command::UpdateJob { job: self::job(job), patch, if_match: None })
        }
        _ => return,
    };
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a part of `apply`'s list")]
fn of_sweeps(world: &mut World, happening: Happening) {
    let _ = match happening {
        Happening::AddSweep { job, sweep, count, after } => {
            let mut spec = world::sweep(self::sweep(sweep).as_str(), u64::from(count));
            spec.template.depends_on.groups.extend(after.map(group));
            world.try_command(Command::CreateSweep { job: self::job(job), sweep: Box::new(spec) })
        }
        Happening::TerminateSweep { job, sweep, numbers } => {
            let (job, sweep, numbers) = (self::job(job), self::sweep(sweep), self::numbers(numbers));
            world.try_command(Command::TerminateSweep { job, sweep, numbers })
        }
        Happening::ReactivateSweep { job, sweep, numbers } => {
            let (job, sweep, numbers) = (self::job(job), self::sweep(sweep), self::numbers(numbers));
            world.try_command(Command::ReactivateSweep { job, sweep, numbers })
        }
        Happening::DeleteSweep { job, sweep } => {
            world.try_command(Command::DeleteSweep { job: self::job(job), sweep: self::sweep(sweep) })
        }
        _ => return,
    };
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a part of `apply`'s list")]
fn of_pool(world: &mut World, happening: Happening) {
    let at = machine_of(world);
    let there = !world.machines.is_empty();
    let _ = match happening {
        Happening::Resize { target, option } => world.try_command(Command::ResizePool {
            pool: world::pool_id(),
            target: u32::from(target % 4),
            timeout: None,
            option: self::option(option),
            if_match: None,
        }),
        Happening::RemoveNode { node, option } if there => {
            let nodes = vec![world.machines[at(node)].id.clone()];
            let timeout = (option & 4 != 0).then_some(Duration::from_secs(60));
            let (pool, option) = (world::pool_id(), self::option(option));
            world.try_command(Command::RemoveNodes { pool, nodes, option, timeout, if_match: None })
        }
        Happening::Disable { node, option, deadline } if there => {
            let node = world.machines[at(node)].id.clone();
            let deadline = deadline.map(|seconds| Duration::from_secs(u64::from(seconds)));
            let (pool, option) = (world::pool_id(), self::option(option));
            world.try_command(Command::DisableScheduling { pool, node, option, deadline, if_match: None })
        }
        Happening::Enable(node) if there => {
            let node = world.machines[at(node)].id.clone();
            world.try_command(Command::EnableScheduling { pool: world::pool_id(), node, if_match: None })
        }
        Happening::Restart { node, option, reimage } if there => {
            let node = world.machines[at(node)].id.clone();
            let (pool, option) = (world::pool_id(), self::option(option));
            world.try_command(Command::RestartNode { pool, node, option, reimage, if_match: None })
        }
        _ => return,
    };
}

fn option(number: u8) -> DrainOption {
    DrainOption::ALL[usize::from(number % 3)]
}

/// Which machine a number means.
fn machine_of(world: &World) -> impl Fn(u8) -> usize + use<> {
    let machines = world.machines.len().max(1);
    move |number| usize::from(number) % machines
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a part of `apply`'s list")]
fn of_machines(world: &mut World, happening: Happening) {
    let at = machine_of(world);
    if world.machines.is_empty() && !matches!(happening, Happening::Join | Happening::Pass(_)) {
        return;
    }
    match happening {
        Happening::Join if world.machines.len() < 5 => {
            world.join();
        }
        Happening::Connect(node) => world.connect(at(node)),
        Happening::Disconnect(node) => world.disconnect(at(node)),
        Happening::Heartbeat(node) => world.heartbeat(at(node)),
        Happening::Start(node) => world.start(at(node)),
        Happening::Finish { node, cause } => world.finish(at(node), self::cause(cause)),
        Happening::Pass(seconds) => world.pass(Duration::from_secs(u64::from(seconds % 50))),
        Happening::PassMinutes(minutes) => {
            let span = Duration::from_secs(60 * u64::from(minutes % 25));
            if minutes & 128 == 0 { world.pass(span) } else { world.beat_for(span) }
        }
        Happening::Crash => world.crash(),
        Happening::Reboot(node) => world.reboot(at(node)),
        Happening::Health { node, what } => {
            let codes = [NodeError::DISK_PRESSURE, NodeError::RESTART_FAILED];
            world.health(at(node), [&codes[..0], &codes[..1], &codes[1..], &codes][usize::from(what % 4)]);
        }
        Happening::FailToLaunch(node) => world.fail_to_launch(at(node)),
        Happening::StartTask { node, result } => {
            let results = [None, Some(ExecutionResult::Success), Some(ExecutionResult::Failure)];
            world.start_task(at(node), results[usize::from(result % 3)]);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_laws(
        happenings in proptest::collection::vec(happening(), 1..80),
        with_start_task in proptest::bool::weighted(0.2),
    ) {
        // Few failures, so that short histories come by probations.
        let settings = Settings { launch_failures_max: 2, ..Settings::default() };
        let mut world = World::with(settings);
        let start_task = with_start_task.then(world::start_task);
        world.command(Command::CreatePool(PoolSpec { start_task, ..world::pool(2, 2) }));
        world.command(Command::CreateJob(Box::new(world::job("job-0"))));
        world.check();
        for happening in happenings {
            apply(&mut world, happening);
            world.check();
        }
    }
}
