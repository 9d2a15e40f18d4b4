//! What a node is told to run, complete: the plans of attempts and of the start task, and the pool's settings.
//!
//! The controller builds these from specifications and the file store; the agent reads them and has nothing to decide.
//! Both ends use the same checked types, so a plan that was built here is never refused there for its form.

use std::time::Duration;

use muster_model::spec::{
    EnvironmentSetting, OutputFile, RetryLimit, TaskConstraints, UserAccount, UserIdentity,
};
use muster_model::state::{IsolationLevel, OnLeaseExpiry, TaskNetwork};
use muster_model::{AttemptId, Digest, FilePath, TaskId, limits};

use super::common::{
    command_line, count, duration_out, environment, environment_out, environment_up_to, optional_digest,
    optional_duration, retry_limit, retry_limit_out,
};
use super::enums::{enumeration, optional_enumeration};
use super::file::{http_url, output_files};
use super::node::node_slots;
use super::pool::task_network;
use super::session::attempt_id;
use super::user::{user_accounts, user_identity, user_identity_out};
use super::violation::{Checker, FieldErrors, Problem};
use crate::version::PLAN_FILES_MAX;
use crate::wire;
use wire::planned_file::Source;

/// The most entries of a plan's environment: a job's and a task's together, a sweep's values, and what the controller
/// adds for itself (a sweep's name and number, a job manager's credentials), for which 16 is ample.
const PLAN_ENVIRONMENT_MAX: usize = 2 * limits::ENVIRONMENT_SETTINGS_MAX + limits::SWEEP_PARAMETERS_MAX + 16;
/// All permission bits that a planned file may have.
const FILE_MODE_MAX: u32 = 0o777;

/// Where a planned file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedSource {
    /// The file store's content of this digest.
    Content(Digest),
    /// An http or https URL.
    Http(String),
}

/// A resource file with nothing left to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Where it comes from.
    pub source: PlannedSource,
    /// Where it goes, below the task's working directory.
    pub path: FilePath,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    /// What its bytes must be, when the task says so.
    pub expected: Option<Digest>,
    /// Its bytes, where known.
    pub size: Option<u64>,
}

/// Limits that the node enforces on an attempt; 0 and `None` are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptLimits {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Processes and threads.
    pub pids_max: Option<u32>,
    /// Bytes below the task directory.
    pub disk_bytes: u64,
    /// From the attempt's start until its end.
    pub wall_clock: Option<Duration>,
}

/// Everything that a node needs to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptPlan {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Run without a shell.
    pub command_line: String,
    /// The job's common settings and the task's own, merged.
    pub environment: Vec<EnvironmentSetting>,
    /// Files to stage first.
    pub resource_files: Vec<PlannedFile>,
    /// Files to upload afterwards.
    pub output_files: Vec<OutputFile>,
    /// Limits to enforce.
    pub limits: AttemptLimits,
    /// As whom it runs.
    pub user_identity: UserIdentity,
    /// How many slots it takes; 0 for a job preparation or release task.
    pub slots: u32,
    /// How long its directory is kept after its end.
    pub retention: Duration,
    /// The job's preparation task, for AZ_BATCH_JOB_PREP_DIR and AZ_BATCH_JOB_PREP_WORKING_DIR.
    pub job_preparation: Option<TaskId>,
    /// How many GPUs it gets for itself.
    pub gpus: u32,
    /// Tells its task from an earlier one of the same id: grows with each creation; 0 from a controller that does not say.
    pub incarnation: u64,
}

/// New limits of an attempt that a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Which attempt.
    pub attempt: AttemptId,
    /// From the attempt's start until its end; `None` is no limit.
    pub wall_clock: Option<Duration>,
    /// How long its directory is kept after its end.
    pub retention: Duration,
}

impl Amendment {
    /// What new constraints of its task mean for an attempt.
    #[must_use]
    pub fn new(attempt: AttemptId, constraints: &TaskConstraints) -> Self {
        Self {
            attempt,
            wall_clock: constraints.max_wall_clock_time,
            retention: constraints.retention_time.unwrap_or(limits::RETENTION_DEFAULT),
        }
    }
}

/// Everything that a node needs to run the start task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartTaskPlan {
    /// Grows with each change of the pool's start task.
    pub version: u64,
    /// Run without a shell.
    pub command_line: String,
    /// Its environment.
    pub environment: Vec<EnvironmentSetting>,
    /// Files to stage first.
    pub resource_files: Vec<PlannedFile>,
    /// As whom it runs.
    pub user_identity: UserIdentity,
    /// How often it is tried again.
    pub max_retries: RetryLimit,
    /// Whether attempts wait for its success.
    pub wait_for_success: bool,
}

