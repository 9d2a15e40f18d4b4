//! From the options of `muster job create` and `update` to a job, and to the fields of it that change.
//!
//! A job in JSON comes first, options are set on top of it. Defaults are the controller's.

use muster_proto::wire;
use prost_types::Duration;

use super::input;
use super::spec::duration;
use crate::args::{
    AllTasksComplete, DependencyFailure, JobCreate, JobSettings, JobUpdate, MaybeSpan, Note, OwnTasks,
    Setting, TaskFailure,
};
use crate::exit::Failure;

/// The fields of a job that can change, as a mask names them.
const CONSTRAINTS: &str = "constraints";

/// The job that is to be created.
pub(super) fn new_job(args: JobCreate) -> Result<wire::Job, Failure> {
    let mut job = match &args.file {
        Some(file) => input::document(file, "job")?,
        None => wire::Job::default(),
    };
    if let Some(id) = args.id {
        job.id = id;
    }
    if let Some(pool) = args.pool {
        job.pool_info = Some(wire::job::PoolInfo::PoolId(pool));
    }
    set(&mut job, args.settings);
    let limit = args.max_wall_clock.map(|limit| duration(limit.duration()));
    if let Some(limit) = limit {
        job.constraints.get_or_insert_default().max_wall_clock_time = Some(limit);
    }
    job.uses_task_dependencies |= args.uses_dependencies;
    if args.terminate_when_done {
        job.set_on_all_tasks_complete(wire::OnAllTasksComplete::TerminateJob);
    }
    if let Some(what) = args.on_task_failure {
        job.set_on_task_failure(match what {
            TaskFailure::NoAction => wire::OnTaskFailure::NoAction,
            TaskFailure::ExitOptions => wire::OnTaskFailure::PerformExitOptionsJobAction,
        });
    }
    if let Some(what) = args.on_dependency_failure {
        job.set_on_dependency_failure(match what {
            DependencyFailure::Wait => wire::OnDependencyFailure::Wait,
            DependencyFailure::Fail => wire::OnDependencyFailure::Fail,
            DependencyFailure::Skip => wire::OnDependencyFailure::Skip,
        });
    }
    job.common_environment_settings.extend(args.env.into_iter().map(|Setting(setting)| setting));
    set_own_tasks(&mut job, args.own);
    Ok(job)
}

/// Sets what was given. Answers the names of these fields.
fn set(job: &mut wire::Job, given: JobSettings) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if let Some(priority) = given.priority {
        job.priority = priority;
        fields.push("priority");
    }
    if let Some(most) = given.max_parallel_tasks {
        job.max_parallel_tasks = Some(most);
        fields.push("max_parallel_tasks");
    }
    if let Some(retries) = given.max_retries {
        job.constraints.get_or_insert_default().max_task_retry_count = Some(retries);
        fields.push(CONSTRAINTS);
    }
    if let Some(what) = given.on_all_tasks_complete {
        job.set_on_all_tasks_complete(match what {
            AllTasksComplete::NoAction => wire::OnAllTasksComplete::NoAction,
            AllTasksComplete::TerminateJob => wire::OnAllTasksComplete::TerminateJob,
        });
        fields.push("on_all_tasks_complete");
    }
    if let Some(name) = given.display_name {
        job.display_name = name;
        fields.push("display_name");
    }
    if !given.metadata.is_empty() {
        job.metadata = given.metadata.into_iter().map(|Note(note)| note).collect();
        fields.push("metadata");
    }
    fields
}

fn set_own_tasks(job: &mut wire::Job, own: OwnTasks) {
    if let Some(command_line) = own.manager {
        let manager = job.job_manager_task.get_or_insert_default();
        manager.command_line = command_line;
        manager.id = own.manager_id;
        manager.required_slots = own.manager_slots;
        manager.kill_job_on_completion = Some(!own.keep_job);
        manager.run_exclusive = Some(!own.manager_not_exclusive);
    }
    if let Some(command_line) = own.preparation {
        job.job_preparation_task.get_or_insert_default().command_line = command_line;
    }
    if let Some(command_line) = own.release {
        job.job_release_task.get_or_insert_default().command_line = command_line;
    }
}

