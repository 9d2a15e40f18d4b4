//! Small nested parts of rows as messages of the store's own: failures, constraints, replies.
//!
//! They follow protobuf's rules for change: a field is added with a new number and read as absent from older rows.
//! What filters ask for (a failure's cause) is in columns and not repeated here. What nodes say of themselves is in `node`.

use super::codes::Coded;
use super::error::CodecError;
use muster_controller_core::reject::RejectKind;
use muster_controller_core::reply::{CreatedNode, Reply, TaskRefused};
use muster_model::spec::{MemoryEscalation, RetryLimit, TaskConstraints};
use muster_model::{AccountName, Cause, FailureInfo, NodeId, PoolId};
use prost::Message;
use std::time::Duration;

pub(super) fn decode<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, CodecError> {
    M::decode(bytes).map_err(|cause| CodecError::Bytes { what, cause })
}

/// Puts an id's or a path's own error below the part that holds it.
pub(super) fn parsed<T, E>(what: &'static str, result: Result<T, E>) -> Result<T, CodecError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    result.map_err(|cause| CodecError::invalid(what)(Box::new(cause)))
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PairPart {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

pub(super) fn pairs_out(pairs: &[(String, String)]) -> Vec<PairPart> {
    pairs.iter().map(|(name, value)| PairPart { name: name.clone(), value: value.clone() }).collect()
}

pub(super) fn pairs_in(pairs: Vec<PairPart>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

// ---------------------------------------------------------------------------------------------------- failures

#[derive(Clone, PartialEq, Message)]
struct FailurePart {
    #[prost(string, tag = "1")]
    message: String,
    #[prost(message, repeated, tag = "2")]
    details: Vec<PairPart>,
}

/// A failure without its cause, which has a column.
pub(crate) fn failure_bytes(failure: &FailureInfo) -> Vec<u8> {
    FailurePart { message: failure.message.clone(), details: pairs_out(&failure.details) }.encode_to_vec()
}

/// The failure of a cause's code and the bytes beside it; none without a cause.
pub(crate) fn failure(cause: Option<i64>, bytes: Option<&[u8]>) -> Result<Option<FailureInfo>, CodecError> {
    let Some(cause) = cause else { return Ok(None) };
    let part: FailurePart = decode("failure", bytes.unwrap_or_default())?;
    Ok(Some(FailureInfo {
        cause: Cause::from_code(cause)?,
        message: part.message,
        details: pairs_in(part.details),
    }))
}

// ---------------------------------------------------------------------------------------------------- constraints

#[derive(Clone, PartialEq, Message)]
struct SpanPart {
    #[prost(uint64, tag = "1")]
    seconds: u64,
    #[prost(uint32, tag = "2")]
    nanos: u32,
}

impl From<Duration> for SpanPart {
    fn from(span: Duration) -> Self {
        Self { seconds: span.as_secs(), nanos: span.subsec_nanos() }
    }
}

impl SpanPart {
    fn read(&self) -> Result<Duration, CodecError> {
        let whole = Duration::from_secs(self.seconds);
        // More than a second of nanoseconds is no form that was ever written.
        whole
            .checked_add(Duration::from_nanos(self.nanos.into()))
            .filter(|_| self.nanos < 1_000_000_000)
            .ok_or(CodecError::Code { what: "time span", found: self.nanos.into() })
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
struct EscalationPart {
    #[prost(uint32, tag = "1")]
    factor_millis: u32,
    #[prost(uint64, tag = "2")]
    max_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ConstraintsPart {
    #[prost(message, optional, tag = "1")]
    max_wall_clock_time: Option<SpanPart>,
    #[prost(message, optional, tag = "2")]
    retention_time: Option<SpanPart>,
    #[prost(sint64, optional, tag = "3")]
    max_task_retry_count: Option<i64>,
    #[prost(message, optional, tag = "4")]
    on_out_of_memory: Option<EscalationPart>,
}

/// The constraints that replaced a task's first ones.
pub(crate) fn constraints_bytes(constraints: &TaskConstraints) -> Vec<u8> {
    ConstraintsPart {
        max_wall_clock_time: constraints.max_wall_clock_time.map(Into::into),
        retention_time: constraints.retention_time.map(Into::into),
        max_task_retry_count: constraints.max_task_retry_count.map(Coded::code),
        on_out_of_memory: constraints.on_out_of_memory.map(|escalation| EscalationPart {
            factor_millis: escalation.factor_millis,
            max_bytes: escalation.max_bytes,
        }),
    }
    .encode_to_vec()
}

pub(crate) fn constraints(bytes: &[u8]) -> Result<TaskConstraints, CodecError> {
    let part: ConstraintsPart = decode("task constraints", bytes)?;
    Ok(TaskConstraints {
        max_wall_clock_time: part.max_wall_clock_time.as_ref().map(SpanPart::read).transpose()?,
        retention_time: part.retention_time.as_ref().map(SpanPart::read).transpose()?,
        max_task_retry_count: part.max_task_retry_count.map(RetryLimit::from_code).transpose()?,
        on_out_of_memory: part.on_out_of_memory.map(|escalation| MemoryEscalation {
            factor_millis: escalation.factor_millis,
            max_bytes: escalation.max_bytes,
        }),
    })
}

// ---------------------------------------------------------------------------------------------------- replies

#[derive(Clone, PartialEq, Message)]
struct RefusedPart {
    #[prost(uint32, tag = "1")]
    index: u32,
    #[prost(int64, tag = "2")]
    kind: i64,
    #[prost(string, tag = "3")]
    code: String,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct TasksPart {
    #[prost(message, repeated, tag = "1")]
    refused: Vec<RefusedPart>,
}

#[derive(Clone, PartialEq, Message)]
struct JoinedPart {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(string, optional, tag = "2")]
    account: Option<String>,
    #[prost(string, optional, tag = "3")]
    pool: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct DonePart {}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ReplyKind {
    #[prost(message, tag = "1")]
    Done(DonePart),
    #[prost(message, tag = "2")]
    Tasks(TasksPart),
    #[prost(message, tag = "3")]
    Joined(JoinedPart),
}

#[derive(Clone, PartialEq, Message)]
struct ReplyPart {
    #[prost(oneof = "ReplyKind", tags = "1, 2, 3")]
    kind: Option<ReplyKind>,
}

/// The answer that a repeat of a request gets.
pub(crate) fn reply_bytes(reply: &Reply) -> Vec<u8> {
    let kind = match reply {
        Reply::Done => ReplyKind::Done(DonePart {}),
        Reply::Tasks(refused) => {
            ReplyKind::Tasks(TasksPart { refused: refused.iter().map(refused_out).collect() })
        }
        Reply::Joined(created) => ReplyKind::Joined(JoinedPart {
            node: created.node.to_string(),
            account: created.account.as_ref().map(ToString::to_string),
            pool: created.pool.as_ref().map(ToString::to_string),
        }),
    };
    ReplyPart { kind: Some(kind) }.encode_to_vec()
}

fn refused_out(refused: &TaskRefused) -> RefusedPart {
    RefusedPart {
        index: refused.index,
        kind: refused.kind.code(),
        code: refused.code.clone(),
        message: refused.message.clone(),
    }
}

pub(crate) fn reply(bytes: &[u8]) -> Result<Reply, CodecError> {
    const WHAT: &str = "reply";
    match decode::<ReplyPart>(WHAT, bytes)?.kind.ok_or(CodecError::Missing { what: WHAT })? {
        ReplyKind::Done(DonePart {}) => Ok(Reply::Done),
        ReplyKind::Tasks(tasks) => {
            let refused = tasks.refused.into_iter().map(|part| {
                let kind = RejectKind::from_code(part.kind)?;
                Ok(TaskRefused { index: part.index, kind, code: part.code, message: part.message })
            });
            refused.collect::<Result<_, CodecError>>().map(Reply::Tasks)
        }
        ReplyKind::Joined(part) => Ok(Reply::Joined(CreatedNode {
            node: parsed(WHAT, NodeId::parse(&part.node))?,
            account: parsed(WHAT, part.account.as_deref().map(AccountName::parse).transpose())?,
            pool: parsed(WHAT, part.pool.as_deref().map(PoolId::parse).transpose())?,
        })),
    }
}
