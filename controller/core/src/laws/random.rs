//! Random histories: commands, reports, crashes and time in any order, with every law checked after each step.
//!
//! A failing history is shrunk and kept under proptest-regressions; it says what happened, not what should have. For that
//! write a case in `stories`.

use super::world::{self, World, job_id, task_id};
use crate::input::{Command, DisableTasks};
use muster_model::cause::Cause;
use muster_model::spec::{DependsOn, IdRange, RetryLimit, TaskSpec};
use muster_model::state::OnAllTasksComplete;
use muster_model::{FailureInfo, JobId, Resources, TaskId};
use proptest::prelude::*;
use std::time::Duration;

/// One thing that may happen; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Happening {
    AddTask { job: u8, task: u8, slots: u8, retries: u8, after: Vec<u8>, range: bool },
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
    CreateJob { job: u8, auto_end: bool },
    Resize(u8),
    RemoveNode(u8),
    SetScheduling { node: u8, enabled: bool },
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let b = any::<u8>;
    prop_oneof![
        8 => (b(), b(), 1..3u8, 0..3u8, proptest::collection::vec(b(), 0..3), any::<bool>())
            .prop_map(|(job, task, slots, retries, after, range)| H::AddTask { job, task, slots, retries, after, range }),
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
        2 => (b(), any::<bool>()).prop_map(|(job, auto_end)| H::CreateJob { job, auto_end }),
        1 => b().prop_map(H::Resize),
        1 => b().prop_map(H::RemoveNode),
        1 => (b(), any::<bool>()).prop_map(|(node, enabled)| H::SetScheduling { node, enabled }),
    ]
}

fn job_name(number: u8) -> String {
    format!("job-{}", number % 3)
}

fn job(number: u8) -> JobId {
    job_id(&job_name(number))
}

fn task(number: u8) -> TaskId {
    task_id(&(number % 8).to_string())
}

fn cause(number: u8) -> Option<FailureInfo> {
    let cause = match number % 5 {
        0 | 1 => return None,
        2 => Cause::ExitCode,
        3 => Cause::StagingNetwork,
        _ => Cause::StagingNotFound,
    };
    Some(FailureInfo::new(cause, "drawn by lot"))
}

fn apply(world: &mut World, happening: Happening) {
    let machines = world.machines.len().max(1);
    let at = |number: u8| usize::from(number) % machines;
    let there = !world.machines.is_empty();
    // Refusals are part of life here: that they change nothing is checked like everything else.
    let _ = match happening {
        Happening::AddTask { job, task, slots, retries, after, range } => {
            let spec = add(task, slots, retries, &after, range);
            world.try_command(Command::CreateTasks { job: self::job(job), tasks: vec![spec] })
        }
        Happening::TerminateTask { job, task } => {
            world.try_command(Command::TerminateTask { job: self::job(job), task: self::task(task) })
        }
        Happening::DeleteTask { job, task } => {
            world.try_command(Command::DeleteTask { job: self::job(job), task: self::task(task) })
        }
        Happening::ReactivateTask { job, task } => {
            world.try_command(Command::ReactivateTask { job: self::job(job), task: self::task(task) })
        }
        Happening::DisableJob { job, how } => {
            let tasks =
                [DisableTasks::Requeue, DisableTasks::Terminate, DisableTasks::Wait][usize::from(how % 3)];
            world.try_command(Command::DisableJob { job: self::job(job), tasks })
        }
        Happening::EnableJob(job) => world.try_command(Command::EnableJob { job: self::job(job) }),
        Happening::TerminateJob(job) => {
            world.try_command(Command::TerminateJob { job: self::job(job), reason: "lot".to_owned() })
        }
        Happening::DeleteJob(job) => world.try_command(Command::DeleteJob { job: self::job(job) }),
        Happening::CreateJob { job, auto_end } => {
            let mut spec = world::job(&job_name(job));
            if auto_end {
                spec.on_all_tasks_complete = OnAllTasksComplete::TerminateJob;
            }
            world.try_command(Command::CreateJob(spec))
        }
        Happening::Resize(target) => {
            let target = u32::from(target % 4);
            world.try_command(Command::ResizePool { pool: world::pool_id(), target, timeout: None })
        }
        Happening::RemoveNode(node) if there => {
            let nodes = vec![world.machines[at(node)].id.clone()];
            world.try_command(Command::RemoveNodes { pool: world::pool_id(), nodes })
        }
        Happening::SetScheduling { node, enabled } if there => {
            let node = world.machines[at(node)].id.clone();
            world.try_command(Command::SetScheduling { pool: world::pool_id(), node, enabled })
        }
        Happening::Join
        | Happening::Connect(_)
        | Happening::Disconnect(_)
        | Happening::Heartbeat(_)
        | Happening::Start(_)
        | Happening::Finish { .. }
        | Happening::Pass(_)
        | Happening::Crash
        | Happening::RemoveNode(_)
        | Happening::SetScheduling { .. } => return of_machines(world, happening, at),
    };
}

fn add(task: u8, slots: u8, retries: u8, after: &[u8], range: bool) -> TaskSpec {
    let mut spec = world::task(&(task % 8).to_string());
    spec.resources = Resources { slots: u32::from(slots), ..Resources::default() };
    spec.constraints.max_task_retry_count = (retries > 0).then_some(RetryLimit::Times(u32::from(retries)));
    spec.depends_on = DependsOn {
        task_ids: after.iter().map(|number| self::task(*number)).collect(),
        task_id_ranges: if range { vec![IdRange { start: 0, end: 2 }] } else { Vec::new() },
    };
    spec
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other half of `apply`'s list")]
fn of_machines(world: &mut World, happening: Happening, at: impl Fn(u8) -> usize) {
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
        Happening::Crash => world.crash(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_laws(happenings in proptest::collection::vec(happening(), 1..80)) {
        let mut world = World::new();
        world.command(Command::CreatePool(world::pool(2, 2)));
        world.command(Command::CreateJob(world::job("job-0")));
        world.check();
        for happening in happenings {
            apply(&mut world, happening);
            world.check();
        }
    }
}
