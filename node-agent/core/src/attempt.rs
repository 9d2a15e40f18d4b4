//! The life of one command, from its assignment to its end, and the only function that changes it.
//!
//! `next` is total over (state, event): a pair is a move, an end, or nothing with a reason. An attempt and the start task
//! live the same life; the start task begins at staging. What is to be done in a state is in `work`, what an end amounts to in
//! `outcome`, when an attempt may begin in `admission`.
//!
//! Invariant: an event that repeats or comes late changes nothing.  [late_and_repeated_events_change_nothing]

use crate::input::{Assignment, Collected, Ended, EndedBy, Exit, KillReason};
use crate::subject::Subject;
use crate::time::{Monotonic, Now};
use muster_model::cause::FailureInfo;
use muster_model::state::AttemptPhase;
use muster_model::{AttemptId, Timestamp};

/// An attempt that the node holds and that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What it is.
    pub assignment: Assignment,
    /// Its place in the order in which attempts were accepted.
    pub order: u64,
    /// Where it is.
    pub state: State,
    /// Why it is being ended, if it is.
    pub kill: Option<KillReason>,
}

/// Where a command is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for slots.
    Assigned,
    /// Its directory is being made and its files fetched.
    Staging {
        /// Since when: its wall-clock time counts from here.
        since: Monotonic,
    },
    /// The supervisor has been asked to start it.
    Launching {
        /// As in `Staging`.
        since: Monotonic,
        /// Bytes that were fetched for it.
        staged_bytes: u64,
    },
    /// It runs.
    Running {
        /// When it started, by the node's clock.
        start_time: Timestamp,
        /// Bytes that were fetched for it.
        staged_bytes: u64,
    },
    /// It has ended; its output is being kept.
    Collecting {
        /// How it ended.
        exit: Exit,
        /// Bytes that were fetched for it.
        staged_bytes: u64,
    },
}

impl State {
    /// Where this is in the words of the controller.
    #[must_use]
    pub const fn phase(&self) -> AttemptPhase {
        match self {
            Self::Assigned => AttemptPhase::Assigned,
            Self::Staging { .. } | Self::Launching { .. } => AttemptPhase::Staging,
            Self::Running { .. } => AttemptPhase::Running,
            Self::Collecting { .. } => AttemptPhase::Uploading,
        }
    }

    /// Whether slots are taken.
    #[must_use]
    pub const fn takes_slots(&self) -> bool {
        match self {
            Self::Assigned => false,
            Self::Staging { .. }
            | Self::Launching { .. }
            | Self::Running { .. }
            | Self::Collecting { .. } => true,
        }
    }

