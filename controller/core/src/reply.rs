//! What a client or a machine is told once the records of its input are durable.
//!
//! Replies are small: a client that wants the whole resource reads it from the store afterwards. A repeated request
//! id gets the reply that was given first.

use crate::reject::Reject;
use muster_model::{AccountName, NodeId, PoolId, TaskId};

/// The answer to one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to say beyond "done".
    Done,
    /// Tasks were taken in; one entry for each, in the order asked.
    Tasks(Vec<TaskAdded>),
    /// A machine became a node.
    Joined(CreatedNode),
}

/// What became of one task of `CreateTasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskAdded {
    /// The task.
    pub task: TaskId,
    /// Why not, if not.
    pub refused: Option<Reject>,
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
