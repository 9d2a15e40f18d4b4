//! Conversions that several resources share: ids, times, texts, environment, metadata.
//!
//! Functions named after a part take the checker with the path already at that part. Limits are those of
//! `muster_model::limits`; nothing here invents a number.

use std::time::Duration;

use muster_model::spec::{EnvironmentSetting, MetadataItem, RetryLimit};
use muster_model::{Digest, JobId, RequestId, Timestamp, limits};

use super::violation::{Checker, Problem, shown};
use crate::wire;

/// Seconds of the last instant of the year 9999, the end of what a protobuf timestamp may hold.
const TIMESTAMP_SECONDS_MAX: i64 = 253_402_300_799;
/// Seconds of the first instant of the year 1, the start of what a protobuf timestamp may hold.
const TIMESTAMP_SECONDS_MIN: i64 = -62_135_596_800;
/// Ten thousand years: the end of what a protobuf duration may hold.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
/// The shortest wall clock limit of a job and of a task: anything less ends it before it starts.
pub(super) const WALL_CLOCK_MIN: Duration = Duration::from_secs(1);
const NANOS_PER_SECOND: i32 = 1_000_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;

// ------------------------------------------------------------------------------------------------ times

/// A point in time for the wire; one beyond the year 9999 becomes the last instant that the wire can hold.
#[must_use]
pub fn timestamp_out(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    if seconds > TIMESTAMP_SECONDS_MAX {
        return prost_types::Timestamp { seconds: TIMESTAMP_SECONDS_MAX, nanos: 0 };
    }
    if seconds < TIMESTAMP_SECONDS_MIN {
        return prost_types::Timestamp { seconds: TIMESTAMP_SECONDS_MIN, nanos: 0 };
    }
    // The remainder is below a million, so a thousand times it fits.
    let nanos = i32::try_from(micros.rem_euclid(MICROS_PER_SECOND) * 1000).unwrap_or(0);
    prost_types::Timestamp { seconds, nanos }
}

/// A point in time from the wire, cut to microseconds.
pub fn timestamp(checker: &mut Checker, time: prost_types::Timestamp) -> Option<Timestamp> {
    let in_range = (TIMESTAMP_SECONDS_MIN..=TIMESTAMP_SECONDS_MAX).contains(&time.seconds)
        && (0..NANOS_PER_SECOND).contains(&time.nanos);
    if !in_range {
        checker.note(Problem::NotTimestamp);
        return None;
    }
    Some(Timestamp::from_micros(time.seconds * MICROS_PER_SECOND + i64::from(time.nanos / 1000)))
}

/// A point in time at a field that must be set.
pub fn required_timestamp(
    checker: &mut Checker,
    field: &'static str,
    time: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let time = checker.required(field, time, "give the point in time")?;
    checker.at(field, |c| timestamp(c, time))
}

/// A point in time at a field that may be unset. A malformed one is noted and answered as unset.
pub fn optional_timestamp(
    checker: &mut Checker,
    field: &'static str,
    time: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    checker.at(field, |c| time.and_then(|time| timestamp(c, time)))
}

/// A span for the wire; one beyond ten thousand years becomes ten thousand years.
#[must_use]
pub fn duration_out(span: Duration) -> prost_types::Duration {
    match i64::try_from(span.as_secs()) {
        Ok(seconds) if seconds < DURATION_SECONDS_MAX => {
            prost_types::Duration { seconds, nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0) }
        }
        Ok(_) | Err(_) => prost_types::Duration { seconds: DURATION_SECONDS_MAX, nanos: 0 },
    }
}

