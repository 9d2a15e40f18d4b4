//! How the attempts of a task look: the ledger, a row for each.
//!
//! What a node could not measure is left empty, not shown as zero. Output and published files are shown elsewhere
//! (`muster task logs`, `task.rs`).

use muster_proto::wire;

use super::{failure, task, words};
use crate::outlet::{Field, Tone};

/// Headings of a list of attempts.
pub(crate) const HEADINGS: [&str; 9] =
    ["attempt", "node", "started", "took", "result", "exit", "why", "peak memory", "cpu"];

/// An attempt as a row.
#[must_use]
pub(crate) fn row(attempt: &wire::TaskAttempt) -> Vec<Field> {
    let result = words::name(attempt.result().as_str_name(), "EXECUTION_RESULT_");
    let tone = if attempt.result() == wire::ExecutionResult::Failure { Tone::Bad } else { Tone::Good };
    let usage = attempt.usage.unwrap_or_default();
    // What the node cannot measure is not shown as nothing.
    let memory = match usage.peak_memory_bytes {
        0 => String::new(),
        bytes => words::size(bytes),
    };
    vec![
        Field::number(attempt.attempt),
        attempt.node_id.as_str().into(),
        words::time(attempt.start_time.as_ref()).into(),
        Field::at_right(words::span_between(attempt.start_time.as_ref(), attempt.end_time.as_ref())),
        Field::toned(result, tone),
        Field::at_right(task::exit(attempt.exit_code, attempt.signal)),
        attempt.failure_info.as_ref().map(failure::cause).unwrap_or_default().into(),
        Field::at_right(memory),
        Field::at_right(words::span_of_both(usage.user_cpu_time.as_ref(), usage.kernel_cpu_time.as_ref())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_says_what_it_used_and_why_it_failed() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let attempt = wire::TaskAttempt {
            attempt: 2,
            node_id: "n1".into(),
            signal: Some(9),
            result: wire::ExecutionResult::Failure.into(),
            failure_info: Some(wire::FailureInfo {
                cause: wire::FailureCause::OutOfMemory.into(),
                ..Default::default()
            }),
            usage: Some(wire::ResourceUsage {
                user_cpu_time: seconds(60),
                kernel_cpu_time: seconds(30),
                peak_memory_bytes: 1 << 30,
                ..Default::default()
            }),
            ..Default::default()
        };
        let row = row(&attempt);
        assert_eq!(
            row[4..],
            [
                Field::toned("failure", Tone::Bad),
                Field::at_right("signal 9"),
                Field::from("out of memory"),
                Field::at_right("1.0 GiB"),
                Field::at_right("1m30s"),
            ]
        );
        assert_eq!(row.len(), HEADINGS.len());
    }
}
