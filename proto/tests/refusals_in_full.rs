//! What is refused of dependencies, exit conditions, resources, job tasks and sweeps: one table for each, as text.
//!
//! Each line changes one thing about a message that is right and says what a user then reads. The limits are tried on both
//! sides where both are small enough to build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use muster_model::limits;
use muster_model::spec::{JobSpec, SweepSpec, TaskSpec};
use muster_proto::convert::{
    FieldErrors, NewSweep, SweepTarget, TaskStream, TaskUpdate, job_action_refused, needs_job_action,
};
use muster_proto::wire;
use wire::sweep_axis::Values;

fn task() -> wire::Task {
    wire::Task { id: "t".into(), command_line: "true".into(), ..Default::default() }
}

/// A change that makes a right message wrong, and what is then said.
type Case<'s, W> = (fn(&mut W), &'s str);

/// Each change must be refused with exactly this text; the message without it is right.
fn refused_as<W: Clone, M: TryFrom<W, Error = FieldErrors> + std::fmt::Debug>(
    right: &W,
    cases: Vec<Case<'_, W>>,
) {
    assert!(M::try_from(right.clone()).is_ok(), "{:?}", M::try_from(right.clone()));
    for (change, expected) in cases {
        let mut wrong = right.clone();
        change(&mut wrong);
        match M::try_from(wrong) {
            Ok(value) => panic!("not refused as {expected:?}: {value:?}"),
            Err(errors) => assert_eq!(errors.to_string(), expected),
        }
    }
}

macro_rules! cases {
    ($kind:ty; $($change:expr => $said:literal),+ $(,)?) => {
        vec![$({
            let change: fn(&mut $kind) = $change;
            (change, $said)
        }),+]
    };
}

#[test]
fn dependencies() {
    let group = wire::DependencyGroup { task_ids: vec!["a".into(), "b".into()], ..Default::default() };
    let depends_on = wire::TaskDependencies { groups: vec![group], ..Default::default() };
    let right = wire::Task { depends_on: Some(depends_on), ..task() };
    refused_as::<_, TaskSpec>(
        &right,
        cases! { wire::Task;
            |t| group_of(t).at_least = Some(0) =>
                "task.depends_on.groups[0].at_least: 0 is out of range: use 1 to 2",
            |t| group_of(t).at_least = Some(3) =>
                "task.depends_on.groups[0].at_least: 3 is out of range: use 1 to 2",
            |t| group_of(t).percent = Some(0) =>
                "task.depends_on.groups[0].percent: 0 is out of range: use 1 to 100",
            |t| group_of(t).percent = Some(101) =>
                "task.depends_on.groups[0].percent: 101 is out of range: use 1 to 100",
            |t| { group_of(t).percent = Some(50); group_of(t).at_least = Some(1); } =>
                "task.depends_on.groups[0].percent: cannot be set together with at_least: leave one of them out",
            |t| { group_of(t).percent = Some(50); group_of(t).task_id_globs = vec!["*".into()]; } =>
                "task.depends_on.groups[0].percent: cannot be set together with task_id_globs: leave one of them out",
            |t| group_of(t).task_ids.clear() =>
                "task.depends_on.groups[0]: is required: name tasks: task_ids, task_id_ranges, task_id_globs or sweeps",
            |t| group_of(t).condition = 4 =>
                "task.depends_on.groups[0].condition: 4 is not a value of DependencyCondition: use one of \
                 DEPENDENCY_CONDITION_SATISFIED, DEPENDENCY_CONDITION_FAILED, DEPENDENCY_CONDITION_COMPLETED",
            |t| group_of(t).sweeps = vec![wire::SweepMembers { sweep_id: "s".into(), first: Some(5), last: Some(4) }] =>
                "task.depends_on.groups[0].sweeps[0].first: ends at 4, before its start 5: swap them",
            |t| group_of(t).sweeps = vec![wire::SweepMembers { sweep_id: "x".repeat(49), ..Default::default() }] =>
                "task.depends_on.groups[0].sweeps[0].sweep_id: sweep id \
                 \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" is not valid: use 1 to 48 letters, digits, '-' and '_'",
            |t| group_of(t).task_id_globs = vec!["a/*".into()] =>
                "task.depends_on.groups[0].task_id_globs[0]: task id pattern \"a/*\" is not valid: use 1 to 64 letters, \
                 digits, '-', '_', '*' (any text) and '?' (one character)",
            |t| { let one = group_of(t).clone(); t.depends_on.as_mut().unwrap().groups = vec![one; 65]; } =>
                "task.depends_on.groups: has 65 entries: at most 64 are allowed",
            |t| t.depends_on.as_mut().unwrap().task_id_globs = vec!["*".into(); 65] =>
                "task.depends_on.task_id_globs: has 65 entries: at most 64 are allowed",
            |t| t.depends_on.as_mut().unwrap().sweeps =
                vec![wire::SweepMembers { sweep_id: "s".into(), ..Default::default() }; 1001] =>
                "task.depends_on.sweeps: has 1001 entries: at most 1000 are allowed",
        },
    );
}

