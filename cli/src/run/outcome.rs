//! What a finished task means here: an exit code, and for what Muster did a sentence.
//!
//! The codes are in the help of `muster run`; tests hold them.

use muster_proto::wire;
use muster_proto::wire::FailureCause;

use crate::exit::{Exit, Failure};
use crate::render::failure::sentence;

/// Muster ended the task, or could not run it.
pub(super) const ENDED_BY_MUSTER: Exit = Exit::Code(120);

/// `muster run` itself failed.
const OWN_FAILURE: Exit = Exit::Code(125);

/// Terminated by Ctrl-C, pressed twice: 128 + SIGINT.
pub(super) const INTERRUPTED: Exit = Exit::Code(130);

/// Nobody reads the output any more: 128 + SIGPIPE.
pub(super) const UNREAD: Exit = Exit::Code(141);

/// Terminated by SIGTERM: 128 + SIGTERM.
pub(super) const TERMINATED: Exit = Exit::Code(143);

/// Gives a failure of `muster run` itself an exit code that tells it from the command's own.
#[must_use]
pub(crate) fn own_failure(failure: Failure) -> Failure {
    if failure.is_broken_pipe() { failure } else { failure.with_exit(OWN_FAILURE) }
}

/// How a task ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The exit code for it.
    pub(super) exit: Exit,
    /// What to say about it, if the exit code does not say it all.
    pub(super) words: Option<String>,
}

/// What a completed task means.
pub(super) fn outcome(task: &wire::Task) -> Outcome {
    let info = task.execution_info.clone().unwrap_or_default();
    let Some(failure) = info.failure_info else {
        return Outcome { exit: Exit::Done, words: None };
    };
    match failure.cause() {
        FailureCause::ExitCode => {
            // Linux has no other exit codes than these; any other number is still a failure.
            let code = info.exit_code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
            Outcome { exit: Exit::Code(code.unwrap_or(1)), words: None }
        }
        FailureCause::Signal => {
            let code = info
                .signal
                .and_then(|signal| u8::try_from(signal).ok())
                .and_then(|signal| 128_u8.checked_add(signal));
            Outcome { exit: Exit::Code(code.unwrap_or(255)), words: None }
        }
        FailureCause::Unspecified
        | FailureCause::OutOfMemory
        | FailureCause::WallClock
        | FailureCause::DiskFull
        | FailureCause::StagingNotFound
        | FailureCause::StagingDenied
        | FailureCause::StagingCorrupt
        | FailureCause::StagingNetwork
        | FailureCause::ProgramNotFound
        | FailureCause::LaunchFailed
        | FailureCause::UploadFailed
        | FailureCause::NodeLost
        | FailureCause::NodePreempted
        | FailureCause::PreparationFailed
        | FailureCause::Terminated
        | FailureCause::DependencyFailed
        | FailureCause::Internal => Outcome { exit: ENDED_BY_MUSTER, words: Some(sentence(&failure)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(cause: FailureCause, exit_code: Option<i32>, signal: Option<i32>) -> wire::Task {
        let failure =
            wire::FailureInfo { cause: cause.into(), message: "it is so".into(), ..Default::default() };
        let failure_info = (cause != FailureCause::Unspecified).then_some(failure);
        let info = wire::TaskExecutionInfo { exit_code, signal, failure_info, ..Default::default() };
        wire::Task { execution_info: Some(info), ..Default::default() }
    }

    #[test]
    fn a_commands_own_end_is_passed_on_without_words() {
        for (task, code) in [
            (task(FailureCause::Unspecified, Some(0), None), 0),
            (task(FailureCause::ExitCode, Some(1), None), 1),
            (task(FailureCause::ExitCode, Some(255), None), 255),
            (task(FailureCause::ExitCode, Some(-3), None), 1),
            (task(FailureCause::Signal, None, Some(9)), 137),
            (task(FailureCause::Signal, None, Some(15)), 143),
        ] {
            let outcome = outcome(&task);
            assert_eq!((outcome.exit.code(), outcome.words), (code, None));
        }
    }

    #[test]
    fn what_muster_did_has_one_code_and_the_cause_in_words() {
        for (task, words) in [
            (task(FailureCause::OutOfMemory, None, Some(9)), "out of memory: it is so"),
            (task(FailureCause::WallClock, None, Some(9)), "wall clock: it is so"),
            (task(FailureCause::UploadFailed, Some(0), None), "upload failed: it is so"),
            (task(FailureCause::ProgramNotFound, None, None), "program not found: it is so"),
        ] {
            assert_eq!(outcome(&task), Outcome { exit: Exit::Code(120), words: Some(words.to_owned()) });
        }
    }
}
