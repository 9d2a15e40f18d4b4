//! The tasks that a job brings itself: its manager, its preparation and its release task, both ways.
//!
//! The manager is an ordinary task and goes through the same checks as one; the other two have fewer fields of their own.

use std::time::Duration;

use muster_model::spec::{JobManagerSpec, JobPreparationSpec, JobReleaseSpec};
use muster_model::{TaskId, limits};

use super::common::{
    WALL_CLOCK_MIN, command_line, duration_out, environment, environment_out, optional_duration,
};
use super::file::resource_files;
use super::task::{constraints, resources_out, some_unless_default, task_spec};
use super::unsupported::{self, refuse};
use super::user::{user_identity, user_identity_out};
use super::violation::{Checker, Problem};
use crate::wire;

/// The id of a preparation task that names none (the reference's default).
const PREPARATION_ID_DEFAULT: &str = "jobpreparation";
/// The id of a release task that names none (the reference's default).
const RELEASE_ID_DEFAULT: &str = "jobrelease";

/// The tasks of a job. One that is wrong is noted and left out.
pub(super) struct JobTasks {
    pub(super) manager: Option<JobManagerSpec>,
    pub(super) preparation: Option<JobPreparationSpec>,
    pub(super) release: Option<JobReleaseSpec>,
}

/// The tasks that a job brings itself, with the path of the checker at the job.
pub(super) fn job_tasks(
    c: &mut Checker,
    manager: Option<wire::JobManagerTask>,
    preparation: Option<wire::JobPreparationTask>,
    release: Option<wire::JobReleaseTask>,
) -> JobTasks {
    if release.is_some() && preparation.is_none() {
        let hint = "it runs where the preparation task ran: set job_preparation_task too";
        c.note_at("job_release_task", Problem::Needs { hint });
    }
    let tasks = JobTasks {
        manager: c.part("job_manager_task", manager, self::manager).flatten(),
        preparation: c.part("job_preparation_task", preparation, self::preparation).flatten(),
        release: c.part("job_release_task", release, self::release).flatten(),
    };
    distinct_ids(c, &tasks);
    tasks
}

fn distinct_ids(c: &mut Checker, tasks: &JobTasks) {
    let manager = tasks.manager.as_ref().map(|manager| &manager.task.id);
    let preparation = tasks.preparation.as_ref().map(|preparation| &preparation.id);
    let release = tasks.release.as_ref().map(|release| &release.id);
    let pairs = [
        ("job_preparation_task", preparation, manager, "job_manager_task's, which is the same"),
        ("job_release_task", release, manager, "job_manager_task's, which is the same"),
        ("job_release_task", release, preparation, "job_preparation_task's, which is the same"),
    ];
    for (field, id, other_id, other) in pairs {
        if id.is_some() && id == other_id {
            c.at(field, |c| c.note_at("id", Problem::Conflict { other }));
        }
    }
}

/// The id at the field `id`, or the one that stands for an empty text.
fn id_or(c: &mut Checker, given: &str, default: &'static str) -> Option<TaskId> {
    c.at("id", |c| c.keep(TaskId::parse(if given.is_empty() { default } else { given })))
}

fn manager(c: &mut Checker, given: wire::JobManagerTask) -> Option<JobManagerSpec> {
    refuse(c, unsupported::JOB_MANAGER, &given);
    let task = wire::Task {
        id: given.id,
        display_name: given.display_name,
        command_line: given.command_line,
        resource_files: given.resource_files,
        output_files: given.output_files,
        environment_settings: given.environment_settings,
        constraints: given.constraints,
        required_slots: given.required_slots,
        resources: given.resources,
        user_identity: given.user_identity,
        application_package_references: given.application_package_references,
        container_settings: given.container_settings,
        ..Default::default()
    };
    Some(JobManagerSpec {
        task: task_spec(c, task)?,
        kill_job_on_completion: given.kill_job_on_completion.unwrap_or(true),
        run_exclusive: given.run_exclusive.unwrap_or(true),
    })
}

