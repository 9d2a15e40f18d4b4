//! What nodes and their attempts use at the moment: written by `session`, read by `api`. Neither knows the other.
//!
//! It is for people and nothing is decided by it, so it is never durable: what a node has told goes with its session, what an
//! attempt has used with its end, and all of it with the process. A node speaks of its own attempts alone, because they
//! are kept below its name.
//!
//! Invariant: at most `ATTEMPTS_PER_NODE_MAX` attempts of a node are kept; the one that was told of longest ago goes first.

use muster_controller_core::input::{NodeKey, SessionId};
use muster_model::node::NodeMetrics;
use muster_model::{AttemptId, Usage};
use muster_proto::convert::Metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Attempts that are kept for one node: all slots of the largest node (256) with what else it may hold, many times; about
/// 1 MiB.
const ATTEMPTS_PER_NODE_MAX: usize = 4_096;

/// The board. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Board {
    nodes: Arc<Mutex<BTreeMap<NodeKey, Place>>>,
}

/// What one session of a node has told.
#[derive(Debug)]
struct Place {
    session: SessionId,
    node: Option<NodeMetrics>,
    attempts: BTreeMap<AttemptId, Told>,
    /// Messages so far.
    messages: u64,
}

#[derive(Debug)]
struct Told {
    usage: Usage,
    /// By which message.
    message: u64,
}

impl Board {
    /// A node's session is open. A later session of the same node takes its place, and begins with nothing.
    #[must_use]
    pub fn attach(&self, node: NodeKey, session: SessionId) -> Pen {
        let place = Place { session, node: None, attempts: BTreeMap::new(), messages: 0 };
        self.lock().insert(node.clone(), place);
        Pen { board: self.clone(), node, session }
    }

    /// What a node uses, as it told last; `None` when it has told nothing or is not connected.
    #[must_use]
    pub fn node(&self, node: &NodeKey) -> Option<NodeMetrics> {
        self.lock().get(node)?.node
    }

    /// What an attempt on a node has used so far, as the node told last.
    #[must_use]
    pub fn attempt(&self, node: &NodeKey, attempt: &AttemptId) -> Option<Usage> {
        Some(self.lock().get(node)?.attempts.get(attempt)?.usage)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeKey, Place>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what one session tells. What it wrote goes with it.
#[derive(Debug)]
pub struct Pen {
    board: Board,
    node: NodeKey,
    session: SessionId,
}

impl Pen {
    /// The node has told what it and its attempts use.
    pub fn tell(&self, metrics: Metrics) {
        self.with_place(|place| {
            place.messages = place.messages.saturating_add(1);
            let message = place.messages;
            place.node = metrics.node.or(place.node);
            for (attempt, usage) in metrics.attempts {
                place.attempts.insert(attempt, Told { usage, message });
            }
            while place.attempts.len() > ATTEMPTS_PER_NODE_MAX {
                let oldest = place.attempts.iter().min_by_key(|(_, told)| told.message);
                let Some(oldest) = oldest.map(|(attempt, _)| attempt.clone()) else { return };
                place.attempts.remove(&oldest);
            }
        });
    }

    /// An attempt is over: what it used in all is in its result.
    pub fn ended(&self, attempt: &AttemptId) {
        self.with_place(|place| {
            place.attempts.remove(attempt);
        });
    }

    /// Does something to what this session wrote, unless a later one has taken its place.
    fn with_place(&self, change: impl FnOnce(&mut Place)) {
        if let Some(place) =
            self.board.lock().get_mut(&self.node).filter(|place| place.session == self.session)
        {
            change(place);
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        let mut nodes = self.board.lock();
        if nodes.get(&self.node).is_some_and(|place| place.session == self.session) {
            nodes.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, JobId, NodeId, TaskId};

    fn node(id: &str) -> NodeKey {
        NodeKey { account: AccountName::parse("studio").unwrap(), node: NodeId::parse(id).unwrap() }
    }

    fn attempt(task: &str) -> AttemptId {
        AttemptId { job: JobId::parse("j").unwrap(), task: TaskId::parse(task).unwrap(), number: 1 }
    }

    fn uses(peak_memory_bytes: u64) -> Usage {
        Usage { peak_memory_bytes, ..Usage::default() }
    }

    fn busy(cpu_millis: u64) -> NodeMetrics {
        NodeMetrics { cpu_millis, ..NodeMetrics::default() }
    }

    #[test]
    fn what_is_left_out_of_a_message_is_as_before() {
        let board = Board::default();
        let pen = board.attach(node("n"), 1);
        pen.tell(Metrics { node: Some(busy(5)), attempts: vec![(attempt("a"), uses(1))] });
        pen.tell(Metrics { node: None, attempts: vec![(attempt("b"), uses(2))] });
        assert_eq!(board.node(&node("n")), Some(busy(5)));
        assert_eq!(board.attempt(&node("n"), &attempt("a")), Some(uses(1)));
        assert_eq!(board.attempt(&node("n"), &attempt("b")), Some(uses(2)));
        assert_eq!(board.attempt(&node("other"), &attempt("a")), None, "a node speaks for itself alone");
        pen.ended(&attempt("a"));
        assert_eq!(board.attempt(&node("n"), &attempt("a")), None);
        drop(pen);
        assert_eq!((board.node(&node("n")), board.attempt(&node("n"), &attempt("b"))), (None, None));
    }

    #[test]
    fn a_replaced_session_can_neither_write_nor_take_away() {
        let board = Board::default();
        let old = board.attach(node("n"), 1);
        let new = board.attach(node("n"), 2);
        old.tell(Metrics { node: Some(busy(1)), attempts: Vec::new() });
        assert_eq!(board.node(&node("n")), None);
        new.tell(Metrics { node: Some(busy(2)), attempts: vec![(attempt("a"), uses(1))] });
        old.ended(&attempt("a"));
        drop(old);
        assert_eq!(board.node(&node("n")), Some(busy(2)));
        assert!(board.attempt(&node("n"), &attempt("a")).is_some());
    }

    #[test]
    fn the_attempts_of_a_node_are_bounded_and_the_one_told_of_longest_ago_goes_first() {
        let board = Board::default();
        let pen = board.attach(node("n"), 1);
        let tell = |from: usize, to: usize| {
            let attempts = (from..to).map(|n| (attempt(&format!("t{n}")), uses(1))).collect();
            pen.tell(Metrics { node: None, attempts });
        };
        tell(0, ATTEMPTS_PER_NODE_MAX - 1);
        tell(100_000, 100_001);
        tell(0, ATTEMPTS_PER_NODE_MAX - 1);
        tell(200_000, 200_002);
        let has = |task: &str| board.attempt(&node("n"), &attempt(task)).is_some();
        assert!(!has("t100000"), "the oldest is gone");
        assert!(has("t200000") && has("t200001"));
        assert_eq!(board.lock()[&node("n")].attempts.len(), ATTEMPTS_PER_NODE_MAX);
    }
}
