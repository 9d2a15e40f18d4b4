//! The name of one attempt, safe to be a file name and a cgroup name.
//!
//! The agent composes it from job, task and attempt number; the supervisor only compares it. It holds no path
//! separator and never begins with a dot, so joining it to a directory cannot leave that directory.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Longest key: with the prefix that cgroup names get it stays below the 255 bytes of a file name.
pub const KEY_BYTES_MAX: usize = 200;

/// An attempt's key: 1 to 200 of `A-Z a-z 0-9 _ . -`, not beginning with a dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey(String);

impl AttemptKey {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// [`KeyError`] with the rule that it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(KeyError::Long { bytes: text.len() });
        }
        if text.starts_with('.') {
            return Err(KeyError::LeadingDot);
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))) {
            Some(found) => Err(KeyError::Character { found }),
            None => Ok(Self(text)),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AttemptKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

/// Why a text is not an attempt's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// No characters.
    Empty,
    /// More than [`KEY_BYTES_MAX`] bytes.
    Long {
        /// How many it has.
        bytes: usize,
    },
    /// It begins with a dot.
    LeadingDot,
    /// A character outside the set.
    Character {
        /// The first such character.
        found: char,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an attempt key may not be empty"),
            Self::Long { bytes } => {
                write!(f, "an attempt key has at most {KEY_BYTES_MAX} bytes, this one has {bytes}")
            }
            Self::LeadingDot => write!(f, "an attempt key may not begin with a dot"),
            Self::Character { found } => {
                write!(f, "an attempt key is made of A-Z a-z 0-9 _ . and -, this one has {found:?}")
            }
        }
    }
}

impl Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_their_directory_are_refused() {
        assert_eq!(AttemptKey::new(""), Err(KeyError::Empty));
        assert_eq!(AttemptKey::new(".."), Err(KeyError::LeadingDot));
        assert_eq!(AttemptKey::new("a/b"), Err(KeyError::Character { found: '/' }));
        assert_eq!(AttemptKey::new("a\0b"), Err(KeyError::Character { found: '\0' }));
        assert_eq!(AttemptKey::new("a".repeat(201)), Err(KeyError::Long { bytes: 201 }));
    }

    #[test]
    fn a_key_of_each_allowed_character_is_taken() {
        let key = AttemptKey::new("Job_1-x.task.3").unwrap();
        assert_eq!(key.to_string(), "Job_1-x.task.3");
    }
}
