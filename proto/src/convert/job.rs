//! Jobs: inwards with all checks and defaults, outwards the fields that users set.
//!
//! State, times and counts of a job are added by whoever answers it.

use muster_model::spec::{JobConstraints, JobPatch, JobSpec, RetryLimit};
use muster_model::state::{OnAllTasksComplete, OnDependencyFailure, OnTaskFailure};
use muster_model::{JobId, PoolId, RequestId, limits};

use super::common::{
    WALL_CLOCK_MIN, display_name, duration_out, environment, environment_out, etag, metadata, metadata_out,
    optional_duration, request_id, retry_limit, retry_limit_out,
};
use super::enums::enumeration;
use super::job_task::{JobTasks, job_tasks};
use super::mask::Mask;
use super::unsupported::{self, refuse};
use super::violation::{Checker, FieldErrors, Problem};
use crate::wire;
use wire::job::PoolInfo;

/// The fields that `UpdateJob` changes.
const UPDATABLE: &str =
    "display_name, priority, max_parallel_tasks, pool_id, constraints, on_all_tasks_complete, metadata";

impl TryFrom<wire::Job> for JobSpec {
    type Error = FieldErrors;

    fn try_from(job: wire::Job) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let spec = checker.at("job", |c| job_spec(c, job));
        checker.finish(spec)
    }
}

/// A job, with the path of the checker at it.
pub(super) fn job_spec(checker: &mut Checker, job: wire::Job) -> Option<JobSpec> {
    refuse(checker, unsupported::JOB, &job);
    let id = checker.at("id", |c| c.keep(JobId::parse(&job.id)));
    let pool = pool(checker, job.pool_info);
    let priority = priority(checker, job.priority);
    let constraints = constraints(checker, job.constraints);
    let on_complete = on_all_tasks_complete(checker, job.on_all_tasks_complete);
    let on_task_failure = checker.at("on_task_failure", |c| {
        enumeration::<wire::OnTaskFailure>(c, job.on_task_failure, Some(OnTaskFailure::NoAction))
    });
    let on_dependency_failure = checker.at("on_dependency_failure", |c| {
        enumeration::<wire::OnDependencyFailure>(
            c,
            job.on_dependency_failure,
            Some(OnDependencyFailure::Wait),
        )
    });
    let tasks = job_tasks(checker, job.job_manager_task, job.job_preparation_task, job.job_release_task);
    let JobTasks { manager, preparation, release } = tasks;
    Some(JobSpec {
        display_name: display_name(checker, job.display_name),
        common_environment: environment(
            checker,
            "common_environment_settings",
            job.common_environment_settings,
        ),
        metadata: metadata(checker, job.metadata),
        uses_task_dependencies: job.uses_task_dependencies,
        priority,
        max_parallel_tasks: max_parallel_tasks(checker, job.max_parallel_tasks),
        manager,
        preparation,
        release,
        id: id?,
        pool: pool?,
        constraints: constraints?,
        on_all_tasks_complete: on_complete?,
        on_task_failure: on_task_failure?,
        on_dependency_failure: on_dependency_failure?,
    })
}

fn pool(checker: &mut Checker, given: Option<PoolInfo>) -> Option<PoolId> {
    refuse(checker, unsupported::JOB_POOL, &given);
    match given {
        Some(PoolInfo::PoolId(id)) => checker.at("pool_id", |c| c.keep(PoolId::parse(&id))),
        // The table of what is not supported has noted it.
        Some(PoolInfo::AutoPoolSpecification(_)) => None,
        None => checker.required("pool_id", None, "name the pool that runs the job's tasks"),
    }
}

/// The most tasks on nodes; `None` is no limit.
fn max_parallel_tasks(checker: &mut Checker, given: Option<i32>) -> Option<u32> {
    match given {
        None | Some(-1) => None,
        Some(given) => {
            let limit = u32::try_from(given).ok().filter(|limit| *limit > 0);
            if limit.is_none() {
                checker.note_at("max_parallel_tasks", Problem::NotParallel { given });
            }
            limit
        }
    }
}

fn priority(checker: &mut Checker, given: i32) -> i32 {
    if !(limits::PRIORITY_MIN..=limits::PRIORITY_MAX).contains(&given) {
        let (min, max) = (limits::PRIORITY_MIN.into(), limits::PRIORITY_MAX.into());
        checker.note_at("priority", Problem::OutOfRange { given: given.into(), min, max });
    }
    given
}

