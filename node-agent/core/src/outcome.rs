//! What the end of a command amounts to: success, or a cause from the closed list with words that help.
//!
//! The supervisor says what the kernel said and the agent why it asked for an end; here both become one result. A limit is
//! recorded as the limit, not as the signal that enforced it.

use crate::attempt::Ending;
use crate::input::{Collected, Ended, EndedBy, Exit, KillReason, OverDisk};
use muster_model::cause::FailureInfo;
use muster_model::state::ExecutionResult;
use muster_model::{AttemptResult, Cause, Timestamp, Usage};
use std::time::Duration;

/// What the words of a failure may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes in its directory.
    pub disk_bytes: Option<u64>,
    /// How it stood to the disk, if it was ended for that.
    pub over_disk: Option<OverDisk>,
    /// Processes and threads at a time.
    pub processes: Option<u64>,
    /// Wall-clock time.
    pub wall_clock: Option<Duration>,
    /// How much of it had passed at the end.
    pub elapsed: Duration,
}

impl Limits {
    /// The same with what is known of the directory's peak taken together.
    fn with_peak(self, peak_bytes: u64) -> Self {
        let more = |over: OverDisk| OverDisk { used_bytes: over.used_bytes.max(peak_bytes), ..over };
        Self { over_disk: self.over_disk.map(more), ..self }
    }
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
    let limits = limits.with_peak(exit.usage.peak_disk_bytes);
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
        usage: Usage { staged_bytes, uploaded_bytes, peak_disk_bytes: peak_disk(exit, limits), ..exit.usage },
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
        // It failed because the disk was full, just before it would have been ended for that.
        (EndedBy::Itself, Ended::Exited(_) | Ended::Signaled(_)) if kill == Some(KillReason::Disk) => {
            Some(disk_full(limits))
        }
        (EndedBy::Itself, Ended::Exited(code)) => {
            let words = format!("the command exited with code {code}");
            Some(processes(Cause::ExitCode, words, exit, limits).with("exit_code", code))
        }
        (EndedBy::Itself, Ended::Signaled(signal)) => {
            let name = signal_name(signal);
            let words = format!("signal {signal}{name} ended the command; Muster did not send it");
            Some(processes(Cause::Signal, words, exit, limits).with("signal", signal))
        }
        (EndedBy::Itself, Ended::Rebooted) => {
            Some(FailureInfo::new(Cause::NodeLost, "the machine was rebooted while the command ran"))
        }
        (EndedBy::Itself, Ended::Unknown) => Some(FailureInfo::new(
            Cause::NodeLost,
            "the command ended while the node's supervisor was not running, so its exit code is not known",
        )),
    }
}

/// The failure of a command by itself; one that ran into its process limit is told so, because few programs say it.
fn processes(cause: Cause, words: String, exit: &Exit, limits: Limits) -> FailureInfo {
    let Some(limit) = limits.processes.filter(|_| exit.refused_processes > 0) else {
        return FailureInfo::new(cause, words);
    };
    let hits = exit.refused_processes;
    let words = format!(
        "{words}; its limit of {limit} processes and threads had refused it another {hits} times: raise pids_max or let it \
         start fewer"
    );
    let failure = FailureInfo::new(cause, words).with("process_limit", limit);
    let failure = match exit.usage.peak_processes {
        0 => failure,
        peak => failure.with("process_peak", peak),
    };
    failure.with("process_limit_hits", hits)
}

/// Most bytes that were seen in the directory.
fn peak_disk(exit: &Exit, limits: Limits) -> u64 {
    let seen = limits.over_disk.filter(|_| limits.disk_bytes.is_some()).map_or(0, |over| over.used_bytes);
    exit.usage.peak_disk_bytes.max(seen)
}

fn disk_full(limits: Limits) -> FailureInfo {
    let over = limits.over_disk;
    let words = match (limits.disk_bytes, over) {
        (Some(limit), _) => format!(
            "the task's directory reached its limit of {limit} bytes: raise disk_bytes or let the task write less"
        ),
        (None, Some(OverDisk { limit_bytes, used_bytes })) => format!(
            "the node's disk had {limit_bytes} bytes left, and of the tasks without a limit this one had grown most, to \
             {used_bytes} bytes: give it disk_bytes, so that it is placed where there is enough"
        ),
        (None, None) => {
            "the node's disk ran full: give the task disk_bytes, so that it is placed where there is \
                         enough"
                .to_owned()
        }
    };
    let failure = FailureInfo::new(Cause::DiskFull, words);
    match over {
        Some(OverDisk { limit_bytes, used_bytes }) => {
            failure.with("limit_bytes", limit_bytes).with("peak_bytes", used_bytes)
        }
        None => failure,
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
        KillReason::Disk => disk_full(limits),
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
            refused_processes: 0,
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
            (Ended::Signaled(9), EndedBy::Requested, Some(KillReason::Disk), Some(Cause::DiskFull)),
            (Ended::Exited(1), EndedBy::Itself, Some(KillReason::Disk), Some(Cause::DiskFull)),
            (Ended::Exited(0), EndedBy::Itself, Some(KillReason::Disk), None),
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
            ..Limits::default()
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
    fn a_full_directory_is_told_with_its_limit_and_what_was_in_it() {
        let over = |used_bytes| Some(OverDisk { limit_bytes: 100, used_bytes });
        let usage = Usage { peak_disk_bytes: 99, ..Usage::default() };
        let told = |limits, used| {
            let exit = Exit { usage, ..exit(Ended::Exited(1), EndedBy::Itself) };
            let ending = Ending::Ran { exit, collected: Box::default() };
            let limits = Limits { over_disk: over(used), ..limits };
            let result = result(ending, Some(KillReason::Disk), limits, 0, Timestamp::EPOCH);
            (result.failure.unwrap(), result.usage.peak_disk_bytes)
        };
        let own = Limits { disk_bytes: Some(100), ..Limits::default() };
        for (used, peak) in [(101, 101), (98, 99)] {
            let (failure, seen) = told(own, used);
            assert_eq!(detail(&failure, "limit_bytes"), Some("100"));
            assert_eq!((detail(&failure, "peak_bytes"), seen), (Some(peak.to_string().as_str()), peak));
            assert!(failure.message.contains("its limit of 100 bytes"), "{}", failure.message);
        }
        let (failure, _) = told(Limits::default(), 5_000);
        assert!(failure.message.contains("100 bytes left"), "{}", failure.message);
        assert_eq!(detail(&failure, "peak_bytes"), Some("5000"));
    }

    #[test]
    fn a_failed_command_that_hit_its_process_limit_is_told_so() {
        let usage = Usage { peak_processes: 16, ..Usage::default() };
        let refused = Exit { usage, refused_processes: 3, ..exit(Ended::Exited(254), EndedBy::Itself) };
        let limits = Limits { processes: Some(16), ..Limits::default() };
        let failure = result_of(refused.clone(), Collected::default(), limits).failure.unwrap();
        assert_eq!(failure.cause, Cause::ExitCode);
        for (name, value) in [("process_limit", "16"), ("process_peak", "16"), ("process_limit_hits", "3")] {
            assert_eq!(detail(&failure, name), Some(value));
        }
        assert!(failure.message.contains("pids_max"), "{}", failure.message);
        let fine = Exit { refused_processes: 0, ..refused.clone() };
        let failure = result_of(fine, Collected::default(), limits).failure.unwrap();
        assert_eq!(detail(&failure, "process_limit"), None);
        let worked = Exit { ended: Ended::Exited(0), ..refused };
        assert_eq!(result_of(worked, Collected::default(), limits).failure, None);
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
