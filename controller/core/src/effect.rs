//! What the shell must do once the records of a step are durable.
//!
//! Effects are data: nothing in the core can send. They name what is meant and leave the bytes to the daemon: a
//! dispatch names attempts, and the daemon reads their specifications from the store. Effects of one step, and of
//! successive steps, are carried out in order.

use crate::input::{NodeKey, SessionId};
use muster_model::AttemptId;
use muster_model::spec::TaskConstraints;
use std::time::Duration;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Something to say to a node over its session; dropped if that session is gone.
    ToNode {
        /// The node.
        node: NodeKey,
        /// The session for which it is meant.
        session: SessionId,
        /// What.
        message: NodeMessage,
    },
}

/// A message to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeMessage {
    /// The answer to the first word of a session.
    Welcome {
        /// What to do with each attempt that the agent said it holds.
        verdicts: Vec<(AttemptId, Verdict)>,
    },
    /// The lease goes on for `ttl` from the moment when the heartbeat was sent.
    Lease {
        /// The heartbeat that is answered.
        sequence: u64,
        /// For how long.
        ttl: Duration,
    },
    /// Run these attempts, in this order, as slots allow.
    Dispatch {
        /// The attempts; their specifications are in the store.
        attempts: Vec<AttemptId>,
    },
    /// Give these attempts back if they have not started: another node is idle.
    Recall {
        /// Which.
        attempts: Vec<AttemptId>,
    },
    /// Stop these attempts; their ends are reported as usual.
    Kill {
        /// Which.
        attempts: Vec<AttemptId>,
        /// For the node's log and the task's record.
        reason: KillReason,
    },
    /// The constraints of a running attempt's task have changed: its wall clock (from its start) and its retention hold
    /// from now on.
    Amend {
        /// Which.
        attempt: AttemptId,
        /// All constraints that are in force now.
        constraints: TaskConstraints,
    },
    /// These reports are durable (or stale) and may be forgotten.
    Acknowledge {
        /// The agent's numbers.
        reports: Vec<u64>,
    },
    /// The node is no longer part of the pool: end everything and stop.
    Leave {
        /// For the node's log.
        reason: LeaveReason,
    },
    /// Remove the directories of these attempts now, whatever their retention: their tasks are deleted.
    RemoveDirectories {
        /// Which; of those that the node no longer knows it means nothing.
        attempts: Vec<AttemptId>,
    },
    /// Run the operator's command that restarts the machine, or sets it up anew. The node holds nothing.
    Restart {
        /// Whether it is set up anew.
        reimage: bool,
    },
    /// Run the start task again: it failed for good, and the node is tried once more.
    RunStartTask,
    /// The session is replaced or refused; the stream is closed.
    Close {
        /// For the node's log.
        reason: CloseReason,
    },
}

/// What an agent must do with an attempt that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is current: go on.
    Keep,
    /// It is stale, or was ended meanwhile: stop it, drop its result.
    Kill,
    /// Its result is durable: forget it.
    Acknowledged,
}

/// Why an attempt is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// The task, its job or its pool was terminated or deleted.
    Terminated,
    /// The task goes back to waiting.
    Requeued,
    /// The task's place was given to a later attempt.
    Fenced,
}

/// Why a node leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveReason {
    /// The pool shrank, or the node was removed by name.
    Removed,
    /// The pool was deleted.
    PoolDeleted,
}

/// Why a session is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The node has opened another one.
    Replaced,
    /// No heartbeat came in time: connect anew.
    LeaseEnded,
}
