//! Where effects for nodes go: the open sessions' outboxes.
//!
//! A session registers before it tells the core that it is connected, so that the answer finds it. Sending never
//! waits: an outbox that is full belongs to a node that does not read, and is closed. What is lost with it is put
//! right by the next connect, as with any broken session.

use muster_controller_core::effect::{Effect, NodeMessage};
use muster_controller_core::input::{NodeKey, SessionId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// The receiving end of a session's effects. It ends when the session is to be closed.
pub type NodeOutbox = mpsc::Receiver<NodeMessage>;

/// Messages that may wait for one session: several seconds of dispatches, kills and acknowledgements of a busy node;
/// one that is this far behind does not read any more.
pub const SESSION_MESSAGES_MAX: usize = 1024;

#[derive(Debug)]
struct Route {
    node: NodeKey,
    outbox: mpsc::Sender<NodeMessage>,
}

/// The open sessions by number.
#[derive(Debug, Default)]
pub(super) struct Routes {
    open: Mutex<BTreeMap<SessionId, Route>>,
}

impl Routes {
    pub(super) fn register(
        self: &Arc<Self>,
        node: NodeKey,
        session: SessionId,
    ) -> (SessionRoute, NodeOutbox) {
        let (outbox, receiver) = mpsc::channel(SESSION_MESSAGES_MAX);
        self.lock().insert(session, Route { node, outbox });
        (SessionRoute { routes: Arc::clone(self), session }, receiver)
    }

    /// Carries out one effect.
    pub(super) fn deliver(&self, effect: Effect) {
        match effect {
            Effect::ToNode { node, session, message } => self.to_node(&node, session, message),
        }
    }

    fn to_node(&self, node: &NodeKey, session: SessionId, message: NodeMessage) {
        let mut open = self.lock();
        let Some(route) = open.get(&session) else {
            tracing::debug!(node = %node.node, session, "a message for a session that is gone");
            return;
        };
        if route.outbox.try_send(message).is_err() {
            tracing::warn!(node = %route.node.node, session, waiting = SESSION_MESSAGES_MAX,
                "closing the session of a node that does not read");
            open.remove(&session);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Route>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a session's outbox open; dropping it takes the session off the list.
#[derive(Debug)]
pub struct SessionRoute {
    routes: Arc<Routes>,
    session: SessionId,
}

impl Drop for SessionRoute {
    fn drop(&mut self) {
        self.routes.lock().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, NodeId};
    use std::time::Duration;

    fn key() -> NodeKey {
        NodeKey { account: AccountName::parse("studio").unwrap(), node: NodeId::parse("tvm-1").unwrap() }
    }

    fn lease(sequence: u64, session: SessionId) -> Effect {
        let message = NodeMessage::Lease { sequence, ttl: Duration::from_secs(30) };
        Effect::ToNode { node: key(), session, message }
    }

    #[test]
    fn a_message_reaches_its_own_session_and_no_other() {
        let routes = Arc::new(Routes::default());
        let (_first, mut first) = routes.register(key(), 1);
        let (_second, mut second) = routes.register(key(), 2);
        routes.deliver(lease(7, 2));
        assert!(matches!(second.try_recv(), Ok(NodeMessage::Lease { sequence: 7, .. })));
        assert!(first.try_recv().is_err());
    }

    #[test]
    fn a_session_that_does_not_read_is_closed_after_what_it_has() {
        let routes = Arc::new(Routes::default());
        let (_route, mut outbox) = routes.register(key(), 1);
        for sequence in 0..=SESSION_MESSAGES_MAX {
            routes.deliver(lease(u64::try_from(sequence).unwrap(), 1));
        }
        let mut received = 0;
        while outbox.try_recv().is_ok() {
            received += 1;
        }
        assert_eq!(received, SESSION_MESSAGES_MAX);
        assert_eq!(outbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_dropped_route_is_off_the_list() {
        let routes = Arc::new(Routes::default());
        let (route, _outbox) = routes.register(key(), 1);
        drop(route);
        assert!(routes.lock().is_empty());
    }
}
