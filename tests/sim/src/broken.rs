//! A promise that was not kept: which, and what was seen.
//!
//! The promise's name is what a shrunk story must still break; the words are for people.

use std::fmt;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Which promise.
    pub(crate) promise: &'static str,
    /// What was seen.
    pub(crate) seen: String,
}

/// Whether all promises are kept so far.
pub(crate) type Kept = Result<(), Broken>;

/// Says that a promise is broken.
pub(crate) fn broken(promise: &'static str, seen: impl Into<String>) -> Broken {
    Broken { promise, seen: seen.into() }
}

/// Looks at one promise.
pub(crate) fn promise(promise: &'static str, kept: bool, seen: impl FnOnce() -> String) -> Kept {
    if kept { Ok(()) } else { Err(broken(promise, seen())) }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.seen)
    }
}
