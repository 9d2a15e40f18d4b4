//! Where effects for nodes go: the open sessions' outboxes.
//!
//! A session registers before it tells the core that it is connected, so that the answer finds it. Sending never
//! waits: an outbox that is full belongs to a node that does not read, and is closed. What is lost with it is put
//! right by the next connect, as with any broken session. Leases have a place of their own beside the outbox, of which the
//! newest is enough: they wait neither for a commit nor for what else the session is doing.

use muster_controller_core::effect::{Effect, NodeMessage};
use muster_controller_core::input::{NodeKey, SessionId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The receiving end of a session's effects. Both ways end when the session is to be closed.
#[derive(Debug)]
pub struct NodeOutbox {
    /// Everything but leases, in the order in which it was decided.
    pub messages: mpsc::Receiver<NodeMessage>,
    /// The newest lease, once there is one.
    pub leases: watch::Receiver<Option<Lease>>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The heartbeat that is answered.
    pub sequence: u64,
    /// How long the node may go on from when it sent that.
    pub ttl: Duration,
}

/// Messages that may wait for one session: several seconds of dispatches, kills and acknowledgements of a busy node;
/// one that is this far behind does not read any more.
pub const SESSION_MESSAGES_MAX: usize = 1024;

#[derive(Debug)]
struct Route {
    node: NodeKey,
    outbox: mpsc::Sender<NodeMessage>,
    leases: watch::Sender<Option<Lease>>,
    /// A Welcome has gone out: nothing may come before it.
    welcomed: bool,
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
        let (outbox, messages) = mpsc::channel(SESSION_MESSAGES_MAX);
        let (grant, leases) = watch::channel(None);
        self.lock().insert(session, Route { node, outbox, leases: grant, welcomed: false });
        (SessionRoute { routes: Arc::clone(self), session }, NodeOutbox { messages, leases })
    }

    /// Carries out one effect.
    pub(super) fn deliver(&self, effect: Effect) {
        match effect {
            Effect::ToNode { node, session, message } => self.to_node(&node, session, message),
        }
    }

    fn to_node(&self, node: &NodeKey, session: SessionId, message: NodeMessage) {
        let mut open = self.lock();
        let Some(route) = open.get_mut(&session) else {
            tracing::debug!(node = %node.node, session, "a message for a session that is gone");
            return;
        };
        if let NodeMessage::Lease { sequence, ttl } = message {
            if route.welcomed {
                route.leases.send_replace(Some(Lease { sequence, ttl }));
            }
            return;
        }
        route.welcomed |= matches!(message, NodeMessage::Welcome { .. });
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

    fn to(session: SessionId, message: NodeMessage) -> Effect {
        Effect::ToNode { node: key(), session, message }
    }

    fn lease(sequence: u64, session: SessionId) -> Effect {
        to(session, NodeMessage::Lease { sequence, ttl: Duration::from_secs(30) })
    }

    fn welcome(session: SessionId) -> Effect {
        to(session, NodeMessage::Welcome { verdicts: Vec::new() })
    }

    fn acknowledge(report: u64, session: SessionId) -> Effect {
        to(session, NodeMessage::Acknowledge { reports: vec![report] })
    }

    #[test]
    fn a_message_reaches_its_own_session_and_no_other() {
        let routes = Arc::new(Routes::default());
        let (_first, mut first) = routes.register(key(), 1);
        let (_second, mut second) = routes.register(key(), 2);
        routes.deliver(acknowledge(7, 2));
        let received = second.messages.try_recv();
        assert!(matches!(received, Ok(NodeMessage::Acknowledge { reports }) if reports == [7]));
        assert!(first.messages.try_recv().is_err());
    }

    #[test]
    fn a_lease_never_comes_before_the_welcome_and_the_newest_stands() {
        let routes = Arc::new(Routes::default());
        let (_first, first) = routes.register(key(), 1);
        routes.deliver(lease(1, 1));
        assert_eq!(*first.leases.borrow(), None);
        routes.deliver(welcome(1));
        routes.deliver(lease(2, 1));
        routes.deliver(lease(3, 1));
        assert_eq!(first.leases.borrow().map(|lease| lease.sequence), Some(3));
    }

    #[test]
    fn a_session_that_does_not_read_is_closed_after_what_it_has() {
        let routes = Arc::new(Routes::default());
        let (_route, mut outbox) = routes.register(key(), 1);
        for report in 0..=SESSION_MESSAGES_MAX {
            routes.deliver(acknowledge(u64::try_from(report).unwrap(), 1));
        }
        let mut received = 0;
        while outbox.messages.try_recv().is_ok() {
            received += 1;
        }
        assert_eq!(received, SESSION_MESSAGES_MAX);
        assert_eq!(outbox.messages.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_dropped_route_is_off_the_list() {
        let routes = Arc::new(Routes::default());
        let (route, _outbox) = routes.register(key(), 1);
        drop(route);
        assert!(routes.lock().is_empty());
    }
}