fn group_of(task: &mut wire::Task) -> &mut wire::DependencyGroup {
    &mut task.depends_on.as_mut().unwrap().groups[0]
}

#[test]
fn exit_conditions_resources_and_constraints() {
    let right = wire::Task {
        exit_conditions: Some(wire::ExitConditions::default()),
        resources: Some(wire::ResourceRequests { memory_bytes: 1000, ..Default::default() }),
        constraints: Some(wire::TaskConstraints {
            on_out_of_memory: Some(wire::MemoryEscalation { factor: 2.0, max_memory_bytes: 1000 }),
            ..Default::default()
        }),
        ..task()
    };
    refused_as::<_, TaskSpec>(
        &right,
        cases! { wire::Task;
            |t| exits(t).exit_codes = vec![wire::ExitCodeMapping { code: 3, exit_options: None }; 2] =>
                "task.exit_conditions.exit_codes[1].code: 3 is there twice: leave one of them out",
            |t| exits(t).exit_codes =
                (0..257).map(|code| wire::ExitCodeMapping { code, exit_options: None }).collect() =>
                "task.exit_conditions.exit_codes: has 257 entries: at most 256 are allowed",
            |t| exits(t).exit_code_ranges = vec![wire::ExitCodeRangeMapping { start: -1, end: -2, exit_options: None }] =>
                "task.exit_conditions.exit_code_ranges[0]: ends at -2, before its start -1: swap them",
            |t| exits(t).default_options = Some(wire::ExitOptions { job_action: 9, dependency_action: 0 }) =>
                "task.exit_conditions.default_options.job_action: 9 is not a value of JobAction: use one of \
                 JOB_ACTION_NONE, JOB_ACTION_DISABLE, JOB_ACTION_TERMINATE",
            |t| needs(t).gpus = 1025 => "task.resources.gpus: 1025 is out of range: use 0 to 1024",
            |t| needs(t).named = (0..17).map(|n| (format!("n{n}"), 1)).collect() =>
                "task.resources.named: has 17 entries: at most 16 are allowed",
            |t| needs(t).named = [("a b".to_owned(), 1)].into() =>
                "task.resources.named: \"a b\" is not a name for this: use 1 to 64 letters, digits, '-', '_' and '.'",
            |t| needs(t).memory_bytes = 0 =>
                "task.constraints.on_out_of_memory: cannot be set alone: ask for memory in resources.memory_bytes, \
                 which the factor multiplies",
            |t| needs(t).memory_bytes = 1001 =>
                "task.constraints.on_out_of_memory.max_memory_bytes: 1000 is below 1001, which is what the task asks \
                 for in resources.memory_bytes: raise it",
            |t| memory(t).factor = 1.0 =>
                "task.constraints.on_out_of_memory.factor: 1 is not a factor: use 1.001 to 16",
            |t| memory(t).factor = 16.01 =>
                "task.constraints.on_out_of_memory.factor: 16.01 is not a factor: use 1.001 to 16",
            |t| memory(t).factor = f64::NAN =>
                "task.constraints.on_out_of_memory.factor: NaN is not a factor: use 1.001 to 16",
        },
    );
    for factor in [1.001, 16.0, 15.9994] {
        let mut edge = right.clone();
        memory(&mut edge).factor = factor;
        assert!(TaskSpec::try_from(edge).is_ok(), "{factor}");
    }
}

fn exits(task: &mut wire::Task) -> &mut wire::ExitConditions {
    task.exit_conditions.as_mut().unwrap()
}

fn needs(task: &mut wire::Task) -> &mut wire::ResourceRequests {
    task.resources.as_mut().unwrap()
}

