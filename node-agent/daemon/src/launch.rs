//! Turns a plan into what the supervisor runs: words of the command line, environment, limits.
//!
//! The command line is split by the quoting rules of a shell and run without one. The environment starts empty: the
//! plan's settings, then the variables of the reference (azure-batch.md 3.9), which win. What cannot be launched is told in
//! words for whoever wrote the task. Its user comes from `users`, how it is separated from `isolation`.

use crate::custody::Keyed;
use crate::users::RunAs;
use crate::workdir::Layout;
use muster_agent_core::attempt::Attempt;
use muster_agent_core::input::Assignment;
use muster_agent_core::{Record, Subject};
use muster_model::cause::FailureInfo;
use muster_model::limits::KILL_GRACE;
use muster_model::spec::EnvironmentSetting;
use muster_model::{AccountName, AttemptId, Cause, NodeId, PoolId, TaskId};
use muster_proto::command_line::{self, SplitError};
use muster_proto::convert::AttemptLimits;
use muster_supervisor::spec::CPU_WEIGHT_RANGE;
use muster_supervisor::{Isolation, KeyError, Limits, Spec, SpecError, TaskUser};
use std::ffi::OsString;
use std::time::Duration;

/// PATH when the plan sets none: where a Linux system keeps its programs.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where programs look for the GPUs that they may use: CUDA, and NVIDIA's container runtime.
const GPU_VARIABLES: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];
/// Group and others may read what a task makes, and not write it.
const UMASK: u32 = 0o022;
/// Tasks are ended before the agent when the machine runs out of memory.
const OOM_SCORE_ADJ: i16 = 500;

/// Processor time as a share: thousandths of a processor for one unit of the kernel's weight, by which a whole processor
/// comes to 100, everybody's default.
const MILLIS_PER_WEIGHT: u64 = 10;

/// What a command is held to besides what its task asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    /// Most processes and threads of a command that asks for no limit; `None` where the node cannot enforce one.
    pub(crate) pids_max: Option<u32>,
    /// Most open files of one process.
    pub(crate) open_files: u64,
    /// Largest core dump in bytes; 0 writes none.
    pub(crate) core_bytes: u64,
    /// How processor time is limited.
    pub(crate) cpu: CpuLimit,
}

impl LimitSettings {
    /// What the core is to know of a plan's limits: those that the plan leaves to the node are its as well.
    pub(crate) fn told(&self, assignment: Assignment) -> Assignment {
        let process_limit = assignment.process_limit.or(self.pids_max.map(u64::from));
        Assignment { process_limit, ..assignment }
    }

    /// The same for a record that holds one.
    pub(crate) fn told_in(&self, record: Record) -> Record {
        let Record::Accepted(attempt) = record else { return record };
        let assignment = self.told(attempt.assignment.clone());
        Record::Accepted(Box::new(Attempt { assignment, ..*attempt }))
    }
}

/// What the processors that a task asks for mean while others idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CpuLimit {
    /// No more than them.
    Quota,
    /// At least them: what is idle may be used too.
    Weight,
}

/// What the node is, for the environment of its tasks.
#[derive(Debug, Clone)]
pub(crate) struct NodeNames {
    pub(crate) account: AccountName,
    pub(crate) pool: PoolId,
    pub(crate) node: NodeId,
}

/// A command to run, of an attempt or of the start task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    pub(crate) subject: &'a Subject,
    /// Tells the attempt's task from an earlier one of the same id.
    pub(crate) incarnation: u64,
    pub(crate) command_line: &'a str,
    pub(crate) environment: &'a [EnvironmentSetting],
    pub(crate) user: RunAs,
    pub(crate) limits: AttemptLimits,
    pub(crate) wall_clock: Option<Duration>,
    /// The GPUs that are its own; empty if it asked for none.
    pub(crate) gpus: &'a [u32],
    /// The job preparation task of its job.
    pub(crate) preparation: Option<&'a TaskId>,
    pub(crate) account_url: &'a str,
    pub(crate) is_dedicated: bool,
}

