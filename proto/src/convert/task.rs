//! Tasks: inwards with all checks and defaults, outwards the fields that users set; and what attempts leave behind.
//!
//! State, execution info and node of a task are added by whoever answers it.

use std::time::Duration;

use muster_model::spec::{DependsOn, IdRange, TaskConstraints, TaskLimits, TaskSpec};
use muster_model::{Excerpt, JobId, RequestId, Resources, TaskId, Usage, limits};

use super::common::{
    command_line, count, display_name, duration_out, environment, environment_out, etag, optional_duration,
    request_id, retry_limit, retry_limit_out, user_identity, user_identity_out,
};
use super::file::{output_files, resource_files};
use super::job::{WALL_CLOCK_MIN, job_id};
use super::mask::Mask;
use super::unsupported::{self, refuse};
use super::violation::{Checker, FieldErrors, Problem};
use crate::wire;

/// The id of a task at the field `task_id`.
pub fn task_id(checker: &mut Checker, id: &str) -> Option<TaskId> {
    checker.at("task_id", |c| c.keep(TaskId::parse(id)))
}

impl TryFrom<wire::Task> for TaskSpec {
    type Error = FieldErrors;

    fn try_from(task: wire::Task) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let spec = checker.at("task", |c| task_spec(c, task));
        checker.finish(spec)
    }
}

/// One task of a batch, with `tasks[index]` as its place in messages.
///
/// # Errors
/// [`FieldErrors`] with everything that is wrong with it.
pub fn batch_task(index: usize, task: wire::Task) -> Result<TaskSpec, FieldErrors> {
    let mut checker = Checker::new();
    let spec = checker.at_item("tasks", index, |c| task_spec(c, task));
    checker.finish(spec)
}

/// A task, with the path of the checker at it.
pub(super) fn task_spec(checker: &mut Checker, task: wire::Task) -> Option<TaskSpec> {
    refuse(checker, unsupported::TASK, &task);
    let id = checker.at("id", |c| c.keep(TaskId::parse(&task.id)));
    let command_line = command_line(checker, task.command_line);
    let (resources, limits) = resources(checker, task.required_slots, task.resources);
    let constraints = constraints(checker, task.constraints);
    Some(TaskSpec {
        display_name: display_name(checker, task.display_name),
        resource_files: resource_files(checker, task.resource_files),
        output_files: output_files(checker, task.output_files),
        environment: environment(checker, "environment_settings", task.environment_settings),
        user_identity: user_identity(checker, task.user_identity),
        depends_on: depends_on(checker, task.depends_on),
        resources,
        limits,
        id: id?,
        command_line: command_line?,
        constraints: constraints?,
    })
}

fn resources(
    checker: &mut Checker,
    slots: u32,
    wanted: Option<wire::ResourceRequests>,
) -> (Resources, TaskLimits) {
    let slots = count(checker, "required_slots", slots, 1, 1, limits::TASK_SLOTS_PER_NODE_MAX);
    let wanted = wanted.unwrap_or_default();
    checker.at("resources", |c| refuse(c, unsupported::RESOURCE_REQUESTS, &wanted));
    let wire::ResourceRequests { cpu_millis, memory_bytes, disk_bytes, pids_max, .. } = wanted;
    let pids_max = (pids_max != 0).then_some(pids_max);
    (Resources { slots, cpu_millis, memory_bytes, disk_bytes }, TaskLimits { pids_max })
}

fn constraints(checker: &mut Checker, given: Option<wire::TaskConstraints>) -> Option<TaskConstraints> {
    let Some(given) = given else { return Some(TaskConstraints::default()) };
    checker.at("constraints", |c| {
        refuse(c, unsupported::TASK_CONSTRAINTS, &given);
        let max_wall_clock_time =
            optional_duration(c, "max_wall_clock_time", given.max_wall_clock_time, WALL_CLOCK_MIN);
        let retention_time = optional_duration(c, "retention_time", given.retention_time, Duration::ZERO);
        let retries = given.max_task_retry_count.map(|count| retry_limit(c, "max_task_retry_count", count));
        let max_task_retry_count = match retries {
            Some(checked) => Some(checked?),
            None => None,
        };
        Some(TaskConstraints { max_wall_clock_time, retention_time, max_task_retry_count })
    })
}

fn depends_on(checker: &mut Checker, given: Option<wire::TaskDependencies>) -> DependsOn {
    let Some(given) = given else { return DependsOn::default() };
    checker.at("depends_on", |c| {
        refuse(c, unsupported::DEPENDS_ON, &given);
        let chars: usize = given.task_ids.iter().map(String::len).sum();
        if chars > limits::DEPENDENCY_IDS_CHARS_MAX {
            let max = limits::DEPENDENCY_IDS_CHARS_MAX;
            c.note_at(
                "task_ids",
                Problem::TooLong { given: chars, max, unit: "characters in all ids together" },
            );
        }
        // Every id has at least one character, so the limit on characters is one on their number too.
        let max_ids = limits::DEPENDENCY_IDS_CHARS_MAX;
        let task_ids = c.each("task_ids", given.task_ids, max_ids, |c, id| c.keep(TaskId::parse(&id)));
        let ranges = given.task_id_ranges;
        let task_id_ranges = c.each("task_id_ranges", ranges, limits::DEPENDENCY_RANGES_MAX, |c, range| {
            let wire::TaskIdRange { start, end } = range;
            if end < start {
                c.note(Problem::EmptyRange { start, end });
                return None;
            }
            Some(IdRange { start, end })
        });
        DependsOn { task_ids, task_id_ranges }
    })
}