fn memory(task: &mut wire::Task) -> &mut wire::MemoryEscalation {
    task.constraints.as_mut().unwrap().on_out_of_memory.as_mut().unwrap()
}

#[test]
fn an_update_checks_an_escalation_without_knowing_the_request() {
    let with = |max_memory_bytes| {
        let on_out_of_memory = Some(wire::MemoryEscalation { factor: 2.0, max_memory_bytes });
        let constraints = Some(wire::TaskConstraints { on_out_of_memory, ..Default::default() });
        let task = wire::Task { job_id: "j".into(), constraints, ..task() };
        TaskUpdate::try_from(wire::UpdateTaskRequest { task: Some(task), ..Default::default() })
    };
    assert!(with(1).is_ok() && with(0).is_err());
}

#[test]
fn a_job_action_is_found_wherever_it_is_set() {
    let act = Some(wire::ExitOptions { job_action: wire::JobAction::None.into(), ..Default::default() });
    let block = Some(wire::ExitOptions {
        dependency_action: wire::DependencyAction::Block.into(),
        ..Default::default()
    });
    let places: [fn(&mut wire::ExitConditions, Option<wire::ExitOptions>); 5] = [
        |e, exit_options| e.exit_codes = vec![wire::ExitCodeMapping { code: 1, exit_options }],
        |e, exit_options| {
            e.exit_code_ranges = vec![wire::ExitCodeRangeMapping { start: 1, end: 2, exit_options }];
        },
        |e, options| e.pre_processing_error = options,
        |e, options| e.file_upload_error = options,
        |e, options| e.default_options = options,
    ];
    for place in places {
        let spec = |options| {
            let mut conditions = wire::ExitConditions::default();
            place(&mut conditions, options);
            TaskSpec::try_from(wire::Task { exit_conditions: Some(conditions), ..task() }).unwrap()
        };
        assert!(needs_job_action(&spec(act)) && !needs_job_action(&spec(block)));
    }
    assert!(!needs_job_action(&TaskSpec::try_from(task()).unwrap()));
    assert_eq!(
        job_action_refused("task").to_string(),
        "task.exit_conditions: cannot be set alone: create the job with \
         ON_TASK_FAILURE_PERFORM_EXIT_OPTIONS_JOB_ACTION, or leave job_action out"
    );
}

#[test]
fn the_tasks_of_a_job() {
    let manager = wire::JobManagerTask { id: "m".into(), command_line: "true".into(), ..Default::default() };
    let right = wire::Job {
        id: "j".into(),
        pool_info: Some(wire::job::PoolInfo::PoolId("p".into())),
        job_manager_task: Some(manager),
        job_preparation_task: Some(wire::JobPreparationTask {
            command_line: "true".into(),
            ..Default::default()
        }),
        job_release_task: Some(wire::JobReleaseTask { command_line: "true".into(), ..Default::default() }),
        max_parallel_tasks: Some(1),
        ..Default::default()
    };
    let spec = JobSpec::try_from(right.clone()).unwrap();
    let (manager, preparation, release) =
        (spec.manager.unwrap(), spec.preparation.unwrap(), spec.release.unwrap());
    assert!(manager.kill_job_on_completion && manager.run_exclusive && preparation.wait_for_success);
    assert!(preparation.rerun_on_node_reboot_after_success);
    assert_eq!((preparation.id.as_str(), release.id.as_str()), ("jobpreparation", "jobrelease"));
    assert_eq!(release.max_wall_clock_time, limits::JOB_RELEASE_WALL_CLOCK_MAX);

    refused_as::<_, JobSpec>(
        &right,
        cases! { wire::Job;
            |j| j.max_parallel_tasks = Some(0) =>
                "job.max_parallel_tasks: 0 is not a limit of tasks: use 1 to 2147483647, or -1 for no limit",
            |j| j.max_parallel_tasks = Some(-2) =>
                "job.max_parallel_tasks: -2 is not a limit of tasks: use 1 to 2147483647, or -1 for no limit",
            |j| j.job_preparation_task = None =>
                "job.job_release_task: cannot be set alone: it runs where the preparation task ran: set \
                 job_preparation_task too",
            |j| j.job_manager_task.as_mut().unwrap().id = "JobPreparation".into() =>
                "job.job_preparation_task.id: cannot be set together with job_manager_task's, which is the same: leave \
                 one of them out",
            |j| j.job_release_task.as_mut().unwrap().id = "jobpreparation".into() =>
                "job.job_release_task.id: cannot be set together with job_preparation_task's, which is the same: leave \
                 one of them out",
            |j| j.job_release_task.as_mut().unwrap().max_wall_clock_time =
                Some(prost_types::Duration { seconds: 900, nanos: 1 }) =>
                "job.job_release_task.max_wall_clock_time: is 901 seconds: at most 900 are allowed",
            |j| j.job_manager_task.as_mut().unwrap().allow_low_priority_node = Some(false) =>
                "job.job_manager_task.allow_low_priority_node: is not supported by this version: leave it unset",
            |j| j.job_manager_task.as_mut().unwrap().container_settings = Some(Default::default()) =>
                "job.job_manager_task.container_settings: is not supported by this version: run the command without a \
                 container",
            |j| j.job_preparation_task.as_mut().unwrap().constraints = Some(wire::TaskConstraints {
                on_out_of_memory: Some(wire::MemoryEscalation { factor: 2.0, max_memory_bytes: 1 }),
                ..Default::default()
            }) =>
                "job.job_preparation_task.constraints.on_out_of_memory: cannot be set alone: ask for memory in \
                 resources.memory_bytes, which the factor multiplies",
        },
    );
}