/// A span at a field that may be unset; at least `min` when set.
pub fn optional_duration(
    checker: &mut Checker,
    field: &'static str,
    span: Option<prost_types::Duration>,
    min: Duration,
) -> Option<Duration> {
    let span = span?;
    let well_formed =
        (0..=DURATION_SECONDS_MAX).contains(&span.seconds) && (0..NANOS_PER_SECOND).contains(&span.nanos);
    let parts = u64::try_from(span.seconds).ok().zip(u32::try_from(span.nanos).ok());
    match parts.map(|(seconds, nanos)| Duration::new(seconds, nanos)) {
        Some(span) if well_formed && span >= min => Some(span),
        Some(_) | None => {
            let given = match span.nanos {
                0 => format!("{} seconds", span.seconds),
                nanos => format!("{} seconds and {nanos} nanoseconds", span.seconds),
            };
            checker.note_at(field, Problem::NotDuration { given, min_seconds: min.as_secs() });
            None
        }
    }
}

// ------------------------------------------------------------------------------------------------ small things

/// A text of at most `max` characters, without NUL.
pub(super) fn text(checker: &mut Checker, field: &'static str, text: String, max_chars: usize) -> String {
    checker.at(field, |c| {
        // Counting bytes first is enough for nearly every text and cheaper.
        if text.len() > max_chars {
            let given = text.chars().count();
            if given > max_chars {
                c.note(Problem::TooLong { given, max: max_chars, unit: "characters" });
            }
        }
        if text.contains('\0') {
            c.note(Problem::NulByte);
        }
    });
    text
}

/// A display name.
pub(super) fn display_name(checker: &mut Checker, name: String) -> String {
    text(checker, "display_name", name, limits::DISPLAY_NAME_CHARS_MAX)
}

/// A command line: set, not too long, without NUL.
pub(super) fn command_line(checker: &mut Checker, line: String) -> Option<String> {
    checker.at("command_line", |c| {
        if line.trim().is_empty() {
            c.note(Problem::Missing { hint: "write the program and its arguments" });
            return None;
        }
        if line.len() > limits::COMMAND_LINE_BYTES_MAX {
            c.note(Problem::TooLong {
                given: line.len(),
                max: limits::COMMAND_LINE_BYTES_MAX,
                unit: "bytes",
            });
            return None;
        }
        if line.contains('\0') {
            c.note(Problem::NulByte);
            return None;
        }
        Some(line)
    })
}

/// An unsigned number in a range, where 0 stands for `default`.
pub(super) fn count(
    checker: &mut Checker,
    field: &'static str,
    given: u32,
    default: u32,
    min: u32,
    max: u32,
) -> u32 {
    let value = if given == 0 { default } else { given };
    if !(min..=max).contains(&value) {
        let problem = Problem::OutOfRange { given: value.into(), min: min.into(), max: max.into() };
        checker.note_at(field, problem);
    }
    value
}

/// A retry count: -1 is unlimited.
pub(super) fn retry_limit(checker: &mut Checker, field: &'static str, given: i32) -> Option<RetryLimit> {
    match u32::try_from(given) {
        Ok(times) => Some(RetryLimit::Times(times)),
        Err(_) if given == -1 => Some(RetryLimit::Unlimited),
        Err(_) => {
            let problem = Problem::OutOfRange { given: given.into(), min: -1, max: i32::MAX.into() };
            checker.note_at(field, problem);
            None
        }
    }
}

/// A retry count for the wire. More than the wire can hold becomes the most that it can.
#[must_use]
pub(super) fn retry_limit_out(limit: RetryLimit) -> i32 {
    match limit {
        RetryLimit::Times(times) => i32::try_from(times).unwrap_or(i32::MAX),
        RetryLimit::Unlimited => -1,
    }
}

/// A digest in hexadecimal digits.
pub fn digest(checker: &mut Checker, field: &'static str, given: &str) -> Option<Digest> {
    checker.at(field, |c| c.keep(Digest::parse(given)))
}

/// A digest that may be empty. A malformed one is noted and answered as none.
pub(super) fn optional_digest(checker: &mut Checker, field: &'static str, given: &str) -> Option<Digest> {
    if given.is_empty() { None } else { digest(checker, field, given) }
}

/// The id of a job at the field `job_id`.
pub fn job_id(checker: &mut Checker, id: &str) -> Option<JobId> {
    checker.at("job_id", |c| c.keep(JobId::parse(id)))
}

