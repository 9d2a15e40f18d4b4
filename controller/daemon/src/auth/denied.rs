//! Why the gate refuses a call, and the one function that makes a gRPC status of it.
//!
//! Who shows nothing, or nothing that verifies, is UNAUTHENTICATED; who is known and may not do this is
//! PERMISSION_DENIED. An unknown account and a wrong key give the same answer, so that names cannot be tried out. What
//! is told of clocks is told only to a caller whose signature was good.

use super::certificate::CertificateError;
use muster_model::{AccountName, IdError, JobId};
use muster_proto::convert::status;
use muster_proto::wire::ErrorReason;
use tonic::{Code, Status};

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token.
    #[error(
        "this call needs a token and none was sent: set MUSTER_ACCOUNT and MUSTER_KEY, or send the header 'authorization: Bearer <JWT>' signed (HS256) with a key of the account"
    )]
    NoToken,
    /// An `authorization` header of another kind.
    #[error(
        "the header 'authorization' does not have the form 'Bearer <JWT>': send a JWT signed (HS256) with a key of the account"
    )]
    NotBearer,
    /// A token that is too long.
    #[error(
        "the token is {bytes} bytes long, at most {max} are read: send only the claims 'sub', 'exp', 'scope' and 'job'"
    )]
    TokenTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not a JWT, or one signed by an algorithm that nobody here knows (such as none).
    #[error(
        "the token is not a JWT signed with HS256: sign it with a key of the account and algorithm HS256"
    )]
    NotJwt,
    /// Signed by another algorithm.
    #[error("the token is signed with {algorithm}: only HS256, with a key of the account, is accepted")]
    Algorithm {
        /// The algorithm that its header names.
        algorithm: &'static str,
    },
    /// A claim is absent.
    #[error("the token has no claim '{claim}': it needs 'sub' (the account) and 'exp' (seconds since 1970)")]
    NoClaim {
        /// Which.
        claim: &'static str,
    },
    /// `sub` is not an account name.
    #[error("the token's claim 'sub' is not an account: {0}")]
    Subject(IdError),
    /// The signature does not verify, or there is no such account.
    #[error(
        "the key does not match account '{account}' on this controller: check MUSTER_ACCOUNT and MUSTER_KEY (and that MUSTER_ENDPOINT is the controller you mean); `muster account keys` shows an account's keys to whoever still has a good one"
    )]
    KeyMismatch {
        /// The account that the token names.
        account: AccountName,
    },
    /// Too old.
    #[error(
        "the token of account '{account}' expired {seconds} s ago by this controller's clock: make a new one{}", clock_hint(*.made_ahead)
    )]
    Expired {
        /// The account.
        account: AccountName,
        /// For how long it has been expired.
        seconds: u64,
        /// By how many seconds its `iat` lies after the controller's clock (negative: before), if that is much.
        made_ahead: Option<i64>,
    },
    /// Good for too long.
    #[error(
        "the token of account '{account}' is good for another {seconds} s, at most {max} are accepted: sign one with an earlier 'exp'{}", clock_hint(*.made_ahead)
    )]
    TooLong {
        /// The account.
        account: AccountName,
        /// For how long it is good.
        seconds: u64,
        /// The limit.
        max: u64,
        /// By how many seconds its `iat` lies after the controller's clock, if that is much.
        made_ahead: Option<i64>,
    },
    /// Its time has not come.
    #[error(
        "the token of account '{account}' is good only {seconds} s from now by this controller's clock: wait, or set the clocks right"
    )]
    NotYet {
        /// The account.
        account: AccountName,
        /// In how many seconds.
        seconds: u64,
    },
    /// A scope that this controller does not know.
    #[error("the token's claim 'scope' is {given:?}: leave it out, or write \"read\"")]
    Scope {
        /// The claim, cut to 80 characters.
        given: String,
    },
    /// `job` is not a job id.
    #[error("the token's claim 'job' is not a job: {0}")]
    Job(IdError),
    /// A call that no table knows.
    #[error(
        "{path} is not a call of this controller, or not one of this version: see the reflection service"
    )]
    UnknownCall {
        /// The path, cut to 200 characters.
        path: String,
    },
    /// A call at the wrong listener.
    #[error(
        "{path} is not served here but on the {listener}: see the controller's settings 'listen' and 'node_listen'"
    )]
    OtherDoor {
        /// The call.
        path: String,
        /// Where it is served.
        listener: &'static str,
    },
    /// A good token that may not do this.
    #[error("{path} is not allowed with {shown}: it needs {needed}")]
    NotAllowed {
        /// The call.
        path: String,
        /// What the caller showed.
        shown: &'static str,
        /// What the call needs.
        needed: &'static str,
    },
    /// A token for another job.
    #[error(
        "the token is for job '{own}' alone and this call is for job '{asked}': use the account's own token"
    )]
    OtherJob {
        /// The token's.
        own: JobId,
        /// The request's.
        asked: JobId,
    },
    /// No client certificate where one is needed.
    #[error("this call needs a node's certificate and none was shown: join the pool with a token first")]
    NoCertificate,
    /// A client certificate that names no node.
    #[error("the certificate that was shown is not a node's: {0}")]
    Certificate(CertificateError),
}

fn clock_hint(made_ahead: Option<i64>) -> String {
    match made_ahead {
        Some(seconds) => {
            let side = if seconds > 0 { "ahead of" } else { "behind" };
            let amount = seconds.unsigned_abs();
            format!(
                " (if it was made just now, your clock is {amount} s {side} this controller's: set it right)"
            )
        }
        None => String::new(),
    }
}

impl Denied {
    fn code(&self) -> (Code, ErrorReason) {
        match self {
            Self::NoToken
            | Self::NotBearer
            | Self::TokenTooLong { .. }
            | Self::NotJwt
            | Self::Algorithm { .. }
            | Self::NoClaim { .. }
            | Self::Subject(_)
            | Self::KeyMismatch { .. }
            | Self::Expired { .. }
            | Self::TooLong { .. }
            | Self::NotYet { .. }
            | Self::Scope { .. }
            | Self::Job(_)
            | Self::NoCertificate
            | Self::Certificate(_) => (Code::Unauthenticated, ErrorReason::AuthenticationFailed),
            Self::OtherDoor { .. } | Self::NotAllowed { .. } | Self::OtherJob { .. } => {
                (Code::PermissionDenied, ErrorReason::PermissionDenied)
            }
            Self::UnknownCall { .. } => (Code::Unimplemented, ErrorReason::Unspecified),
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let (code, reason) = denied.code();
        if reason == ErrorReason::Unspecified {
            return Self::new(code, denied.to_string());
        }
        status(code, reason, denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::convert::reason_of;

    #[test]
    fn refusals_carry_their_reason_and_say_the_way_out() {
        let status = Status::from(Denied::NoToken);
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(reason_of(&status), Some(ErrorReason::AuthenticationFailed));
        assert!(status.message().contains("MUSTER_KEY"));
    }

    #[test]
    fn a_wrong_clock_is_named_only_when_it_is_wrong() {
        let account = AccountName::parse("studio").unwrap();
        let text =
            |made_ahead| Denied::Expired { account: account.clone(), seconds: 90, made_ahead }.to_string();
        assert!(text(Some(-3690)).contains("3690 s behind"), "{}", text(Some(-3690)));
        assert!(!text(None).contains("clock is"));
        assert!(text(None).contains("'studio'") && text(None).contains("90 s ago"));
    }
}