/// Why a command cannot be launched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the command line cannot be split: {0}")]
    Line(#[from] SplitError),
    #[error("the names of job and task make a key that is not possible: {0}")]
    Key(#[from] KeyError),
    #[error("the command cannot be run: {0}")]
    Spec(SpecError),
}

impl LaunchError {
    /// The failure that is reported.
    pub(crate) fn failure(&self) -> FailureInfo {
        FailureInfo::new(Cause::LaunchFailed, self.to_string())
    }
}

/// Makes what the supervisor runs.
pub(crate) fn spec(
    layout: &Layout,
    names: &NodeNames,
    settings: &LimitSettings,
    isolation: Isolation,
    command: &Command<'_>,
) -> Result<Spec, LaunchError> {
    let place = layout.place_path(command.subject);
    let argv = command_line::split(command.command_line)?.into_iter().map(OsString::from).collect();
    let whose = Keyed { subject: command.subject.clone(), incarnation: command.incarnation };
    let mut spec = Spec::new(whose.key()?, argv);
    // What prepares the machine needs no controller.
    spec.leased = matches!(command.subject, Subject::Attempt(_));
    spec.env = environment(layout, names, command);
    spec.cwd = place.join("wd");
    spec.stdout = Some(place.join("stdout.txt"));
    spec.stderr = Some(place.join("stderr.txt"));
    spec.user = command.user.owner().map(|(uid, gid)| TaskUser { uid, gid, groups: Vec::new() });
    spec.umask = UMASK;
    spec.grace_ms = u64::try_from(KILL_GRACE.as_millis()).unwrap_or(u64::MAX);
    spec.oom_score_adj = OOM_SCORE_ADJ;
    spec.isolation = isolation;
    spec.limits = limits(settings, command);
    spec.check().map_err(LaunchError::Spec)?;
    Ok(spec)
}

fn limits(settings: &LimitSettings, command: &Command<'_>) -> Limits {
    let asked = &command.limits;
    let millis = Some(asked.cpu_millis).filter(|millis| *millis > 0);
    let weight = |millis: u64| {
        let weight = u32::try_from(millis / MILLIS_PER_WEIGHT).unwrap_or(u32::MAX);
        weight.clamp(*CPU_WEIGHT_RANGE.start(), *CPU_WEIGHT_RANGE.end())
    };
    let (cpu_millis, cpu_weight) = match settings.cpu {
        CpuLimit::Quota => (millis.and_then(|millis| u32::try_from(millis).ok()), None),
        CpuLimit::Weight => (None, millis.map(weight)),
    };
    Limits {
        memory_bytes: Some(asked.memory_bytes).filter(|bytes| *bytes > 0),
        cpu_millis,
        cpu_weight,
        pids_max: asked.pids_max.or(settings.pids_max),
        wall_clock_ms: command
            .wall_clock
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)),
        core_bytes: settings.core_bytes,
        open_files: Some(settings.open_files),
    }
}

