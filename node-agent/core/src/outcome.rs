//! What the end of a command amounts to: success, or a cause from the closed list with words that help.
//!
//! The supervisor says what the kernel said and the agent why it asked for an end; here both become one result. A limit is
//! recorded as the limit, not as the signal that enforced it.

use crate::attempt::Ending;
use crate::input::{Collected, Ended, EndedBy, Exit, KillReason};
use muster_model::cause::FailureInfo;
use muster_model::state::ExecutionResult;
use muster_model::{AttemptResult, Cause, Timestamp, Usage};
use std::time::Duration;

/// What the words of a failure may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Wall-clock time.
    pub wall_clock: Option<Duration>,
    /// How much of it had passed at the end.
    pub elapsed: Duration,
}

/// Makes the result of a life that has ended.
#[must_use]
pub fn result(
    ending: Ending,
    kill: Option<KillReason>,
    limits: Limits,
    staged_bytes: u64,
    now: Timestamp,
) -> AttemptResult {
    match ending {
        Ending::NeverRan(reason) => AttemptResult::not_started(killed(reason, limits), now),
        Ending::Failed(failure) => AttemptResult::not_started(failure, now),
        Ending::Ran { exit, collected } => ran(&exit, *collected, kill, limits, staged_bytes),
    }
}

fn ran(
    exit: &Exit,
    collected: Collected,
    kill: Option<KillReason>,
    limits: Limits,
    staged_bytes: u64,
) -> AttemptResult {
    let Collected { stdout, stderr, outputs, uploaded_bytes, failure: upload_failure } = collected;
    let unpublished = kill.filter(|reason| reason.publishes_nothing());
    let failure = match (why(exit, kill, limits), unpublished) {
        // An exit code says more than an upload that failed as well; the details have both.
        (Some(failure), _) => Some(match &upload_failure {
            Some(upload) => failure.with("upload_failure", &upload.message),
            None => failure,
        }),
        (None, Some(reason)) => Some(killed(reason, limits)),
        (None, None) => upload_failure.clone(),
    };
    let publishes = upload_failure.is_none() && unpublished.is_none();
    let (exit_code, signal) = match exit.ended {
        Ended::Exited(code) => (Some(code), None),
        Ended::Signaled(signal) => (None, Some(signal)),
        Ended::Rebooted | Ended::Unknown => (None, None),
    };
    AttemptResult {
        result: if failure.is_none() { ExecutionResult::Success } else { ExecutionResult::Failure },
        exit_code,
        signal,
        failure,
        start_time: exit.start_time,
        end_time: exit.end_time,
        usage: Usage { staged_bytes, uploaded_bytes, ..exit.usage },
        stdout,
        stderr,
        outputs: if publishes { outputs } else { Vec::new() },
    }
}

/// Why a command that ran counts as failed; `None` if it exited with 0 by itself.
fn why(exit: &Exit, kill: Option<KillReason>, limits: Limits) -> Option<FailureInfo> {
    match (exit.by, exit.ended) {
        // An end that no record of the agent asks for is the work of a lease that the agent did not live to see end.
        (EndedBy::Requested | EndedBy::LeaseEnded, _) => {
            Some(killed(kill.unwrap_or(KillReason::LeaseEnded), limits))
        }
        (EndedBy::Shutdown, _) => Some(killed(KillReason::NodeStopping, limits)),
        (EndedBy::WallClock, _) => Some(killed(KillReason::WallClock, limits)),
        (EndedBy::OutOfMemory, _) => Some(out_of_memory(exit, limits)),
        (EndedBy::Itself, Ended::Exited(0)) => None,
        // A shell whose child was killed for want of memory exits with 137: the cause is the memory all the same.
        (EndedBy::Itself, Ended::Exited(_) | Ended::Signaled(_)) if exit.oom_kills > 0 => {
            Some(out_of_memory(exit, limits))
        }
        (EndedBy::Itself, Ended::Exited(code)) => Some(
            FailureInfo::new(Cause::ExitCode, format!("the command exited with code {code}"))
                .with("exit_code", code),
        ),
        (EndedBy::Itself, Ended::Signaled(signal)) => Some(
            FailureInfo::new(
                Cause::Signal,
                format!("signal {signal}{} ended the command; Muster did not send it", signal_name(signal)),
            )
            .with("signal", signal),
        ),
        (EndedBy::Itself, Ended::Rebooted) => {
            Some(FailureInfo::new(Cause::NodeLost, "the machine was rebooted while the command ran"))
        }
        (EndedBy::Itself, Ended::Unknown) => Some(FailureInfo::new(
            Cause::NodeLost,
            "the command ended while the node's supervisor was not running, so its exit code is not known",
        )),
    }
}

