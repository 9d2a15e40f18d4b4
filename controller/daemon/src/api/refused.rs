//! Refusals of the API: what `crate::refusal` says for both listeners, with the resource that it is about, and what
//! only clients can meet: filters, page tokens, content, files on nodes.
//!
//! What a caller can change is told in full, with `google.rpc` details. What only an operator can change is logged
//! under a number, and the caller gets the number: paths, SQL and credentials of the controller are nobody else's
//! business. Clients branch on the reason (the reference's code in capitals), never on the text.

use crate::engine::{ReadError, SubmitError};
use crate::refusal;
use crate::relay::RelayError;
use muster_controller_core::reject::{Reject, RejectKind};
use muster_controller_core::reply::TaskRefused;
use muster_model::TaskKey;
use muster_proto::convert::{item_error, reason_of_code, status, status_busy};
use muster_proto::wire::{self, ErrorReason, ReadRefusal};
use muster_store::StoreError;
use muster_store::query::QueryError;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// When a busy store or node may be asked again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// When a node that cannot be reached may be asked again: about as long as an agent takes to reconnect.
const NODE_RETRY: Duration = Duration::from_secs(5);

const fn code_of(kind: RejectKind) -> Code {
    match kind {
        RejectKind::NotFound => Code::NotFound,
        RejectKind::AlreadyExists => Code::AlreadyExists,
        RejectKind::FailedPrecondition => Code::FailedPrecondition,
        RejectKind::Aborted => Code::Aborted,
        RejectKind::InvalidArgument => Code::InvalidArgument,
        RejectKind::PermissionDenied => Code::PermissionDenied,
        RejectKind::ResourceExhausted => Code::ResourceExhausted,
    }
}

fn reason_or_state(code: &str) -> ErrorReason {
    reason_of_code(code).unwrap_or(ErrorReason::OperationInvalidForCurrentState)
}

/// The core's refusal.
pub(super) fn of_reject(reject: &Reject) -> Status {
    let refused = refusal::of_reject(reject);
    match resource_of(reject) {
        Some((kind, name)) => with_resource(refused, kind, &name),
        None => refused,
    }
}

/// The resource that a refusal is about, where it is missing or in the way.
fn resource_of(reject: &Reject) -> Option<(&'static str, String)> {
    match reject {
        Reject::AccountNotFound(name) | Reject::AccountExists(name) => Some(("account", name.to_string())),
        Reject::PoolNotFound(pool) | Reject::PoolExists(pool) => Some(("pool", pool.to_string())),
        Reject::NodeNotFound { pool, node } => Some(("node", format!("{pool}/{node}"))),
        Reject::JobNotFound(job) | Reject::JobExists(job) => Some(("job", job.to_string())),
        Reject::TaskNotFound { job, task } | Reject::TaskExists { job, task } => {
            Some(("task", format!("{job}/{task}")))
        }
        Reject::TaskIdReserved { task, .. } => Some(("task", task.to_string())),
        Reject::SweepNotFound { job, sweep } | Reject::SweepExists { job, sweep } => {
            Some(("sweep", format!("{job}/{sweep}")))
        }
        Reject::TokenNotFound(token) => Some(("join token", token.to_string())),
        Reject::PoolBeingDeleted(_)
        | Reject::PoolBeingResized { .. }
        | Reject::PoolNotResizing(_)
        | Reject::NodeAlreadyInTargetSchedulingState { .. }
        | Reject::NodeState { .. }
        | Reject::NodeBeingRestarted { .. }
        | Reject::NodeCannotRestart { .. }
        | Reject::UserUnknown { .. }
        | Reject::JobState { .. }
        | Reject::TaskDependenciesNotSpecifiedOnJob { .. }
        | Reject::DependencyCycle { .. }
        | Reject::TaskState { .. }
        | Reject::TaskSucceeded(_)
        | Reject::JobPoolFixed { .. }
        | Reject::SweepBeingDeleted(_)
        | Reject::SweepHasNoSuchMembers { .. }
        | Reject::TooManySlots { .. }
        | Reject::EtagMismatch { .. }
        | Reject::RequestIdReused { .. }
        | Reject::TokenUnknown(_)
        | Reject::TokenExpired(_)
        | Reject::TokenUsedUp { .. }
        | Reject::NodeUnknown(_)
        | Reject::StaleSession(_) => None,
    }
}

/// Adds the name of the resource that a refusal is about.
pub(super) fn with_resource(refused: Status, kind: &str, name: &str) -> Status {
    let mut details = refused.get_error_details();
    details.set_resource_info(kind, name, "", refused.message());
    Status::with_error_details(refused.code(), refused.message(), details)
}

/// One refused task of a batch.
pub(super) fn item_of(task: &TaskRefused) -> wire::ItemError {
    item_error(code_of(task.kind), reason_or_state(&task.code), &task.message)
}

