//! What a client or a machine is told once the records of its input are durable.
//!
//! Replies are small: a client that wants the whole resource reads it from the store afterwards. A repeated request
//! id gets the reply that was given first.

use crate::reject::{Reject, RejectKind};
use muster_model::{AccountName, NodeId, PoolId};

/// The answer to one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to say beyond "done".
    Done,
    /// The tasks of a `CreateTasks` were taken in, but for these.
    Tasks(Vec<TaskRefused>),
    /// A machine became a node.
    Joined(CreatedNode),
}

/// One task of a `CreateTasks` that was refused. Text and not a `Reject`, because it is also kept for repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRefused {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The family of the refusal.
    pub kind: RejectKind,
    /// The refusal's code.
    pub code: String,
    /// The refusal in words.
    pub message: String,
}

impl TaskRefused {
    pub(crate) fn new(index: u32, reject: &Reject) -> Self {
        Self { index, kind: reject.kind(), code: reject.code().to_owned(), message: reject.to_string() }
    }
}

/// The identity that a joining machine gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedNode {
    /// The node's id.
    pub node: NodeId,
    /// The account; filled in from the token.
    pub account: Option<AccountName>,
    /// The pool; filled in from the token.
    pub pool: Option<PoolId>,
}
