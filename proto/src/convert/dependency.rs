//! What a task waits for, and what its own end means to others: dependencies and exit conditions, both ways.
//!
//! Only form and limits are checked here. Whether a job has dependencies at all, and whether they lead in a circle, is for
//! who knows the job.

use muster_model::spec::{
    DependencyGroup, DependsOn, ExitConditions, ExitOptions, IdRange, Quota, SweepMembers, TaskGlob, TaskSet,
    TaskSpec,
};
use muster_model::state::DependencyCondition;
use muster_model::{SweepId, TaskId, limits};

use super::enums::{enumeration, optional_enumeration};
use super::violation::{Checker, FieldErrors, Problem};
use crate::wire;

// ------------------------------------------------------------------------------------------------ dependencies

/// The dependencies of a task at the field `depends_on`.
pub(super) fn depends_on(checker: &mut Checker, given: Option<wire::TaskDependencies>) -> DependsOn {
    let Some(given) = given else { return DependsOn::default() };
    checker.at("depends_on", |c| {
        let wire::TaskDependencies { task_ids, task_id_ranges, task_id_globs, groups, sweeps } = given;
        let tasks = task_set(c, task_ids, task_id_ranges, task_id_globs, sweeps);
        let groups = c.each("groups", groups, limits::DEPENDENCY_GROUPS_MAX, group);
        DependsOn { tasks, groups }
    })
}

fn task_set(
    c: &mut Checker,
    ids: Vec<String>,
    ranges: Vec<wire::TaskIdRange>,
    globs: Vec<String>,
    sweeps: Vec<wire::SweepMembers>,
) -> TaskSet {
    let chars: usize = ids.iter().map(String::len).sum();
    if chars > limits::DEPENDENCY_IDS_CHARS_MAX {
        let max = limits::DEPENDENCY_IDS_CHARS_MAX;
        let unit = "characters in all ids together";
        c.note_at("task_ids", Problem::TooLong { given: chars, max, unit });
    }
    // Every id has at least one character, so the limit on characters is one on their number too.
    let max_ids = limits::DEPENDENCY_IDS_CHARS_MAX;
    TaskSet {
        ids: c.each("task_ids", ids, max_ids, |c, id| c.keep(TaskId::parse(&id))),
        ranges: c.each("task_id_ranges", ranges, limits::DEPENDENCY_RANGES_MAX, |c, range| {
            let wire::TaskIdRange { start, end } = range;
            in_order(c, start, end).map(|(start, end)| IdRange { start, end })
        }),
        globs: c.each("task_id_globs", globs, limits::DEPENDENCY_GLOBS_MAX, |c, glob| {
            c.keep(TaskGlob::parse(&glob))
        }),
        sweeps: c.each("sweeps", sweeps, limits::DEPENDENCY_SWEEPS_MAX, |c, members| {
            let sweep = sweep_id(c, &members.sweep_id);
            let numbers = numbers(c, members.first, members.last);
            Some(SweepMembers { sweep: sweep?, numbers: numbers? })
        }),
    }
}

/// Both ends of a range, unless they are the wrong way round.
fn in_order<T: Copy + Ord + Into<i128>>(c: &mut Checker, start: T, end: T) -> Option<(T, T)> {
    if end < start {
        c.note(Problem::EmptyRange { start: start.into(), end: end.into() });
        return None;
    }
    Some((start, end))
}

/// The id of a sweep at the field `sweep_id`.
pub fn sweep_id(checker: &mut Checker, id: &str) -> Option<SweepId> {
    checker.at("sweep_id", |c| c.keep(SweepId::parse(id)))
}

/// The numbers of members from `first` to `last`: `Some(None)` is all of them, `None` is a range the wrong way round.
#[allow(clippy::option_option, reason = "as in Checker::part: unset and wrong are different")]
pub(super) fn numbers(
    checker: &mut Checker,
    first: Option<u64>,
    last: Option<u64>,
) -> Option<Option<(u64, u64)>> {
    if first.is_none() && last.is_none() {
        return Some(None);
    }
    // No member has a larger number, so an open end is that one.
    let (first, last) = (first.unwrap_or(0), last.unwrap_or(limits::SWEEP_NUMBER_MAX));
    checker.at("first", |c| in_order(c, first, last)).map(Some)
}