fn out_of_memory(exit: &Exit, limits: Limits) -> FailureInfo {
    let words = match limits.memory_bytes {
        Some(limit) => format!(
            "the task used more memory than its limit of {limit} bytes: raise memory_bytes or let it use less"
        ),
        None => {
            "the node ran out of memory and the kernel ended the task: give it memory_bytes, so that it is \
                 placed where there is enough"
                .to_owned()
        }
    };
    let failure = FailureInfo::new(Cause::OutOfMemory, words);
    let failure = match limits.memory_bytes {
        Some(limit) => failure.with("limit_bytes", limit),
        None => failure,
    };
    if exit.usage.peak_memory_bytes > 0 {
        failure.with("peak_bytes", exit.usage.peak_memory_bytes)
    } else {
        failure
    }
}

fn killed(reason: KillReason, limits: Limits) -> FailureInfo {
    match reason {
        KillReason::Terminated => FailureInfo::new(Cause::Terminated, "the task or its job was terminated"),
        KillReason::WallClock => wall_clock(limits),
        KillReason::Requeued => {
            FailureInfo::new(Cause::Terminated, "the attempt was ended so that the task can run again later")
        }
        KillReason::NodeStopping => FailureInfo::new(Cause::NodeLost, "the node was stopped with its tasks"),
        KillReason::LeaseEnded => FailureInfo::new(
            Cause::NodeLost,
            "the node could not reach the controller for the length of its lease and ended its attempts",
        ),
        KillReason::Stale => {
            FailureInfo::new(Cause::Terminated, "another attempt of the task took its place")
        }
    }
}

fn wall_clock(limits: Limits) -> FailureInfo {
    let elapsed = limits.elapsed;
    // A limit that was raised while the old one was ending the task is not the one that did it.
    let failure = match limits.wall_clock.filter(|limit| elapsed.is_zero() || *limit <= elapsed) {
        Some(limit) => FailureInfo::new(
            Cause::WallClock,
            format!(
                "the task ran longer than its max_wall_clock_time of {limit:?}: raise it or let the task do less"
            ),
        )
        .with("limit_seconds", limit.as_secs_f64()),
        None => FailureInfo::new(
            Cause::WallClock,
            "the task ran longer than the max_wall_clock_time that it had then: let it run again under the new one",
        ),
    };
    if elapsed.is_zero() { failure } else { failure.with("elapsed_seconds", elapsed.as_secs_f64()) }
}

