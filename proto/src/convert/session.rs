//! The small parts of session messages: names of attempts, held attempts, progress, results.
//!
//! Which message leads to which decision is the business of the daemons; here are only the checks of its parts.
//! A result comes from a node that may be of another version: texts and excerpts in excess are cut, not refused, so
//! that a report can always be applied or is wrong in a way that a person must see.

use muster_model::state::{AttemptPhase, ExecutionResult};
use muster_model::{AttemptId, AttemptResult, JobId, TaskId, Timestamp, limits};

use super::common::{optional_timestamp, required_timestamp, timestamp_out};
use super::enums::enumeration;
use super::error::failure_info;
use super::file::output_entry;
use super::task::{excerpt, usage};
use super::violation::{Checker, FieldErrors, Problem};
use crate::wire;

impl From<&AttemptId> for wire::AttemptRef {
    fn from(attempt: &AttemptId) -> Self {
        Self { job_id: attempt.job.to_string(), task_id: attempt.task.to_string(), attempt: attempt.number }
    }
}

impl TryFrom<wire::AttemptRef> for AttemptId {
    type Error = FieldErrors;

    fn try_from(attempt: wire::AttemptRef) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let attempt = attempt_id(&mut checker, Some(attempt));
        checker.finish(attempt)
    }
}

/// The name of an attempt at the field `attempt`.
pub fn attempt_id(checker: &mut Checker, attempt: Option<wire::AttemptRef>) -> Option<AttemptId> {
    let attempt = checker.required("attempt", attempt, "name the attempt")?;
    checker.at("attempt", |c| {
        let job = c.at("job_id", |c| c.keep(JobId::parse(&attempt.job_id)));
        let task = c.at("task_id", |c| c.keep(TaskId::parse(&attempt.task_id)));
        if attempt.attempt == 0 {
            c.note_at("attempt", Problem::OutOfRange { given: 0, min: 1, max: u32::MAX.into() });
            return None;
        }
        Some(AttemptId { job: job?, task: task?, number: attempt.attempt })
    })
}

/// An attempt that an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAttempt {
    /// Which.
    pub attempt: AttemptId,
    /// Where it is.
    pub phase: AttemptPhase,
    /// Tells its task from another of the same id; 0 when the agent does not know it.
    pub incarnation: u64,
}

impl TryFrom<wire::HeldAttempt> for HeldAttempt {
    type Error = FieldErrors;

    fn try_from(held: wire::HeldAttempt) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let held = c.at("held", |c| {
            let attempt = attempt_id(c, held.attempt);
            let phase = c.at("phase", |c| enumeration::<wire::AttemptPhase>(c, held.phase, None));
            Some(Self { attempt: attempt?, phase: phase?, incarnation: held.incarnation })
        });
        checker.finish(held)
    }
}

impl From<&HeldAttempt> for wire::HeldAttempt {
    fn from(held: &HeldAttempt) -> Self {
        Self {
            attempt: Some((&held.attempt).into()),
            phase: wire::AttemptPhase::from(held.phase).into(),
            incarnation: held.incarnation,
        }
    }
}

/// An attempt that has come further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub attempt: AttemptId,
    /// How far.
    pub phase: AttemptPhase,
    /// When, by the node's clock.
    pub time: Timestamp,
}

impl TryFrom<wire::AttemptProgress> for Progress {
    type Error = FieldErrors;

    fn try_from(progress: wire::AttemptProgress) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let progress = c.at("progress", |c| {
            let attempt = attempt_id(c, progress.attempt);
            let phase = c.at("phase", |c| enumeration::<wire::AttemptPhase>(c, progress.phase, None));
            let time = required_timestamp(c, "occur_time", progress.occur_time);
            Some(Self { attempt: attempt?, phase: phase?, time: time? })
        });
        checker.finish(progress)
    }
}

impl From<&Progress> for wire::AttemptProgress {
    fn from(progress: &Progress) -> Self {
        Self {
            attempt: Some((&progress.attempt).into()),
            phase: wire::AttemptPhase::from(progress.phase).into(),
            occur_time: Some(timestamp_out(progress.time)),
        }
    }
}

/// What came of an attempt, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which.
    pub attempt: AttemptId,
    /// What came of it.
    pub result: AttemptResult,
}

impl TryFrom<wire::AttemptResult> for Finished {
    type Error = FieldErrors;

    fn try_from(result: wire::AttemptResult) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let finished = checker.at("finished", |c| finished(c, result));
        checker.finish(finished)
    }
}

fn finished(c: &mut Checker, given: wire::AttemptResult) -> Option<Finished> {
    let attempt = attempt_id(c, given.attempt);
    let result = c.at("result", |c| enumeration::<wire::ExecutionResult>(c, given.result, None));
    let failed = result.map(|result| result == ExecutionResult::Failure);
    if failed.is_some_and(|failed| failed != given.failure_info.is_some()) {
        c.note_at("failure_info", Problem::Missing { hint: "a failure has one and a success has none" });
    }
    let failure = c.part("failure_info", given.failure_info, failure_info);
    let end_time = required_timestamp(c, "end_time", given.end_time);
    let used = c.at("usage", |c| usage(c, given.usage.unwrap_or_default()));
    let outputs = c.each("outputs", given.outputs, limits::OUTPUT_ENTRIES_MAX, output_entry);
    let start_time = optional_timestamp(c, "start_time", given.start_time);
    let result = AttemptResult {
        result: result?,
        exit_code: given.exit_code,
        signal: given.signal,
        failure: failure?,
        start_time,
        end_time: end_time?,
        usage: used,
        stdout: excerpt(given.stdout),
        stderr: excerpt(given.stderr),
        outputs,
    };
    Some(Finished { attempt: attempt?, result })
}

impl From<&Finished> for wire::AttemptResult {
    fn from(finished: &Finished) -> Self {
        Self { attempt: Some((&finished.attempt).into()), ..Self::from(&finished.result) }
    }
}

impl From<&AttemptResult> for wire::AttemptResult {
    /// The result without the attempt's name.
    fn from(result: &AttemptResult) -> Self {
        Self {
            attempt: None,
            result: wire::ExecutionResult::from(result.result).into(),
            failure_info: result.failure.as_ref().map(Into::into),
            exit_code: result.exit_code,
            signal: result.signal,
            start_time: result.start_time.map(timestamp_out),
            end_time: Some(timestamp_out(result.end_time)),
            usage: Some((&result.usage).into()),
            stdout: Some((&result.stdout).into()),
            stderr: Some((&result.stderr).into()),
            outputs: result.outputs.iter().map(Into::into).collect(),
        }
    }
}

/// What came of an attempt whose name is kept elsewhere (a row of the store): the name on the wire is not read.
///
/// # Errors
/// [`FieldErrors`] with everything that is wrong with it.
pub fn stored_result(
    mut result: wire::AttemptResult,
    attempt: &AttemptId,
) -> Result<AttemptResult, FieldErrors> {
    result.attempt = Some(attempt.into());
    Finished::try_from(result).map(|finished| finished.result)
}
