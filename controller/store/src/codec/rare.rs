//! The parts of a task's state that few tasks ever have, in one blob that most rows leave out.
//!
//! Nothing here is asked for by a filter; what is has a column. Field numbers are part of the format. A state that has
//! none of these parts is no bytes at all, so that the row of an ordinary task stays small.

use super::error::CodecError;
use super::part::{decode, parsed};
use muster_controller_core::record::TaskStateRow;
use muster_model::{NodeId, Timestamp};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct RarePart {
    #[prost(sint64, optional, tag = "1")]
    last_retry: Option<i64>,
    #[prost(sint64, optional, tag = "2")]
    last_requeue: Option<i64>,
    #[prost(uint64, optional, tag = "3")]
    memory_bytes: Option<u64>,
    #[prost(string, repeated, tag = "4")]
    avoid: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    nodes_lost: Vec<String>,
}

/// What few tasks have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rare {
    pub(crate) last_retry: Option<Timestamp>,
    pub(crate) last_requeue: Option<Timestamp>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) avoid: Vec<NodeId>,
    pub(crate) nodes_lost: Vec<NodeId>,
}

/// The rare parts of a state; `None` when it has none of them.
pub(crate) fn rare_bytes(row: &TaskStateRow) -> Option<Vec<u8>> {
    let TaskStateRow { last_retry, last_requeue, memory_bytes, avoid, nodes_lost, .. } = row;
    let plain = last_retry.is_none()
        && last_requeue.is_none()
        && memory_bytes.is_none()
        && avoid.is_empty()
        && nodes_lost.is_empty();
    if plain {
        return None;
    }
    let names = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect();
    let part = RarePart {
        last_retry: last_retry.map(|time| time.as_micros()),
        last_requeue: last_requeue.map(|time| time.as_micros()),
        memory_bytes: *memory_bytes,
        avoid: names(avoid),
        nodes_lost: names(nodes_lost),
    };
    Some(part.encode_to_vec())
}

pub(crate) fn rare(bytes: Option<&[u8]>) -> Result<Rare, CodecError> {
    const WHAT: &str = "rare parts of a task's state";
    let Some(bytes) = bytes else { return Ok(Rare::default()) };
    let part: RarePart = decode(WHAT, bytes)?;
    let nodes = |names: Vec<String>| -> Result<Vec<NodeId>, CodecError> {
        names.iter().map(|name| parsed(WHAT, NodeId::parse(name))).collect()
    };
    Ok(Rare {
        last_retry: part.last_retry.map(Timestamp::from_micros),
        last_requeue: part.last_requeue.map(Timestamp::from_micros),
        memory_bytes: part.memory_bytes,
        avoid: nodes(part.avoid)?,
        nodes_lost: nodes(part.nodes_lost)?,
    })
}
