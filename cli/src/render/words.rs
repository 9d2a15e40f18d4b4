//! Values as people write them: states in words, times, spans, sizes.
//!
//! Everything here is a pure function of its argument; no clock is read, so times are shown as they are and not as ages.

use jiff::Timestamp;
use jiff::fmt::strtime;
use muster_runtime::config::Span;

use crate::outlet::{Field, Tone};

/// A point in time, in UTC to the second. Empty for one that is not set.
#[must_use]
pub(crate) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
        .and_then(|time| strtime::format("%Y-%m-%d %H:%M:%SZ", time).ok())
        .unwrap_or_default()
}

/// The time from one point to another, in words. Empty when one of them is not set.
#[must_use]
pub(crate) fn span_between(
    start: Option<&prost_types::Timestamp>,
    end: Option<&prost_types::Timestamp>,
) -> String {
    let (Some(start), Some(end)) = (start, end) else { return String::new() };
    let micros =
        |time: &prost_types::Timestamp| i128::from(time.seconds) * 1_000_000 + i128::from(time.nanos) / 1000;
    let span = u64::try_from((micros(end) - micros(start)).max(0)).unwrap_or(u64::MAX);
    span_of_micros(span)
}

/// A span of time in words, to a precision that matters: `1h30m`, `12s`, `350ms`.
#[must_use]
pub(crate) fn span(span: Option<&prost_types::Duration>) -> String {
    if span.is_none() { String::new() } else { span_of_micros(micros_of(span)) }
}

/// Two spans of time together, in words. Empty without both.
#[must_use]
pub(crate) fn span_of_both(
    one: Option<&prost_types::Duration>,
    other: Option<&prost_types::Duration>,
) -> String {
    if one.is_none() && other.is_none() {
        return String::new();
    }
    span_of_micros(micros_of(one).saturating_add(micros_of(other)))
}

fn micros_of(span: Option<&prost_types::Duration>) -> u64 {
    let Some(span) = span else { return 0 };
    let seconds = u64::try_from(span.seconds).unwrap_or_default();
    let nanos = u64::try_from(span.nanos).unwrap_or_default();
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

fn span_of_micros(micros: u64) -> String {
    const SECOND: u64 = 1_000_000;
    let step = match micros {
        0..SECOND => 1000,
        SECOND..60_000_000 => 10_000,
        _ => SECOND,
    };
    // Below the hour a decimal of a second says more than milliseconds do.
    if (SECOND..60 * SECOND).contains(&micros) && !micros.is_multiple_of(SECOND) {
        let hundredths = micros / 10_000;
        return format!("{}.{:02}s", hundredths / 100, hundredths % 100);
    }
    Span::from_micros(micros - micros % step).to_string()
}

/// A number of bytes, rounded: `1.5 GiB`.
#[must_use]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit, in whole numbers: exact where a float would round.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number of bytes that somebody wrote down: as it was written where that is possible, `64 MiB`, else rounded.
#[must_use]
pub(crate) fn exact_size(bytes: u64) -> String {
    let rounded = size(bytes);
    match rounded.split_once(".0 ") {
        Some((whole, unit)) if is_whole(bytes) => format!("{whole} {unit}"),
        Some(_) | None => rounded,
    }
}

/// Whether a number of bytes is a whole number of its unit: in binary it ends with ten zeros for each step to that unit.
fn is_whole(bytes: u64) -> bool {
    let steps = bytes.checked_ilog2().unwrap_or_default() / 10;
    bytes.trailing_zeros() >= steps.min(5) * 10
}

/// A span of time of the standard library in words.
#[must_use]
pub(crate) fn duration(span: std::time::Duration) -> String {
    span_of_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// A number of thousandths of a core as cores: `1.5`.
#[must_use]
pub(crate) fn cores(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The value of an enum of the API in words: `TASK_STATE_RUNNING` with the prefix `TASK_STATE_` is `running`. The
/// unspecified value is empty.
#[must_use]
pub(crate) fn name(full: &str, prefix: &str) -> String {
    match full.strip_prefix(prefix).unwrap_or(full) {
        "UNSPECIFIED" => String::new(),
        name => name.to_lowercase().replace('_', " "),
    }
}

/// A state in words with its tone.
#[must_use]
pub(crate) fn state(full: &str, prefix: &str) -> Field {
    let name = name(full, prefix);
    let tone = match name.as_str() {
        "idle" | "running" | "success" | "steady" => Tone::Good,
        "failure" | "unusable" | "unknown" | "start task failed" | "preempted" => Tone::Bad,
        "creating"
        | "starting"
        | "waiting for start task"
        | "resizing"
        | "stopping"
        | "deleting"
        | "terminating"
        | "disabling"
        | "preparing"
        | "rebooting"
        | "reimaging"
        | "leaving pool" => Tone::Busy,
        _ => Tone::Plain,
    };
    Field::toned(name, tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_a_tenth() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn sizes_that_were_written_down_are_shown_as_they_were() {
        for (bytes, text) in [
            (0, "0 B"),
            (64 << 20, "64 MiB"),
            ((64 << 20) - 1, "63.9 MiB"),
            ((64 << 20) + 1, "64.0 MiB"),
            (1 << 60, "1024 PiB"),
            (1000, "1000 B"),
            (3 << 29, "1.5 GiB"),
        ] {
            assert_eq!(exact_size(bytes), text);
        }
        assert_eq!(duration(std::time::Duration::from_millis(5250)), "5.25s");
    }

    #[test]
    fn times_and_spans_are_short() {
        let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        assert_eq!(time(at(1_700_000_000, 5).as_ref()), "2023-11-14 22:13:20Z");
        assert_eq!(time(None), "");
        assert_eq!(time(at(i64::MAX, 0).as_ref()), "");
        assert_eq!(span_between(at(10, 0).as_ref(), at(10, 350_400_000).as_ref()), "350ms");
        assert_eq!(span_between(at(10, 0).as_ref(), at(22, 340_000_000).as_ref()), "12.34s");
        assert_eq!(span_between(at(10, 0).as_ref(), at(5410, 900_000_000).as_ref()), "1h30m");
        assert_eq!(span_between(at(10, 0).as_ref(), None), "");
        assert_eq!(span(Some(&prost_types::Duration { seconds: 900, nanos: 0 })), "15m");
    }

    #[test]
    fn names_lose_their_prefix() {
        assert_eq!(name("TASK_STATE_RUNNING", "TASK_STATE_"), "running");
        assert_eq!(name("NODE_STATE_WAITING_FOR_START_TASK", "NODE_STATE_"), "waiting for start task");
        assert_eq!(name("TASK_STATE_UNSPECIFIED", "TASK_STATE_"), "");
        assert_eq!(cores(1500), "1.5");
        assert_eq!(cores(4000), "4");
    }
}
