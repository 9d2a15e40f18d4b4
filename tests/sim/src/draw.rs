//! Draws specifications: jobs, tasks and sweeps of every kind, each from one number.
//!
//! What a number stands for never depends on what else happens, so a story can be told again with parts left out.

use crate::chance::Chance;
use crate::names::{self, JOBS, TASK_NAMES};
use muster_model::spec::{
    Axis, DependencyGroup, DependsOn, ExitConditions, ExitOptions, IdRange, JobConstraints, JobManagerSpec,
    JobPreparationSpec, JobReleaseSpec, JobSpec, MemoryEscalation, Quota, RetryLimit, SweepMembers,
    SweepSpec, TaskConstraints, TaskGlob, TaskLimits, TaskSet, TaskSpec, UserIdentity,
};
use muster_model::state::{
    DependencyAction, DependencyCondition, JobAction, OnAllTasksComplete, OnDependencyFailure, OnTaskFailure,
};
use muster_model::{JobId, NamedCounts, Resources, SweepId, TaskId, limits};
use std::time::Duration;

/// The memory that a task asks for when it asks for any, in bytes.
const MEMORY: u64 = 1 << 28;

fn seconds(chance: &mut Chance, most: u64) -> Duration {
    Duration::from_secs(chance.below(most) + 1)
}

/// A task without wishes.
fn plain_task(id: TaskId) -> TaskSpec {
    TaskSpec {
        id,
        display_name: String::new(),
        command_line: "render".to_owned(),
        resource_files: Vec::new(),
        output_files: Vec::new(),
        environment: Vec::new(),
        constraints: TaskConstraints::default(),
        resources: Resources { slots: 1, ..Resources::default() },
        limits: TaskLimits::default(),
        user_identity: UserIdentity::default(),
        depends_on: DependsOn::default(),
        exit_conditions: None,
        affinity: None,
    }
}

pub(crate) fn task(id: TaskId, draw: u64) -> TaskSpec {
    let chance = &mut Chance::new(draw);
    let resources = resources(chance);
    let escalates = resources.memory_bytes > 0 && !chance.one_in(3);
    TaskSpec {
        constraints: constraints(chance, escalates),
        exit_conditions: chance.maybe(4, exit_conditions),
        affinity: chance.maybe(8, |chance| names::node(usize::from(chance.byte_below(4)))),
        depends_on: chance.maybe(2, depends_on).unwrap_or_default(),
        resources,
        ..plain_task(id)
    }
}

fn resources(chance: &mut Chance) -> Resources {
    let memory = match chance.below(40) {
        // More than any machine has: it waits for ever and has to say so.
        0 => 1 << 40,
        1..=10 => MEMORY,
        _ => 0,
    };
    let licences = chance.maybe(5, |chance| chance.below(2) + 1).unwrap_or(0);
    Resources {
        slots: if chance.one_in(5) { 2 } else { 1 },
        memory_bytes: memory,
        gpus: chance.maybe(8, |chance| u32::from(chance.byte_below(2)) + 1).unwrap_or(0),
        named: NamedCounts::new([("licence".to_owned(), licences)]),
        ..Resources::default()
    }
}

fn constraints(chance: &mut Chance, escalates: bool) -> TaskConstraints {
    TaskConstraints {
        max_wall_clock_time: chance.maybe(4, |chance| seconds(chance, 90)),
        retention_time: chance.maybe(4, |chance| seconds(chance, 90)),
        max_task_retry_count: match chance.below(8) {
            0..=3 => None,
            4 => Some(RetryLimit::Times(0)),
            5 | 6 => Some(RetryLimit::Times(u32::from(chance.byte_below(3)) + 1)),
            _ => Some(RetryLimit::Unlimited),
        },
        on_out_of_memory: escalates
            .then_some(MemoryEscalation { factor_millis: 2_000, max_bytes: MEMORY << chance.below(3) }),
    }
}

fn exit_conditions(chance: &mut Chance) -> ExitConditions {
    let options = |chance: &mut Chance| ExitOptions {
        job_action: chance.maybe(3, |chance| chance.pick(JobAction::ALL)),
        dependency_action: chance.maybe(2, |chance| chance.pick(DependencyAction::ALL)),
    };
    ExitConditions {
        codes: vec![(i32::from(chance.byte_below(3)), options(chance))],
        ranges: chance.maybe(2, |chance| (1, 2, options(chance))).into_iter().collect(),
        pre_processing_error: chance.maybe(2, options),
        file_upload_error: chance.maybe(2, options),
        default: chance.maybe(2, options),
    }
}

fn depends_on(chance: &mut Chance) -> DependsOn {
    let ids = (0..chance.below(3)).map(|_| names::task(chance.byte_below(u64::from(TASK_NAMES)))).collect();
    let groups = (0..chance.below(2)).map(|_| group(chance)).collect();
    let ranges = chance.maybe(8, |_| IdRange { start: 0, end: 1 }).into_iter().collect();
    DependsOn { tasks: TaskSet { ids, ranges, ..TaskSet::default() }, groups }
}