// ------------------------------------------------------------------------------------------------ sweeps

fn range(name: &str, start: u64, end: u64) -> wire::SweepAxis {
    wire::SweepAxis {
        values: Some(Values::Range(wire::SweepRange { name: name.into(), start, end, step: 0 })),
    }
}

fn table(names: &[&str], rows: &[&[&str]]) -> wire::SweepAxis {
    let text = |text: &&str| (*text).to_owned();
    let row = |row: &&[&str]| wire::SweepRow { values: row.iter().map(text).collect() };
    wire::SweepAxis {
        values: Some(Values::Table(wire::SweepTable {
            names: names.iter().map(text).collect(),
            rows: rows.iter().map(row).collect(),
        })),
    }
}

fn sweep(command_line: &str, axes: Vec<wire::SweepAxis>) -> wire::Sweep {
    let template = wire::Task { command_line: command_line.into(), ..Default::default() };
    wire::Sweep { id: "s".into(), template: Some(template), axes, ..Default::default() }
}

fn template(sweep: &mut wire::Sweep) -> &mut wire::Task {
    sweep.template.as_mut().unwrap()
}

fn http(url: &str, path: &str) -> wire::ResourceFile {
    let source = Some(wire::resource_file::Source::HttpUrl(url.into()));
    wire::ResourceFile { source, file_path: path.into(), ..Default::default() }
}

#[test]
fn the_numbers_and_names_of_a_sweep() {
    let right = sweep("render {i}", vec![range("", 1, 10)]);
    let spec = SweepSpec::try_from(right.clone()).unwrap();
    assert_eq!((spec.count(), spec.template.id.as_str()), (10, "s"));
    refused_as::<_, SweepSpec>(
        &right,
        cases! { wire::Sweep;
            |s| s.id = "a b".into() =>
                "sweep.id: sweep id \"a b\" is not valid: use 1 to 48 letters, digits, '-' and '_'",
            |s| s.axes.clear() => "sweep.axes: is required: give a range or a table of values",
            |s| s.axes[0].values = None => "sweep.axes[0].values: is required: set range or table",
            |s| s.template = None => "sweep.template: is required: describe the task with {name} where values go",
            |s| template(s).id = "other".into() =>
                "sweep.template.id: cannot be set together with sweep.id, which names all members: leave one of them out",
            |s| s.axes[0] = range("i", 5, 4) => "sweep.axes[0].range: ends at 4, before its start 5: swap them",
            |s| s.axes[0] = range("i", limits::SWEEP_NUMBER_MAX, limits::SWEEP_NUMBER_MAX + 1) =>
                "sweep.axes[0].range.end: 1000000000000000 is out of range: use 0 to 999999999999999",
            |s| s.axes[0] = range("i", 0, limits::SWEEP_TASKS_MAX) =>
                "sweep.axes: has 100000001 combinations, each of which is a task: at most 100000000 are allowed",
            |s| s.axes.extend([range("j", 1, 10_000), range("k", 1, 1001)]) =>
                "sweep.axes: has 100100000 combinations, each of which is a task: at most 100000000 are allowed",
            |s| s.axes.push(range("I", 1, 2)) =>
                "sweep.axes: the parameter \"I\" is there twice: leave one of them out",
            |s| s.axes[0] = range("9i", 1, 2) =>
                "sweep.axes[0].range.name: \"9i\" is not a name for this: use 1 to 64 letters, digits and '_', not \
                 starting with a digit",
        },
    );
    let most = sweep("render {i}", vec![range("i", 1, limits::SWEEP_TASKS_MAX)]);
    assert_eq!(SweepSpec::try_from(most).unwrap().count(), limits::SWEEP_TASKS_MAX);
    let far = limits::SWEEP_NUMBER_MAX;
    assert!(SweepSpec::try_from(sweep("render {i}", vec![range("i", far, far)])).is_ok());
}

