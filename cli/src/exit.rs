//! Exit codes, and the one way in which a command fails.
//!
//! Goes in: any error of the layers below. Comes out: a [`Failure`], which is the error and the exit code that stands for
//! it. The list of codes is in the help (`args/root.rs`); a test keeps the two equal.

use std::error::Error;
use std::fmt;
use std::io;

use muster_client::json::JsonError;
use muster_client::profile::ProfileError;
use muster_client::transfer::TransferError;
use muster_client::{CallError, ErrorKind, SetupError};

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It worked.
    Done,
    /// It failed.
    Failed,
    /// The command line or the request is not valid.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// It exists already, has changed, or its state does not allow this.
    Conflict,
    /// Not known or not allowed.
    Denied,
    /// The controller or a node cannot be reached.
    Unavailable,
    /// Not all parts succeeded.
    Partly,
    /// What a command of `muster run` exited with, or one of run's own codes.
    Code(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Denied => 5,
            Self::Unavailable => 6,
            Self::Partly => 7,
            Self::Code(code) => code,
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Denied => Self::Denied,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Failure => Self::Failed,
        }
    }
}

/// What a command ends with when it does not work.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure with the exit code for it.
    pub(crate) fn new(exit: Exit, error: impl Error + Send + Sync + 'static) -> Self {
        Self { exit, error: Box::new(error) }
    }

    /// The exit code.
    #[must_use]
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// The same failure with another exit code.
    #[must_use]
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Whether it only says that nobody reads the output.
    #[must_use]
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    /// The error, then each cause on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error.to_string().replace('\n', "\n  "))?;
        let mut next = self.error.source();
        while let Some(cause) = next {
            write!(f, "\n  because: {}", cause.to_string().trim_end().replace('\n', "\n    "))?;
            next = cause.source();
        }
        Ok(())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(error.kind().into(), error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        Self::new(error.kind().into(), error)
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<io::Error> for Failure {
    /// Only writing results fails with a plain I/O error.
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do it")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_follow_the_error_line_by_line() {
        let failure = Failure::new(Exit::Failed, Outer(io::Error::other("disk on fire\nvery hot")));
        assert_eq!(failure.to_string(), "error: cannot do it\n  because: disk on fire\n    very hot");
    }

    #[test]
    fn kinds_have_their_codes() {
        let kinds = [
            (ErrorKind::Failure, 1),
            (ErrorKind::Usage, 2),
            (ErrorKind::NotFound, 3),
            (ErrorKind::Conflict, 4),
            (ErrorKind::Denied, 5),
            (ErrorKind::Unavailable, 6),
        ];
        for (kind, code) in kinds {
            assert_eq!(Exit::from(kind).code(), code);
        }
        assert_eq!((Exit::Done.code(), Exit::Partly.code(), Exit::Code(143).code()), (0, 7, 143));
    }

    #[test]
    fn a_broken_pipe_is_told_apart() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_broken_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_broken_pipe());
    }
}