fn group(chance: &mut Chance) -> DependencyGroup {
    let mut tasks = TaskSet::default();
    let members = |chance: &mut Chance| SweepMembers {
        sweep: names::sweep(chance.byte_below(2)),
        numbers: chance.maybe(2, |chance| {
            let first = chance.below(6);
            (first, first + chance.below(5))
        }),
    };
    match chance.below(5) {
        0 => tasks.ranges = vec![IdRange { start: 2, end: 4 }],
        1 => {
            let glob = chance.pick(&["a-*", "b-0?", "?", "*-1*"]);
            tasks.globs = vec![names::parsed(TaskGlob::parse(glob))];
        }
        2 => tasks.sweeps = vec![members(chance)],
        3 => {
            tasks.sweeps = vec![members(chance)];
            tasks.ids = vec![names::task(chance.byte_below(u64::from(TASK_NAMES)))];
        }
        _ => tasks.ids = (0..2).map(|_| names::task(chance.byte_below(u64::from(TASK_NAMES)))).collect(),
    }
    let open = !tasks.globs.is_empty();
    DependencyGroup {
        tasks,
        condition: chance.pick(DependencyCondition::ALL),
        quota: match chance.below(3) {
            0 => Quota::AtLeast(chance.below(3) + 1),
            1 if !open => Quota::Percent(chance.byte_below(100) + 1),
            _ => Quota::All,
        },
    }
}

pub(crate) fn sweep(id: SweepId, draw: u64) -> SweepSpec {
    let chance = &mut Chance::new(draw);
    let start = chance.below(3);
    let (end, step) = (start + chance.below(12), chance.below(2) + 1);
    let range = Axis::Range { name: "i".to_owned(), start, end, step };
    let table = |rows: u64| Axis::Table {
        names: vec!["scene".to_owned()],
        rows: (0..rows).map(|row| vec![format!("scene {row}")]).collect(),
    };
    let axes = match chance.below(3) {
        0 => {
            vec![table(chance.below(4) + 1), Axis::Range { name: "i".to_owned(), start: 0, end: 2, step: 1 }]
        }
        1 => vec![table(chance.below(11) + 1)],
        _ => vec![range],
    };
    let template = task(id.as_task_id(), chance.next());
    SweepSpec { id, template: TaskSpec { command_line: "render {i}".to_owned(), ..template }, axes }
}

pub(crate) fn job(id: JobId, draw: u64) -> JobSpec {
    let chance = &mut Chance::new(draw);
    let preparation = chance.maybe(2, preparation);
    let release = preparation.is_some() && !chance.one_in(3);
    JobSpec {
        id,
        display_name: String::new(),
        pool: names::pool(u8::from(chance.one_in(5))),
        priority: i32::from(chance.byte_below(u64::from(JOBS))) - 1,
        constraints: JobConstraints {
            max_wall_clock_time: chance.maybe(12, |chance| Duration::from_secs(60 + chance.below(200))),
            max_task_retry_count: RetryLimit::Times(u32::from(chance.one_in(3))),
        },
        uses_task_dependencies: true,
        max_parallel_tasks: chance.maybe(3, |chance| u32::from(chance.byte_below(4)) + 1),
        on_all_tasks_complete: if chance.one_in(8) {
            OnAllTasksComplete::TerminateJob
        } else {
            OnAllTasksComplete::NoAction
        },
        on_task_failure: if chance.one_in(4) {
            OnTaskFailure::PerformExitOptionsJobAction
        } else {
            OnTaskFailure::NoAction
        },
        on_dependency_failure: chance.pick(OnDependencyFailure::ALL),
        manager: chance.maybe(3, |chance| JobManagerSpec {
            task: plain_task(names::task_id("manager")),
            kill_job_on_completion: chance.one_in(3),
            run_exclusive: !chance.one_in(3),
        }),
        preparation,
        release: release.then(self::release),
        common_environment: Vec::new(),
        metadata: Vec::new(),
    }
}

fn preparation(chance: &mut Chance) -> JobPreparationSpec {
    JobPreparationSpec {
        id: names::task_id("prep"),
        command_line: "prepare".to_owned(),
        resource_files: Vec::new(),
        environment: Vec::new(),
        constraints: TaskConstraints {
            max_task_retry_count: chance.maybe(2, |_| RetryLimit::Times(1)),
            ..TaskConstraints::default()
        },
        wait_for_success: !chance.one_in(5),
        user_identity: UserIdentity::default(),
        rerun_on_node_reboot_after_success: !chance.one_in(3),
    }
}

fn release() -> JobReleaseSpec {
    JobReleaseSpec {
        id: names::task_id("release"),
        command_line: "release".to_owned(),
        resource_files: Vec::new(),
        environment: Vec::new(),
        max_wall_clock_time: limits::JOB_RELEASE_WALL_CLOCK_MAX,
        retention_time: None,
        user_identity: UserIdentity::default(),
    }
}