/// The usual name of a signal with a space before it, or nothing.
const fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(ended: Ended, by: EndedBy) -> Exit {
        Exit {
            ended,
            by,
            start_time: None,
            end_time: Timestamp::EPOCH,
            usage: Usage::default(),
            oom_kills: 0,
        }
    }

    fn cause_of(exit: Exit, kill: Option<KillReason>) -> Option<Cause> {
        let ending = Ending::Ran { exit, collected: Box::default() };
        result(ending, kill, Limits::default(), 0, Timestamp::EPOCH).failure.map(|failure| failure.cause)
    }

    #[test]
    fn each_way_to_end_has_its_cause() {
        let table = [
            (Ended::Exited(0), EndedBy::Itself, None, None),
            (Ended::Exited(3), EndedBy::Itself, None, Some(Cause::ExitCode)),
            (Ended::Signaled(11), EndedBy::Itself, None, Some(Cause::Signal)),
            (Ended::Signaled(9), EndedBy::WallClock, None, Some(Cause::WallClock)),
            (Ended::Signaled(9), EndedBy::OutOfMemory, None, Some(Cause::OutOfMemory)),
            (Ended::Signaled(15), EndedBy::Requested, Some(KillReason::Terminated), Some(Cause::Terminated)),
            (Ended::Signaled(9), EndedBy::Requested, Some(KillReason::LeaseEnded), Some(Cause::NodeLost)),
            (Ended::Signaled(9), EndedBy::LeaseEnded, None, Some(Cause::NodeLost)),
            (Ended::Signaled(9), EndedBy::Shutdown, None, Some(Cause::NodeLost)),
            (Ended::Rebooted, EndedBy::Itself, None, Some(Cause::NodeLost)),
            (Ended::Exited(0), EndedBy::Itself, Some(KillReason::LeaseEnded), Some(Cause::NodeLost)),
            (Ended::Exited(0), EndedBy::Itself, Some(KillReason::Terminated), None),
        ];
        for (ended, by, kill, wanted) in table {
            assert_eq!(cause_of(exit(ended, by), kill), wanted, "{ended:?} {by:?} {kill:?}");
        }
    }

    #[test]
    fn memory_limit_is_recorded_as_cause_not_as_signal_9_nor_as_a_shell_s_137() {
        for ended in [Ended::Signaled(9), Ended::Exited(137)] {
            let exit = Exit { oom_kills: 1, ..exit(ended, EndedBy::Itself) };
            assert_eq!(cause_of(exit, None), Some(Cause::OutOfMemory));
        }
    }

    fn failed_upload() -> Collected {
        Collected {
            outputs: vec![muster_model::OutputEntry {
                container: "out".parse().unwrap(),
                path: muster_model::FilePath::parse("a").unwrap(),
                digest: muster_model::Digest::from_bytes([0; 32]),
                size: 1,
            }],
            failure: Some(FailureInfo::new(Cause::UploadFailed, "no")),
            ..Collected::default()
        }
    }

    fn result_of(exit: Exit, collected: Collected, limits: Limits) -> AttemptResult {
        let ending = Ending::Ran { exit, collected: Box::new(collected) };
        result(ending, None, limits, 7, Timestamp::EPOCH)
    }

    fn detail<'a>(failure: &'a FailureInfo, name: &str) -> Option<&'a str> {
        failure.details.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_failed_upload_fails_the_attempt_and_publishes_nothing() {
        let exit = exit(Ended::Exited(0), EndedBy::Itself);
        let result = result_of(exit, failed_upload(), Limits::default());
        assert_eq!(result.failure.map(|f| f.cause), Some(Cause::UploadFailed));
        assert_eq!((result.outputs.len(), result.exit_code, result.usage.staged_bytes), (0, Some(0), 7));
    }

    #[test]
    fn an_exit_code_counts_more_than_a_failed_upload_and_both_are_told() {
        let exit = exit(Ended::Exited(3), EndedBy::Itself);
        let result = result_of(exit, failed_upload(), Limits::default());
        let failure = result.failure.unwrap();
        assert_eq!((failure.cause, result.exit_code), (Cause::ExitCode, Some(3)));
        assert_eq!((detail(&failure, "upload_failure"), result.outputs.len()), (Some("no"), 0));
    }

    #[test]
    fn limits_that_ended_a_task_are_told_with_what_it_used() {
        let limits = Limits {
            memory_bytes: Some(100),
            wall_clock: Some(Duration::from_secs(2)),
            elapsed: Duration::from_secs(5),
        };
        let usage = Usage { peak_memory_bytes: 99, ..Usage::default() };
        let ended = |by| Exit { usage, ..exit(Ended::Signaled(9), by) };
        let failure_of = |by, limits| result_of(ended(by), Collected::default(), limits).failure.unwrap();
        let memory = failure_of(EndedBy::OutOfMemory, limits);
        assert_eq!(
            (detail(&memory, "limit_bytes"), detail(&memory, "peak_bytes")),
            (Some("100"), Some("99"))
        );
        let clock = failure_of(EndedBy::WallClock, limits);
        assert_eq!(
            (clock.cause, detail(&clock, "limit_seconds"), detail(&clock, "elapsed_seconds")),
            (Cause::WallClock, Some("2"), Some("5"))
        );
        let raised = failure_of(EndedBy::WallClock, Limits { wall_clock: Some(Duration::MAX), ..limits });
        assert_eq!((raised.cause, detail(&raised, "limit_seconds")), (Cause::WallClock, None));
    }

    #[test]
    fn a_command_that_never_ran_has_no_start_and_keeps_the_cause_of_what_came_before_it() {
        for cause in [Cause::StagingNetwork, Cause::StagingNotFound, Cause::ProgramNotFound, Cause::DiskFull]
        {
            let ending = Ending::Failed(FailureInfo::new(cause, "no"));
            let result = result(ending, None, Limits::default(), 0, Timestamp::EPOCH);
            assert_eq!(result.failure.map(|failure| failure.cause), Some(cause));
            assert_eq!((result.start_time, result.exit_code, result.signal), (None, None, None));
        }
    }
}