/// The request id of a mutation, if it has one.
pub fn request_id(checker: &mut Checker, given: &str) -> Option<RequestId> {
    if given.is_empty() {
        return None;
    }
    checker.at("request_id", |c| c.keep(RequestId::parse(given)))
}

/// The etag of a resource with this revision.
#[must_use]
pub fn etag_out(revision: u64) -> String {
    revision.to_string()
}

/// The revision that a conditional mutation names, if it does.
pub fn etag(checker: &mut Checker, given: &str) -> Option<u64> {
    if given.is_empty() {
        return None;
    }
    let revision = given.parse().ok();
    if revision.is_none() {
        checker.note_at("etag", Problem::NotEtag { given: shown(given) });
    }
    revision
}

/// The size of a page: 0 is the default, more than the largest becomes the largest.
pub fn page_size(checker: &mut Checker, given: i32) -> u32 {
    match u32::try_from(given) {
        Ok(0) => limits::PAGE_SIZE_DEFAULT,
        Ok(size) => size.min(limits::PAGE_SIZE_MAX),
        Err(_) => {
            let max = limits::PAGE_SIZE_MAX.into();
            checker.note_at("page_size", Problem::OutOfRange { given: given.into(), min: 0, max });
            limits::PAGE_SIZE_DEFAULT
        }
    }
}

// ------------------------------------------------------------------------------------------------ environment, metadata

/// A list of environment settings at `field`.
pub(super) fn environment(
    checker: &mut Checker,
    field: &'static str,
    settings: Vec<wire::EnvironmentSetting>,
) -> Vec<EnvironmentSetting> {
    environment_up_to(checker, field, settings, limits::ENVIRONMENT_SETTINGS_MAX)
}

/// A list of at most `max` environment settings at `field`.
pub(super) fn environment_up_to(
    checker: &mut Checker,
    field: &'static str,
    settings: Vec<wire::EnvironmentSetting>,
    max: usize,
) -> Vec<EnvironmentSetting> {
    checker.each(field, settings, max, |c, setting| {
        let wire::EnvironmentSetting { name, value } = setting;
        let bytes = name.len().saturating_add(value.len());
        if bytes > limits::ENVIRONMENT_SETTING_BYTES_MAX {
            let max = limits::ENVIRONMENT_SETTING_BYTES_MAX;
            c.note(Problem::TooLong { given: bytes, max, unit: "bytes in name and value together" });
            return None;
        }
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            c.note(Problem::NotEnvironment);
            return None;
        }
        Some(EnvironmentSetting { name, value })
    })
}

/// Environment settings for the wire.
#[must_use]
pub(super) fn environment_out(settings: &[EnvironmentSetting]) -> Vec<wire::EnvironmentSetting> {
    let out =
        |s: &EnvironmentSetting| wire::EnvironmentSetting { name: s.name.clone(), value: s.value.clone() };
    settings.iter().map(out).collect()
}

/// A resource's metadata.
pub(super) fn metadata(checker: &mut Checker, items: Vec<wire::MetadataItem>) -> Vec<MetadataItem> {
    checker.each("metadata", items, limits::METADATA_ITEMS_MAX, |c, item| {
        let wire::MetadataItem { name, value } = item;
        if name.is_empty() {
            c.note_at("name", Problem::Missing { hint: "name the item" });
        }
        for (field, text) in [("name", &name), ("value", &value)] {
            if text.len() > limits::METADATA_BYTES_MAX {
                let problem =
                    Problem::TooLong { given: text.len(), max: limits::METADATA_BYTES_MAX, unit: "bytes" };
                c.note_at(field, problem);
            }
        }
        Some(MetadataItem { name, value })
    })
}

/// Metadata for the wire.
#[must_use]
pub(super) fn metadata_out(items: &[MetadataItem]) -> Vec<wire::MetadataItem> {
    items.iter().map(|i| wire::MetadataItem { name: i.name.clone(), value: i.value.clone() }).collect()
}
