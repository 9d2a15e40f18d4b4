//! Which assignments are accepted, and which of the accepted attempts begins next.
//!
//! Attempts begin strictly in the order in which they were accepted: a large one at the head waits for its slots and GPUs and is
//! not overtaken, so none waits for ever. Those beyond the slots were sent ahead, so that short tasks do not wait for a
//! round trip. Job preparations and releases take no slots: they have an order of their own and wait for nobody in the other.
//!
//! Invariant: what begins fits into the slots that are free, and no GPU is two attempts' at one time.
//! [promises_hold_whatever_happens]

use crate::attempt::{Attempt, Event};
use crate::deferred::Deferred;
use crate::desk::Desk;
use crate::directories;
use crate::input::{Assignment, KillReason};
use crate::ledger::Ledger;
use crate::life;
use crate::record::Record;
use crate::report::Report;
use muster_model::cause::FailureInfo;
use muster_model::{AttemptId, Cause, TaskKey};
use std::time::Duration;

/// Most attempts that may wait in each of the two queues: far above any sensible dispatch-ahead, and bounds the journal and the Hello.
pub const QUEUE_MAX: usize = 10_000;

/// Most attempts without slots that are under way at one time: all preparations of a busy node, and few enough that a hundred
/// jobs which end together do not start all their releases at once.
pub const SLOTLESS_MAX: u32 = 64;

/// What is to be done with an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It joins the queue.
    Accept,
    /// It is known already, or an earlier attempt of a task whose later one is known, or of an earlier task of the same id:
    /// nothing.
    Ignore,
    /// It waits until the attempts of an earlier task of the same id have ended.
    Defer,
    /// It ends at once, with this reason.
    Refuse(FailureInfo),
}

/// The order of the attempts of all tasks that have had one id.
const fn rank(id: &AttemptId, incarnation: u64) -> (u64, u32) {
    (incarnation, id.number)
}

/// Decides about an assignment.
#[must_use]
pub fn examine(ledger: &Ledger, assignment: &Assignment) -> Answer {
    let (task, offered) = (assignment.attempt.task_key(), rank(&assignment.attempt, assignment.incarnation));
    let live = || ledger.attempts_of(&task).map(|held| rank(held.id(), held.incarnation()));
    let ended = ledger.retained().of(&task).map(|(id, kept)| rank(id, kept.incarnation));
    if live().chain(ended).any(|known| known >= offered) {
        return Answer::Ignore;
    }
    if live().any(|(incarnation, _)| incarnation < assignment.incarnation) {
        return Answer::Defer;
    }
    if ledger.queue_len(assignment) >= QUEUE_MAX {
        return Answer::Refuse(FailureInfo::new(
            Cause::Internal,
            format!("the node holds {QUEUE_MAX} attempts that wait and takes no more"),
        ));
    }
    Answer::Accept
}

/// Takes an assignment: into the queue, to its end, or among those that wait for it.
pub(crate) fn assign(desk: &mut Desk<'_>, deferred: &mut Deferred, assignment: Assignment) {
    match examine(desk.ledger, &assignment) {
        Answer::Ignore => {}
        Answer::Defer => {
            deferred.defer(desk, assignment);
            // What had not begun has ended at once.
            assign_free(desk, deferred);
        }
        Answer::Refuse(failure) => {
            life::tell_end(desk, &assignment.attempt, assignment.incarnation, failure);
        }
        Answer::Accept => {
            let task = assignment.attempt.task_key();
            directories::forget_earlier_tasks(desk, &task, assignment.incarnation);
            end_earlier(desk, &task);
            let order = desk.ledger.next_order();
            desk.record(Record::Accepted(Box::new(Attempt::assigned(assignment, order))));
        }
    }
}