/// A change of a job.
pub(super) struct Change {
    /// The job with what changes.
    pub job: wire::Job,
    /// The fields that change.
    pub fields: Vec<&'static str>,
    /// The constraints are changed in part: those of the job that is there belong to the others.
    pub limits: Limits,
}

/// Which of the constraints were given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    wall_clock: bool,
    retries: bool,
}

impl Limits {
    /// Whether one was given and the other not.
    #[must_use]
    pub(super) const fn is_partial(self) -> bool {
        self.wall_clock != self.retries
    }

    /// Takes what was not given from the constraints that are there.
    pub(super) fn fill(self, job: &mut wire::Job, present: Option<&wire::JobConstraints>) {
        let (constraints, present) =
            (job.constraints.get_or_insert_default(), present.copied().unwrap_or_default());
        if !self.wall_clock {
            constraints.max_wall_clock_time = present.max_wall_clock_time;
        }
        if !self.retries {
            constraints.max_task_retry_count = present.max_task_retry_count;
        }
    }
}

/// What is to change.
pub(super) fn change(args: JobUpdate) -> Result<Change, Failure> {
    let mut job = match &args.file {
        Some(file) => input::document(file, "job")?,
        None => wire::Job::default(),
    };
    let mut fields = populated(&job);
    let mut limits = Limits { wall_clock: job.constraints.is_some(), retries: job.constraints.is_some() };
    limits.retries |= args.settings.max_retries.is_some();
    fields.extend(set(&mut job, args.settings));
    if let Some(limit) = args.max_wall_clock {
        job.constraints.get_or_insert_default().max_wall_clock_time = span(limit);
        limits.wall_clock = true;
        fields.push(CONSTRAINTS);
    }
    if let Some(pool) = args.pool {
        job.pool_info = Some(wire::job::PoolInfo::PoolId(pool));
        fields.push("pool_id");
    }
    if args.replace {
        fields = vec!["*"];
        limits = Limits::default();
    }
    fields.sort_unstable();
    fields.dedup();
    job.id = args.id;
    Ok(Change { job, fields, limits })
}

/// The fields that can change and are set.
fn populated(job: &wire::Job) -> Vec<&'static str> {
    let all = [
        ("display_name", !job.display_name.is_empty()),
        ("priority", job.priority != 0),
        ("max_parallel_tasks", job.max_parallel_tasks.is_some()),
        ("pool_id", job.pool_info.is_some()),
        (CONSTRAINTS, job.constraints.is_some()),
        ("on_all_tasks_complete", job.on_all_tasks_complete != 0),
        ("metadata", !job.metadata.is_empty()),
    ];
    all.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| field).collect()
}

