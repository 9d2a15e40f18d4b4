//! Tasks: inwards with all checks and defaults, outwards the fields that users set; and what attempts leave behind.
//!
//! State, execution info and node of a task are added by whoever answers it.

use std::time::Duration;

use muster_model::spec::{MemoryEscalation, TaskConstraints, TaskLimits, TaskSpec};
use muster_model::{Excerpt, JobId, NodeId, RequestId, Resources, TaskId, Usage, limits};

use super::common::{
    WALL_CLOCK_MIN, command_line, count, display_name, duration_out, environment, environment_out, etag,
    job_id, optional_duration, request_id, retry_limit, retry_limit_out,
};
use super::dependency::{depends_on, exit_conditions};
use super::file::{output_files, resource_files};
use super::mask::Mask;
use super::node::{named_counts, named_out};
use super::unsupported::{self, refuse};
use super::user::{user_identity, user_identity_out};
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
    let constraints = constraints(checker, task.constraints, Some(resources.memory_bytes));
    let exit_conditions = checker.part("exit_conditions", task.exit_conditions, exit_conditions);
    let affinity = match task.affinity_id.as_str() {
        "" => Some(None),
        node => checker.at("affinity_id", |c| c.keep(NodeId::parse(node))).map(Some),
    };
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
        exit_conditions: exit_conditions?,
        affinity: affinity?,
    })
}

fn resources(
    checker: &mut Checker,
    slots: u32,
    wanted: Option<wire::ResourceRequests>,
) -> (Resources, TaskLimits) {
    let slots = count(checker, "required_slots", slots, 1, 1, limits::TASK_SLOTS_PER_NODE_MAX);
    let wire::ResourceRequests { cpu_millis, memory_bytes, disk_bytes, pids_max, gpus, named } =
        wanted.unwrap_or_default();
    let (gpus, named) =
        checker.at("resources", |c| (count(c, "gpus", gpus, 0, 0, limits::GPUS_MAX), named_counts(c, named)));
    let pids_max = (pids_max != 0).then_some(pids_max);
    (Resources { slots, cpu_millis, memory_bytes, disk_bytes, gpus, named }, TaskLimits { pids_max })
}

/// The constraints of a task, with `memory` as what it asks for; `None` where that is not known.
pub(super) fn constraints(
    checker: &mut Checker,
    given: Option<wire::TaskConstraints>,
    memory: Option<u64>,
) -> Option<TaskConstraints> {
    let Some(given) = given else { return Some(TaskConstraints::default()) };
    checker.at("constraints", |c| {
        let max_wall_clock_time =
            optional_duration(c, "max_wall_clock_time", given.max_wall_clock_time, WALL_CLOCK_MIN);
        let retention_time = optional_duration(c, "retention_time", given.retention_time, Duration::ZERO);
        let retries = given.max_task_retry_count.map(|count| retry_limit(c, "max_task_retry_count", count));
        let max_task_retry_count = match retries {
            Some(checked) => Some(checked?),
            None => None,
        };
        let on_out_of_memory =
            c.part("on_out_of_memory", given.on_out_of_memory, |c, given| escalation(c, given, memory))?;
        Some(TaskConstraints { max_wall_clock_time, retention_time, max_task_retry_count, on_out_of_memory })
    })
}

/// What an attempt that ran out of memory leads to, with the path of the checker at it.
fn escalation(
    c: &mut Checker,
    given: wire::MemoryEscalation,
    memory: Option<u64>,
) -> Option<MemoryEscalation> {
    let clean = c.problems();
    if memory == Some(0) {
        c.note(Problem::Needs {
            hint: "ask for memory in resources.memory_bytes, which the factor multiplies",
        });
    }
    let millis = (given.factor * 1000.0).round();
    if !(1001.0..=f64::from(limits::ESCALATION_FACTOR_MILLIS_MAX)).contains(&millis) {
        let max = limits::ESCALATION_FACTOR_MILLIS_MAX / 1000;
        c.note_at("factor", Problem::NotFactor { given: given.factor.to_string(), max });
    }
    let (given_max, min) = (given.max_memory_bytes, memory.unwrap_or(1).max(1));
    if given_max < min {
        let what = "what the task asks for in resources.memory_bytes";
        c.note_at("max_memory_bytes", Problem::Below { given: given_max, min, what });
    }
    // Within the range above, which holds whole numbers of 32 bits, the cast loses nothing.
    let factor_millis = millis as u32;
    (c.problems() == clean).then_some(MemoryEscalation { factor_millis, max_bytes: given_max })
}

impl From<&TaskConstraints> for wire::TaskConstraints {
    fn from(constraints: &TaskConstraints) -> Self {
        Self {
            max_wall_clock_time: constraints.max_wall_clock_time.map(duration_out),
            retention_time: constraints.retention_time.map(duration_out),
            max_task_retry_count: constraints.max_task_retry_count.map(retry_limit_out),
            on_out_of_memory: constraints.on_out_of_memory.map(|escalation| wire::MemoryEscalation {
                factor: f64::from(escalation.factor_millis) / 1000.0,
                max_memory_bytes: escalation.max_bytes,
            }),
        }
    }
}

impl From<&TaskSpec> for wire::Task {
    /// The task without its job's id, which is not part of the specification.
    fn from(spec: &TaskSpec) -> Self {
        Self {
            id: spec.id.to_string(),
            display_name: spec.display_name.clone(),
            command_line: spec.command_line.clone(),
            resource_files: spec.resource_files.iter().map(Into::into).collect(),
            output_files: spec.output_files.iter().map(Into::into).collect(),
            environment_settings: environment_out(&spec.environment),
            constraints: some_unless_default(wire::TaskConstraints::from(&spec.constraints)),
            affinity_id: spec.affinity.as_ref().map(ToString::to_string).unwrap_or_default(),
            required_slots: spec.resources.slots,
            resources: some_unless_default(resources_out(&spec.resources, spec.limits)),
            user_identity: Some(user_identity_out(&spec.user_identity)),
            depends_on: some_unless_default(wire::TaskDependencies::from(&spec.depends_on)),
            exit_conditions: spec.exit_conditions.as_ref().map(Into::into),
            ..Self::default()
        }
    }
}

/// What a task asks for beside slots, for the wire.
#[must_use]
pub(super) fn resources_out(resources: &Resources, limits: TaskLimits) -> wire::ResourceRequests {
    wire::ResourceRequests {
        cpu_millis: resources.cpu_millis,
        memory_bytes: resources.memory_bytes,
        disk_bytes: resources.disk_bytes,
        pids_max: limits.pids_max.unwrap_or(0),
        gpus: resources.gpus,
        named: named_out(&resources.named),
    }
}

/// Leaves empty parts out: a million stored tasks are smaller without them.
pub(super) fn some_unless_default<T: Default + PartialEq>(part: T) -> Option<T> {
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
                let constraints = constraints(c, task.constraints, None);
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
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            peak_processes: usage.peak_processes,
            peak_disk_bytes: usage.peak_disk_bytes,
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
        read_bytes: usage.read_bytes,
        written_bytes: usage.written_bytes,
        peak_processes: usage.peak_processes,
        peak_disk_bytes: usage.peak_disk_bytes,
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
