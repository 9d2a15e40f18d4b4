//! Paths that users write: relative, without `..`, and therefore inside the folder that they are meant for.
//!
//! `FilePath` is the only path type that a specification holds. It is text, not a `std::path::Path`: whoever
//! touches a disk with it must still open it beneath a folder (the agent's workdir module), because links on that disk are
//! not in its power.

use std::fmt;
use std::sync::Arc;

/// The longest path in bytes: Linux's PATH_MAX is 4096 with the folder before it; half leaves room for that folder.
pub const PATH_BYTES_MAX: usize = 2048;

/// A relative path of one or more names joined by '/', none of them `.`, `..` or empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Arc<str>);

/// Why a text is not a path inside a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text has no characters.
    #[error("the path is empty: name a file")]
    Empty,
    /// The text starts with '/'.
    #[error("{0:?} is absolute: use a path relative to the folder, without a leading '/'")]
    Absolute(String),
    /// One of the names is `..`, `.` or empty.
    #[error("{0:?} has a '.', '..' or empty part: use plain names joined by single '/'")]
    Leaves(String),
    /// The path or one of its names is too long.
    #[error("the path is {bytes} bytes long: at most {max} are allowed, and 255 for each name")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// [`PATH_BYTES_MAX`].
        max: usize,
    },
    /// A NUL or another control character, or a backslash.
    #[error("{0:?} has a control character or a backslash: use printable characters")]
    Control(String),
}

impl FilePath {
    /// Checks a path as a user wrote it.
    ///
    /// # Errors
    /// [`PathError`] says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute(shown()));
        }
        if text.len() > PATH_BYTES_MAX || text.split('/').any(|name| name.len() > 255) {
            return Err(PathError::TooLong { bytes: text.len(), max: PATH_BYTES_MAX });
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(PathError::Control(shown()));
        }
        if text.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(PathError::Leaves(shown()));
        }
        Ok(Self(text.into()))
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the first folder to the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_their_folder() {
        for bad in ["", "/etc/passwd", "..", "a/../b", "a/./b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb"] {
            assert!(FilePath::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.txt", "..a", "a..", "wd/ü.txt", ".hidden"] {
            assert_eq!(FilePath::parse(good).map(|p| p.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn long_paths_and_names_are_refused() {
        assert!(FilePath::parse(&"x".repeat(256)).is_err());
        assert!(FilePath::parse(&vec!["x"; PATH_BYTES_MAX].join("/")).is_err());
        assert_eq!(FilePath::parse("a/b/c").unwrap().file_name(), "c");
    }
}