/// What a pool wants of its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// How many slots the node has.
    pub task_slots: u32,
    /// What it does with attempts when its lease ends.
    pub on_lease_expiry: OnLeaseExpiry,
    /// How many attempts it may hold beyond its slots.
    pub dispatch_ahead: u32,
    /// For AZ_BATCH_NODE_IS_DEDICATED.
    pub is_dedicated: bool,
    /// For AZ_BATCH_ACCOUNT_URL.
    pub account_url: String,
    /// What it runs at each boot.
    pub start_task: Option<StartTaskPlan>,
    /// How strongly tasks are separated, at least; `None` is as strongly as the node can.
    pub isolation_level: Option<IsolationLevel>,
    /// What tasks see of the network.
    pub task_network: TaskNetwork,
    /// The named users of its tasks.
    pub user_accounts: Vec<UserAccount>,
}

// ------------------------------------------------------------------------------------------------ outwards

impl From<&PlannedFile> for wire::PlannedFile {
    fn from(file: &PlannedFile) -> Self {
        Self {
            source: Some(match &file.source {
                PlannedSource::Content(digest) => Source::ContentSha256(digest.to_string()),
                PlannedSource::Http(url) => Source::HttpUrl(url.clone()),
            }),
            file_path: file.path.to_string(),
            file_mode: file.mode,
            expected_sha256: file.expected.map(|digest| digest.to_string()).unwrap_or_default(),
            size_bytes: file.size,
        }
    }
}

impl From<&AttemptPlan> for wire::AttemptPlan {
    fn from(plan: &AttemptPlan) -> Self {
        Self {
            attempt: Some((&plan.attempt).into()),
            command_line: plan.command_line.clone(),
            environment_settings: environment_out(&plan.environment),
            resource_files: plan.resource_files.iter().map(Into::into).collect(),
            output_files: plan.output_files.iter().map(Into::into).collect(),
            limits: Some(wire::AttemptLimits {
                memory_bytes: plan.limits.memory_bytes,
                cpu_millis: plan.limits.cpu_millis,
                pids_max: plan.limits.pids_max.unwrap_or(0),
                disk_bytes: plan.limits.disk_bytes,
                wall_clock_time: plan.limits.wall_clock.map(duration_out),
            }),
            user_identity: Some(user_identity_out(&plan.user_identity)),
            required_slots: plan.slots,
            retention_time: Some(duration_out(plan.retention)),
            job_preparation_task_id: plan
                .job_preparation
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            gpus: plan.gpus,
            incarnation: plan.incarnation,
        }
    }
}

impl From<&Amendment> for wire::Amend {
    fn from(amendment: &Amendment) -> Self {
        Self {
            attempt: Some((&amendment.attempt).into()),
            wall_clock_time: amendment.wall_clock.map(duration_out),
            retention_time: Some(duration_out(amendment.retention)),
        }
    }
}

impl From<&StartTaskPlan> for wire::StartTaskPlan {
    fn from(plan: &StartTaskPlan) -> Self {
        Self {
            version: plan.version,
            command_line: plan.command_line.clone(),
            environment_settings: environment_out(&plan.environment),
            resource_files: plan.resource_files.iter().map(Into::into).collect(),
            user_identity: Some(user_identity_out(&plan.user_identity)),
            max_task_retry_count: retry_limit_out(plan.max_retries),
            wait_for_success: plan.wait_for_success,
        }
    }
}

impl From<&NodeSettings> for wire::NodeSettings {
    fn from(settings: &NodeSettings) -> Self {
        Self {
            task_slots: settings.task_slots,
            on_lease_expiry: wire::LeaseExpiryPolicy::from(settings.on_lease_expiry).into(),
            dispatch_ahead: settings.dispatch_ahead,
            is_dedicated: settings.is_dedicated,
            account_url: settings.account_url.clone(),
            start_task: settings.start_task.as_ref().map(Into::into),
            isolation_level: settings
                .isolation_level
                .map_or(0, |level| wire::IsolationLevel::from(level).into()),
            task_network: wire::TaskNetwork::from(settings.task_network).into(),
            user_accounts: settings.user_accounts.iter().map(Into::into).collect(),
        }
    }
}

// ------------------------------------------------------------------------------------------------ inwards

impl TryFrom<wire::AttemptPlan> for AttemptPlan {
    type Error = FieldErrors;

    fn try_from(plan: wire::AttemptPlan) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let plan = checker.at("plan", |c| attempt_plan(c, plan));
        checker.finish(plan)
    }
}

fn attempt_plan(c: &mut Checker, plan: wire::AttemptPlan) -> Option<AttemptPlan> {
    let attempt = attempt_id(c, plan.attempt);
    let command_line = command_line(c, plan.command_line);
    let given = plan.limits.unwrap_or_default();
    let wall_clock =
        c.at("limits", |c| optional_duration(c, "wall_clock_time", given.wall_clock_time, Duration::ZERO));
    let limits = AttemptLimits {
        memory_bytes: given.memory_bytes,
        cpu_millis: given.cpu_millis,
        pids_max: (given.pids_max != 0).then_some(given.pids_max),
        disk_bytes: given.disk_bytes,
        wall_clock,
    };
    let retention = optional_duration(c, "retention_time", plan.retention_time, Duration::ZERO);
    let job_preparation = match plan.job_preparation_task_id.as_str() {
        "" => Some(None),
        id => c.at("job_preparation_task_id", |c| c.keep(TaskId::parse(id))).map(Some),
    };
    Some(AttemptPlan {
        environment: environment_up_to(
            c,
            "environment_settings",
            plan.environment_settings,
            PLAN_ENVIRONMENT_MAX,
        ),
        resource_files: planned_files(c, plan.resource_files),
        output_files: output_files(c, plan.output_files),
        limits,
        user_identity: user_identity(c, plan.user_identity),
        slots: count(c, "required_slots", plan.required_slots, 0, 0, limits::TASK_SLOTS_PER_NODE_MAX),
        retention: retention.unwrap_or(limits::RETENTION_DEFAULT),
        job_preparation: job_preparation?,
        gpus: count(c, "gpus", plan.gpus, 0, 0, limits::GPUS_MAX),
        incarnation: plan.incarnation,
        attempt: attempt?,
        command_line: command_line?,
    })
}

