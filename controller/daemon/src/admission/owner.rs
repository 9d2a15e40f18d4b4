//! Whose calls are counted together: those of an account's clients, or of one node.
//!
//! The gate has said who calls; this is no more than a name for it, for maps and for refusals.

use muster_model::{AccountName, NodeId};
use std::fmt;

/// Whose share it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// An account's.
    Account(AccountName),
    /// A node's.
    Node(AccountName, NodeId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account '{account}'"),
            Self::Node(_, node) => write!(f, "node '{node}'"),
        }
    }
}