#[test]
fn the_tables_of_a_sweep() {
    let right = sweep("render {scene} {take}", vec![table(&["scene", "take"], &[&["a b", ""], &["c", "2"]])]);
    refused_as::<_, SweepSpec>(
        &right,
        cases! { wire::Sweep;
            |s| s.axes[0] = table(&["scene", "take"], &[&["a", "b"], &["c"]]) =>
                "sweep.axes[0].table.rows[1]: has 1 values: the table has 2 names, and each row has a value for each",
            |s| s.axes[0] = table(&["scene", "take"], &[]) =>
                "sweep.axes[0].table.rows: is required: give at least one row of values",
            |s| s.axes[0] = table(&[], &[&[]]) => "sweep.axes[0].table.names: is required: name the columns",
            |s| s.axes[0] = table(&["scene", "Scene", "take"], &[&["a", "b", "c"]]) =>
                "sweep.axes: the parameter \"Scene\" is there twice: leave one of them out",
            |s| s.axes[0] = table(&["scene", "take"], &[&["a", "b\0"]]) =>
                "sweep.axes[0].table.rows[0].values[1]: has a NUL byte: leave it out",
            |s| s.axes[0] = table(&["scene", "take"], &[&["a", &"x".repeat(131_053)]]) =>
                "sweep.axes[0].table.rows[0].values[1]: has 131053 bytes in one value: at most 131052 are allowed",
            |s| s.axes[0] = table(&["scene", "take"], &vec![&["a", "x"][..]; 1024 * 1024 + 1]) =>
                "sweep.axes: has 4194308 bytes of values in all tables together: at most 4194304 are allowed",
        },
    );
    let full = sweep("render {scene}", vec![table(&["scene", "take"], &vec![&["a", "x"][..]; 1024 * 1024])]);
    assert_eq!(SweepSpec::try_from(full).unwrap().count(), 1024 * 1024);
}

#[test]
fn names_in_braces_that_no_axis_has() {
    let right = sweep("render {i} ${HOME} {{x}} '{print $1}'", vec![range("i", 1, 10)]);
    let output = || wire::OutputFile {
        file_pattern: "{nope}.png".into(),
        destination: Some(wire::output_file::Destination::FileStore(wire::FileStorePath {
            container: "out".into(),
            path: "{no}".into(),
        })),
        ..Default::default()
    };
    let changed = sweep_with(&right, |t| t.output_files = vec![output()]);
    assert_eq!(
        SweepSpec::try_from(changed).unwrap_err().to_string(),
        "sweep.template.output_files[0].file_pattern: {nope} is no parameter of the sweep: write {{nope}} for the \
         text itself; sweep.template.output_files[0].file_store.path: {no} is no parameter of the sweep: write \
         {{no}} for the text itself"
    );
    refused_as::<_, SweepSpec>(
        &right,
        cases! { wire::Sweep;
            |s| template(s).command_line = "render {frame}".into() =>
                "sweep.template.command_line: {frame} is no parameter of the sweep: write {{frame}} for the text itself",
            |s| template(s).command_line = "render '{i}".into() =>
                "sweep.template.command_line: does not split into arguments: the quote ' in column 8 is never closed: \
                 close it, or write \\' for the character",
            |s| template(s).display_name = "{x}".into() =>
                "sweep.template.display_name: {x} is no parameter of the sweep: write {{x}} for the text itself",
            |s| template(s).environment_settings =
                vec![wire::EnvironmentSetting { name: "A".into(), value: "{x}".into() }] =>
                "sweep.template.environment_settings[0].value: {x} is no parameter of the sweep: write {{x}} for the \
                 text itself",
            |s| template(s).resource_files = vec![http("https://h/{x}", "a")] =>
                "sweep.template.resource_files[0].http_url: {x} is no parameter of the sweep: write {{x}} for the text \
                 itself",
            |s| template(s).resource_files = vec![http("https://h/", "{x}")] =>
                "sweep.template.resource_files[0].file_path: {x} is no parameter of the sweep: write {{x}} for the text \
                 itself",
        },
    );
}

