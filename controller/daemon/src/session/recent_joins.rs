//! Which nodes were made lately, so that a request whose answer was lost gets the node that it has made.
//!
//! A request is known by a digest of its token, machine and key; `join` makes it. Bounded, and gone with the process:
//! of a request that is forgotten another node is made.

use crate::auth::NodeIdentity;
use muster_model::Digest;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Joins that are remembered: more than any number of machines that lose their answers at the same time.
const RECENT_JOINS_MAX: usize = 4_096;

/// The nodes that were made lately, by token, machine and key.
#[derive(Debug, Default)]
pub(super) struct RecentJoins {
    made: Mutex<VecDeque<(Digest, NodeIdentity)>>,
}

impl RecentJoins {
    /// The node that this request made, if that is remembered.
    pub(super) fn find(&self, seed: &Digest) -> Option<NodeIdentity> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().rev().find(|(known, _)| known == seed).map(|(_, node)| node.clone())
    }

    /// Keeps what a request made; the oldest goes when there are too many.
    pub(super) fn remember(&self, seed: Digest, node: NodeIdentity) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() == RECENT_JOINS_MAX {
            made.pop_front();
        }
        made.push_back((seed, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, NodeId, PoolId};
    use sha2::{Digest as _, Sha256};

    fn identity(node: &str) -> NodeIdentity {
        NodeIdentity {
            account: AccountName::parse("studio").unwrap(),
            pool: PoolId::parse("render").unwrap(),
            node: NodeId::parse(node).unwrap(),
        }
    }

    #[test]
    fn a_repeated_request_finds_its_node_until_it_is_forgotten() {
        let joins = RecentJoins::default();
        let seed = |n: usize| Digest::from_bytes(Sha256::digest(n.to_be_bytes()).into());
        joins.remember(seed(0), identity("a"));
        assert_eq!(joins.find(&seed(0)), Some(identity("a")));
        assert_eq!(joins.find(&seed(1)), None);
        for n in 1..=RECENT_JOINS_MAX {
            joins.remember(seed(n), identity("b"));
        }
        assert_eq!(joins.find(&seed(0)), None);
        assert_eq!(joins.made.lock().unwrap().len(), RECENT_JOINS_MAX);
    }
}