fn preparation(c: &mut Checker, given: wire::JobPreparationTask) -> Option<JobPreparationSpec> {
    refuse(c, unsupported::JOB_PREPARATION, &given);
    let id = id_or(c, &given.id, PREPARATION_ID_DEFAULT);
    let command_line = command_line(c, given.command_line);
    let constraints = constraints(c, given.constraints, Some(0));
    Some(JobPreparationSpec {
        resource_files: resource_files(c, given.resource_files),
        environment: environment(c, "environment_settings", given.environment_settings),
        user_identity: user_identity(c, given.user_identity),
        wait_for_success: given.wait_for_success.unwrap_or(true),
        rerun_on_node_reboot_after_success: given.rerun_on_node_reboot_after_success.unwrap_or(true),
        id: id?,
        command_line: command_line?,
        constraints: constraints?,
    })
}

fn release(c: &mut Checker, given: wire::JobReleaseTask) -> Option<JobReleaseSpec> {
    refuse(c, unsupported::JOB_RELEASE, &given);
    let id = id_or(c, &given.id, RELEASE_ID_DEFAULT);
    let command_line = command_line(c, given.command_line);
    let max = limits::JOB_RELEASE_WALL_CLOCK_MAX;
    let span = optional_duration(c, "max_wall_clock_time", given.max_wall_clock_time, WALL_CLOCK_MIN);
    let span = span.unwrap_or(max);
    if span > max {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        // A part of a second above the limit is one second above it.
        let given = seconds(span).max(seconds(max) + 1);
        c.note_at("max_wall_clock_time", Problem::LongDuration { given, max: seconds(max) });
    }
    let retention_time = optional_duration(c, "retention_time", given.retention_time, Duration::ZERO);
    Some(JobReleaseSpec {
        resource_files: resource_files(c, given.resource_files),
        environment: environment(c, "environment_settings", given.environment_settings),
        user_identity: user_identity(c, given.user_identity),
        max_wall_clock_time: span,
        retention_time,
        id: id?,
        command_line: command_line?,
    })
}

impl From<&JobManagerSpec> for wire::JobManagerTask {
    fn from(manager: &JobManagerSpec) -> Self {
        let task = &manager.task;
        Self {
            id: task.id.to_string(),
            display_name: task.display_name.clone(),
            command_line: task.command_line.clone(),
            resource_files: task.resource_files.iter().map(Into::into).collect(),
            output_files: task.output_files.iter().map(Into::into).collect(),
            environment_settings: environment_out(&task.environment),
            constraints: some_unless_default((&task.constraints).into()),
            required_slots: task.resources.slots,
            kill_job_on_completion: Some(manager.kill_job_on_completion),
            user_identity: Some(user_identity_out(&task.user_identity)),
            run_exclusive: Some(manager.run_exclusive),
            resources: some_unless_default(resources_out(&task.resources, task.limits)),
            ..Self::default()
        }
    }
}

impl From<&JobPreparationSpec> for wire::JobPreparationTask {
    fn from(task: &JobPreparationSpec) -> Self {
        Self {
            id: task.id.to_string(),
            command_line: task.command_line.clone(),
            resource_files: task.resource_files.iter().map(Into::into).collect(),
            environment_settings: environment_out(&task.environment),
            constraints: some_unless_default((&task.constraints).into()),
            wait_for_success: Some(task.wait_for_success),
            user_identity: Some(user_identity_out(&task.user_identity)),
            rerun_on_node_reboot_after_success: Some(task.rerun_on_node_reboot_after_success),
            ..Self::default()
        }
    }
}

impl From<&JobReleaseSpec> for wire::JobReleaseTask {
    fn from(task: &JobReleaseSpec) -> Self {
        Self {
            id: task.id.to_string(),
            command_line: task.command_line.clone(),
            resource_files: task.resource_files.iter().map(Into::into).collect(),
            environment_settings: environment_out(&task.environment),
            max_wall_clock_time: Some(duration_out(task.max_wall_clock_time)),
            retention_time: task.retention_time.map(duration_out),
            user_identity: Some(user_identity_out(&task.user_identity)),
            ..Self::default()
        }
    }
}
