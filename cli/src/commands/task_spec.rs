//! From the options of `muster task add` to a task, its dependencies and the axes of a sweep.
//!
//! Owns where outputs go that are given without a place: a container made of the job's id. Values of sweeps are read by the
//! client library.

use std::path::Path;

use muster_client::sweep_values::{SweepValuesError, axis_of_csv, axis_of_json, axis_of_lines, check_axes};
use muster_proto::wire;
use muster_proto::wire::sweep_axis::Values;

use super::input;
use super::spec::{command_line, constraints, duration, resources, user_identity};
use crate::args::{
    Condition, Dependency, OutputSpec, ResourceSpec, Setting, Share, StoreName, SweepArgs, SweepDependency,
    SweepRange, TaskAdd, TaskArgs, exit_conditions,
};
use crate::exit::{Exit, Failure};

/// The longest name of a container.
const CONTAINER_NAME_MAX: usize = 63;

/// Why values of a sweep are of no use.
#[derive(Debug, thiserror::Error)]
#[error("{name} has no values for a sweep")]
struct ValuesError {
    name: String,
    #[source]
    source: SweepValuesError,
}

/// Outputs without a place of a sweep whose values need not be names of folders.
#[derive(Debug, thiserror::Error)]
#[error(
    "--output '{pattern}' of a sweep over lines, CSV or JSON needs a place with a parameter in it, such as '{pattern}:film/{{{name}}}/': its tasks would overwrite each other's files"
)]
struct PlaceError {
    pattern: String,
    name: String,
}

/// The task that the options describe; for a sweep, whose axes are given, the template of its tasks.
pub(super) fn task(args: TaskAdd, id: &str, axes: Option<&[wire::SweepAxis]>) -> Result<wire::Task, Failure> {
    let given = args.task;
    let own = own_folder(id, axes.unwrap_or_default());
    if let (Err(name), Some(output)) = (&own, given.output.iter().find(|output| output.dest.is_none())) {
        let refused = PlaceError { pattern: output.pattern.clone(), name: name.clone() };
        return Err(Failure::new(Exit::Usage, refused));
    }
    let own = own.unwrap_or_default();
    let mut constraints = constraints(&args.limits);
    constraints.retention_time = given.retention.map(|retention| duration(retention.duration()));
    constraints.on_out_of_memory = given.on_oom.map(|escalation| escalation.0);
    let place = job_container(&args.job);
    Ok(wire::Task {
        command_line: command_line(&args.command),
        output_files: given.output.iter().map(|output| output_file(output, &place, &own)).collect(),
        depends_on: dependencies(&given),
        display_name: given.display_name,
        affinity_id: given.affinity,
        resource_files: given.resource_file.into_iter().map(|ResourceSpec(file)| file).collect(),
        environment_settings: given.env.into_iter().map(|Setting(setting)| setting).collect(),
        exit_conditions: exit_conditions(given.exit),
        constraints: Some(constraints),
        required_slots: args.limits.slots,
        resources: Some(resources(&args.limits)),
        user_identity: user_identity(&args.user),
        id: id.to_owned(),
        ..Default::default()
    })
}

/// The folder of a task's own in its job's container: its id; of a sweep one for each combination of numbers. The error
/// names a parameter whose values are any text.
fn own_folder(id: &str, axes: &[wire::SweepAxis]) -> Result<String, String> {
    let mut numbers = Vec::new();
    for axis in axes {
        match &axis.values {
            // The controller names the parameter of an unnamed range so.
            Some(Values::Range(range)) if range.name.is_empty() => numbers.push("{i}".to_owned()),
            Some(Values::Range(range)) => numbers.push(format!("{{{}}}", range.name)),
            Some(Values::Table(table)) => return Err(table.names.first().cloned().unwrap_or_default()),
            None => {}
        }
    }
    Ok(if numbers.is_empty() { id.to_owned() } else { format!("{id}/{}", numbers.join("-")) })
}