/// A span, unless there is to be none.
#[must_use]
pub(super) fn span(given: MaybeSpan) -> Option<Duration> {
    match given {
        MaybeSpan::None => None,
        MaybeSpan::Span(span) => Some(duration(span.duration())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, JobCommand};

    fn parsed(arguments: &[&str]) -> JobCommand {
        let cli = Cli::try_parse_from([&["muster", "job"], arguments].concat()).unwrap();
        let Command::Job(command) = cli.command else { panic!("{arguments:?}") };
        command
    }

    fn created(arguments: &[&str]) -> wire::Job {
        let command = parsed(&[&["create"], arguments].concat());
        let JobCommand::Create(args) = command else { panic!("{arguments:?}") };
        new_job(*args).unwrap()
    }

    fn changed(arguments: &[&str]) -> Change {
        let command = parsed(&[&["update", "film"], arguments].concat());
        let JobCommand::Update(args) = command else { panic!("{arguments:?}") };
        change(*args).unwrap()
    }

    #[test]
    fn every_option_reaches_its_field() {
        let job = created(&[
            "film",
            "--pool",
            "p",
            "--priority",
            "-7",
            "--max-parallel-tasks",
            "5",
            "--max-wall-clock",
            "1h",
            "--max-retries",
            "3",
            "--on-all-tasks-complete",
            "terminate-job",
            "--on-task-failure",
            "exit-options",
            "--on-dependency-failure",
            "skip",
            "--uses-dependencies",
            "--env",
            "A=1",
            "--metadata",
            "k=v",
            "--display-name",
            "Film",
            "--manager",
            "plan",
            "--manager-id",
            "boss",
            "--manager-slots",
            "2",
            "--manager-not-exclusive",
            "--keep-job",
            "--preparation",
            "prep",
            "--release",
            "rel",
        ]);
        assert_eq!((job.id.as_str(), job.priority, job.max_parallel_tasks), ("film", -7, Some(5)));
        let constraints = job.constraints.unwrap();
        assert_eq!(constraints.max_wall_clock_time.unwrap().seconds, 3600);
        assert_eq!(constraints.max_task_retry_count, Some(3));
        assert_eq!(job.on_all_tasks_complete(), wire::OnAllTasksComplete::TerminateJob);
        assert_eq!(job.on_task_failure(), wire::OnTaskFailure::PerformExitOptionsJobAction);
        assert_eq!(job.on_dependency_failure(), wire::OnDependencyFailure::Skip);
        assert!(job.uses_task_dependencies && job.display_name == "Film");
        assert_eq!((job.common_environment_settings.len(), job.metadata.len()), (1, 1));
        let manager = job.job_manager_task.as_ref().unwrap();
        assert_eq!(
            (manager.id.as_str(), manager.command_line.as_str(), manager.required_slots),
            ("boss", "plan", 2)
        );
        assert_eq!((manager.kill_job_on_completion, manager.run_exclusive), (Some(false), Some(false)));
        assert_eq!(job.job_preparation_task.as_ref().unwrap().command_line, "prep");
        assert_eq!(job.job_release_task.as_ref().unwrap().command_line, "rel");
        let plain = created(&["film", "--pool", "p"]);
        assert_eq!(plain.constraints, None, "defaults are the controller's");
    }

    #[test]
    fn options_win_over_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.json");
        let json = r#"{"id": "film", "pool_id": "p", "priority": 5, "job_preparation_task": {"id": "x", "command_line": "a"}}"#;
        std::fs::write(&file, json).unwrap();
        let path = file.to_str().unwrap();
        let job = created(&["--file", path]);
        assert_eq!((job.id.as_str(), job.priority), ("film", 5));
        let job = created(&["other", "--file", path, "--priority", "0", "--preparation", "b"]);
        assert_eq!((job.id.as_str(), job.priority), ("other", 0));
        let preparation = job.job_preparation_task.unwrap();
        assert_eq!((preparation.id.as_str(), preparation.command_line.as_str()), ("x", "b"));
        let Change { fields, job, .. } = changed(&["--file", path, "--max-parallel-tasks", "-1"]);
        assert_eq!((fields, job.id.as_str()), (vec!["max_parallel_tasks", "pool_id", "priority"], "film"));
    }

    #[test]
    fn only_what_is_given_changes_unless_all_is_replaced() {
        let change = changed(&["--priority", "0"]);
        assert_eq!((change.fields, change.limits.is_partial()), (vec!["priority"], false));
        let Change { mut job, fields, limits } = changed(&["--max-wall-clock", "none"]);
        assert_eq!((fields, limits.is_partial()), (vec!["constraints"], true));
        let present = wire::JobConstraints {
            max_wall_clock_time: Some(Duration { seconds: 5, nanos: 0 }),
            max_task_retry_count: Some(2),
        };
        limits.fill(&mut job, Some(&present));
        let constraints = job.constraints.unwrap();
        assert_eq!((constraints.max_wall_clock_time, constraints.max_task_retry_count), (None, Some(2)));
        let both = changed(&["--max-wall-clock", "1h", "--max-retries", "1"]);
        assert!(!both.limits.is_partial());
        let all = changed(&["--replace", "--max-retries", "1"]);
        assert_eq!((all.fields, all.limits.is_partial()), (vec!["*"], false));
    }
}