fn group(c: &mut Checker, group: wire::DependencyGroup) -> Option<DependencyGroup> {
    let wire::DependencyGroup {
        task_ids,
        task_id_ranges,
        task_id_globs,
        condition,
        at_least,
        sweeps,
        percent,
    } = group;
    let is_empty =
        task_ids.is_empty() && task_id_ranges.is_empty() && task_id_globs.is_empty() && sweeps.is_empty();
    if is_empty {
        c.note(Problem::Missing { hint: "name tasks: task_ids, task_id_ranges, task_id_globs or sweeps" });
    }
    let has_globs = !task_id_globs.is_empty();
    let tasks = task_set(c, task_ids, task_id_ranges, task_id_globs, sweeps);
    let condition = c.at("condition", |c| {
        enumeration::<wire::DependencyCondition>(c, condition, Some(DependencyCondition::Satisfied))
    });
    let quota = match (at_least, percent) {
        (None, None) => Some(Quota::All),
        (Some(_), Some(_)) => {
            c.note_at("percent", Problem::Conflict { other: "at_least" });
            None
        }
        (Some(count), None) => at_least_quota(c, count, &tasks),
        (None, Some(_)) if has_globs => {
            c.note_at("percent", Problem::Conflict { other: "task_id_globs" });
            None
        }
        (None, Some(percent)) => match u8::try_from(percent) {
            Ok(share @ 1..=100) => Some(Quota::Percent(share)),
            Ok(_) | Err(_) => {
                c.note_at("percent", Problem::OutOfRange { given: percent.into(), min: 1, max: 100 });
                None
            }
        },
    };
    Some(DependencyGroup { tasks, condition: condition?, quota: quota? })
}

/// At least this many, which is more than none and, where the number is closed, not more than are named.
fn at_least_quota(c: &mut Checker, count: u64, tasks: &TaskSet) -> Option<Quota> {
    let in_range = |range: &IdRange| u64::from(range.end - range.start) + 1;
    let is_closed = tasks.globs.is_empty() && tasks.sweeps.is_empty();
    let named = tasks.ids.len() as u64 + tasks.ranges.iter().map(in_range).sum::<u64>();
    let max = if is_closed { named.max(1) } else { u64::MAX };
    if (1..=max).contains(&count) {
        return Some(Quota::AtLeast(count));
    }
    let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    c.note_at("at_least", Problem::OutOfRange { given: bound(count), min: 1, max: bound(max) });
    None
}

/// The parts of a set of tasks as both messages have them.
struct SetOut {
    ids: Vec<String>,
    ranges: Vec<wire::TaskIdRange>,
    globs: Vec<String>,
    sweeps: Vec<wire::SweepMembers>,
}

fn set_out(set: &TaskSet) -> SetOut {
    let members = |members: &SweepMembers| wire::SweepMembers {
        sweep_id: members.sweep.to_string(),
        first: members.numbers.map(|(first, _)| first),
        last: members.numbers.map(|(_, last)| last),
    };
    SetOut {
        ids: set.ids.iter().map(ToString::to_string).collect(),
        ranges: set.ranges.iter().map(|r| wire::TaskIdRange { start: r.start, end: r.end }).collect(),
        globs: set.globs.iter().map(ToString::to_string).collect(),
        sweeps: set.sweeps.iter().map(members).collect(),
    }
}

impl From<&DependencyGroup> for wire::DependencyGroup {
    fn from(group: &DependencyGroup) -> Self {
        let SetOut { ids, ranges, globs, sweeps } = set_out(&group.tasks);
        let (at_least, percent) = match group.quota {
            Quota::All => (None, None),
            Quota::AtLeast(count) => (Some(count), None),
            Quota::Percent(share) => (None, Some(share.into())),
        };
        Self {
            task_ids: ids,
            task_id_ranges: ranges,
            task_id_globs: globs,
            condition: wire::DependencyCondition::from(group.condition).into(),
            at_least,
            sweeps,
            percent,
        }
    }
}

impl From<&DependsOn> for wire::TaskDependencies {
    fn from(depends_on: &DependsOn) -> Self {
        let SetOut { ids, ranges, globs, sweeps } = set_out(&depends_on.tasks);
        Self {
            task_ids: ids,
            task_id_ranges: ranges,
            task_id_globs: globs,
            groups: depends_on.groups.iter().map(Into::into).collect(),
            sweeps,
        }
    }
}

// ------------------------------------------------------------------------------------------------ exit conditions

