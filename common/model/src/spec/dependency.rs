//! What must have happened to which other tasks before a task may run, and what its own end means to others.
//!
//! Values only; the controller's `dependency` counts them. The reference knows ids and ranges of ids (3.7); globs, sweeps,
//! conditions and quotas are Muster's.

use crate::id::{SweepId, TaskId};
use crate::state::{DependencyAction, DependencyCondition, JobAction};
use std::fmt;

/// A range of tasks whose ids read as integers; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdRange {
    /// The first.
    pub start: u32,
    /// The last, not below the first.
    pub end: u32,
}

/// Why a text is not a pattern of task ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "task id pattern {given:?} is not valid: use 1 to 64 letters, digits, '-', '_', '*' (any text) and '?' (one character)"
)]
pub struct GlobError {
    /// The text as given, cut to 80 characters.
    pub given: String,
}

/// A pattern of task ids: `*` is any text, `?` one character; case does not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskGlob(String);

impl TaskGlob {
    /// Checks a pattern. It is kept in lower case, as ids compare.
    ///
    /// # Errors
    /// [`GlobError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'?');
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(GlobError { given: text.chars().take(80).collect() })
        }
    }

    /// The pattern in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text before the first wildcard: every matching id begins with it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }

    /// Whether the pattern is a prefix and one `*`: then every id with that prefix matches.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.0.strip_suffix('*').is_some_and(|rest| rest == self.prefix())
    }

    /// Whether an id matches. Linear in the id for patterns with one `*`, at worst their product.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), id.as_bytes());
        let (mut at, mut from) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while from < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(&wanted) if wanted == b'?' || wanted == text[from].to_ascii_lowercase() => {
                    at += 1;
                    from += 1;
                }
                Some(_) | None => match star {
                    Some((place, taken)) => {
                        star = Some((place, taken + 1));
                        at = place + 1;
                        from = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|b| *b == b'*')
    }
}

impl fmt::Display for TaskGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Members of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SweepMembers {
    /// The sweep, of the same job.
    pub sweep: SweepId,
    /// The first and the last number of the members that are meant, both included; `None` for all.
    pub numbers: Option<(u64, u64)>,
}

/// Tasks of the same job, by name. They need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSet {
    /// By id.
    pub ids: Vec<TaskId>,
    /// By number: `4`, `04` and `004` are all 4, and one of them is enough.
    pub ranges: Vec<IdRange>,
    /// By pattern. Stands for every task that matches it, also for those that are added later; at least one.
    pub globs: Vec<TaskGlob>,
    /// By sweep.
    pub sweeps: Vec<SweepMembers>,
}

impl TaskSet {
    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.ranges.is_empty() && self.globs.is_empty() && self.sweeps.is_empty()
    }
}

/// How many of a set of tasks must have met a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quota {
    /// All of them.
    #[default]
    All,
    /// This many; more than 0.
    AtLeast(u64),
    /// This share of them in percent, rounded up: 1 to 100. Not with globs, whose number is open.
    Percent(u8),
}

/// A set of tasks, what must have happened to them, and to how many of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DependencyGroup {
    /// Which.
    pub tasks: TaskSet,
    /// What must have happened.
    pub condition: DependencyCondition,
    /// To how many.
    pub quota: Quota,
}

/// What a task waits for: all groups must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DependsOn {
    /// The reference's dependencies: each of these must have satisfied its dependents.
    pub tasks: TaskSet,
    /// Further conditions.
    pub groups: Vec<DependencyGroup>,
}

impl DependsOn {
    /// Whether there is no dependency at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.groups.is_empty()
    }
}

/// What follows from one way to end; `None` takes the default for it (reference 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitOptions {
    /// For the job.
    pub job_action: Option<JobAction>,
    /// For the tasks that depend on this one.
    pub dependency_action: Option<DependencyAction>,
}

/// What follows from each way in which a task can end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitConditions {
    /// Single exit codes.
    pub codes: Vec<(i32, ExitOptions)>,
    /// First and last code of ranges.
    pub ranges: Vec<(i32, i32, ExitOptions)>,
    /// It failed before its command started.
    pub pre_processing_error: Option<ExitOptions>,
    /// An output file could not be stored.
    pub file_upload_error: Option<ExitOptions>,
    /// Everything else.
    pub default: Option<ExitOptions>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_ids_without_regard_to_case() {
        let glob = |text: &str| TaskGlob::parse(text).unwrap();
        assert!(glob("Frame-*").matches("frame-007"));
        assert!(glob("f?ame-*-b").matches("FRAME-a-b-b"));
        assert!(!glob("f?ame-*-b").matches("frame-a-bc"));
        assert!(glob("*").matches("x"));
        assert!(glob("a**b").matches("ab"));
        assert!(!glob("a").matches("ab"));
        assert_eq!(
            (glob("ab*").prefix(), glob("ab*").is_prefix(), glob("a*b*").is_prefix()),
            ("ab", true, false)
        );
        assert!(TaskGlob::parse("a b").is_err());
    }
}