/// Lets an assignment wait because nothing of it can be recorded; gives it back if too many do.
pub(crate) fn postpone(desk: &mut Desk<'_>, deferred: &mut Deferred, assignment: Assignment) {
    match examine(desk.ledger, &assignment) {
        Answer::Ignore => {}
        Answer::Accept | Answer::Defer | Answer::Refuse(_) if deferred.iter().nth(QUEUE_MAX).is_some() => {
            desk.report(Report::Recalled(assignment.attempt));
        }
        Answer::Accept | Answer::Defer | Answer::Refuse(_) => {
            let task = assignment.attempt.task_key();
            deferred.defer(desk, assignment);
            end_earlier(desk, &task);
        }
    }
}

/// Ends what is held of a task of which there is a later attempt.
fn end_earlier(desk: &mut Desk<'_>, task: &TaskKey) {
    let earlier: Vec<_> = desk.ledger.attempts_of(task).map(|held| held.id().clone()).collect();
    for attempt in &earlier {
        life::kill_attempt(desk, attempt, KillReason::Stale, Duration::ZERO);
    }
}

/// Takes the assignments that wait for nothing any more.
pub(crate) fn assign_free(desk: &mut Desk<'_>, deferred: &mut Deferred) {
    for assignment in deferred.take_free(desk.ledger) {
        assign(desk, deferred, assignment);
    }
}

/// Begins attempts while the one at the head fits: first those without slots, then the others. `gpus` is how many the node
/// has.
pub(crate) fn admit(desk: &mut Desk<'_>, gpus: u32) {
    while let Some(id) = slotless(desk.ledger) {
        life::attempt_event(desk, &id, Event::Admitted);
    }
    while let Some((id, fit)) = head(desk.ledger, gpus) {
        match fit {
            Fit::Now { gpus } => {
                if !gpus.is_empty() {
                    desk.record(Record::Equipped { attempt: id.clone(), gpus });
                }
                life::attempt_event(desk, &id, Event::Admitted);
            }
            Fit::Never { what, wanted, offered } => {
                let failure = FailureInfo::new(
                    Cause::LaunchFailed,
                    format!("the task takes {wanted} {what} and the node has {offered}"),
                );
                let incarnation = desk.ledger.attempt(&id).map_or(0, Attempt::incarnation);
                life::tell_end(desk, &id, incarnation, failure);
            }
        }
    }
}

/// The first attempt without slots, unless too many are under way.
fn slotless(ledger: &Ledger) -> Option<AttemptId> {
    let first = ledger.slotless_queue().next()?;
    (ledger.slotless_used() < SLOTLESS_MAX).then(|| first.id().clone())
}

/// How the attempt at the head of the queue stands to what is free.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fit {
    /// Its slots are free, and these GPUs.
    Now {
        /// As many as it asks for.
        gpus: Vec<u32>,
    },
    /// The node does not have as many.
    Never {
        /// Slots or GPUs.
        what: &'static str,
        /// How many it takes.
        wanted: u32,
        /// How many there are.
        offered: u32,
    },
}

/// The attempt at the head of the queue, unless it has to wait.
fn head(ledger: &Ledger, gpus_offered: u32) -> Option<(AttemptId, Fit)> {
    let offered = ledger.settings()?.task_slots;
    let attempt = ledger.queue().next()?;
    let (slots, gpus) = (attempt.assignment.slots, attempt.assignment.gpus);
    let fit = if slots > offered {
        Fit::Never { what: "task slots", wanted: slots, offered }
    } else if gpus > gpus_offered {
        Fit::Never { what: "GPUs", wanted: gpus, offered: gpus_offered }
    } else if ledger.slots_used().saturating_add(slots) <= offered {
        Fit::Now { gpus: free_gpus(ledger, gpus, gpus_offered)? }
    } else {
        return None;
    };
    Some((attempt.id().clone(), fit))
}

/// The lowest free GPUs, if there are as many.
fn free_gpus(ledger: &Ledger, wanted: u32, offered: u32) -> Option<Vec<u32>> {
    let count = usize::try_from(wanted).ok()?;
    let free: Vec<u32> = match count {
        0 => Vec::new(),
        _ => (0..offered).filter(|gpu| !ledger.gpus_used().contains(gpu)).take(count).collect(),
    };
    (free.len() == count).then_some(free)
}