/// The same refusal where the task came alone.
pub(super) fn of_task(task: &TaskRefused, key: &TaskKey) -> Status {
    let refused = status(code_of(task.kind), reason_or_state(&task.code), &task.message);
    with_resource(refused, "task", &key.to_string())
}

/// An input that was not carried out.
pub(super) fn of_submit(error: &SubmitError) -> Status {
    match error {
        SubmitError::Rejected(reject) => of_reject(reject),
        SubmitError::Overloaded { .. } | SubmitError::DiskFull | SubmitError::Stopping => {
            refusal::of_submit(error)
        }
    }
}

/// A read of the store that failed.
pub(super) fn of_read(error: &ReadError) -> Status {
    match error {
        ReadError::Store(StoreError::Query(refused)) => of_query(refused),
        ReadError::Store(_) | ReadError::BrokenOff => refusal::of_read(error),
    }
}

/// A filter, order or page token that the store refuses.
pub(super) fn of_query(error: &QueryError) -> Status {
    let (reason, field) = match error {
        QueryError::Filter(_) => (ErrorReason::InvalidFilter, "filter"),
        QueryError::Cursor(_) => (ErrorReason::InvalidPageToken, "page_token"),
        QueryError::Order { .. } | QueryError::OrderTerms { .. } => (ErrorReason::InvalidOrder, "order_by"),
    };
    status(Code::InvalidArgument, reason, format!("{field}: {error}"))
}

/// A read of a node's file that failed.
pub(super) fn of_relay(error: &RelayError) -> Status {
    let words = error.to_string();
    match error {
        RelayError::NotConnected(_) | RelayError::NoAnswer { .. } | RelayError::BrokenOff(_) => {
            let refused = status(Code::Unavailable, ErrorReason::NodeUnreachable, words);
            let mut details = refused.get_error_details();
            details.set_retry_info(Some(NODE_RETRY));
            Status::with_error_details(Code::Unavailable, refused.message(), details)
        }
        RelayError::Busy { .. } => status_busy(Code::ResourceExhausted, words, BUSY_RETRY),
        RelayError::Refused { refusal, .. } => of_refusal(*refusal, words),
    }
}

fn of_refusal(refusal: ReadRefusal, words: String) -> Status {
    match refusal {
        ReadRefusal::NotFound => status(Code::NotFound, ErrorReason::FileNotFound, words),
        ReadRefusal::AttemptUnknown => {
            status(Code::FailedPrecondition, ErrorReason::TaskFilesUnavailable, words)
        }
        ReadRefusal::CleanedUp => status(Code::FailedPrecondition, ErrorReason::TaskFilesCleanedup, words),
        ReadRefusal::NotAllowed => status(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, words),
        ReadRefusal::OutOfRange => status(Code::OutOfRange, ErrorReason::InvalidRange, words),
        ReadRefusal::Busy => status_busy(Code::ResourceExhausted, words, BUSY_RETRY),
        ReadRefusal::Failed | ReadRefusal::Unspecified => {
            status(Code::Unavailable, ErrorReason::NodeUnreachable, words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{JobId, NodeId, PoolId, TaskId};
    use muster_proto::convert::{reason_of, retry_delay_of};

    #[test]
    fn a_refusal_keeps_its_code_reason_and_resource() {
        let job = JobId::parse("film").unwrap();
        let task = TaskId::parse("f1").unwrap();
        let missing = of_reject(&Reject::TaskNotFound { job: job.clone(), task });
        assert_eq!(missing.code(), Code::NotFound);
        assert_eq!(reason_of(&missing), Some(ErrorReason::TaskNotFound));
        assert_eq!(missing.get_details_resource_info().unwrap().resource_name, "film/f1");
        let stale = of_reject(&Reject::EtagMismatch { what: "job 'film'".into(), given: 3, current: 5 });
        assert_eq!((stale.code(), reason_of(&stale)), (Code::Aborted, Some(ErrorReason::ConditionNotMet)));
        let pool = of_reject(&Reject::PoolNotResizing(PoolId::parse("p").unwrap()));
        assert_eq!(reason_of(&pool), Some(ErrorReason::OperationInvalidForCurrentState));
    }

    #[test]
    fn overload_and_absence_say_when_to_come_back() {
        let busy = of_submit(&SubmitError::Overloaded { waited: Duration::from_secs(5) });
        assert_eq!(busy.code(), Code::ResourceExhausted);
        assert!(retry_delay_of(&busy).is_some());
        let away = of_relay(&RelayError::NotConnected(NodeId::parse("n1").unwrap()));
        assert_eq!((away.code(), reason_of(&away)), (Code::Unavailable, Some(ErrorReason::NodeUnreachable)));
        assert!(retry_delay_of(&away).is_some() && away.message().contains("'n1'"));
    }
}
