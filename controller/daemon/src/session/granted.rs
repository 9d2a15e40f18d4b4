//! Which content was promised to which node: the digests of the plans that were sent.
//!
//! FetchFile looks here first. Forgetting is harmless (the plan is then made again and looked at), so the memory is
//! bounded and goes with the process.

use muster_controller_core::input::NodeKey;
use muster_model::{AttemptId, Digest};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Digests that are remembered for one node: 2 MiB, a thousand attempts with some sixty files each.
const DIGESTS_PER_NODE_MAX: usize = 65_536;

/// Plans that are remembered for one node, whatever they name.
const PLANS_PER_NODE_MAX: usize = 4_096;

/// Whose plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlanOf {
    /// An attempt's.
    Attempt(AttemptId),
    /// The start task's.
    StartTask,
}

/// What was promised to all nodes.
#[derive(Debug, Default)]
pub(super) struct Granted {
    nodes: Mutex<BTreeMap<NodeKey, NodeGrants>>,
}

#[derive(Debug, Default)]
struct NodeGrants {
    /// Oldest first.
    plans: VecDeque<(PlanOf, Arc<[Digest]>)>,
    digests: usize,
}

impl Granted {
    /// Remembers what a plan that goes out names. Plans without content take no room.
    pub(super) fn remember(&self, node: &NodeKey, plan: PlanOf, mut digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        digests.sort_unstable();
        digests.dedup();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let grants = nodes.entry(node.clone()).or_default();
        grants.digests += digests.len();
        grants.plans.push_back((plan, digests.into()));
        while grants.plans.len() > 1
            && (grants.digests > DIGESTS_PER_NODE_MAX || grants.plans.len() > PLANS_PER_NODE_MAX)
        {
            let oldest = grants.plans.pop_front();
            grants.digests -= oldest.map_or(0, |(_, digests)| digests.len());
        }
    }

    /// Whether a plan that went to the node named this content.
    pub(super) fn has(&self, node: &NodeKey, plan: &PlanOf, digest: &Digest) -> bool {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(node).is_some_and(|grants| {
            let mut same = grants.plans.iter().rev().filter(|(other, _)| other == plan);
            same.any(|(_, digests)| digests.binary_search(digest).is_ok())
        })
    }

    /// A node's session has ended: it will be told its plans again, or they can be made again.
    pub(super) fn forget(&self, node: &NodeKey) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, JobId, NodeId, TaskId};

    fn node(id: &str) -> NodeKey {
        NodeKey { account: AccountName::parse("studio").unwrap(), node: NodeId::parse(id).unwrap() }
    }

    fn plan(number: u32) -> PlanOf {
        let (job, task) = (JobId::parse("j").unwrap(), TaskId::parse("t").unwrap());
        PlanOf::Attempt(AttemptId { job, task, number })
    }

    fn digest(number: u32) -> Digest {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Digest::from_bytes(bytes)
    }

    #[test]
    fn content_is_granted_to_its_node_and_its_plan_alone() {
        let granted = Granted::default();
        granted.remember(&node("a"), plan(1), vec![digest(7), digest(5), digest(7)]);
        assert!(granted.has(&node("a"), &plan(1), &digest(5)));
        assert!(!granted.has(&node("a"), &plan(1), &digest(6)));
        assert!(!granted.has(&node("a"), &plan(2), &digest(5)));
        assert!(!granted.has(&node("a"), &PlanOf::StartTask, &digest(5)));
        assert!(!granted.has(&node("b"), &plan(1), &digest(5)));
        granted.forget(&node("a"));
        assert!(!granted.has(&node("a"), &plan(1), &digest(5)));
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let granted = Granted::default();
        for number in 0..10_000 {
            granted.remember(&node("a"), plan(number), vec![digest(number)]);
        }
        assert!(!granted.has(&node("a"), &plan(0), &digest(0)));
        assert!(granted.has(&node("a"), &plan(9_999), &digest(9_999)));
        granted.remember(&node("a"), plan(10_000), (0..200_000).map(digest).collect());
        assert!(granted.has(&node("a"), &plan(10_000), &digest(150_000)));
        assert!(!granted.has(&node("a"), &plan(9_999), &digest(9_999)));
        assert_eq!(granted.nodes.lock().unwrap()[&node("a")].plans.len(), 1);
    }
}
