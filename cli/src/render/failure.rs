//! How failures are told: the cause in words, the sentence, and the limit with what was used.
//!
//! The facts stand in a failure's details under names that the API promises (docs/jobs-and-tasks.md); details that are not
//! known here are left to `-o json`.

use std::time::Duration;

use muster_proto::wire;

use super::words;

/// A cause in words: `out of memory`.
#[must_use]
pub(crate) fn cause(failure: &wire::FailureInfo) -> String {
    words::name(failure.cause().as_str_name(), "FAILURE_CAUSE_")
}

/// All of a failure: `out of memory: the task used more than ... (limit 64 MiB, peak 64.0 MiB)`.
#[must_use]
pub(crate) fn sentence(failure: &wire::FailureInfo) -> String {
    let facts = facts(failure);
    let facts = if facts.is_empty() { facts } else { format!(" ({facts})") };
    format!("{}: {}{facts}", cause(failure), failure.message)
}

/// The limits that a failure is about, and how far it went: `limit 64 MiB, peak 64.0 MiB`. Empty if it is about none.
#[must_use]
pub(crate) fn facts(failure: &wire::FailureInfo) -> String {
    let detail = |name: &str| {
        failure.details.iter().find(|detail| detail.name == name).map(|detail| detail.value.as_str())
    };
    let number = |name: &str| detail(name).and_then(|value| value.parse::<u64>().ok());
    let span = |name: &str| {
        let seconds = detail(name).and_then(|value| value.parse::<f64>().ok())?;
        Duration::try_from_secs_f64(seconds).ok().map(words::duration)
    };
    let facts = [
        number("limit_bytes").map(|bytes| format!("limit {}", words::exact_size(bytes))),
        number("peak_bytes").map(|bytes| format!("peak {}", words::size(bytes))),
        span("limit_seconds").map(|limit| format!("limit {limit}")),
        span("elapsed_seconds").map(|elapsed| format!("ended after {elapsed}")),
        number("process_limit").map(|limit| format!("limit {limit} processes")),
        number("process_peak").map(|peak| format!("peak {peak}")),
        number("process_limit_hits").map(|hits| format!("{hits} refused")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(cause: wire::FailureCause, details: &[(&str, &str)]) -> wire::FailureInfo {
        let pair = |(name, value): &(&str, &str)| wire::NameValuePair {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        wire::FailureInfo {
            cause: cause.into(),
            message: "it was too much".into(),
            details: details.iter().map(pair).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_limit_is_told_with_what_was_used() {
        use wire::FailureCause::{DiskFull, ExitCode, OutOfMemory, WallClock};
        for (cause, details, text) in [
            (
                OutOfMemory,
                &[("limit_bytes", "67108864"), ("peak_bytes", "67104768")][..],
                "out of memory: it was too much (limit 64 MiB, peak 63.9 MiB)",
            ),
            (DiskFull, &[("limit_bytes", "1000")], "disk full: it was too much (limit 1000 B)"),
            (
                WallClock,
                &[("limit_seconds", "5"), ("elapsed_seconds", "5.25")],
                "wall clock: it was too much (limit 5s, ended after 5.25s)",
            ),
            (
                ExitCode,
                &[("process_limit", "64"), ("process_peak", "64"), ("process_limit_hits", "12")],
                "exit code: it was too much (limit 64 processes, peak 64, 12 refused)",
            ),
            (ExitCode, &[("program", "true"), ("limit_bytes", "lots")], "exit code: it was too much"),
            (
                WallClock,
                &[("limit_seconds", "-1"), ("elapsed_seconds", "NaN")],
                "wall clock: it was too much",
            ),
        ] {
            assert_eq!(sentence(&failure(cause, details)), text);
        }
    }
}
