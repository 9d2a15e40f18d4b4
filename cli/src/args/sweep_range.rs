//! The grammar of a sweep's range: `1-1000000`, `frame=1-500`, `frame=0-500:10`.
//!
//! Goes in: text of the command line. Comes out: numbers within the model's limits. Whether there are too many combinations
//! is the controller's to say, who sees all ranges together.

use std::str::FromStr;

use muster_model::limits::SWEEP_NUMBER_MAX;

/// A text is not a range of a sweep.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{given}' is not a range; write [NAME=]FIRST-LAST[:STEP], for example 1-1000000 or frame=0-500:10; a name is letters, \
     digits and '_', numbers are at most {SWEEP_NUMBER_MAX}, LAST is not below FIRST, STEP is 1 or more"
)]
pub(crate) struct SweepRangeError {
    given: String,
}

/// A range of whole numbers for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SweepRange {
    /// The parameter; empty for the default.
    pub name: String,
    /// The first number.
    pub start: u64,
    /// No number is above it.
    pub end: u64,
    /// From one to the next; `None` when it is not said.
    pub step: Option<u64>,
}

impl FromStr for SweepRange {
    type Err = SweepRangeError;

    fn from_str(text: &str) -> Result<Self, SweepRangeError> {
        let wrong = || SweepRangeError { given: text.chars().take(80).collect() };
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = if is_number { text.parse().ok() } else { None };
            number.filter(|number| *number <= SWEEP_NUMBER_MAX).ok_or_else(wrong)
        };
        let (name, range) = match text.split_once('=') {
            Some(("", _)) => return Err(wrong()),
            Some((name, range)) => (name, range),
            None => ("", text),
        };
        let starts_well = !name.starts_with(|c: char| c.is_ascii_digit());
        if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(wrong());
        }
        let (range, step) = match range.split_once(':') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (range, None),
        };
        let (start, end) = range.split_once('-').ok_or_else(wrong)?;
        let (start, end) = (number(start)?, number(end)?);
        if start > end || step == Some(0) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), start, end, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_a_name_and_a_step_if_they_want() {
        let range = |name: &str, start, end, step| SweepRange { name: name.to_owned(), start, end, step };
        for (text, expected) in [
            ("1-1000000", range("", 1, 1_000_000, None)),
            ("frame=0-500:10", range("frame", 0, 500, Some(10))),
            ("_a1=7-7", range("_a1", 7, 7, None)),
        ] {
            assert_eq!(text.parse::<SweepRange>().unwrap(), expected, "{text}");
        }
        for bad in [
            "",
            "5",
            "5-1",
            "a-b",
            "=1-2",
            "1a=1-2",
            "a b=1-2",
            "1-2:0",
            "1-2:x",
            "-1-2",
            "1-9999999999999999",
            "a=",
        ] {
            let error = bad.parse::<SweepRange>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")) && error.contains("999999999999999"), "{error}");
        }
    }
}