/// The whole environment of a command.
pub(crate) fn environment(
    layout: &Layout,
    names: &NodeNames,
    command: &Command<'_>,
) -> Vec<(OsString, OsString)> {
    let place = layout.place_path(command.subject);
    let root = layout.batch_path();
    let wd = place.join("wd");
    let text = |value: &str| OsString::from(value);
    let mut variables: Vec<(&str, OsString)> = vec![
        ("AZ_BATCH_ACCOUNT_NAME", text(names.account.as_str())),
        ("AZ_BATCH_ACCOUNT_URL", text(command.account_url)),
        ("AZ_BATCH_POOL_ID", text(names.pool.as_str())),
        ("AZ_BATCH_NODE_ID", text(names.node.as_str())),
        ("AZ_BATCH_NODE_IS_DEDICATED", text(if command.is_dedicated { "true" } else { "false" })),
        ("AZ_BATCH_NODE_SHARED_DIR", root.join("shared").into()),
        ("AZ_BATCH_NODE_STARTUP_DIR", root.join("startup").into()),
        ("AZ_BATCH_NODE_MOUNTS_DIR", root.join("fsmounts").into()),
        ("AZ_BATCH_NODE_ROOT_DIR", root.into()),
        ("AZ_BATCH_TASK_DIR", place.clone().into()),
        ("AZ_BATCH_CERTIFICATES_DIR", wd.join("certs").into()),
        ("AZ_BATCH_TASK_WORKING_DIR", wd.clone().into()),
        ("AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES", command.limits.disk_bytes.to_string().into()),
    ];
    if let Subject::Attempt(attempt) = command.subject {
        variables.push(("AZ_BATCH_JOB_ID", text(attempt.job.as_str())));
        variables.push(("AZ_BATCH_TASK_ID", text(attempt.task.as_str())));
        // The preparation itself has these as its own directories.
        if let Some(task) = command.preparation.filter(|task| **task != attempt.task) {
            let preparation = Subject::Attempt(AttemptId { task: task.clone(), ..attempt.clone() });
            let place = layout.place_path(&preparation);
            variables.push(("AZ_BATCH_JOB_PREP_WORKING_DIR", place.join("wd").into()));
            variables.push(("AZ_BATCH_JOB_PREP_DIR", place.into()));
        }
    }
    if !command.gpus.is_empty() {
        let numbers: Vec<String> = command.gpus.iter().map(ToString::to_string).collect();
        variables.extend(GPU_VARIABLES.map(|name| (name, numbers.join(",").into())));
    }
    let set = |name: &str| command.environment.iter().any(|setting| setting.name == name);
    for (name, default) in [("PATH", text(PATH_DEFAULT)), ("HOME", wd.into())] {
        if !set(name) {
            variables.push((name, default));
        }
    }
    let ours = |name: &str| variables.iter().any(|(own, _)| *own == name);
    let given = command.environment.iter().filter(|setting| !ours(&setting.name));
    // Of two settings of one name the later counts, as in a shell.
    let mut merged: Vec<(OsString, OsString)> =
        Vec::with_capacity(variables.len() + command.environment.len());
    for setting in given {
        let name = OsString::from(&setting.name);
        merged.retain(|(before, _)| *before != name);
        merged.push((name, OsString::from(&setting.value)));
    }
    merged.extend(variables.into_iter().map(|(name, value)| (OsString::from(name), value)));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_command_line_is_refused_with_the_place() {
        let error = LaunchError::from(command_line::split("echo 'a b").unwrap_err());
        assert_eq!(
            error.to_string(),
            "the command line cannot be split: the quote ' in column 6 is never closed: close it, or write \\' for the character"
        );
    }

    fn launched(environment: &[EnvironmentSetting]) -> Spec {
        launched_as("t", environment, &[])
    }

    fn launched_as(task: &str, environment: &[EnvironmentSetting], gpus: &[u32]) -> Spec {
        launched_under(&SETTINGS, task, environment, gpus)
    }

    const SETTINGS: LimitSettings =
        LimitSettings { pids_max: Some(8_192), open_files: 1_024, core_bytes: 0, cpu: CpuLimit::Quota };

    fn launched_under(
        settings: &LimitSettings,
        task: &str,
        environment: &[EnvironmentSetting],
        gpus: &[u32],
    ) -> Spec {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let names = NodeNames {
            account: "studio".parse().unwrap(),
            pool: "p".parse().unwrap(),
            node: "n-1".parse().unwrap(),
        };
        let attempt = AttemptId { job: "j".parse().unwrap(), task: task.parse().unwrap(), number: 1 };
        let command = Command {
            subject: &Subject::Attempt(attempt),
            incarnation: 0,
            command_line: "true",
            environment,
            user: RunAs::User { uid: 64_000, gid: 64_001 },
            limits: AttemptLimits { memory_bytes: 64 << 20, cpu_millis: 500, ..AttemptLimits::default() },
            wall_clock: Some(Duration::from_secs(2)),
            gpus,
            preparation: Some(&"prep".parse().unwrap()),
            account_url: "https://c:1",
            is_dedicated: true,
        };
        spec(&layout, &names, settings, Isolation::default(), &command).unwrap()
    }

    fn value<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
        let found: Vec<_> = spec.env.iter().filter(|(own, _)| own == name).collect();
        assert!(found.len() <= 1, "{name} is set {} times", found.len());
        found.first().and_then(|(_, value)| value.to_str())
    }

    #[test]
    fn the_environment_starts_empty_and_the_reference_s_variables_win() {
        let setting = |name: &str, value: &str| EnvironmentSetting { name: name.into(), value: value.into() };
        let spec = launched(&[
            setting("A", "1"),
            setting("A", "2"),
            setting("AZ_BATCH_NODE_ID", "forged"),
            setting("PATH", "/opt/bin"),
        ]);
        assert_eq!(value(&spec, "A"), Some("2"));
        assert_eq!(value(&spec, "PATH"), Some("/opt/bin"));
        assert_eq!(value(&spec, "AZ_BATCH_NODE_ID"), Some("n-1"));
        assert_eq!(value(&spec, "AZ_BATCH_TASK_ID"), Some("t"));
        assert!(value(&spec, "AZ_BATCH_TASK_WORKING_DIR").is_some_and(|wd| wd.ends_with("/j/job-1/t/wd")));
        assert_eq!(value(&spec, "CARGO_MANIFEST_DIR"), None);
        assert_eq!(value(&launched(&[]), "PATH"), Some(PATH_DEFAULT));
    }

    #[test]
    fn the_directories_of_the_job_preparation_are_named_to_tasks_and_not_to_itself() {
        let task = launched(&[]);
        let ends = |name: &str, end: &str| value(&task, name).is_some_and(|value| value.ends_with(end));
        assert!(ends("AZ_BATCH_JOB_PREP_DIR", "/workitems/j/job-1/prep"));
        assert!(ends("AZ_BATCH_JOB_PREP_WORKING_DIR", "/workitems/j/job-1/prep/wd"));
        assert_eq!(value(&launched_as("prep", &[], &[]), "AZ_BATCH_JOB_PREP_DIR"), None);
    }

    #[test]
    fn gpus_are_named_to_whoever_asked_for_some_and_other_settings_pass_untouched() {
        let setting = |name: &str, value: &str| EnvironmentSetting { name: name.into(), value: value.into() };
        let own =
            [setting("CUDA_VISIBLE_DEVICES", "7"), setting("MUSTER_JOB_TOKEN", "x"), setting("PWD", "y")];
        let spec = launched_as("t", &own, &[0, 3]);
        for name in GPU_VARIABLES {
            assert_eq!(value(&spec, name), Some("0,3"));
        }
        assert_eq!((value(&spec, "MUSTER_JOB_TOKEN"), value(&spec, "PWD")), (Some("x"), Some("y")));
        let without = launched(&own);
        assert_eq!(value(&without, "CUDA_VISIBLE_DEVICES"), Some("7"));
        assert_eq!(value(&without, "NVIDIA_VISIBLE_DEVICES"), None);
    }

    #[test]
    fn limits_and_user_reach_the_supervisor() {
        let spec = launched(&[]);
        assert_eq!(spec.limits.memory_bytes, Some(64 << 20));
        assert_eq!((spec.limits.cpu_millis, spec.limits.wall_clock_ms), (Some(500), Some(2_000)));
        assert_eq!(
            spec.user.map(|user| (user.uid, user.gid, user.groups)),
            Some((64_000, 64_001, Vec::new()))
        );
    }

    #[test]
    fn a_task_that_asks_for_no_limit_of_processes_gets_the_node_s() {
        let limits = |settings: &LimitSettings| launched_under(settings, "t", &[], &[]).limits;
        let found = limits(&SETTINGS);
        assert_eq!((found.pids_max, found.open_files, found.core_bytes), (Some(8_192), Some(1_024), 0));
        assert_eq!(limits(&LimitSettings { pids_max: None, ..SETTINGS }).pids_max, None);
    }

    #[test]
    fn the_core_is_told_of_the_node_s_limit_where_the_plan_has_none() {
        let assignment = |process_limit| Assignment {
            attempt: AttemptId { job: "j".parse().unwrap(), task: "t".parse().unwrap(), number: 1 },
            incarnation: 0,
            slots: 1,
            gpus: 0,
            wall_clock: None,
            retention: Duration::ZERO,
            memory_limit_bytes: None,
            disk_limit_bytes: None,
            process_limit,
            has_files: false,
            preparation: None,
        };
        for (asked, wanted) in [(None, Some(8_192)), (Some(16), Some(16))] {
            assert_eq!(SETTINGS.told(assignment(asked)).process_limit, wanted);
        }
    }

    #[test]
    fn processors_are_a_share_where_the_operator_says_so() {
        let limits =
            launched_under(&LimitSettings { cpu: CpuLimit::Weight, ..SETTINGS }, "t", &[], &[]).limits;
        assert_eq!((limits.cpu_millis, limits.cpu_weight), (None, Some(50)));
    }
}
