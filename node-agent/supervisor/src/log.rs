//! One line of `time level message key=value...` for each thing worth telling, on standard error.
//!
//! error = a human must act; warn = odd, still working; info = the supervisor itself starts, stops, takes
//! over. Starts and ends of attempts are `debug` (`--verbose`): the agent logs them, and thousands a second
//! would fill the disk. Values of a task's environment never come here.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::wall_us;

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// A field of a line.
pub(crate) type Field<'a> = (&'static str, &'a dyn Display);

/// Lets debug lines through.
pub(crate) fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

pub(crate) fn error(message: &str, fields: &[Field<'_>]) {
    line("error", message, fields);
}

pub(crate) fn warn(message: &str, fields: &[Field<'_>]) {
    line("warn", message, fields);
}

pub(crate) fn info(message: &str, fields: &[Field<'_>]) {
    line("info", message, fields);
}

pub(crate) fn debug(message: &str, fields: &[Field<'_>]) {
    if VERBOSE.load(Ordering::Relaxed) {
        line("debug", message, fields);
    }
}

fn line(level: &str, message: &str, fields: &[Field<'_>]) {
    let mut text = format!("{} {level} {message}", timestamp(wall_us()));
    for (name, value) in fields {
        text.push_str(&format!(" {name}={:?}", value.to_string()));
    }
    text.push('\n');
    // A log that cannot be written must not end the custody of running tasks.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// RFC 3339 in UTC. The date is counted in 400-year cycles of 146,097 days from the first of March of the
/// year 0, so that the leap day is the last of its year.
fn timestamp(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let day = days + 719_468;
    let (cycle, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = cycle * 400 + year + carry;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let micros = micros.rem_euclid(1_000_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_right_around_leap_days() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(timestamp(951_782_399_000_001), "2000-02-28T23:59:59.000001Z");
        assert_eq!(timestamp(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(timestamp(1_709_251_200_000_000), "2024-03-01T00:00:00.000000Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999Z");
    }
}