fn constraints(checker: &mut Checker, given: Option<wire::JobConstraints>) -> Option<JobConstraints> {
    let Some(given) = given else { return Some(JobConstraints::default()) };
    checker.at("constraints", |c| {
        let retries = match given.max_task_retry_count {
            Some(count) => retry_limit(c, "max_task_retry_count", count),
            None => Some(RetryLimit::Times(0)),
        };
        let max_wall_clock_time =
            optional_duration(c, "max_wall_clock_time", given.max_wall_clock_time, WALL_CLOCK_MIN);
        Some(JobConstraints { max_wall_clock_time, max_task_retry_count: retries? })
    })
}

fn on_all_tasks_complete(checker: &mut Checker, given: i32) -> Option<OnAllTasksComplete> {
    checker.at("on_all_tasks_complete", |c| {
        enumeration::<wire::OnAllTasksComplete>(c, given, Some(OnAllTasksComplete::NoAction))
    })
}

impl From<&JobSpec> for wire::Job {
    fn from(spec: &JobSpec) -> Self {
        Self {
            id: spec.id.to_string(),
            display_name: spec.display_name.clone(),
            pool_info: Some(PoolInfo::PoolId(spec.pool.to_string())),
            priority: spec.priority,
            max_parallel_tasks: Some(
                spec.max_parallel_tasks.map_or(-1, |limit| i32::try_from(limit).unwrap_or(i32::MAX)),
            ),
            constraints: Some(wire::JobConstraints {
                max_wall_clock_time: spec.constraints.max_wall_clock_time.map(duration_out),
                max_task_retry_count: Some(retry_limit_out(spec.constraints.max_task_retry_count)),
            }),
            uses_task_dependencies: spec.uses_task_dependencies,
            on_all_tasks_complete: wire::OnAllTasksComplete::from(spec.on_all_tasks_complete).into(),
            on_task_failure: wire::OnTaskFailure::from(spec.on_task_failure).into(),
            on_dependency_failure: wire::OnDependencyFailure::from(spec.on_dependency_failure).into(),
            common_environment_settings: environment_out(&spec.common_environment),
            metadata: metadata_out(&spec.metadata),
            job_manager_task: spec.manager.as_ref().map(Into::into),
            job_preparation_task: spec.preparation.as_ref().map(Into::into),
            job_release_task: spec.release.as_ref().map(Into::into),
            ..Self::default()
        }
    }
}

/// A checked `UpdateJob`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobUpdate {
    /// The job.
    pub job: JobId,
    /// What changes.
    pub patch: JobPatch,
    /// Only if the job has this revision.
    pub if_match: Option<u64>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::UpdateJobRequest> for JobUpdate {
    type Error = FieldErrors;

    fn try_from(request: wire::UpdateJobRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let job = c.required("job", request.job, "name the job and its new values");
        let update = job.and_then(|job| {
            let mask = Mask::read(c, request.update_mask, UPDATABLE);
            c.at("job", |c| job_patch(c, job, &mask))
        });
        let if_match = etag(c, &request.etag);
        let request_id = request_id(c, &request.request_id);
        let update = update.map(|(job, patch)| Self { job, patch, if_match, request_id });
        checker.finish(update)
    }
}

fn job_patch(c: &mut Checker, job: wire::Job, mask: &Mask) -> Option<(JobId, JobPatch)> {
    let id = c.at("id", |c| c.keep(JobId::parse(&job.id)));
    let mut patch = JobPatch::default();
    if mask.names("display_name", !job.display_name.is_empty()) {
        patch.display_name = Some(display_name(c, job.display_name));
    }
    if mask.names("priority", job.priority != 0) {
        patch.priority = Some(priority(c, job.priority));
    }
    if mask.names("max_parallel_tasks", job.max_parallel_tasks.is_some()) {
        patch.max_parallel_tasks = Some(max_parallel_tasks(c, job.max_parallel_tasks));
    }
    // A job always has a pool, so PUT without one leaves it, and only a mask that names it demands one.
    if mask.names("pool_id", job.pool_info.is_some()) && (job.pool_info.is_some() || *mask != Mask::All) {
        patch.pool = pool(c, job.pool_info);
    }
    if mask.names("constraints", job.constraints.is_some()) {
        patch.constraints = constraints(c, job.constraints);
    }
    if mask.names("on_all_tasks_complete", job.on_all_tasks_complete != 0) {
        patch.on_all_tasks_complete = on_all_tasks_complete(c, job.on_all_tasks_complete);
    }
    if mask.names("metadata", !job.metadata.is_empty()) {
        patch.metadata = Some(metadata(c, job.metadata));
    }
    Some((id?, patch))
}