impl TryFrom<wire::Amend> for Amendment {
    type Error = FieldErrors;

    fn try_from(amend: wire::Amend) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let amendment = checker.at("amend", |c| {
            let attempt = attempt_id(c, amend.attempt);
            let wall_clock = optional_duration(c, "wall_clock_time", amend.wall_clock_time, Duration::ZERO);
            let retention = optional_duration(c, "retention_time", amend.retention_time, Duration::ZERO);
            let retention = retention.unwrap_or(limits::RETENTION_DEFAULT);
            Some(Self { attempt: attempt?, wall_clock, retention })
        });
        checker.finish(amendment)
    }
}

fn planned_files(c: &mut Checker, files: Vec<wire::PlannedFile>) -> Vec<PlannedFile> {
    c.each("resource_files", files, PLAN_FILES_MAX, |c, file| {
        let source = c.required("source", file.source, "set content_sha256 or http_url");
        let source = source.and_then(|source| match source {
            Source::ContentSha256(digest) => {
                c.at("content_sha256", |c| c.keep(Digest::parse(&digest))).map(PlannedSource::Content)
            }
            Source::HttpUrl(url) => c.at("http_url", |c| http_url(c, url)).map(PlannedSource::Http),
            Source::ObjectStoreUrl(_) => {
                c.note_at("object_store_url", Problem::NotSupported { instead: "use content_sha256" });
                None
            }
        });
        let path = c.at("file_path", |c| c.keep(FilePath::parse(&file.file_path)));
        if file.file_mode > FILE_MODE_MAX {
            let (given, max) = (file.file_mode.into(), FILE_MODE_MAX.into());
            c.note_at("file_mode", Problem::OutOfRange { given, min: 0, max });
        }
        let expected = optional_digest(c, "expected_sha256", &file.expected_sha256);
        Some(PlannedFile {
            source: source?,
            path: path?,
            mode: file.file_mode,
            expected,
            size: file.size_bytes,
        })
    })
}

impl TryFrom<wire::StartTaskPlan> for StartTaskPlan {
    type Error = FieldErrors;

    fn try_from(plan: wire::StartTaskPlan) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let plan = checker.at("start_task", |c| start_task_plan(c, plan));
        checker.finish(plan)
    }
}

fn start_task_plan(c: &mut Checker, plan: wire::StartTaskPlan) -> Option<StartTaskPlan> {
    let command_line = command_line(c, plan.command_line);
    let max_retries = retry_limit(c, "max_task_retry_count", plan.max_task_retry_count);
    Some(StartTaskPlan {
        version: plan.version,
        environment: environment(c, "environment_settings", plan.environment_settings),
        resource_files: planned_files(c, plan.resource_files),
        user_identity: user_identity(c, plan.user_identity),
        wait_for_success: plan.wait_for_success,
        max_retries: max_retries?,
        command_line: command_line?,
    })
}

impl TryFrom<wire::NodeSettings> for NodeSettings {
    type Error = FieldErrors;

    fn try_from(settings: wire::NodeSettings) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let settings = checker.at("settings", |c| node_settings(c, settings));
        checker.finish(settings)
    }
}

fn node_settings(c: &mut Checker, settings: wire::NodeSettings) -> Option<NodeSettings> {
    let on_lease_expiry = c.at("on_lease_expiry", |c| {
        enumeration::<wire::LeaseExpiryPolicy>(c, settings.on_lease_expiry, Some(OnLeaseExpiry::Kill))
    });
    let start_task = c.part("start_task", settings.start_task, start_task_plan);
    let isolation_level = c
        .at("isolation_level", |c| optional_enumeration::<wire::IsolationLevel>(c, settings.isolation_level));
    let task_network = task_network(c, settings.task_network);
    let user_accounts = user_accounts(c, settings.user_accounts);
    Some(NodeSettings {
        task_slots: node_slots(c, settings.task_slots),
        dispatch_ahead: settings.dispatch_ahead,
        is_dedicated: settings.is_dedicated,
        account_url: settings.account_url,
        start_task: start_task?,
        on_lease_expiry: on_lease_expiry?,
        isolation_level,
        task_network: task_network?,
        user_accounts,
    })
}
