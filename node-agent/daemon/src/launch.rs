//! Turns a plan into what the supervisor runs: words of the command line, environment, user, limits.
//!
//! The command line is split by the quoting rules of a shell and run without one. The environment starts empty: the
//! plan's settings, then the variables of the reference (azure-batch.md 3.9), which win. What cannot be launched is told in
//! words for whoever wrote the task.

use crate::custody::Keyed;
use crate::workdir::Layout;
use muster_agent_core::Subject;
use muster_model::cause::FailureInfo;
use muster_model::limits::KILL_GRACE;
use muster_model::spec::{EnvironmentSetting, UserIdentity};
use muster_model::state::ElevationLevel;
use muster_model::{AccountName, AttemptId, Cause, NodeId, PoolId, TaskId};
use muster_proto::command_line::{self, SplitError};
use muster_proto::convert::AttemptLimits;
use muster_supervisor::{KeyError, Limits, Spec, SpecError, TaskUser};
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

/// Whom tasks may run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Users {
    /// Whether the agent is root and can give tasks another user.
    pub(crate) privileged: bool,
    /// User id of tasks that are not administrators.
    pub(crate) task_uid: u32,
    /// Their group id.
    pub(crate) task_gid: u32,
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
    pub(crate) user: UserIdentity,
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
    #[error(
        "the task asks for an administrator and the agent of this node does not run as root: use elevation level \
         nonadmin, or run the agent as root"
    )]
    NoAdministrator,
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

impl Users {
    /// Who owns a working directory; `None` is the agent's own user.
    pub(crate) fn owner(&self, identity: UserIdentity) -> Result<Option<(u32, u32)>, LaunchError> {
        match (self.privileged, identity.elevation) {
            (true, ElevationLevel::NonAdmin) => Ok(Some((self.task_uid, self.task_gid))),
            (true, ElevationLevel::Admin) | (false, ElevationLevel::NonAdmin) => Ok(None),
            (false, ElevationLevel::Admin) => Err(LaunchError::NoAdministrator),
        }
    }
}

/// Makes what the supervisor runs.
pub(crate) fn spec(
    layout: &Layout,
    names: &NodeNames,
    users: &Users,
    command: &Command<'_>,
) -> Result<Spec, LaunchError> {
    let owner = users.owner(command.user)?;
    let place = layout.place_path(command.subject);
    let argv = command_line::split(command.command_line)?.into_iter().map(OsString::from).collect();
    let whose = Keyed { subject: command.subject.clone(), incarnation: command.incarnation };
    let mut spec = Spec::new(whose.key()?, argv);
    spec.env = environment(layout, names, command);
    spec.cwd = place.join("wd");
    spec.stdout = Some(place.join("stdout.txt"));
    spec.stderr = Some(place.join("stderr.txt"));
    spec.user = owner.map(|(uid, gid)| TaskUser { uid, gid, groups: Vec::new() });
    spec.umask = UMASK;
    spec.grace_ms = u64::try_from(KILL_GRACE.as_millis()).unwrap_or(u64::MAX);
    spec.oom_score_adj = OOM_SCORE_ADJ;
    spec.limits = Limits {
        memory_bytes: (command.limits.memory_bytes > 0).then_some(command.limits.memory_bytes),
        cpu_millis: u32::try_from(command.limits.cpu_millis).ok().filter(|millis| *millis > 0),
        pids_max: command.limits.pids_max,
        wall_clock_ms: command
            .wall_clock
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)),
        ..Limits::default()
    };
    spec.check().map_err(LaunchError::Spec)?;
    Ok(spec)
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
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let names = NodeNames {
            account: "studio".parse().unwrap(),
            pool: "p".parse().unwrap(),
            node: "n-1".parse().unwrap(),
        };
        let users = Users { privileged: true, task_uid: 64_000, task_gid: 64_001 };
        let attempt = AttemptId { job: "j".parse().unwrap(), task: task.parse().unwrap(), number: 1 };
        let command = Command {
            subject: &Subject::Attempt(attempt),
            incarnation: 0,
            command_line: "true",
            environment,
            user: UserIdentity::default(),
            limits: AttemptLimits { memory_bytes: 64 << 20, cpu_millis: 500, ..AttemptLimits::default() },
            wall_clock: Some(Duration::from_secs(2)),
            gpus,
            preparation: Some(&"prep".parse().unwrap()),
            account_url: "https://c:1",
            is_dedicated: true,
        };
        spec(&layout, &names, &users, &command).unwrap()
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
    fn an_administrator_needs_an_agent_that_is_root() {
        let users = Users { privileged: false, task_uid: 1, task_gid: 1 };
        let admin = UserIdentity { elevation: ElevationLevel::Admin, ..UserIdentity::default() };
        assert_eq!(users.owner(admin), Err(LaunchError::NoAdministrator));
        assert_eq!(users.owner(UserIdentity::default()), Ok(None));
    }
}
