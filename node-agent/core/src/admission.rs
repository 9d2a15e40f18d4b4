//! Which assignments are accepted, and which of the accepted attempts begins next.
//!
//! Attempts begin strictly in the order in which they were accepted: a large one at the head waits for its slots and is not
//! overtaken, so none waits for ever. Those beyond the slots were sent ahead, so that short tasks do not wait for a round trip.
//!
//! Invariant: what begins fits into the slots that are free.  [promises_hold_whatever_happens]

use crate::attempt::{Attempt, Event, State};
use crate::desk::Desk;
use crate::input::{Assignment, KillReason};
use crate::ledger::Ledger;
use crate::life;
use crate::record::Record;
use muster_model::cause::FailureInfo;
use muster_model::{AttemptId, AttemptResult, Cause};
use std::time::Duration;

/// Most attempts that may wait for slots: far above any sensible dispatch-ahead, and bounds the journal and the Hello.
pub const QUEUE_MAX: usize = 10_000;

/// What is to be done with an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It joins the queue.
    Accept,
    /// It is known already, or an earlier attempt of a task whose later one is known: nothing.
    Ignore,
    /// It ends at once, with this reason.
    Refuse(FailureInfo),
}

/// Decides about an assignment.
#[must_use]
pub fn examine(ledger: &Ledger, assignment: &Assignment) -> Answer {
    let id = &assignment.attempt;
    let later = AttemptId { number: u32::MAX, ..id.clone() };
    if ledger.attempts().range(id..=&later).next().is_some()
        || ledger.retained().holds(id)
        || ledger.retained().later_than(id)
    {
        return Answer::Ignore;
    }
    if ledger.queue_len() >= QUEUE_MAX {
        return Answer::Refuse(FailureInfo::new(
            Cause::Internal,
            format!("the node holds {QUEUE_MAX} attempts that wait for slots and takes no more"),
        ));
    }
    Answer::Accept
}

/// Takes an assignment: into the queue, or to its end.
pub(crate) fn assign(desk: &mut Desk<'_>, assignment: Assignment) {
    match examine(desk.ledger, &assignment) {
        Answer::Ignore => {}
        Answer::Refuse(failure) => {
            let result = AttemptResult::not_started(failure, desk.now.wall);
            life::tell_end(desk, &assignment.attempt, result, Duration::ZERO);
        }
        Answer::Accept => {
            let first = AttemptId { number: 0, ..assignment.attempt.clone() };
            let earlier: Vec<_> = desk
                .ledger
                .attempts()
                .range(first..assignment.attempt.clone())
                .map(|(id, _)| id.clone())
                .collect();
            for attempt in &earlier {
                life::kill_attempt(desk, attempt, KillReason::Stale, Duration::ZERO);
            }
            let order = desk.ledger.next_order();
            let attempt = Attempt { assignment, order, state: State::Assigned, kill: None };
            desk.record(Record::Accepted(Box::new(attempt)));
        }
    }
}

/// Begins attempts while the one at the head fits.
pub(crate) fn admit(desk: &mut Desk<'_>) {
    while let Some((id, fit)) = head(desk.ledger) {
        match fit {
            Fit::Now => life::attempt_event(desk, &id, Event::Admitted),
            Fit::Never { slots, offered } => {
                let failure = FailureInfo::new(
                    Cause::LaunchFailed,
                    format!("the task takes {slots} task slots and the node has {offered}"),
                );
                life::tell_end(desk, &id, AttemptResult::not_started(failure, desk.now.wall), Duration::ZERO);
            }
        }
    }
}

/// How the attempt at the head of the queue stands to the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Its slots are free.
    Now,
    /// The node does not have as many.
    Never {
        /// How many it takes.
        slots: u32,
        /// How many there are.
        offered: u32,
    },
}

/// The attempt at the head of the queue, unless it has to wait.
fn head(ledger: &Ledger) -> Option<(AttemptId, Fit)> {
    let offered = ledger.settings()?.task_slots;
    let attempt = ledger.queue().next()?;
    let slots = attempt.assignment.slots;
    let fit = if slots > offered {
        Fit::Never { slots, offered }
    } else if ledger.slots_used().saturating_add(slots) <= offered {
        Fit::Now
    } else {
        return None;
    };
    Some((attempt.id().clone(), fit))
}
