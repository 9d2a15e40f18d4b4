//! Whose command something is about: an attempt's or the start task's.
//!
//! Both are staged, launched, ended and collected by the same effects and inputs; the subject tells them apart.

use muster_model::AttemptId;
use std::fmt;

/// Whose command is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An attempt's.
    Attempt(AttemptId),
    /// The start task's; counted, so that a late answer about an earlier run is known as such.
    StartTask {
        /// Which run since the journal was begun, from 1.
        run: u64,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(attempt) => attempt.fmt(f),
            Self::StartTask { run } => write!(f, "start task run {run}"),
        }
    }
}