    /// Bytes that were fetched so far.
    #[must_use]
    pub const fn staged_bytes(&self) -> u64 {
        match self {
            Self::Assigned | Self::Staging { .. } => 0,
            Self::Launching { staged_bytes, .. }
            | Self::Running { staged_bytes, .. }
            | Self::Collecting { staged_bytes, .. } => *staged_bytes,
        }
    }
}

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It got its slots.
    Admitted,
    /// Staging ended.
    Staged(&'a Result<u64, FailureInfo>),
    /// It was started, or could not be.
    Launched(&'a Result<Timestamp, FailureInfo>),
    /// It ended.
    Exited(&'a Exit),
    /// What is kept of it is safe.
    Collected(&'a Collected),
    /// Somebody wants it to end.
    Killed(KillReason),
}

/// What an event makes of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new state.
    Move(State),
    /// It goes on to its end by the usual way, with this reason noted.
    Note(KillReason),
    /// It is over.
    End(Ending),
    /// Nothing; the words say why.
    Stay(&'static str),
}

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was ended before its command ran.
    NeverRan(KillReason),
    /// It failed before its command ran.
    Failed(FailureInfo),
    /// Its command ran, and this is what is left of it.
    Ran {
        /// How the command ended.
        exit: Exit,
        /// What was kept.
        collected: Box<Collected>,
    },
}

impl Ending {
    /// Whether Muster or the machine cut the command short, so that its end says nothing about the command.
    #[must_use]
    pub const fn is_interruption(&self) -> bool {
        match self {
            Self::NeverRan(_) => true,
            Self::Failed(_) => false,
            Self::Ran { exit, .. } => match (exit.by, exit.ended) {
                (EndedBy::Requested | EndedBy::LeaseEnded | EndedBy::Shutdown, _)
                | (_, Ended::Rebooted | Ended::Unknown) => true,
                (
                    EndedBy::Itself | EndedBy::WallClock | EndedBy::OutOfMemory,
                    Ended::Exited(_) | Ended::Signaled(_),
                ) => false,
            },
        }
    }
}

/// What `event` makes of `state`, given why the command is being ended, if it is.
#[must_use]
pub fn next(state: &State, kill: Option<KillReason>, event: Event<'_>, now: Now) -> Step {
    match event {
        Event::Admitted => match state {
            State::Assigned => Step::Move(State::Staging { since: now.monotonic }),
            State::Staging { .. }
            | State::Launching { .. }
            | State::Running { .. }
            | State::Collecting { .. } => Step::Stay("it has begun already"),
        },
        Event::Staged(outcome) => match state {
            State::Staging { since } => match (kill, outcome) {
                (Some(reason), _) => Step::End(Ending::NeverRan(reason)),
                (None, Ok(bytes)) => Step::Move(State::Launching { since: *since, staged_bytes: *bytes }),
                (None, Err(failure)) => Step::End(Ending::Failed(failure.clone())),
            },
            State::Assigned | State::Launching { .. } | State::Running { .. } | State::Collecting { .. } => {
                Step::Stay("it is not staging")
            }
        },
        Event::Launched(outcome) => match state {
            State::Launching { staged_bytes, .. } => match (outcome, kill) {
                (Ok(at), _) => Step::Move(State::Running { start_time: *at, staged_bytes: *staged_bytes }),
                (Err(_), Some(reason)) => Step::End(Ending::NeverRan(reason)),
                (Err(failure), None) => Step::End(Ending::Failed(failure.clone())),
            },
            State::Assigned | State::Staging { .. } | State::Running { .. } | State::Collecting { .. } => {
                Step::Stay("it is not being launched")
            }
        },
        Event::Exited(exit) => match state {
            State::Launching { staged_bytes, .. } | State::Running { staged_bytes, .. } => {
                Step::Move(State::Collecting { exit: exit.clone(), staged_bytes: *staged_bytes })
            }
            State::Assigned | State::Staging { .. } | State::Collecting { .. } => {
                Step::Stay("it does not run")
            }
        },
        Event::Collected(collected) => match state {
            State::Collecting { exit, .. } => {
                Step::End(Ending::Ran { exit: exit.clone(), collected: Box::new(collected.clone()) })
            }
            State::Assigned | State::Staging { .. } | State::Launching { .. } | State::Running { .. } => {
                Step::Stay("it has not ended")
            }
        },
        Event::Killed(reason) => match state {
            State::Assigned => Step::End(Ending::NeverRan(reason)),
            State::Staging { .. }
            | State::Launching { .. }
            | State::Running { .. }
            | State::Collecting { .. } => {
                if kill.is_some_and(|before| before >= reason) {
                    Step::Stay("it is being ended already")
                } else {
                    Step::Note(reason)
                }
            }
        },
    }
}

impl Attempt {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &AttemptId {
        &self.assignment.attempt
    }

    /// Its name as a subject.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::Attempt(self.assignment.attempt.clone())
    }

    /// When staging has taken its whole wall-clock time; `None` in any other state or without a limit.
    #[must_use]
    pub fn staging_deadline(&self) -> Option<Monotonic> {
        match (&self.state, self.kill, self.assignment.wall_clock) {
            (State::Staging { since }, None, Some(limit)) => Some(since.after(limit)),
            (
                State::Assigned
                | State::Staging { .. }
                | State::Launching { .. }
                | State::Running { .. }
                | State::Collecting { .. },
                _,
                _,
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::Usage;

    fn exit(ended: Ended, by: EndedBy) -> Exit {
        Exit {
            ended,
            by,
            start_time: Some(Timestamp::EPOCH),
            end_time: Timestamp::EPOCH,
            usage: Usage::default(),
            oom_kills: 0,
        }
    }

    fn states() -> Vec<State> {
        let since = Monotonic::default();
        vec![
            State::Assigned,
            State::Staging { since },
            State::Launching { since, staged_bytes: 1 },
            State::Running { start_time: Timestamp::EPOCH, staged_bytes: 1 },
            State::Collecting { exit: exit(Ended::Exited(0), EndedBy::Itself), staged_bytes: 1 },
        ]
    }

    #[test]
    fn late_and_repeated_events_change_nothing() {
        let (staged, launched) = (Ok(1), Ok(Timestamp::EPOCH));
        let exited = exit(Ended::Exited(0), EndedBy::Itself);
        let collected = Collected::default();
        let events: [(Event<'_>, &[usize]); 5] = [
            (Event::Admitted, &[0]),
            (Event::Staged(&staged), &[1]),
            (Event::Launched(&launched), &[2]),
            (Event::Exited(&exited), &[2, 3]),
            (Event::Collected(&collected), &[4]),
        ];
        for (event, effective) in events {
            for (index, state) in states().iter().enumerate() {
                let step = next(state, None, event, Now::default());
                assert_eq!(
                    !matches!(step, Step::Stay(_)),
                    effective.contains(&index),
                    "{event:?} in {state:?}: {step:?}"
                );
            }
        }
    }

    #[test]
    fn a_kill_ends_what_waits_and_is_noted_on_what_has_begun() {
        for (index, state) in states().iter().enumerate() {
            let step = next(state, None, Event::Killed(KillReason::Stale), Now::default());
            let wanted = if index == 0 {
                Step::End(Ending::NeverRan(KillReason::Stale))
            } else {
                Step::Note(KillReason::Stale)
            };
            assert_eq!(step, wanted, "{state:?}");
        }
    }

    #[test]
    fn the_weightier_reason_to_end_counts() {
        let state = &states()[3];
        let again = |kill, reason| next(state, Some(kill), Event::Killed(reason), Now::default());
        assert!(matches!(again(KillReason::Stale, KillReason::Terminated), Step::Stay(_)));
        assert_eq!(again(KillReason::Terminated, KillReason::Stale), Step::Note(KillReason::Stale));
    }
}
