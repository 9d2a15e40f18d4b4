//! The life of one command, from its assignment to its end, and the only function that changes it.
//!
//! `next` is total over (state, event): a pair is a move, an end, or nothing with a reason. An attempt and the start task
//! live the same life; the start task begins at staging. What is to be done in a state is in `work`, what an end amounts to in
//! `outcome`, when an attempt may begin in `admission`.
//!
//! Invariant: an event that repeats or comes late changes nothing.  [late_and_repeated_events_change_nothing]

use crate::input::{Assignment, Collected, Ended, EndedBy, Exit, KillReason, OverDisk, Terms};
use crate::subject::Subject;
use crate::time::{Monotonic, Now};
use muster_model::cause::FailureInfo;
use muster_model::state::AttemptPhase;
use muster_model::{AttemptId, Timestamp};
use std::time::Duration;

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
    /// How it stood to the disk, if it is being ended for that.
    pub over_disk: Option<OverDisk>,
    /// Its terms, if they have changed since it was assigned.
    pub amended: Option<Terms>,
    /// The GPUs that are its own.
    pub gpus: Vec<u32>,
    /// The controller does not count it any more: its end is told to nobody, because it could be taken for the end of an
    /// attempt of the same name.
    pub disowned: bool,
}

/// What a command may take; a start task may take anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// From the start of staging until the command's end.
    pub wall_clock: Option<Duration>,
    /// Whether that was changed, so that the supervisor may know an older limit.
    pub amended: bool,
    /// The GPUs that are its own.
    pub gpus: Vec<u32>,
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
        /// How much of its wall-clock time had passed before that.
        spent: Duration,
        /// Bytes that were fetched for it.
        staged_bytes: u64,
    },
    /// It has ended; its output is being kept.
    Collecting {
        /// How it ended.
        exit: Exit,
        /// As in `Running`; nothing if it was not seen to start.
        spent: Duration,
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

    /// Whether its command is known to have been started.
    #[must_use]
    pub const fn has_started(&self) -> bool {
        match self {
            Self::Assigned | Self::Staging { .. } | Self::Launching { .. } => false,
            Self::Running { .. } | Self::Collecting { .. } => true,
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

    /// How much of its wall-clock time has passed, up to the command's end; nothing while it waits or runs.
    #[must_use]
    pub fn elapsed(&self, now: Now) -> Duration {
        match self {
            Self::Assigned | Self::Running { .. } => Duration::ZERO,
            Self::Staging { since } | Self::Launching { since, .. } => now.monotonic.since(*since),
            Self::Collecting { exit, spent, .. } => {
                let start_time = exit.start_time.unwrap_or(exit.end_time);
                spent.saturating_add(exit.end_time.since(start_time))
            }
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
            State::Launching { since, staged_bytes } => match (outcome, kill) {
                (Ok(at), _) => {
                    // The word of its start may come late, after a restart of the agent.
                    let spent = now.monotonic.since(*since).saturating_sub(now.wall.since(*at));
                    Step::Move(State::Running { start_time: *at, spent, staged_bytes: *staged_bytes })
                }
                (Err(_), Some(reason)) => Step::End(Ending::NeverRan(reason)),
                (Err(failure), None) => Step::End(Ending::Failed(failure.clone())),
            },
            State::Assigned | State::Staging { .. } | State::Running { .. } | State::Collecting { .. } => {
                Step::Stay("it is not being launched")
            }
        },
        Event::Exited(exit) => match state {
            State::Launching { staged_bytes, .. } => collecting(exit, Duration::ZERO, *staged_bytes),
            State::Running { spent, staged_bytes, .. } => collecting(exit, *spent, *staged_bytes),
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

fn collecting(exit: &Exit, spent: Duration, staged_bytes: u64) -> Step {
    Step::Move(State::Collecting { exit: exit.clone(), spent, staged_bytes })
}

impl Attempt {
    /// One that was just assigned.
    #[must_use]
    pub const fn assigned(assignment: Assignment, order: u64) -> Self {
        Self {
            assignment,
            order,
            state: State::Assigned,
            kill: None,
            over_disk: None,
            amended: None,
            gpus: Vec::new(),
            disowned: false,
        }
    }

    /// Tells its task from an earlier one of the same id.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.assignment.incarnation
    }

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

    /// The terms that are in force.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let Assignment { wall_clock, retention, .. } = self.assignment;
        self.amended.unwrap_or(Terms { wall_clock, retention })
    }

    /// What its command may take.
    #[must_use]
    pub fn grant(&self) -> Grant {
        Grant {
            wall_clock: self.terms().wall_clock,
            amended: self.amended.is_some(),
            gpus: self.gpus.clone(),
        }
    }

    /// When staging has taken its whole wall-clock time; `None` in any other state or without a limit.
    #[must_use]
    pub fn staging_deadline(&self) -> Option<Monotonic> {
        match (&self.state, self.kill, self.terms().wall_clock) {
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
            refused_processes: 0,
        }
    }

    fn states() -> Vec<State> {
        let since = Monotonic::default();
        vec![
            State::Assigned,
            State::Staging { since },
            State::Launching { since, staged_bytes: 1 },
            State::Running { start_time: Timestamp::EPOCH, spent: Duration::ZERO, staged_bytes: 1 },
            State::Collecting {
                exit: exit(Ended::Exited(0), EndedBy::Itself),
                spent: Duration::ZERO,
                staged_bytes: 1,
            },
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
    fn what_passed_before_the_command_is_known_also_when_the_word_of_its_start_comes_late() {
        let at = |seconds: u64| Now {
            monotonic: Monotonic::since_boot(Duration::from_secs(seconds)),
            wall: Timestamp::EPOCH.after(Duration::from_secs(seconds)),
        };
        let launching = State::Launching { since: at(10).monotonic, staged_bytes: 1 };
        for heard in [13, 60] {
            let step = next(&launching, None, Event::Launched(&Ok(at(13).wall)), at(heard));
            let Step::Move(State::Running { spent, .. }) = step else { panic!("{step:?}") };
            assert_eq!(spent, Duration::from_secs(3));
        }
        let exit = Exit {
            start_time: Some(at(13).wall),
            end_time: at(20).wall,
            ..exit(Ended::Exited(0), EndedBy::Itself)
        };
        let over = State::Collecting { exit, spent: Duration::from_secs(3), staged_bytes: 1 };
        assert_eq!(over.elapsed(at(99)), Duration::from_secs(10));
        assert_eq!(launching.elapsed(at(12)), Duration::from_secs(2));
    }

    #[test]
    fn the_weightier_reason_to_end_counts() {
        let state = &states()[3];
        let again = |kill, reason| next(state, Some(kill), Event::Killed(reason), Now::default());
        assert!(matches!(again(KillReason::Stale, KillReason::Terminated), Step::Stay(_)));
        assert_eq!(again(KillReason::Terminated, KillReason::Stale), Step::Note(KillReason::Stale));
    }
}
