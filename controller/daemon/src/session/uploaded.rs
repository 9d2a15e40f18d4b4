//! Which node brought which content: nobody can publish what they have only heard of.
//!
//! Content is shared by all accounts under its digest, so knowing a digest must not be enough to get at the bytes. A
//! node may publish what it has uploaded itself, or what its account has a name for. Bounded, and gone with the process.

use muster_controller_core::input::NodeKey;
use muster_model::Digest;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Uploads that are remembered until their attempts end: 26 attempts with the most output files each; about 30 MiB.
const UPLOADS_MAX: usize = 262_144;

#[derive(Debug, Default)]
struct Memory {
    known: BTreeSet<(Arc<NodeKey>, Digest)>,
    /// Oldest first.
    order: VecDeque<(Arc<NodeKey>, Digest)>,
}

/// All uploads of nodes.
#[derive(Debug, Default)]
pub(super) struct Uploaded {
    memory: Mutex<Memory>,
}

impl Uploaded {
    /// The node has sent all bytes of this content.
    pub(super) fn remember(&self, node: &NodeKey, digest: Digest) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (Arc::new(node.clone()), digest);
        if !memory.known.insert(entry.clone()) {
            return;
        }
        memory.order.push_back(entry);
        if memory.order.len() > UPLOADS_MAX
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.known.remove(&oldest);
        }
    }

    /// Whether the node has.
    pub(super) fn has(&self, node: &NodeKey, digest: &Digest) -> bool {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.known.contains(&(Arc::new(node.clone()), *digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, NodeId};

    #[test]
    fn an_upload_counts_for_its_node_alone() {
        let node = |id: &str| NodeKey {
            account: AccountName::parse("studio").unwrap(),
            node: NodeId::parse(id).unwrap(),
        };
        let uploaded = Uploaded::default();
        uploaded.remember(&node("a"), Digest::from_bytes([1; 32]));
        uploaded.remember(&node("a"), Digest::from_bytes([1; 32]));
        assert!(uploaded.has(&node("a"), &Digest::from_bytes([1; 32])));
        assert!(!uploaded.has(&node("b"), &Digest::from_bytes([1; 32])));
        assert!(!uploaded.has(&node("a"), &Digest::from_bytes([2; 32])));
        assert_eq!(uploaded.memory.lock().unwrap().order.len(), 1);
    }
}