/// A pattern with wildcards fills a folder; a plain one is one file, which keeps its name unless the place gives another.
fn output_file(output: &OutputSpec, container: &str, own: &str) -> wire::OutputFile {
    let own = || StoreName { container: container.to_owned(), path: format!("{own}/") };
    let StoreName { container, mut path } = output.dest.clone().unwrap_or_else(own);
    let is_plain = !output.pattern.contains(['*', '?', '[']);
    if is_plain && (path.is_empty() || path.ends_with('/')) {
        path.push_str(output.pattern.rsplit('/').next().unwrap_or_default());
    }
    wire::OutputFile {
        file_pattern: output.pattern.clone(),
        destination: Some(wire::output_file::Destination::FileStore(wire::FileStorePath {
            container,
            path: path.trim_end_matches('/').to_owned(),
        })),
        ..Default::default()
    }
}

/// What must have happened first. With a condition, and for a share of a sweep, it takes a group.
fn dependencies(given: &TaskArgs) -> Option<wire::TaskDependencies> {
    if given.depends_on.is_empty() && given.depends_on_sweep.is_empty() {
        return None;
    }
    let condition = match given.depends_condition.unwrap_or(Condition::Satisfied) {
        Condition::Satisfied => wire::DependencyCondition::Satisfied,
        Condition::Failed => wire::DependencyCondition::Failed,
        Condition::Completed => wire::DependencyCondition::Completed,
    };
    let mut all = wire::DependencyGroup { condition: condition.into(), ..Default::default() };
    let mut groups = Vec::new();
    for dependency in &given.depends_on {
        match dependency {
            Dependency::Task(id) => all.task_ids.push(id.clone()),
            Dependency::Range(range) => all.task_id_ranges.push(*range),
            Dependency::Glob(glob) => all.task_id_globs.push(glob.clone()),
        }
    }
    for SweepDependency { members, share } in &given.depends_on_sweep {
        let part = |at_least, percent| wire::DependencyGroup {
            sweeps: vec![members.clone()],
            condition: condition.into(),
            at_least,
            percent,
            ..Default::default()
        };
        match *share {
            Share::All => all.sweeps.push(members.clone()),
            Share::Count(count) => groups.push(part(Some(count), None)),
            Share::Percent(percent) => groups.push(part(None, Some(percent))),
        }
    }
    if condition == wire::DependencyCondition::Satisfied {
        let wire::DependencyGroup { task_ids, task_id_ranges, task_id_globs, sweeps, .. } = all;
        return Some(wire::TaskDependencies { task_ids, task_id_ranges, task_id_globs, groups, sweeps });
    }
    let is_any = !(all.task_ids.is_empty()
        && all.task_id_ranges.is_empty()
        && all.task_id_globs.is_empty()
        && all.sweeps.is_empty());
    groups.extend(is_any.then_some(all));
    Some(wire::TaskDependencies { groups, ..Default::default() })
}

/// The axes of a sweep: ranges in their order, then lines, CSV, JSON.
pub(super) fn axes(args: &SweepArgs) -> Result<Vec<wire::SweepAxis>, Failure> {
    let range = |SweepRange { name, start, end, step }: &SweepRange| wire::SweepAxis {
        values: Some(Values::Range(wire::SweepRange {
            name: name.clone(),
            start: *start,
            end: *end,
            step: step.or(args.step).unwrap_or(1),
        })),
    };
    let mut axes: Vec<wire::SweepAxis> = args.sweep.iter().map(range).collect();
    let wrong = |file: &Path, source| {
        let exit = if matches!(source, SweepValuesError::Read(_)) { Exit::Failed } else { Exit::Usage };
        Failure::new(exit, ValuesError { name: file.display().to_string(), source })
    };
    if let Some(file) = &args.sweep_lines {
        axes.push(axis_of_lines(&args.name, input::open(file)?).map_err(|source| wrong(file, source))?);
    }
    if let Some(file) = &args.sweep_csv {
        axes.push(axis_of_csv(input::open(file)?).map_err(|source| wrong(file, source))?);
    }
    if let Some(file) = &args.sweep_json {
        axes.push(axis_of_json(input::open(file)?).map_err(|source| wrong(file, source))?);
    }
    check_axes(&axes).map_err(|source| wrong(Path::new("the sweep"), source))?;
    Ok(axes)
}

