//! Whether a failed attempt is followed by another.
//!
//! User errors count against `max_task_retry_count`; as in the field only a command that ran and failed is tried again,
//! never staging or upload. Server errors have a bounded budget of their own with growing waits. A limit of 0 means at
//! most once: an attempt whose command may have run is then never repeated, whatever ended it (promise 2) - but for more
//! memory where the task asks for that in as many words. A task under which several nodes were lost is taken for their
//! killer and stopped.

use crate::planted::Planted;
use crate::settings::Settings;
use muster_model::cause::Cause;
use muster_model::cause::ErrorCategory;
use muster_model::spec::RetryLimit;
use muster_model::{FailureInfo, NodeId, Timestamp};
use std::time::Duration;

/// What follows a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The task waits again at once; it has used one of the user's retries.
    RetryUser,
    /// The task waits until then; it has used one of the server's retries.
    RetryServer(Timestamp),
    /// The task waits again at once, asking for this much memory in bytes; it has used no retry.
    RetryWithMemory(u64),
    /// The task has failed, for this reason.
    Fail(FailureInfo),
}

/// What the rule needs to know of an attempt and its task.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) failure: FailureInfo,
    /// Whether the command ran, or may have run.
    pub(crate) may_have_run: bool,
    pub(crate) limit: RetryLimit,
    pub(crate) retry_count: u32,
    pub(crate) server_retry_count: u32,
    /// The memory in bytes that the next attempt would ask for after this one ran out of it; `None`: no more.
    pub(crate) more_memory: Option<u64>,
    /// Different nodes that were lost while they ran it, this time included.
    pub(crate) nodes_lost: Vec<NodeId>,
}

/// The rule.
pub(crate) fn after(failed: Failed, settings: &Settings, now: Timestamp) -> Verdict {
    if failed.failure.cause == Cause::OutOfMemory
        && let Some(bytes) = failed.more_memory
    {
        return Verdict::RetryWithMemory(bytes);
    }
    match failed.failure.cause.category() {
        ErrorCategory::User => {
            if is_retried(failed.failure.cause) && failed.limit.allows_another(failed.retry_count) {
                Verdict::RetryUser
            } else {
                Verdict::Fail(failed.failure)
            }
        }
        ErrorCategory::Server => after_server_error(failed, settings, now),
    }
}

/// Only nonzero exits and what counts as one are tried again (reference 3.7).
const fn is_retried(cause: Cause) -> bool {
    match cause {
        Cause::ExitCode | Cause::Signal | Cause::OutOfMemory | Cause::WallClock => true,
        Cause::DiskFull
        | Cause::StagingNotFound
        | Cause::StagingDenied
        | Cause::StagingCorrupt
        | Cause::StagingNetwork
        | Cause::ProgramNotFound
        | Cause::LaunchFailed
        | Cause::UploadFailed
        | Cause::NodeLost
        | Cause::NodePreempted
        | Cause::PreparationFailed
        | Cause::Terminated
        | Cause::DependencyFailed
        | Cause::Internal => false,
    }
}

fn after_server_error(failed: Failed, settings: &Settings, now: Timestamp) -> Verdict {
    let at_most_once =
        failed.limit == RetryLimit::Times(0) && !settings.planted.has(Planted::RetryAtMostOnce);
    if failed.may_have_run && at_most_once {
        let mut failure = failed.failure;
        failure.message.push_str(
            "; the task may have run and its max_task_retry_count is 0, which means at most once: reactivate it, or allow retries",
        );
        return Verdict::Fail(failure);
    }
    if failed.failure.cause == Cause::NodeLost && failed.nodes_lost.len() >= settings.nodes_lost_max {
        let names = failed.nodes_lost.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
        let count = failed.nodes_lost.len();
        let mut failure = failed.failure.with("nodes_lost", &names);
        failure.message = format!(
            "{count} nodes were lost while they ran it ({names}), so it is taken for the reason and stopped: find out what it does to nodes, then reactivate it"
        );
        return Verdict::Fail(failure);
    }
    if failed.server_retry_count >= settings.server_retries_max {
        let tries = failed.server_retry_count.saturating_add(1);
        let failure = failed.failure.with("server_tries", tries);
        return Verdict::Fail(failure);
    }
    Verdict::RetryServer(now.after(backoff(failed.server_retry_count, settings)))
}

fn backoff(count: u32, settings: &Settings) -> Duration {
    let factor = 1u32.checked_shl(count.min(16)).unwrap_or(u32::MAX);
    settings.backoff_first.saturating_mul(factor).min(settings.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(cause: Cause, limit: RetryLimit) -> Failed {
        Failed {
            failure: FailureInfo::new(cause, "x"),
            may_have_run: true,
            limit,
            retry_count: 0,
            server_retry_count: 0,
            more_memory: None,
            nodes_lost: Vec::new(),
        }
    }

    fn rule(failed: Failed) -> Verdict {
        after(failed, &Settings::default(), Timestamp::EPOCH)
    }

    #[test]
    fn zero_retries_means_at_most_once_even_when_the_node_is_lost() {
        let Verdict::Fail(failure) = rule(failed(Cause::NodeLost, RetryLimit::Times(0))) else { panic!() };
        assert!(failure.message.contains("at most once"));
        let never_ran = Failed { may_have_run: false, ..failed(Cause::NodeLost, RetryLimit::Times(0)) };
        assert!(matches!(rule(never_ran), Verdict::RetryServer(_)));
    }

    #[test]
    fn server_errors_do_not_use_the_users_retries_but_end() {
        let mut case = failed(Cause::NodeLost, RetryLimit::Times(1));
        case.retry_count = 1;
        assert!(matches!(rule(case.clone()), Verdict::RetryServer(_)));
        case.server_retry_count = Settings::default().server_retries_max;
        assert!(matches!(rule(case), Verdict::Fail(_)));
    }

    #[test]
    fn a_task_that_takes_three_nodes_with_it_is_stopped_and_says_so() {
        let mut case = failed(Cause::NodeLost, RetryLimit::Unlimited);
        case.nodes_lost = ["n1", "n2"].map(|id| NodeId::parse(id).unwrap()).to_vec();
        assert!(matches!(rule(case.clone()), Verdict::RetryServer(_)));
        case.nodes_lost.push(NodeId::parse("n3").unwrap());
        let Verdict::Fail(failure) = rule(case) else { panic!("it must be stopped") };
        assert!(failure.message.contains("3 nodes were lost while they ran it (n1, n2, n3)"));
    }

    #[test]
    fn memory_escalates_before_anything_is_counted() {
        let mut case = failed(Cause::OutOfMemory, RetryLimit::Times(0));
        assert!(matches!(rule(case.clone()), Verdict::Fail(_)));
        case.more_memory = Some(64);
        assert_eq!(rule(case), Verdict::RetryWithMemory(64));
    }

    #[test]
    fn only_commands_that_ran_are_tried_again_for_the_user() {
        assert_eq!(rule(failed(Cause::ExitCode, RetryLimit::Times(1))), Verdict::RetryUser);
        assert!(matches!(rule(failed(Cause::StagingNotFound, RetryLimit::Unlimited)), Verdict::Fail(_)));
        assert!(matches!(rule(failed(Cause::ExitCode, RetryLimit::Times(0))), Verdict::Fail(_)));
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let settings = Settings::default();
        assert_eq!(backoff(0, &settings), Duration::from_secs(1));
        assert_eq!(backoff(3, &settings), Duration::from_secs(8));
        assert_eq!(backoff(u32::MAX, &settings), settings.backoff_max);
    }
}
