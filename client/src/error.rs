//! Why a call did not succeed, in words that help, and sorted by what a program does about it.
//!
//! Goes in: a gRPC status. Comes out: a [`CallError`]. Its text names the field, the limit and the way out as the
//! controller gave them in `google.rpc` details; [`CallError::kind`] is what exit codes and retries of callers go by.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use muster_proto::convert::{reason_of, retry_delay_of, violations_of};
use muster_proto::wire::{ErrorReason, FieldViolation, ItemError};
use tonic::{Code, Status};

use crate::connect::connect_error;
use crate::credentials::CredentialError;

/// What kind of wrong it is, for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not valid.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// It exists already, has changed meanwhile, or its state does not allow this.
    Conflict,
    /// The caller is unknown or not allowed to.
    Denied,
    /// The controller, or what it needs, cannot be reached now.
    Unavailable,
    /// Anything else.
    Failure,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No token could be made.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// There was no connection, or it broke.
    #[error("cannot reach the controller at {endpoint}{}", tries(*.attempts))]
    Unreachable {
        /// Its address.
        endpoint: String,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong the last time.
        #[source]
        source: LinkError,
    },
    /// The controller refused.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The controller's answer lacks something that the API promises.
    #[error("the controller's answer to {call} has no {lacks}; do its version and this one go together?")]
    Malformed {
        /// The call.
        call: &'static str,
        /// What is not there.
        lacks: &'static str,
    },
}

fn tries(attempts: u32) -> String {
    if attempts > 1 { format!(" (tried {attempts} times)") } else { String::new() }
}

/// A connection that failed or broke.
#[derive(Debug, Clone)]
pub struct LinkError(Box<Status>);

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(found) = connect_error(self.0.as_ref()) {
            write!(f, "{found}")?;
            // The layers between are the HTTP library's and say nothing; the system's own words do.
            return found.source().map_or(Ok(()), |cause| write!(f, ": {cause}"));
        }
        if self.0.message().is_empty() {
            return write!(f, "the connection broke ({:?})", self.0.code());
        }
        write!(f, "the connection broke: {}", self.0.message())
    }
}

impl std::error::Error for LinkError {}

/// What the controller said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The canonical status code.
    pub code: Code,
    /// The reason, when it is Muster's own refusal and not a proxy's.
    pub reason: Option<ErrorReason>,
    /// A sentence for people.
    pub message: String,
    /// The fields that are wrong.
    pub violations: Vec<FieldViolation>,
    /// After how long it may be tried again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What kind of wrong it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.code {
            Code::InvalidArgument | Code::OutOfRange => ErrorKind::Usage,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => ErrorKind::Conflict,
            Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Denied,
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled => {
                ErrorKind::Unavailable
            }
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                ErrorKind::Failure
            }
        }
    }

    /// What the caller can look at, where the controller cannot know it.
    fn hint(&self) -> Option<&'static str> {
        match self.code {
            // The controller says it itself where it knows what is wrong with the token.
            Code::Unauthenticated if self.message.contains("MUSTER_KEY") => None,
            Code::Unauthenticated => Some(
                "check the account and its key (MUSTER_ACCOUNT, MUSTER_KEY; in a task MUSTER_JOB_TOKEN), and this machine's clock",
            ),
            Code::Unimplemented => {
                Some("this controller's version does not have this; see: muster version --server")
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.violations.as_slice() {
            [] if self.message.is_empty() => write!(f, "the controller refused ({:?})", self.code)?,
            [] => f.write_str(&self.message)?,
            [one] => write!(f, "{}: {}", one.field, one.description)?,
            many => {
                // The message of a refusal with several fields says the same in one long line.
                f.write_str("the request has several mistakes:")?;
                many.iter().try_for_each(|wrong| write!(f, "\n  {}: {}", wrong.field, wrong.description))?;
            }
        }
        if let Some(delay) = self.retry_after {
            write!(f, "\ntry again in {:.1} s", delay.as_secs_f64())?;
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "\n{hint}"))
    }
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        Self {
            code: status.code(),
            reason: reason_of(status),
            message: status.message().to_owned(),
            violations: violations_of(status),
            retry_after: retry_delay_of(status),
        }
    }
}

