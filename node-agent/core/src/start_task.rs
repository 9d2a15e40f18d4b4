//! The start task of a node: once for each boot, tried again as often as the pool says, and the gate before attempts.
//!
//! It lives the life of `attempt` from staging on. How it went is reported at its start and at its end, and said again in
//! every Hello. A changed start task reaches a node at its next boot (reference 3.2), unless the controller asks for it.

use crate::attempt::State;
use crate::input::{NodeSettings, StartTaskSettings};
use crate::subject::Subject;
use crate::time::{Monotonic, Now};
use muster_model::AttemptResult;
use muster_model::node::StartTaskInfo;
use muster_model::state::{ExecutionResult, StartTaskState};
use std::time::Duration;

/// Wait before the first retry; doubles with each.
pub const RETRY_WAIT_FIRST: Duration = Duration::from_secs(1);
/// Longest wait before a retry: with an unlimited count it goes on for ever, and should then cost nothing.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(60);

/// The start task of this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartTask {
    /// Which run it is, counted over restarts; a retry is a new run.
    pub run: u64,
    /// What was asked for when it began.
    pub settings: StartTaskSettings,
    /// Where it is.
    pub stage: Stage,
    /// How it went so far, as reported.
    pub info: StartTaskInfo,
}

/// Where the start task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its command lives.
    Alive(State),
    /// It failed and waits for its next try.
    Waiting {
        /// When that is.
        retry_at: Monotonic,
    },
    /// It has ended.
    Done,
}

/// Whether the gate before attempts is open.
#[must_use]
pub fn gate_open(settings: &NodeSettings, start_task: Option<&StartTask>) -> bool {
    match (&settings.start_task, start_task) {
        (None, _) => true,
        (Some(wanted), None) => !wanted.wait_for_success,
        (Some(_), Some(task)) => {
            !task.settings.wait_for_success || task.info.result == Some(ExecutionResult::Success)
        }
    }
}

impl StartTask {
    /// A first run of this boot, or a run that was asked for. `run` must not have been used before.
    #[must_use]
    pub fn begin(settings: StartTaskSettings, run: u64, now: Now) -> Self {
        Self {
            run,
            settings,
            stage: Stage::Alive(State::Staging { since: now.monotonic }),
            info: StartTaskInfo {
                state: StartTaskState::Running,
                start_time: now.wall,
                end_time: None,
                exit_code: None,
                retry_count: 0,
                result: None,
                failure: None,
            },
        }
    }

    /// The run as a subject.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        Subject::StartTask { run: self.run }
    }

    /// The command's state, while it lives.
    #[must_use]
    pub const fn alive(&self) -> Option<&State> {
        match &self.stage {
            Stage::Alive(state) => Some(state),
            Stage::Waiting { .. } | Stage::Done => None,
        }
    }

    /// Whether it has succeeded as these settings want it.
    #[must_use]
    pub fn has_succeeded(&self, settings: &StartTaskSettings) -> bool {
        let is_done = self.stage == Stage::Done && self.info.result == Some(ExecutionResult::Success);
        is_done && self.settings.version == settings.version
    }

    /// When it is tried again, if it waits for that.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Waiting { retry_at } => Some(retry_at),
            Stage::Alive(_) | Stage::Done => None,
        }
    }

    /// The same task with its command in another state.
    #[must_use]
    pub fn moved(&self, state: State) -> Self {
        Self { stage: Stage::Alive(state), ..self.clone() }
    }

    /// The next try.
    #[must_use]
    pub fn retried(&self, now: Now) -> Self {
        let mut task = Self::begin(self.settings, self.run.saturating_add(1), now);
        task.info.retry_count = self.info.retry_count.saturating_add(1);
        task
    }

    /// The task after its command has ended: waiting for another try, or done. One that was `interrupted` by Muster is
    /// always tried again, by the next agent if this one stops: it says nothing about the command.
    #[must_use]
    pub fn ended(&self, result: &AttemptResult, interrupted: bool, now: Now) -> Self {
        let failed = result.result == ExecutionResult::Failure;
        let again =
            failed && (interrupted || self.settings.max_retries.allows_another(self.info.retry_count));
        let stage = if again {
            Stage::Waiting { retry_at: now.monotonic.after(retry_wait(self.info.retry_count)) }
        } else {
            Stage::Done
        };
        let info = StartTaskInfo {
            state: if again { StartTaskState::Running } else { StartTaskState::Completed },
            start_time: result.start_time.unwrap_or(self.info.start_time),
            end_time: Some(result.end_time),
            exit_code: result.exit_code,
            retry_count: self.info.retry_count,
            result: Some(result.result),
            failure: result.failure.clone(),
        };
        Self { stage, info, ..self.clone() }
    }
}

fn retry_wait(retries: u32) -> Duration {
    RETRY_WAIT_FIRST
        .saturating_mul(1_u32.checked_shl(retries.min(16)).unwrap_or(u32::MAX))
        .min(RETRY_WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::cause::FailureInfo;
    use muster_model::spec::RetryLimit;
    use muster_model::state::OnLeaseExpiry;
    use muster_model::{Cause, Timestamp};

    fn failed() -> AttemptResult {
        AttemptResult::not_started(FailureInfo::new(Cause::ExitCode, "no"), Timestamp::EPOCH)
    }

    fn settings(wait_for_success: bool, max_retries: RetryLimit) -> StartTaskSettings {
        StartTaskSettings { version: 1, max_retries, wait_for_success }
    }

    #[test]
    fn it_is_tried_again_as_often_as_the_pool_says() {
        let first = StartTask::begin(settings(true, RetryLimit::Times(1)), 1, Now::default());
        let waiting = first.ended(&failed(), false, Now::default());
        assert_eq!(waiting.retry_at(), Some(Monotonic::default().after(RETRY_WAIT_FIRST)));
        let second = waiting.retried(Now::default());
        assert_eq!((second.run, second.info.retry_count), (2, 1));
        assert_eq!(second.ended(&failed(), false, Now::default()).stage, Stage::Done);
        assert!(second.ended(&failed(), true, Now::default()).retry_at().is_some());
    }

    #[test]
    fn waits_between_tries_grow_and_are_bounded() {
        assert_eq!(retry_wait(2), Duration::from_secs(4));
        assert_eq!(retry_wait(u32::MAX), RETRY_WAIT_MAX);
    }

    #[test]
    fn attempts_wait_for_success_only_if_the_pool_says_so() {
        let node = |wait| NodeSettings {
            task_slots: 1,
            on_lease_expiry: OnLeaseExpiry::Kill,
            start_task: Some(settings(wait, RetryLimit::Times(0))),
        };
        let begun = |wait| StartTask::begin(settings(wait, RetryLimit::Times(0)), 1, Now::default());
        assert!(!gate_open(&node(true), None) && gate_open(&node(false), None));
        assert!(!gate_open(&node(true), Some(&begun(true))) && gate_open(&node(false), Some(&begun(false))));
        let over = begun(true).ended(&failed(), false, Now::default());
        assert!(!gate_open(&node(true), Some(&over)));
        assert!(gate_open(&NodeSettings { start_task: None, ..node(true) }, Some(&over)));
    }
}
