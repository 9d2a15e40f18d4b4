//! Refusals and failures as gRPC statuses: the one mapping that both services use.
//!
//! A refusal of the core keeps its words and its code. A fault of ours is logged here with its causes and answered with
//! a number to look for in the log, and nothing else.

use crate::blobs::BlobError;
use crate::engine::{ReadError, SubmitError};
use muster_controller_core::reject::{Reject, RejectKind};
use muster_proto::convert::{reason_of_code, status, status_busy};
use muster_proto::wire::ErrorReason;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::{Code, Status};

/// When a caller may come back to an overloaded or stopping controller: long enough to drain, or to restart.
const COME_BACK_AFTER: Duration = Duration::from_secs(2);

/// The status of a refusal of the core.
#[must_use]
pub fn of_reject(reject: &Reject) -> Status {
    let code = match reject.kind() {
        RejectKind::NotFound => Code::NotFound,
        RejectKind::AlreadyExists => Code::AlreadyExists,
        RejectKind::FailedPrecondition => Code::FailedPrecondition,
        RejectKind::Aborted => Code::Aborted,
        RejectKind::InvalidArgument => Code::InvalidArgument,
        RejectKind::PermissionDenied => Code::PermissionDenied,
        RejectKind::ResourceExhausted => Code::ResourceExhausted,
    };
    let reason = reason_of_code(reject.code()).unwrap_or(ErrorReason::OperationInvalidForCurrentState);
    status(code, reason, reject.to_string())
}

/// The status of an input that was not carried out.
#[must_use]
pub fn of_submit(error: &SubmitError) -> Status {
    match error {
        SubmitError::Rejected(reject) => of_reject(reject),
        SubmitError::Overloaded { .. } | SubmitError::DiskFull => {
            status_busy(Code::ResourceExhausted, error.to_string(), COME_BACK_AFTER)
        }
        SubmitError::Stopping => status_busy(Code::Unavailable, error.to_string(), COME_BACK_AFTER),
    }
}

/// The status of a read that failed.
#[must_use]
pub fn of_read(error: &ReadError) -> Status {
    match error {
        ReadError::Store(_) => internal(error, "reading the store"),
        ReadError::BrokenOff => status_busy(Code::Unavailable, error.to_string(), COME_BACK_AFTER),
    }
}

/// The status of content that could not be stored or read.
#[must_use]
pub fn of_blob(error: &BlobError) -> Status {
    let words = error.to_string();
    match error {
        BlobError::NotFound { .. } => status(Code::FailedPrecondition, ErrorReason::ContentMissing, words),
        BlobError::DigestMismatch { .. } | BlobError::SizeMismatch { .. } => {
            status(Code::InvalidArgument, ErrorReason::ContentMismatch, words)
        }
        BlobError::TooLarge => status(Code::ResourceExhausted, ErrorReason::QuotaReached, words),
        BlobError::NothingToResume { .. } => status(Code::OutOfRange, ErrorReason::InvalidRange, words),
        BlobError::UploadUnderWay { .. } => status_busy(Code::Aborted, words, COME_BACK_AFTER),
        BlobError::DiskFull { folder, cause } => {
            tracing::error!(folder = %folder.display(), %cause, "the disk of the file store is full");
            let words = "the disk of the file store is full: delete files or containers, or ask the controller's operator for more room; nothing of this upload was kept";
            status(Code::ResourceExhausted, ErrorReason::QuotaReached, words)
        }
        BlobError::Disk { .. } | BlobError::Store { .. } | BlobError::Damaged { .. } => {
            internal(error, "working on file content")
        }
        BlobError::BrokenOff => stopping(),
    }
}

/// The status at the end of a stream when the controller stops: clients connect again.
#[must_use]
pub fn stopping() -> Status {
    status_busy(Code::Unavailable, "the controller is stopping: connect again", COME_BACK_AFTER)
}

/// The status of a fault of ours. Logs it.
#[must_use]
pub fn internal(error: &(dyn Error + 'static), doing: &'static str) -> Status {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    tracing::error!(number, doing, %error, ?causes, "a request failed by a fault of the controller");
    let words = format!("the controller failed while {doing}: its log has more at 'number={number}'");
    status(Code::Internal, ErrorReason::Internal, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{NodeId, PoolId, TokenId};
    use muster_proto::convert::{reason_of, retry_delay_of};

    #[test]
    fn a_refusal_keeps_its_words_and_its_code() {
        let status = of_reject(&Reject::PoolExists(PoolId::parse("render").unwrap()));
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(reason_of(&status), Some(ErrorReason::PoolExists));
        assert!(status.message().contains("'render' already exists"));
        let status = of_reject(&Reject::TokenExpired(TokenId::parse("t").unwrap()));
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::PermissionDenied, Some(ErrorReason::JoinTokenExpired))
        );
        let status = of_reject(&Reject::NodeUnknown(NodeId::parse("n").unwrap()));
        assert_eq!(reason_of(&status), Some(ErrorReason::NodeUnknown));
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let status = of_submit(&SubmitError::Overloaded { waited: Duration::from_secs(5) });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(retry_delay_of(&status), Some(COME_BACK_AFTER));
    }

    #[test]
    fn a_fault_tells_the_caller_a_number_and_no_details() {
        let error = std::io::Error::other("/secret/path is broken");
        let status = internal(&error, "testing");
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().contains("number=") && !status.message().contains("secret"));
    }

    #[test]
    fn a_full_or_broken_disk_is_told_without_its_place() {
        let cause = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = of_blob(&BlobError::DiskFull { folder: "/var/lib/muster".into(), cause: cause() });
        assert_eq!(full.code(), Code::ResourceExhausted);
        assert!(!full.message().contains("/var") && full.message().contains("delete files"));
        let broken = of_blob(&BlobError::Disk { action: "write", path: "/var/x".into(), cause: cause() });
        assert_eq!(broken.code(), Code::Internal);
        assert!(!broken.message().contains("/var") && broken.message().contains("number="));
    }

    #[test]
    fn content_that_is_not_as_announced_is_the_senders() {
        let [announced, found] = [1, 2].map(|byte| muster_model::Digest::from_bytes([byte; 32]));
        let refused = of_blob(&BlobError::DigestMismatch { announced, found });
        assert_eq!(
            (refused.code(), reason_of(&refused)),
            (Code::InvalidArgument, Some(ErrorReason::ContentMismatch))
        );
    }
}
