//! What is to be done for a command in each state, and what so that it ends.
//!
//! The same work is ordered when a command comes into a state and when a restarted agent finds it there, so all of it is safe
//! to repeat. It decides no transition: that is `attempt`.

use crate::attempt::{Grant, State};
use crate::effect::{Effect, UploadOf};
use crate::input::{Ended, EndedBy, Exit, KillReason};
use crate::subject::Subject;
use crate::time::Now;
use std::time::Duration;

/// What is to be done for a command in this state; also what is done again for it after a restart of the agent.
#[must_use]
pub fn work(
    subject: &Subject,
    state: &State,
    kill: Option<KillReason>,
    grant: &Grant,
    now: Now,
) -> Vec<Effect> {
    let subject = subject.clone();
    match state {
        State::Assigned => Vec::new(),
        // Whatever the supervisor was told at the launch, this is what holds now.
        State::Running { spent, .. } if grant.amended => {
            let wall_clock = grant.wall_clock.map(|limit| limit.saturating_sub(*spent));
            vec![Effect::Limit { subject, wall_clock }]
        }
        State::Running { .. } => Vec::new(),
        State::Staging { .. } => vec![Effect::Stage(subject)],
        State::Launching { since, .. } => {
            let left = grant.wall_clock.map(|limit| limit.saturating_sub(now.monotonic.since(*since)));
            vec![Effect::Launch { subject, wall_clock: left, gpus: grant.gpus.clone() }]
        }
        State::Collecting { exit, .. } => vec![
            Effect::AcknowledgeExit(subject.clone()),
            Effect::Collect { subject, upload: upload_of(exit, kill) },
        ],
    }
}

/// What is to be done so that a command ends.
#[must_use]
pub fn end_work(subject: &Subject, state: &State, reason: KillReason, grace: Duration) -> Vec<Effect> {
    match state {
        State::Assigned => Vec::new(),
        State::Staging { .. } => vec![Effect::Cancel(subject.clone())],
        // The supervisor takes requests in order, so this reaches a command that is just being launched too.
        State::Launching { .. } | State::Running { .. } => {
            vec![Effect::Kill { subject: subject.clone(), grace }]
        }
        State::Collecting { .. } if reason.publishes_nothing() => vec![Effect::Cancel(subject.clone())],
        State::Collecting { .. } => Vec::new(),
    }
}

/// Which output files are uploaded. An attempt that runs again elsewhere publishes nothing.
fn upload_of(exit: &Exit, kill: Option<KillReason>) -> Option<UploadOf> {
    if kill.is_some_and(KillReason::publishes_nothing) {
        return None;
    }
    match (exit.ended, exit.by) {
        (Ended::Rebooted | Ended::Unknown, _) | (_, EndedBy::Shutdown | EndedBy::LeaseEnded) => None,
        (Ended::Exited(0), EndedBy::Itself) => Some(UploadOf::Success),
        (Ended::Exited(_) | Ended::Signaled(_), _) => Some(UploadOf::Failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{Timestamp, Usage};

    fn exit(ended: Ended, by: EndedBy) -> Exit {
        let (start_time, end_time) = (Some(Timestamp::EPOCH), Timestamp::EPOCH);
        let usage = Usage::default();
        Exit { ended, by, start_time, end_time, usage, oom_kills: 0, refused_processes: 0 }
    }

    #[test]
    fn an_attempt_that_runs_elsewhere_uploads_nothing() {
        let done = exit(Ended::Exited(0), EndedBy::Itself);
        assert_eq!(upload_of(&done, None), Some(UploadOf::Success));
        assert_eq!(upload_of(&done, Some(KillReason::Stale)), None);
        assert_eq!(upload_of(&exit(Ended::Signaled(9), EndedBy::WallClock), None), Some(UploadOf::Failure));
        assert_eq!(upload_of(&exit(Ended::Signaled(9), EndedBy::Shutdown), None), None);
    }
}