/// The container for a job's outputs: `out-` and the job's id with what a container's name may not have made to dashes.
fn job_container(job: &str) -> String {
    let mut name = "out".to_owned();
    for part in job.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty())
    {
        name.push('-');
        name.push_str(part);
    }
    name.truncate(CONTAINER_NAME_MAX);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use muster_model::ContainerName;

    use super::*;
    use crate::args::{Cli, Command, TaskCommand};
    use crate::commands::spec::named_user;

    fn parsed(arguments: &[&str]) -> TaskAdd {
        let all = [&["muster", "task", "add", "film"], arguments, &["--", "render", "{i}", "a b"]].concat();
        let command = Cli::try_parse_from(all).unwrap().command;
        let Command::Task(TaskCommand::Add(args)) = command else { panic!("{arguments:?}") };
        *args
    }

    /// The task that options without a sweep describe.
    fn plain(args: TaskAdd) -> wire::Task {
        task(args, "t", None).unwrap()
    }

    #[test]
    fn outputs_without_a_place_never_meet() {
        let path = |output: &wire::OutputFile| match &output.destination {
            Some(wire::output_file::Destination::FileStore(place)) => place.path.clone(),
            other => panic!("{other:?}"),
        };
        let own = |id: &str, axes: &[wire::SweepAxis], pattern: &str| {
            let output = OutputSpec { pattern: pattern.to_owned(), dest: None };
            path(&output_file(&output, "out-film", &own_folder(id, axes).unwrap()))
        };
        assert_eq!(own("t", &[], "*.png"), "t");
        assert_eq!(own("t", &[], "../stdout.txt"), "t/stdout.txt");
        let range = |name: &str| wire::SweepAxis {
            values: Some(Values::Range(wire::SweepRange { name: name.to_owned(), ..Default::default() })),
        };
        assert_eq!(own("s", &[range("a"), range("b")], "x/*.png"), "s/{a}-{b}");
        assert_eq!(own("s", &[range("")], "x/f.png"), "s/{i}/f.png");
        let table = wire::SweepTable { names: vec!["line".to_owned()], ..Default::default() };
        let lines = wire::SweepAxis { values: Some(Values::Table(table)) };
        assert_eq!(own_folder("s", &[range("i"), lines]), Err("line".to_owned()));
        let placed = |place: &str| {
            let output = format!("f.png:{place}").parse::<OutputSpec>().unwrap();
            path(&output_file(&output, "out-film", "t"))
        };
        assert_eq!(placed("film/frames/"), "frames/f.png");
        assert_eq!(placed("film/frames"), "frames");
        assert_eq!(placed("film"), "f.png");
    }

    #[test]
    fn every_job_id_has_a_container() {
        let long = "x_".repeat(32);
        for (job, container) in
            [("film", "out-film"), ("Film_2", "out-film-2"), ("_-_", "out"), ("s:job-7", "out-s-job-7")]
        {
            assert_eq!(job_container(job), container);
        }
        for job in ["film", "Film_2", "_-_", long.as_str()] {
            assert!(ContainerName::parse(&job_container(job)).is_ok(), "{job}");
        }
    }

    #[test]
    fn every_option_reaches_its_field() {
        let task = plain(parsed(&[
            "t",
            "--slots",
            "2",
            "--cpu",
            "1.5",
            "--memory",
            "1G",
            "--disk",
            "2G",
            "--gpus",
            "1",
            "--named",
            "licence=3",
            "--affinity",
            "n1",
            "--max-retries",
            "-1",
            "--max-wall-clock",
            "1m",
            "--retention",
            "1h",
            "--on-oom",
            "2x:4G",
            "--exit",
            "3=satisfy",
            "--env",
            "A=1",
            "--output-file",
            "*.png",
            "--display-name",
            "T",
            "--user",
            "ann",
        ]));
        assert_eq!((task.id.as_str(), task.required_slots, task.affinity_id.as_str()), ("t", 2, "n1"));
        assert_eq!(shell_words::split(&task.command_line).unwrap(), ["render", "{i}", "a b"]);
        let resources = task.resources.unwrap();
        assert_eq!(
            (resources.cpu_millis, resources.memory_bytes, resources.disk_bytes),
            (1500, 1 << 30, 2 << 30)
        );
        assert_eq!((resources.gpus, resources.named["licence"]), (1, 3));
        let constraints = task.constraints.unwrap();
        assert_eq!(constraints.max_wall_clock_time.unwrap().seconds, 60);
        assert_eq!(constraints.retention_time.unwrap().seconds, 3600);
        assert_eq!(constraints.max_task_retry_count, Some(-1));
        assert_eq!(constraints.on_out_of_memory.unwrap().max_memory_bytes, 4 << 30);
        assert_eq!(task.exit_conditions.unwrap().exit_codes[0].code, 3);
        assert_eq!((task.environment_settings.len(), task.output_files.len()), (1, 1));
        assert_eq!(task.display_name, "T");
        assert_eq!(task.user_identity, Some(named_user("ann")));
    }

    #[test]
    fn dependencies_take_a_group_only_where_they_must() {
        let depends_on = |arguments: &[&str]| plain(parsed(&[&["t"], arguments].concat())).depends_on;
        assert!(depends_on(&[]).is_none());
        let plain = depends_on(&["--depends-on", "a,1-4,b-*", "--depends-on-sweep", "frame:1-9"]).unwrap();
        assert_eq!((plain.task_ids, plain.task_id_globs), (vec!["a".to_owned()], vec!["b-*".to_owned()]));
        assert_eq!((plain.task_id_ranges.len(), plain.sweeps.len(), plain.groups.len()), (1, 1, 0));
        let share = depends_on(&["--depends-on", "a", "--depends-on-sweep", "frame@90%"]).unwrap();
        assert_eq!((share.task_ids.len(), share.groups[0].percent), (1, Some(90)));
        let failed =
            depends_on(&["--depends-on", "a", "--depends-on-sweep", "f@7", "--depends-condition", "failed"]);
        let failed = failed.unwrap();
        assert!(failed.task_ids.is_empty());
        assert_eq!((failed.groups[0].at_least, failed.groups[1].task_ids.len()), (Some(7), 1));
        let is_failed =
            |group: &wire::DependencyGroup| group.condition() == wire::DependencyCondition::Failed;
        assert!(failed.groups.iter().all(is_failed));
    }

    #[test]
    fn a_sweep_has_an_axis_for_each_source_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name).to_str().unwrap().to_owned()
        };
        let (lines, csv) = (write("lines", "a\nb\n"), write("csv", "x,y\n1,2\n"));
        let args = parsed(&[
            "--sweep",
            "1-10",
            "--sweep",
            "s=0-8:4",
            "--step",
            "3",
            "--sweep-csv",
            &csv,
            "--sweep-lines",
            &lines,
            "--name",
            "look",
            "--id",
            "frame",
        ]);
        assert!(args.sweep.is_given());
        let axes = axes(&args.sweep).unwrap();
        let shown: Vec<String> = axes
            .iter()
            .map(|axis| match axis.values.as_ref().unwrap() {
                Values::Range(range) => {
                    format!("{}={}-{}:{}", range.name, range.start, range.end, range.step)
                }
                Values::Table(table) => format!("{}*{}", table.names.join(","), table.rows.len()),
            })
            .collect();
        assert_eq!(shown, ["=1-10:3", "s=0-8:4", "look*2", "x,y*1"]);
        assert_eq!(args.of_id.as_deref(), Some("frame"));
    }
}
