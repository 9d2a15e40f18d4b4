//! Agreement after a break: with the controller about what the node holds, with the supervisor about what runs.
//!
//! The Hello names every attempt that is not known to be acknowledged; the controller answers keep, kill or acknowledged
//! for each. The supervisor names every command that it has not been told to forget; what the ledger knows of it goes on,
//! the rest is ended. Both may happen at any time and any number of times.

use crate::attempt::{Attempt, Event, Grant, State};
use crate::desk::Desk;
use crate::effect::{Effect, HeldAttempt, Hello};
use crate::input::{Ended, EndedBy, Exit, Supervised, SupervisedState, Verdict};
use crate::ledger::Ledger;
use crate::life;
use crate::start_task::StartTask;
use crate::subject::Subject;
use crate::work;
use muster_model::state::AttemptPhase;
use muster_model::{AttemptId, Cause, FailureInfo, Usage};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the agent says first on a session.
#[must_use]
pub fn hello(ledger: &Ledger) -> Hello {
    // Of one that is disowned the controller wants to know nothing, and could take it for another of the same name.
    let live = ledger.attempts().values().filter(|attempt| !attempt.disowned);
    let live = live.map(|attempt| HeldAttempt {
        attempt: attempt.id().clone(),
        phase: attempt.state.phase(),
        incarnation: attempt.assignment.incarnation,
    });
    let finished = ledger.outbox().finished();
    let finished = finished.map(|attempt| HeldAttempt {
        attempt: attempt.clone(),
        phase: AttemptPhase::Finished,
        incarnation: 0,
    });
    Hello {
        held: live.chain(finished).collect(),
        start_task: ledger.start_task().map(|task| task.info.clone()),
        next_report: ledger.outbox().oldest(),
    }
}

/// Does what the controller wants with each attempt that the Hello named.
pub(crate) fn judge(desk: &mut Desk<'_>, verdicts: &[(AttemptId, Verdict)]) {
    for (attempt, verdict) in verdicts {
        match verdict {
            Verdict::Keep => {}
            Verdict::Kill | Verdict::Acknowledged => life::disown(desk, attempt),
        }
    }
}

/// The staging and the collecting that a journal tells of: nobody does them any more.
pub(crate) fn under_way(ledger: &Ledger) -> BTreeSet<Subject> {
    let is_work = |state: &State| match state {
        State::Staging { .. } | State::Collecting { .. } => true,
        State::Assigned | State::Launching { .. } | State::Running { .. } => false,
    };
    let attempts = ledger.attempts().values().filter(|attempt| is_work(&attempt.state)).map(Attempt::subject);
    let start_task = ledger.start_task().filter(|task| task.alive().is_some_and(is_work));
    attempts.chain(start_task.map(StartTask::subject)).collect()
}

/// Brings what the supervisor holds and what the ledger knows together. The work that the old agent had begun, `resumes`, is
/// begun again, once; what has come to that point since is under way, though the supervisor may have told of its end
/// before it told of all.
pub(crate) fn supervised(
    desk: &mut Desk<'_>,
    held: Vec<Supervised>,
    resumes: &BTreeSet<Subject>,
    may_retry: bool,
) {
    let held: BTreeMap<_, _> = held.into_iter().map(|held| (held.subject, held.state)).collect();
    let mut known: Vec<_> = desk
        .ledger
        .attempts()
        .values()
        .map(|attempt: &Attempt| (attempt.subject(), attempt.state.clone(), attempt.kill, attempt.grant()))
        .collect();
    if let Some((task, state)) = desk.ledger.start_task().and_then(|task| Some((task, task.alive()?))) {
        known.push((task.subject(), state.clone(), None, Grant::default()));
    }
    for (subject, state) in
        held.iter().filter(|(subject, _)| !known.iter().any(|(known, ..)| known == *subject))
    {
        desk.act(match state {
            // Its end is acknowledged when it comes.
            SupervisedState::Running(_) => Effect::Kill { subject: subject.clone(), grace: Duration::ZERO },
            SupervisedState::Exited(_) => Effect::AcknowledgeExit(subject.clone()),
        });
    }
    for (subject, state, kill, grant) in known {
        match (&state, held.get(&subject)) {
            (State::Launching { .. } | State::Running { .. }, Some(SupervisedState::Exited(exit))) => {
                life::event(desk, &subject, Event::Exited(exit), may_retry);
            }
            (State::Launching { .. }, Some(SupervisedState::Running(start_time))) => {
                life::event(desk, &subject, Event::Launched(&Ok(*start_time)), may_retry);
            }
            (State::Running { .. }, Some(SupervisedState::Running(_))) => {
                desk.act_all(work::work(&subject, &state, kill, &grant, desk.now));
            }
            (State::Running { start_time, .. }, None) => {
                let exit = Exit {
                    ended: Ended::Unknown,
                    by: EndedBy::Itself,
                    start_time: Some(*start_time),
                    end_time: desk.now.wall,
                    usage: Usage::default(),
                    oom_kills: 0,
                    refused_processes: 0,
                };
                life::event(desk, &subject, Event::Exited(&exit), may_retry);
            }
            (State::Launching { .. }, None) => match kill {
                Some(_) => {
                    let given_up = FailureInfo::new(Cause::Internal, "the command was not started any more");
                    life::event(desk, &subject, Event::Launched(&Err(given_up)), may_retry);
                }
                None => desk.act_all(work::work(&subject, &state, kill, &grant, desk.now)),
            },
            (State::Staging { .. }, _) if resumes.contains(&subject) => match kill {
                Some(_) => life::event(desk, &subject, Event::Staged(&Ok(0)), may_retry),
                None => desk.act_all(work::work(&subject, &state, kill, &grant, desk.now)),
            },
            (State::Collecting { .. }, _) if resumes.contains(&subject) => {
                desk.act_all(work::work(&subject, &state, kill, &grant, desk.now));
            }
            (State::Assigned | State::Staging { .. } | State::Collecting { .. }, _) => {}
        }
        end_again(desk, &subject);
    }
}

/// Repeats the request to end a command whose attempt is marked so: an earlier one may have been lost.
fn end_again(desk: &mut Desk<'_>, subject: &Subject) {
    let Subject::Attempt(id) = subject else { return };
    let Some(attempt) = desk.ledger.attempt(id) else { return };
    if let (Some(reason), State::Launching { .. } | State::Running { .. }) = (attempt.kill, &attempt.state) {
        let todo = work::end_work(subject, &attempt.state, reason, Duration::ZERO);
        desk.act_all(todo);
    }
}
