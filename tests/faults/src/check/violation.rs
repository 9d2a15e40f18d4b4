//! What a broken promise looks like: which one, whose, and what is wrong.
//!
//! A plain value that the rules make and the story is told from.

use std::fmt;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise, in a few words.
    pub promise: &'static str,
    /// The job.
    pub job: String,
    /// The task, if it is about one.
    pub task: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.as_deref().unwrap_or("-");
        write!(f, "{}: {}/{task}: {}", self.promise, self.job, self.what)
    }
}
