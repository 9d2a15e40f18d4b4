//! Carries events to attempts and to the start task: asks `attempt::next`, and turns its answer into records, work and
//! reports.
//!
//! The one place where an attempt ends, so that each ends once: with its record, its report and its directory kept.

use crate::attempt::{self, Ending, Event, State, Step};
use crate::desk::Desk;
use crate::effect::Effect;
use crate::input::{Exit, KillReason};
use crate::outcome::{self, Limits};
use crate::record::Record;
use crate::report::Report;
use crate::retention::REMEMBERED_MIN;
use crate::start_task::StartTask;
use crate::subject::Subject;
use crate::work;
use muster_model::state::AttemptPhase;
use muster_model::{AttemptId, AttemptResult};
use std::time::Duration;

/// Carries what the shell answered to whom it is about.
pub(crate) fn event(desk: &mut Desk<'_>, subject: &Subject, event: Event<'_>, may_retry: bool) {
    match subject {
        Subject::Attempt(attempt) => attempt_event(desk, attempt, event),
        Subject::StartTask { run } => {
            if desk.ledger.start_task().is_some_and(|task| task.run == *run) {
                start_task_event(desk, event, may_retry);
            }
        }
    }
}

/// Carries the end of a command, and lets the supervisor forget one that nobody waits for.
pub(crate) fn exited(desk: &mut Desk<'_>, subject: &Subject, exit: &Exit, may_retry: bool) {
    let awaited = match state_of(desk, subject) {
        Some(State::Launching { .. } | State::Running { .. }) => true,
        None | Some(State::Assigned | State::Staging { .. } | State::Collecting { .. }) => false,
    };
    if awaited {
        event(desk, subject, Event::Exited(exit), may_retry);
    } else {
        desk.act(Effect::AcknowledgeExit(subject.clone()));
    }
}

fn state_of<'a>(desk: &'a Desk<'_>, subject: &Subject) -> Option<&'a State> {
    match subject {
        Subject::Attempt(attempt) => desk.ledger.attempt(attempt).map(|attempt| &attempt.state),
        Subject::StartTask { run } => {
            desk.ledger.start_task().filter(|task| task.run == *run).and_then(StartTask::alive)
        }
    }
}

/// Carries an event to an attempt.
pub(crate) fn attempt_event(desk: &mut Desk<'_>, id: &AttemptId, event: Event<'_>) {
    let Some(attempt) = desk.ledger.attempt(id) else { return };
    match attempt::next(&attempt.state, attempt.kill, event, desk.now) {
        Step::Move(state) => {
            let id = id.clone();
            let todo =
                work::work(&attempt.subject(), &state, attempt.kill, attempt.assignment.wall_clock, desk.now);
            let tells_of_running = attempt.assignment.has_files;
            let phase = state.phase();
            desk.record(Record::Moved { attempt: id.clone(), state });
            desk.act_all(todo);
            let time = desk.now.wall;
            match (event, phase) {
                (Event::Admitted, _) => {
                    desk.report(Report::Progress { attempt: id, phase: AttemptPhase::Staging, time });
                }
                // Without files, staging is over at once, and one report for both saves half of them.
                (Event::Launched(_), AttemptPhase::Running) if tells_of_running => {
                    desk.report(Report::Progress { attempt: id, phase, time });
                }
                (
                    Event::Staged(_)
                    | Event::Launched(_)
                    | Event::Exited(_)
                    | Event::Collected(_)
                    | Event::Killed(_),
                    _,
                ) => {}
            }
        }
        Step::Note(reason) => desk.record(Record::Killed { attempt: id.clone(), reason }),
        Step::End(ending) => end_attempt(desk, id, ending),
        Step::Stay(_) => {}
    }
}

/// Ends an attempt: at once if it waits, else by the usual way.
pub(crate) fn kill_attempt(desk: &mut Desk<'_>, id: &AttemptId, reason: KillReason, grace: Duration) {
    attempt_event(desk, id, Event::Killed(reason));
    if let Some(attempt) = desk.ledger.attempt(id) {
        let reason = attempt.kill.unwrap_or(reason);
        let todo = work::end_work(&attempt.subject(), &attempt.state, reason, grace);
        desk.act_all(todo);
    }
}

/// Ends all attempts.
pub(crate) fn kill_all(desk: &mut Desk<'_>, reason: KillReason, grace: Duration) {
    let all: Vec<_> = desk.ledger.attempts().keys().cloned().collect();
    for attempt in &all {
        kill_attempt(desk, attempt, reason, grace);
    }
}

fn end_attempt(desk: &mut Desk<'_>, id: &AttemptId, ending: Ending) {
    let Some(attempt) = desk.ledger.attempt(id) else { return };
    let limits = Limits {
        memory_bytes: attempt.assignment.memory_limit_bytes,
        wall_clock: attempt.assignment.wall_clock,
    };
    let result = outcome::result(ending, attempt.kill, limits, attempt.state.staged_bytes(), desk.now.wall);
    let retention = attempt.assignment.retention;
    tell_end(desk, id, result, retention);
}

/// Records and reports the end of an attempt, also of one that the node never held.
pub(crate) fn tell_end(desk: &mut Desk<'_>, id: &AttemptId, result: AttemptResult, retention: Duration) {
    let keep_until = desk.now.wall.after(retention.max(REMEMBERED_MIN));
    desk.record(Record::Ended { attempt: id.clone(), keep_until });
    desk.report(Report::Finished { attempt: id.clone(), result: Box::new(result) });
}

/// Begins a run of the start task.
pub(crate) fn begin_start_task(desk: &mut Desk<'_>, task: StartTask) {
    let subject = task.subject();
    let info = task.info.clone();
    desk.record(Record::StartTask(Box::new(task)));
    desk.report(Report::StartTask(Box::new(info)));
    desk.act(Effect::Stage(subject));
}

/// Carries an event to the start task.
pub(crate) fn start_task_event(desk: &mut Desk<'_>, event: Event<'_>, may_retry: bool) {
    let Some(task) = desk.ledger.start_task() else { return };
    let Some(state) = task.alive() else { return };
    let subject = task.subject();
    match attempt::next(state, None, event, desk.now) {
        Step::Move(next) => {
            let moved = task.moved(next);
            let todo = moved.alive().map(|state| work::work(&subject, state, None, None, desk.now));
            desk.record(Record::StartTask(Box::new(moved)));
            desk.act_all(todo.into_iter().flatten());
        }
        Step::End(ending) => {
            let interrupted = ending.is_interruption();
            let result =
                outcome::result(ending, None, Limits::default(), state.staged_bytes(), desk.now.wall);
            let ended = task.ended(&result, interrupted || !may_retry, desk.now);
            let info = ended.info.clone();
            desk.record(Record::StartTask(Box::new(ended)));
            desk.report(Report::StartTask(Box::new(info)));
        }
        Step::Note(_) | Step::Stay(_) => {}
    }
}

/// Ends the start task's command.
pub(crate) fn kill_start_task(desk: &mut Desk<'_>, reason: KillReason, grace: Duration) {
    let Some(task) = desk.ledger.start_task() else { return };
    let todo = task.alive().map(|state| work::end_work(&task.subject(), state, reason, grace));
    desk.act_all(todo.into_iter().flatten());
}
