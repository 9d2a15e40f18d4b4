//! Everything that is wrong with a configuration, gathered before the program refuses to start.
//!
//! An operator who mends one mistake at a time restarts a daemon ten times; so checks add to this list and go
//! on. It decides nothing: the rules belong to whoever knows what a key is for.
//!
//! Invariant: the value of a secret never gets in here.

use std::fmt;

use super::origin::Origin;

/// One thing that is wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, for example `tls.cert_file`.
    pub key: String,
    /// The value as given; `None` when there is none, or when it is a secret.
    pub value: Option<String>,
    /// Where the value was given.
    pub origin: Origin,
    /// What is wrong, as the end of a sentence that starts with the key: "is not an address".
    pub wrong: String,
    /// The way out: "write it as HOST:PORT".
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if self.origin != Origin::Default && self.origin.to_string() != self.key {
            write!(f, " ({})", self.origin)?;
        }
        write!(f, " {}", self.wrong)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// A list of problems, in the order in which they were found. As an error it is never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A list without problems.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        self.0.extend(problems);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "the configuration cannot be used: {one}"),
            many => {
                write!(f, "the configuration cannot be used, {} things are wrong:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for Problems {}
