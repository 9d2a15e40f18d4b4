//! Promises about what processes really did: how often a task ran, and when.
//!
//! They rest on the ledger, which no controller and no agent can write. Two lives of one task are compared by the machine's one clock
//! and by the task's lock, which the kernel gives back when a process is gone and not before.

use super::Case;
use crate::record::State;
use crate::told::{Act, Answer};
use muster_proto::wire::FailureCause;

/// No life meets another one of its task: it always gets the lock, and begins after the last word of those before.
pub(super) fn overlap(case: &Case<'_>) -> Option<String> {
    if let Some(life) = case.lives.iter().find(|life| life.is_double) {
        return Some(format!(
            "attempt {} began while another process of the task was there: {life:?}",
            life.attempt
        ));
    }
    let mut latest: Option<&&crate::ledger::Life> = None;
    for life in &case.lives {
        if let Some(before) = latest.filter(|before| before.last_us >= life.first_us) {
            return Some(format!("two attempts lived at one time: {before:?} and {life:?}"));
        }
        latest = Some(life);
    }
    None
}

/// One attempt is one start of the command.
pub(super) fn attempt_twice(case: &Case<'_>) -> Option<String> {
    let twice = case.lives.iter().find(|life| case.lives_of(life.attempt).count() > 1);
    twice.map(|life| format!("attempt {} ran {} times", life.attempt, case.lives_of(life.attempt).count()))
}

/// Without retries a task starts once, and once more for each time that somebody asked for it.
pub(super) fn more_than_once(case: &Case<'_>) -> Option<String> {
    let deed = case.deed.filter(|deed| deed.retries == 0)?;
    let may = 1 + case.reactivations() + case.effective(&Act::Requeue).count();
    (case.lives.len() > may).then(|| format!("{deed:?} ran {} times, {may} would be right", case.lives.len()))
}

/// When a client has read that a task has ended, none of its lives so far lives on, and none begins until somebody asks for it. One that
/// was terminated is ended after it is told: its last moments do not count.
pub(super) fn after_end(case: &Case<'_>) -> Option<String> {
    for (_, answered, seen) in case.readings() {
        if seen.state != State::Completed
            || answered == u64::MAX
            || seen.cause == Some(FailureCause::Terminated)
        {
            continue;
        }
        let late = case.lives.iter().find(|life| {
            let is_asked_for = case
                .calls
                .iter()
                .filter(|entry| entry.act == Act::Reactivate)
                .filter(|entry| !matches!(entry.answer, Answer::Refused(_) | Answer::Gone))
                .any(|entry| entry.asked_us < life.first_us && life.attempt > seen.attempt);
            life.last_us > answered && !is_asked_for
        });
        if let Some(life) = late {
            return Some(format!("its end was told at {answered} ({seen}) and it lived on: {life:?}"));
        }
    }
    None
}

/// Nothing runs that nobody asked for, and what runs does what was asked.
pub(super) fn unasked(case: &Case<'_>) -> Option<String> {
    let Some(deed) = case.deed else {
        return Some(format!(
            "nobody asked for it; recorded: {}, lives: {}",
            case.kept.is_some(),
            case.lives.len()
        ));
    };
    let may = [deed.exit_code, crate::deed::CANNOT_WRITE_OUTPUT];
    let wrong = case.lives.iter().find(|life| life.exit_code.is_some_and(|code| !may.contains(&code)));
    wrong.map(|life| format!("{deed:?} exited otherwise: {life:?}"))
}