fn sweep_with(right: &wire::Sweep, change: impl Fn(&mut wire::Task)) -> wire::Sweep {
    let mut changed = right.clone();
    change(template(&mut changed));
    changed
}

#[test]
fn values_that_would_leave_a_folder_or_make_no_url() {
    let with = |value: &str, url: &str, path: &str| {
        let sweep = sweep("render {v}", vec![range("i", 1, 2), table(&["v"], &[&["a"], &[value]])]);
        SweepSpec::try_from(sweep_with(&sweep, |t| t.resource_files = vec![http(url, path)]))
    };
    let said = |value: &str, url: &str, path: &str| with(value, url, path).unwrap_err().to_string();
    for bad in ["..", "", "/etc", "a/../b", "a/", ".", "a\\b", "a\nb"] {
        let text = said(bad, "https://h/", "in/{v}.txt");
        let start = "sweep.axes[1].table.rows[1].values[0]: is used in file_path of the template, where only a relative \
                     path is allowed: ";
        assert!(text.starts_with(start), "{text}");
    }
    for good in ["..a", "a/b", "ä b", "*"] {
        assert!(with(good, "https://h/{v}", "in/x").is_ok() != good.contains(' '), "{good}");
        assert!(with(good, "https://h/", "in/{v}.txt").is_ok(), "{good}");
    }
    assert!(said("a b", "https://h/{v}", "x").contains("makes no http or https URL: no blanks"));
    assert!(said("ftp://h", "{v}/x", "x").contains("\"ftp://h\" is used in http_url of the template"));
    let urls = sweep("render", vec![table(&["u"], &[&["https://a/b"], &["HTTP://c"]])]);
    let urls = sweep_with(&urls, |t| t.resource_files = vec![http("{u}/x", "x")]);
    assert!(SweepSpec::try_from(urls).is_ok());
    // Only a parameter of the sweep may stand where a URL begins.
    assert!(with("a", "{w}/x", "x").unwrap_err().to_string().contains("http_url: \"{w}/x\" is not an http"));
    // Values that no path or URL uses may be anything.
    assert!(with("/../ \n", "https://h/", "x").is_ok());
}

#[test]
fn requests_on_sweeps_and_streams() {
    let right = wire::CreateSweepRequest {
        job_id: "j".into(),
        sweep: Some(sweep("render {i}", vec![range("i", 1, 2)])),
        request_id: "r".into(),
    };
    refused_as::<_, NewSweep>(
        &right,
        cases! { wire::CreateSweepRequest;
            |r| r.sweep = None => "sweep: is required: describe the sweep",
            |r| r.job_id = "a b".into() =>
                "job_id: job id \"a b\" is not valid: use 1 to 64 letters, digits, '-' and '_'",
        },
    );
    let right = wire::TerminateSweepRequest {
        job_id: "j".into(),
        sweep_id: "s".into(),
        first: Some(3),
        ..Default::default()
    };
    let target = SweepTarget::try_from(right.clone()).unwrap();
    assert_eq!(target.numbers, Some((3, limits::SWEEP_NUMBER_MAX)));
    refused_as::<_, SweepTarget>(
        &right,
        cases! { wire::TerminateSweepRequest;
            |r| r.last = Some(2) => "first: ends at 2, before its start 3: swap them",
            |r| r.sweep_id.clear() => "sweep_id: sweep id \"\" is not valid: use 1 to 48 letters, digits, '-' and '_'",
        },
    );
    let open = wire::StreamCreateTasksOpen { job_id: "j".into(), stream_id: "x".repeat(64) };
    assert_eq!(TaskStream::try_from(open.clone()).unwrap().stream_id, open.stream_id);
    refused_as::<_, TaskStream>(
        &open,
        cases! { wire::StreamCreateTasksOpen;
            |o| o.stream_id = "a:b".into() =>
                "open.stream_id: \"a:b\" is not a name for this: use 1 to 64 letters, digits, '-' and '_', best a UUID",
        },
    );
}
