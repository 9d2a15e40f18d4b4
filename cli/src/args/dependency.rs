//! The grammars of dependencies: tasks by id, number or pattern, members of sweeps, and what must have happened to them.
//!
//! Goes in: what stands behind `--depends-on` and `--depends-on-sweep`. Comes out: parts of the API's message. Whether the
//! tasks exist is no question here: a task may wait for one that comes later.

use std::str::FromStr;

use clap::ValueEnum;
use muster_model::spec::TaskGlob;
use muster_model::{SweepId, TaskId};
use muster_proto::wire;

/// Why a value names no dependency.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DependencyError {
    /// Neither an id nor a range nor a pattern.
    #[error(
        "'{given}' is neither a task id nor a range nor a pattern; write ids, ranges of numbers up to 4294967295 and \
         patterns with * and ?, for example prepare,1-40,frame-*"
    )]
    Task {
        /// The text.
        given: String,
    },
    /// No members of a sweep.
    #[error(
        "'{given}' names no members of a sweep; write SWEEP[:FIRST-LAST][@COUNT or @PERCENT%], for example frame, \
         frame:1-500, frame@90% or frame:1-500@100; a percentage is 1 to 100, a count 1 or more"
    )]
    Sweep {
        /// The text.
        given: String,
    },
}

/// The given text, cut to what is readable in a message.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A number of decimal digits, and nothing else.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// One thing that a task depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Dependency {
    /// A task.
    Task(String),
    /// All tasks whose ids are these numbers.
    Range(wire::TaskIdRange),
    /// All tasks whose ids match.
    Glob(String),
}

impl FromStr for Dependency {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let wrong = || DependencyError::Task { given: cut(text) };
        if text.contains(['*', '?']) {
            return TaskGlob::parse(text).map(|_| Self::Glob(text.to_owned())).map_err(|_| wrong());
        }
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if let Some((start, end)) = text.split_once('-')
            && is_digits(start)
            && is_digits(end)
        {
            let (start, end) = (number(start).ok_or_else(wrong)?, number(end).ok_or_else(wrong)?);
            let range = wire::TaskIdRange { start, end };
            return if start <= end { Ok(Self::Range(range)) } else { Err(wrong()) };
        }
        TaskId::parse(text).map(|id| Self::Task(id.to_string())).map_err(|_| wrong())
    }
}

/// How many of several tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All.
    All,
    /// At least so many.
    Count(u64),
    /// At least so many of a hundred.
    Percent(u32),
}

/// Members of a sweep, and how many of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SweepDependency {
    /// Which.
    pub members: wire::SweepMembers,
    /// How many of these.
    pub share: Share,
}

impl FromStr for SweepDependency {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let wrong = || DependencyError::Sweep { given: cut(text) };
        let (members, share) = match text.split_once('@') {
            None => (text, Share::All),
            Some((members, share)) => {
                let share = match share.strip_suffix('%') {
                    Some(percent) => {
                        Share::Percent(number(percent).filter(|p| (1..=100).contains(p)).ok_or_else(wrong)?)
                    }
                    None => Share::Count(number(share).filter(|count| *count > 0).ok_or_else(wrong)?),
                };
                (members, share)
            }
        };
        let (sweep, range) = match members.split_once(':') {
            None => (members, None),
            Some((sweep, range)) => (sweep, Some(range.parse::<Numbers>().map_err(|_| wrong())?)),
        };
        let sweep_id = SweepId::parse(sweep).map_err(|_| wrong())?.to_string();
        let Numbers { first, last } = range.unwrap_or_default();
        Ok(Self { members: wire::SweepMembers { sweep_id, first, last }, share })
    }
}

/// A range of a sweep's numbers: `3-7`, `3-`, `-7` or `5`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The first; `None` without one.
    pub first: Option<u64>,
    /// The last; `None` without one.
    pub last: Option<u64>,
}

/// A text is not a range of numbers.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{given}' is not a range of numbers; write FIRST-LAST, FIRST-, -LAST or one number, for example 1-500"
)]
pub(crate) struct NumbersError {
    given: String,
}

impl FromStr for Numbers {
    type Err = NumbersError;

    fn from_str(text: &str) -> Result<Self, NumbersError> {
        let wrong = || NumbersError { given: cut(text) };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        if first.is_empty() && last.is_empty() {
            return Err(wrong());
        }
        let end = |text: &str| match text {
            "" => Ok(None),
            text => number(text).map(Some).ok_or_else(wrong),
        };
        let numbers = Self { first: end(first)?, last: end(last)? };
        match (numbers.first, numbers.last) {
            (Some(first), Some(last)) if first > last => Err(wrong()),
            (Some(_) | None, _) => Ok(numbers),
        }
    }
}

/// What must have happened to the tasks that a task depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Condition {
    /// What their exit conditions say; without these, success.
    Satisfied,
    /// They completed with failure.
    Failed,
    /// They completed either way.
    Completed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_ids_ranges_of_numbers_or_patterns() {
        let range = |start, end| Dependency::Range(wire::TaskIdRange { start, end });
        for (text, expected) in [
            ("a", Dependency::Task("a".into())),
            ("a-1", Dependency::Task("a-1".into())),
            ("7", Dependency::Task("7".into())),
            ("1-40", range(1, 40)),
            ("007-008", range(7, 8)),
            ("frame-*", Dependency::Glob("frame-*".into())),
            ("?", Dependency::Glob("?".into())),
        ] {
            assert_eq!(text.parse::<Dependency>().unwrap(), expected, "{text}");
        }
        for bad in ["", "40-1", "a b", "1-99999999999", "a/*"] {
            assert!(bad.parse::<Dependency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn members_of_sweeps_have_a_range_and_a_share() {
        let parsed = |text: &str| {
            let SweepDependency { members, share } = text.parse().unwrap();
            (members.sweep_id, members.first, members.last, share)
        };
        assert_eq!(parsed("frame"), ("frame".into(), None, None, Share::All));
        assert_eq!(parsed("frame:1-500"), ("frame".into(), Some(1), Some(500), Share::All));
        assert_eq!(parsed("frame:7@1"), ("frame".into(), Some(7), Some(7), Share::Count(1)));
        assert_eq!(parsed("f:-9@90%"), ("f".into(), None, Some(9), Share::Percent(90)));
        for bad in
            ["", ":1-2", "f:", "f:2-1", "f@", "f@0", "f@0%", "f@101%", "f@x", "f:a-b", "f g", "f:1-2:3"]
        {
            let error = bad.parse::<SweepDependency>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn ranges_of_numbers_may_be_open() {
        let numbers = |first, last| Numbers { first, last };
        for (text, expected) in [
            ("1-5", numbers(Some(1), Some(5))),
            ("5", numbers(Some(5), Some(5))),
            ("5-", numbers(Some(5), None)),
            ("-5", numbers(None, Some(5))),
        ] {
            assert_eq!(text.parse::<Numbers>().unwrap(), expected, "{text}");
        }
        for bad in ["", "-", "5-1", "a", "1-2-3", "+1"] {
            assert!(bad.parse::<Numbers>().is_err(), "{bad}");
        }
    }
}