/// The exit conditions of a task, with the path of the checker at them.
pub(super) fn exit_conditions(c: &mut Checker, given: wire::ExitConditions) -> Option<ExitConditions> {
    let mut seen = std::collections::BTreeSet::new();
    let codes = c.each("exit_codes", given.exit_codes, limits::EXIT_CODES_MAX, |c, mapping| {
        if !seen.insert(mapping.code) {
            c.note_at("code", Problem::Duplicate { given: mapping.code.to_string() });
        }
        options(c, "exit_options", mapping.exit_options).map(|options| (mapping.code, options))
    });
    let ranges = c.each("exit_code_ranges", given.exit_code_ranges, limits::EXIT_CODES_MAX, |c, mapping| {
        let range = in_order(c, mapping.start, mapping.end);
        let options = options(c, "exit_options", mapping.exit_options);
        range.zip(options).map(|((start, end), options)| (start, end, options))
    });
    let mut part = |field, given: Option<wire::ExitOptions>| match given {
        Some(given) => options(c, field, Some(given)).map(Some),
        None => Some(None),
    };
    let pre_processing_error = part("pre_processing_error", given.pre_processing_error);
    let file_upload_error = part("file_upload_error", given.file_upload_error);
    let default = part("default_options", given.default_options);
    Some(ExitConditions {
        codes,
        ranges,
        pre_processing_error: pre_processing_error?,
        file_upload_error: file_upload_error?,
        default: default?,
    })
}

fn options(c: &mut Checker, field: &'static str, given: Option<wire::ExitOptions>) -> Option<ExitOptions> {
    let given = given.unwrap_or_default();
    c.at(field, |c| {
        let clean = c.problems();
        let job_action = c.at("job_action", |c| optional_enumeration::<wire::JobAction>(c, given.job_action));
        let dependency_action = c.at("dependency_action", |c| {
            optional_enumeration::<wire::DependencyAction>(c, given.dependency_action)
        });
        (c.problems() == clean).then_some(ExitOptions { job_action, dependency_action })
    })
}

impl From<&ExitOptions> for wire::ExitOptions {
    fn from(options: &ExitOptions) -> Self {
        Self {
            job_action: options.job_action.map_or(0, |action| wire::JobAction::from(action).into()),
            dependency_action: options
                .dependency_action
                .map_or(0, |action| wire::DependencyAction::from(action).into()),
        }
    }
}

impl From<&ExitConditions> for wire::ExitConditions {
    fn from(conditions: &ExitConditions) -> Self {
        let code = |(code, options): &(i32, ExitOptions)| wire::ExitCodeMapping {
            code: *code,
            exit_options: Some(options.into()),
        };
        let range = |(start, end, options): &(i32, i32, ExitOptions)| wire::ExitCodeRangeMapping {
            start: *start,
            end: *end,
            exit_options: Some(options.into()),
        };
        Self {
            exit_codes: conditions.codes.iter().map(code).collect(),
            exit_code_ranges: conditions.ranges.iter().map(range).collect(),
            pre_processing_error: conditions.pre_processing_error.as_ref().map(Into::into),
            file_upload_error: conditions.file_upload_error.as_ref().map(Into::into),
            default_options: conditions.default.as_ref().map(Into::into),
        }
    }
}

/// Whether an exit condition of the task names an action on its job: only jobs whose on_task_failure is
/// `PerformExitOptionsJobAction` may have such tasks.
#[must_use]
pub fn needs_job_action(task: &TaskSpec) -> bool {
    let Some(conditions) = &task.exit_conditions else { return false };
    let codes = conditions.codes.iter().map(|(_, options)| options);
    let ranges = conditions.ranges.iter().map(|(_, _, options)| options);
    let others = [&conditions.pre_processing_error, &conditions.file_upload_error, &conditions.default];
    codes.chain(ranges).chain(others.into_iter().flatten()).any(|options| options.job_action.is_some())
}

/// The refusal of a task that [`needs_job_action`] in a job without it. `field` is the task's place in the request: `task`,
/// `sweep.template`.
#[must_use]
pub fn job_action_refused(field: &str) -> FieldErrors {
    let hint = "create the job with ON_TASK_FAILURE_PERFORM_EXIT_OPTIONS_JOB_ACTION, or leave job_action out";
    FieldErrors::one(format!("{field}.exit_conditions"), Problem::Needs { hint })
}