impl From<ItemError> for Refusal {
    fn from(error: ItemError) -> Self {
        let reason = ErrorReason::try_from(error.reason).ok();
        Self {
            code: Code::from_i32(error.code),
            reason: reason.filter(|reason| *reason != ErrorReason::Unspecified),
            message: error.message,
            violations: error.violations,
            retry_after: None,
        }
    }
}

impl Refusal {
    /// The refusal of one task of several, in the words of that task: its place among them is nothing that the caller knows.
    pub(crate) fn of_one(error: ItemError) -> Self {
        let mut refusal = Self::from(error);
        for violation in &mut refusal.violations {
            let field = violation.field.strip_prefix("chunk.").unwrap_or(&violation.field);
            if let Some((_, rest)) = field.strip_prefix("tasks[").and_then(|rest| rest.split_once("].")) {
                violation.field = rest.to_owned();
            }
        }
        refusal
    }
}

impl CallError {
    /// What a status means, after `attempts` tries to reach `endpoint`.
    pub(crate) fn from_status(status: Status, endpoint: &str, attempts: u32) -> Self {
        if is_link_failure(&status) {
            let source = LinkError(Box::new(status));
            return Self::Unreachable { endpoint: endpoint.to_owned(), attempts, source };
        }
        Self::Refused(Box::new(Refusal::from(&status)))
    }

    /// What kind of wrong it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Credentials(_) => ErrorKind::Denied,
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Refused(refusal) => refusal.kind(),
            Self::Malformed { .. } => ErrorKind::Failure,
        }
    }

    /// The reason that the controller gave, if it was the controller who refused.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        match self {
            Self::Refused(refusal) => refusal.reason,
            Self::Credentials(_) | Self::Unreachable { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// Whether a status was made here because the connection failed, and not sent by the controller: only such a status
/// has a source.
pub(crate) fn is_link_failure(status: &Status) -> bool {
    status.source().is_some()
}

#[cfg(test)]
mod tests {
    use muster_proto::convert::{status, status_busy};

    use super::*;

    fn shown(status: Status) -> (String, ErrorKind) {
        let error = CallError::from_status(status, "https://c:1", 1);
        (error.to_string(), error.kind())
    }

    #[test]
    fn refusals_keep_the_controllers_words_and_have_a_kind() {
        let (text, kind) = shown(status(Code::NotFound, ErrorReason::PoolNotFound, "there is no pool 'p'"));
        assert_eq!((text.as_str(), kind), ("there is no pool 'p'", ErrorKind::NotFound));
        let (text, kind) =
            shown(status(Code::Unauthenticated, ErrorReason::AuthenticationFailed, "wrong key"));
        assert_eq!(kind, ErrorKind::Denied);
        assert!(text.contains("wrong key\n") && text.contains("MUSTER_KEY"), "{text}");
        let (text, kind) =
            shown(status_busy(Code::ResourceExhausted, "overloaded", Duration::from_millis(1500)));
        assert_eq!((text.as_str(), kind), ("overloaded\ntry again in 1.5 s", ErrorKind::Unavailable));
    }

    #[test]
    fn the_place_among_others_is_not_told() {
        for (field, told) in [
            ("tasks[7].output_files[1].path", "output_files[1].path: is wrong"),
            ("chunk.tasks[0].id", "id: is wrong"),
            ("id", "id: is wrong"),
        ] {
            let violation = FieldViolation { field: field.to_owned(), description: "is wrong".to_owned() };
            let error = ItemError { violations: vec![violation], ..Default::default() };
            assert_eq!(Refusal::of_one(error).to_string(), told);
        }
    }

    #[test]
    fn each_wrong_field_has_its_line() {
        let field =
            |name: &str| FieldViolation { field: name.to_owned(), description: "is wrong".to_owned() };
        let mut refusal = Refusal {
            code: Code::InvalidArgument,
            reason: Some(ErrorReason::InvalidPropertyValue),
            message: "a: is wrong; b: is wrong".to_owned(),
            violations: vec![field("a")],
            retry_after: None,
        };
        assert_eq!(refusal.to_string(), "a: is wrong");
        refusal.violations.push(field("b"));
        assert_eq!(refusal.to_string(), "the request has several mistakes:\n  a: is wrong\n  b: is wrong");
    }
}
