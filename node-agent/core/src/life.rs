//! Carries events to attempts and to the start task: asks `attempt::next`, and turns its answer into records, work and
//! reports.
//!
//! The one place where an attempt ends, so that each ends once: with its record, its report and its directory kept.

use crate::attempt::{self, Ending, Event, Grant, State, Step};
use crate::desk::Desk;
use crate::effect::Effect;
use crate::input::{Amendment, Exit, KillReason, OverDisk, Terms};
use crate::outcome::{self, Limits};
use crate::record::Record;
use crate::report::Report;
use crate::retention::{PREPARATION_KEPT, REMEMBERED_MIN};
use crate::start_task::StartTask;
use crate::subject::Subject;
use crate::work;
use muster_model::state::AttemptPhase;
use muster_model::{AttemptId, AttemptResult, FailureInfo, TaskKey};
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
            let todo = work::work(&attempt.subject(), &state, attempt.kill, &attempt.grant(), desk.now);
            let (tells_of_running, disowned) = (attempt.assignment.has_files, attempt.disowned);
            let phase = state.phase();
            desk.record(Record::Moved { attempt: id.clone(), state });
            desk.act_all(todo);
            if disowned {
                return;
            }
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

/// Ends an attempt for what it has on the disk. The first word of it counts: by the next its processes may be gone and its
/// files with them.
pub(crate) fn over_disk(desk: &mut Desk<'_>, subject: &Subject, over: OverDisk) {
    let Subject::Attempt(id) = subject else { return };
    let held = desk.ledger.attempt(id);
    if held.is_some_and(|held| held.state.takes_slots() && held.over_disk.is_none()) {
        desk.record(Record::OverDisk { attempt: id.clone(), over });
        kill_attempt(desk, id, KillReason::Disk, Duration::ZERO);
    }
}

/// Ends all attempts.
pub(crate) fn kill_all(desk: &mut Desk<'_>, reason: KillReason, grace: Duration) {
    let all: Vec<_> = desk.ledger.attempts().keys().cloned().collect();
    for attempt in &all {
        kill_attempt(desk, attempt, reason, grace);
    }
}

/// Ends an attempt that the controller does not count any more: nothing more is told of it.
pub(crate) fn disown(desk: &mut Desk<'_>, id: &AttemptId) {
    forget_reports(desk, id);
    if desk.ledger.attempt(id).is_some_and(|held| !held.disowned) {
        desk.record(Record::Disowned { attempt: id.clone(), disowned: true });
    }
    kill_attempt(desk, id, KillReason::Stale, Duration::ZERO);
}

/// Takes back what waits to be told of an attempt.
pub(crate) fn forget_reports(desk: &mut Desk<'_>, id: &AttemptId) {
    if desk.ledger.outbox().tells_of(id) {
        desk.record(Record::ReportDropped(id.clone()));
    }
}

/// Changes the terms of an attempt, and what the supervisor holds it to if its command runs.
pub(crate) fn amend(desk: &mut Desk<'_>, amendment: &Amendment) {
    let Some(attempt) = desk.ledger.attempt(&amendment.attempt).filter(|held| !held.disowned) else { return };
    let before = attempt.terms();
    let terms = match attempt.state {
        // Its command ended under the limit that it had.
        State::Collecting { .. } => Terms { wall_clock: before.wall_clock, ..amendment.terms },
        State::Assigned | State::Staging { .. } | State::Launching { .. } | State::Running { .. } => {
            amendment.terms
        }
    };
    if terms == before {
        return;
    }
    desk.record(Record::Amended { attempt: amendment.attempt.clone(), terms });
    let Some(attempt) = desk.ledger.attempt(&amendment.attempt) else { return };
    if let State::Running { .. } = attempt.state
        && terms.wall_clock != before.wall_clock
    {
        let todo = work::work(&attempt.subject(), &attempt.state, attempt.kill, &attempt.grant(), desk.now);
        desk.act_all(todo);
    }
}

fn end_attempt(desk: &mut Desk<'_>, id: &AttemptId, ending: Ending) {
    let Some(attempt) = desk.ledger.attempt(id) else { return };
    let limits = Limits {
        memory_bytes: attempt.assignment.memory_limit_bytes,
        disk_bytes: attempt.assignment.disk_limit_bytes,
        over_disk: attempt.over_disk,
        processes: attempt.assignment.process_limit,
        wall_clock: attempt.terms().wall_clock,
        elapsed: attempt.state.elapsed(desk.now),
    };
    let result = outcome::result(ending, attempt.kill, limits, attempt.state.staged_bytes(), desk.now.wall);
    let (retention, incarnation, disowned) =
        (attempt.terms().retention, attempt.incarnation(), attempt.disowned);
    // What filled the node's disk must not go on doing so; the excerpts of its output are safe.
    let frees_disk = attempt.over_disk.is_some() && attempt.assignment.disk_limit_bytes.is_none();
    let preparation =
        attempt.assignment.preparation.clone().map(|task| TaskKey { job: id.job.clone(), task });
    note_end(desk, id, incarnation, if frees_disk { Duration::ZERO } else { retention });
    if !disowned {
        desk.report(Report::Finished { attempt: id.clone(), result: Box::new(result) });
    }
    if let Some(preparation) = preparation {
        keep_preparation(desk, &preparation);
    }
    // All attempts of a task share its directory.
    let others =
        desk.ledger.attempts_of(&id.task_key()).next().is_some() || desk.ledger.retained().later_than(id);
    let is_shared = others || desk.ledger.needs(id);
    if frees_disk && !is_shared {
        desk.act(Effect::RemoveDirectories(vec![id.clone()]));
    }
}

fn note_end(desk: &mut Desk<'_>, id: &AttemptId, incarnation: u64, retention: Duration) {
    let keep_until = desk.now.wall.after(retention.max(REMEMBERED_MIN));
    desk.record(Record::Ended { attempt: id.clone(), incarnation, keep_until });
}

/// Records and reports the end of an attempt that did not begin here, also of one that the node never held.
pub(crate) fn tell_end(desk: &mut Desk<'_>, id: &AttemptId, incarnation: u64, failure: FailureInfo) {
    let result = AttemptResult::not_started(failure, desk.now.wall);
    note_end(desk, id, incarnation, Duration::ZERO);
    desk.report(Report::Finished { attempt: id.clone(), result: Box::new(result) });
}

/// Keeps the directory of a job preparation a while longer after a task that used it: the next one may be on its way.
fn keep_preparation(desk: &mut Desk<'_>, preparation: &TaskKey) {
    let Some((attempt, kept)) = desk.ledger.retained().last_of(preparation) else { return };
    // Half of it is let pass, so that not every end of a short task is another record.
    if kept.until < desk.now.wall.after(PREPARATION_KEPT / 2) {
        let keep_until = desk.now.wall.after(PREPARATION_KEPT);
        desk.record(Record::Ended { attempt, incarnation: kept.incarnation, keep_until });
    }
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
            let todo =
                moved.alive().map(|state| work::work(&subject, state, None, &Grant::default(), desk.now));
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