impl From<&TaskConstraints> for wire::TaskConstraints {
    fn from(constraints: &TaskConstraints) -> Self {
        Self {
            max_wall_clock_time: constraints.max_wall_clock_time.map(duration_out),
            retention_time: constraints.retention_time.map(duration_out),
            max_task_retry_count: constraints.max_task_retry_count.map(retry_limit_out),
            on_out_of_memory: None,
        }
    }
}

impl From<&DependsOn> for wire::TaskDependencies {
    fn from(depends_on: &DependsOn) -> Self {
        let range = |range: &IdRange| wire::TaskIdRange { start: range.start, end: range.end };
        Self {
            task_ids: depends_on.task_ids.iter().map(ToString::to_string).collect(),
            task_id_ranges: depends_on.task_id_ranges.iter().map(range).collect(),
            ..Self::default()
        }
    }
}

impl From<&TaskSpec> for wire::Task {
    /// The task without its job's id, which is not part of the specification.
    fn from(spec: &TaskSpec) -> Self {
        let Resources { slots, cpu_millis, memory_bytes, disk_bytes } = spec.resources;
        let pids_max = spec.limits.pids_max.unwrap_or(0);
        let wanted =
            wire::ResourceRequests { cpu_millis, memory_bytes, disk_bytes, pids_max, ..Default::default() };
        Self {
            id: spec.id.to_string(),
            display_name: spec.display_name.clone(),
            command_line: spec.command_line.clone(),
            resource_files: spec.resource_files.iter().map(Into::into).collect(),
            output_files: spec.output_files.iter().map(Into::into).collect(),
            environment_settings: environment_out(&spec.environment),
            constraints: some_unless_default(wire::TaskConstraints::from(&spec.constraints)),
            required_slots: slots,
            resources: some_unless_default(wanted),
            user_identity: Some(user_identity_out(spec.user_identity)),
            depends_on: some_unless_default(wire::TaskDependencies::from(&spec.depends_on)),
            ..Self::default()
        }
    }
}

/// Leaves empty parts out: a million stored tasks are smaller without them.
fn some_unless_default<T: Default + PartialEq>(part: T) -> Option<T> {
    (part != T::default()).then_some(part)
}

/// A checked `UpdateTask`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskUpdate {
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// Its new constraints, as a whole.
    pub constraints: TaskConstraints,
    /// Only if the task has this revision.
    pub if_match: Option<u64>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl TryFrom<wire::UpdateTaskRequest> for TaskUpdate {
    type Error = FieldErrors;

    fn try_from(request: wire::UpdateTaskRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        Mask::read(c, request.update_mask, "constraints");
        let if_match = etag(c, &request.etag);
        let request_id = request_id(c, &request.request_id);
        let task = c.required("task", request.task, "name the task and its new constraints");
        let update = task.and_then(|task| {
            c.at("task", |c| {
                let job = job_id(c, &task.job_id);
                let id = c.at("id", |c| c.keep(TaskId::parse(&task.id)));
                let constraints = constraints(c, task.constraints);
                Some(Self { job: job?, task: id?, constraints: constraints?, if_match, request_id })
            })
        });
        checker.finish(update)
    }
}

// ------------------------------------------------------------------------------------------------ what attempts leave

impl From<&Usage> for wire::ResourceUsage {
    fn from(usage: &Usage) -> Self {
        Self {
            user_cpu_time: Some(duration_out(Duration::from_micros(usage.user_cpu_micros))),
            kernel_cpu_time: Some(duration_out(Duration::from_micros(usage.kernel_cpu_micros))),
            peak_memory_bytes: usage.peak_memory_bytes,
            staged_bytes: usage.staged_bytes,
            uploaded_bytes: usage.uploaded_bytes,
        }
    }
}

/// What an attempt used, with the path of the checker at it.
pub(super) fn usage(checker: &mut Checker, usage: wire::ResourceUsage) -> Usage {
    let micros =
        |span: Option<Duration>| u64::try_from(span.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
    Usage {
        peak_memory_bytes: usage.peak_memory_bytes,
        user_cpu_micros: micros(optional_duration(
            checker,
            "user_cpu_time",
            usage.user_cpu_time,
            Duration::ZERO,
        )),
        kernel_cpu_micros: micros(optional_duration(
            checker,
            "kernel_cpu_time",
            usage.kernel_cpu_time,
            Duration::ZERO,
        )),
        staged_bytes: usage.staged_bytes,
        uploaded_bytes: usage.uploaded_bytes,
    }
}

impl From<&Excerpt> for wire::OutputExcerpt {
    fn from(excerpt: &Excerpt) -> Self {
        Self {
            head: excerpt.head.clone().into(),
            tail: excerpt.tail.clone().into(),
            total_bytes: excerpt.total_bytes,
        }
    }
}

/// The kept parts of a stream; what a sender has in excess is cut: the head's end, the tail's start.
#[must_use]
pub(super) fn excerpt(excerpt: Option<wire::OutputExcerpt>) -> Excerpt {
    let Some(excerpt) = excerpt else { return Excerpt::default() };
    let half = limits::EXCERPT_BYTES_MAX / 2;
    let head = &excerpt.head[..excerpt.head.len().min(half)];
    let tail = &excerpt.tail[excerpt.tail.len().saturating_sub(half)..];
    let kept = u64::try_from(head.len().saturating_add(tail.len())).unwrap_or(u64::MAX);
    Excerpt { head: head.to_vec(), tail: tail.to_vec(), total_bytes: excerpt.total_bytes.max(kept) }
}
