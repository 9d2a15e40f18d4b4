//! The errors of the node, shared by all who find something out: `raise` and `clear`, from any thread.
//!
//! It only keeps them and wakes `watch`, which tells the core; nothing is lost when that is slow.
//! Invariant: of each code there is one error at most, and while it lasts it keeps its time.

use super::skew::Anchor;
use muster_model::Timestamp;
use muster_model::node::NodeError;
use muster_runtime::clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The handle that everybody has. Clones share what is wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    errors: BTreeMap<String, NodeError>,
    /// The controller's clock, as it was told last.
    anchor: Option<Anchor>,
    /// The disk has no room for the records of what begins.
    journal_full: bool,
}

impl Health {
    /// Something is wrong. An error that is there already keeps the time since when it is.
    pub(crate) fn raise(&self, error: NodeError) {
        let mut state = self.state();
        let time = state.errors.get(&error.code).map_or(error.time, |known| known.time);
        let error = NodeError { time, ..error };
        if state.errors.get(&error.code) != Some(&error) {
            tracing::error!(code = error.code, message = error.message, "something is wrong with this node");
            state.errors.insert(error.code.clone(), error);
            self.shared.changed.notify_one();
        }
    }

    /// The same from its parts, since now.
    pub(crate) fn raise_now(&self, code: &str, message: String, details: Vec<(String, String)>) {
        let time = Timestamp::from_micros(clock::wall_us());
        self.raise(NodeError { code: code.to_owned(), message, details, time });
    }

    /// It is well again.
    pub(crate) fn clear(&self, code: &str) {
        if self.state().errors.remove(code).is_some() {
            tracing::info!(code, "what was wrong with this node is well again");
            self.shared.changed.notify_one();
        }
    }

    /// Whether something is wrong under this code.
    pub(super) fn has(&self, code: &str) -> bool {
        self.state().errors.contains_key(code)
    }

    /// All that is wrong.
    pub(super) fn all(&self) -> Vec<NodeError> {
        self.state().errors.values().cloned().collect()
    }

    /// The controller has told its clock.
    pub(crate) fn set_anchor(&self, anchor: Anchor) {
        self.state().anchor = Some(anchor);
        self.shared.changed.notify_one();
    }

    /// Whether the agent's journal finds no more room, whatever the disk says of itself.
    pub(crate) fn set_journal_full(&self, full: bool) {
        self.state().journal_full = full;
        self.shared.changed.notify_one();
    }

    pub(super) fn journal_full(&self) -> bool {
        self.state().journal_full
    }

    pub(super) fn anchor(&self) -> Option<Anchor> {
        self.state().anchor
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made in one step, so what a panic left is whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(message: &str, second: i64) -> NodeError {
        NodeError {
            code: NodeError::AGENT_FAULT.to_owned(),
            message: message.to_owned(),
            details: Vec::new(),
            time: Timestamp::from_micros(second * 1_000_000),
        }
    }

    #[test]
    fn an_error_keeps_its_time_and_there_is_one_of_each_code() {
        let health = Health::default();
        health.raise(error("first", 1));
        health.clone().raise(error("second", 2));
        assert_eq!(health.all(), [error("second", 1)]);
        assert!(health.has(NodeError::AGENT_FAULT));
        health.clear(NodeError::CLOCK_SKEW);
        health.clear(NodeError::AGENT_FAULT);
        assert_eq!(health.all(), []);
    }
}
