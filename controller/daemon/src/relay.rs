//! Reads of files and directories on nodes: `api` opens one, `session` carries it. Neither knows the other.
//!
//! ```text
//!  api: open ──> request on the node's session ──> agent opens ServeFile ──> accept ──> bounded pipe ──> api
//! ```
//! A read ends in exactly one way: its parts and their end, a refusal of the agent, a deadline without an answer, or
//! the loss of the session or stream. Dropping the reader cancels the read on the node; a reader that is slow makes
//! the agent wait. Nothing here touches a disk, and no path is interpreted here: the agent opens it beneath its
//! folder.

use bytes::Bytes;
use muster_controller_core::input::{NodeKey, SessionId};
use muster_model::NodeId;
use muster_proto::wire;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::controller_message::Body;

/// How long an agent may take to begin its answer. Opening a file takes a moment; a node under heavy load gets some.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);

/// Parts (256 KiB each, at most 1 MiB) between the agent's stream and the reader: enough to hide the hop, little to hold.
const PIPE_PARTS_MAX: usize = 2;

/// Reads of one node at one time: people and tools that follow output. Each is a file that the agent holds open.
const READS_PER_NODE_MAX: usize = 128;

/// A read that could not be opened or broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The node has no session now.
    #[error("node '{0}' is not connected: its files can be read when it is back")]
    NotConnected(NodeId),
    /// Too many reads of the node are open.
    #[error("{max} files of node '{node}' are being read already: try again later")]
    Busy {
        /// The node.
        node: NodeId,
        /// The bound.
        max: usize,
    },
    /// The node did not answer in time.
    #[error("node '{node}' did not answer within {waited:?}: try again later")]
    NoAnswer {
        /// The node.
        node: NodeId,
        /// How long was waited.
        waited: Duration,
    },
    /// The agent says that it cannot.
    #[error("node '{node}' cannot serve it: {message}")]
    Refused {
        /// The node.
        node: NodeId,
        /// Why, from the closed list.
        refusal: wire::ReadRefusal,
        /// The agent's sentence.
        message: String,
    },
    /// The session or the stream broke.
    #[error("the connection to node '{0}' broke while the file was being read: try again")]
    BrokenOff(NodeId),
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// The next bytes of a file.
    Chunk(Bytes),
    /// The next entries of a directory.
    Entries(Vec<wire::NodeFile>),
}

/// What to ask of a node. The relay sets `read_id`.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRequest {
    /// Bytes of a file.
    File(wire::ReadFile),
    /// Entries of a directory.
    Directory(wire::ListNodeDirectory),
}

/// An answer under way. Dropping it cancels the read on the node.
#[derive(Debug)]
pub struct NodeRead {
    /// What the agent said first: the file as it is, and the offset.
    pub header: wire::ServeFileHeader,
    parts: mpsc::Receiver<Result<Part, RelayError>>,
    cancel: CancelOnDrop,
}

impl NodeRead {
    /// The next part; `None` at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<Part, RelayError>> {
        let part = self.parts.recv().await;
        if !matches!(part, Some(Ok(_))) {
            self.cancel.has_ended = true;
        }
        part
    }
}

/// The agent's end of an answer, for the handler of its ServeFile stream.
#[derive(Debug)]
pub struct NodeServe {
    node: NodeId,
    parts: mpsc::Sender<Result<Part, RelayError>>,
    finished: bool,
}

impl NodeServe {
    /// Passes a part on, waiting for a slow reader. `false`: the reader has gone, stop sending.
    pub async fn send(&self, part: Part) -> bool {
        self.parts.send(Ok(part)).await.is_ok()
    }

    /// Waits until the reader has gone.
    pub async fn closed(&self) {
        self.parts.closed().await;
    }

    /// The answer is complete.
    pub fn finish(mut self) {
        self.finished = true;
    }

    /// The stream broke; the reader is told once it has read what came before.
    pub async fn break_off(mut self) {
        self.finished = true;
        // A reader that has gone needs no telling.
        let _ = self.parts.send(Err(RelayError::BrokenOff(self.node.clone()))).await;
    }
}

impl Drop for NodeServe {
    /// A handler that was cancelled did not see the end: the reader must not take what it has for everything.
    fn drop(&mut self) {
        if !self.finished {
            let (parts, error) = (self.parts.clone(), RelayError::BrokenOff(self.node.clone()));
            if parts.try_send(Err(error.clone())).is_err()
                && let Ok(runtime) = tokio::runtime::Handle::try_current()
            {
                runtime.spawn(async move {
                    let _ = parts.send(Err(error)).await;
                });
            }
        }
    }
}

type Answer = Result<(wire::ServeFileHeader, mpsc::Receiver<Result<Part, RelayError>>), RelayError>;

/// A node's session as the relay needs it.
#[derive(Debug)]
struct Link {
    session: SessionId,
    outbox: mpsc::Sender<wire::ControllerMessage>,
    /// Reads that wait for their ServeFile stream.
    waiting: BTreeMap<String, oneshot::Sender<Answer>>,
    /// Reads that are open, waiting ones included.
    open: usize,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<NodeKey, Link>,
    next_read: u64,
}

/// All reads under way. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Relay {
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// Asks a node for a file or a directory and waits for the beginning of its answer.
    ///
    /// # Errors
    /// [`RelayError`]: not connected, busy, no answer in [`ANSWER_WAIT_MAX`], refused, broken off.
    pub async fn open(&self, node: &NodeKey, request: ReadRequest) -> Result<NodeRead, RelayError> {
        let (mut cancel, answer) = self.ask(node, request)?;
        match tokio::time::timeout(ANSWER_WAIT_MAX, answer).await {
            Ok(Ok(Ok((header, parts)))) => Ok(NodeRead { header, parts, cancel }),
            Ok(Ok(Err(error))) => {
                cancel.has_ended = true;
                Err(error)
            }
            Ok(Err(_)) => Err(RelayError::BrokenOff(node.node.clone())),
            Err(_) => Err(RelayError::NoAnswer { node: node.node.clone(), waited: ANSWER_WAIT_MAX }),
        }
    }

    fn ask(
        &self,
        node: &NodeKey,
        request: ReadRequest,
    ) -> Result<(CancelOnDrop, oneshot::Receiver<Answer>), RelayError> {
        let mut state = self.lock();
        state.next_read += 1;
        let read_id = state.next_read.to_string();
        let link = state.links.get_mut(node).ok_or_else(|| RelayError::NotConnected(node.node.clone()))?;
        let busy = || RelayError::Busy { node: node.node.clone(), max: READS_PER_NODE_MAX };
        if link.open >= READS_PER_NODE_MAX {
            return Err(busy());
        }
        let body = match request {
            ReadRequest::File(mut read) => {
                read.read_id.clone_from(&read_id);
                Body::ReadFile(read)
            }
            ReadRequest::Directory(mut list) => {
                list.read_id.clone_from(&read_id);
                Body::ListDirectory(list)
            }
        };
        // A full outbox belongs to a node that is busy or does not read: the reader tries again.
        link.outbox.try_send(wire::ControllerMessage { body: Some(body) }).map_err(|_| busy())?;
        let (tell, answer) = oneshot::channel();
        link.waiting.insert(read_id.clone(), tell);
        link.open += 1;
        let cancel = CancelOnDrop {
            relay: self.clone(),
            node: node.clone(),
            session: link.session,
            read_id,
            has_ended: false,
        };
        Ok((cancel, answer))
    }

    /// A node's session is open; reads of the node go to this outbox until the attachment is dropped. A later session
    /// of the same node takes its place.
    #[must_use]
    pub fn attach(
        &self,
        node: NodeKey,
        session: SessionId,
        outbox: mpsc::Sender<wire::ControllerMessage>,
    ) -> Attachment {
        let link = Link { session, outbox, waiting: BTreeMap::new(), open: 0 };
        self.lock().links.insert(node.clone(), link);
        Attachment { relay: self.clone(), node, session }
    }

    /// The agent opened a ServeFile stream. `None`: nobody waits for it (any more), or it belongs to another node.
    #[must_use]
    pub fn accept(&self, node: &NodeKey, header: wire::ServeFileHeader) -> Option<NodeServe> {
        let tell = self.lock().links.get_mut(node)?.waiting.remove(&header.read_id)?;
        let (parts, receiver) = mpsc::channel(PIPE_PARTS_MAX);
        tell.send(Ok((header, receiver))).ok()?;
        Some(NodeServe { node: node.node.clone(), parts, finished: false })
    }

    /// The agent said that it cannot answer. A read that nobody waits for is ignored.
    pub fn refuse(&self, node: &NodeKey, refused: wire::ReadRefused) {
        let tell = match self.lock().links.get_mut(node) {
            Some(link) => link.waiting.remove(&refused.read_id),
            None => None,
        };
        if let Some(tell) = tell {
            let refusal = refused.refusal();
            let error = RelayError::Refused { node: node.node.clone(), refusal, message: refused.message };
            // A reader that has gone needs no answer.
            let _ = tell.send(Err(error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a session reachable for reads; dropping it breaks off those that still wait.
#[derive(Debug)]
pub struct Attachment {
    relay: Relay,
    node: NodeKey,
    session: SessionId,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.relay.lock();
        if state.links.get(&self.node).is_some_and(|link| link.session == self.session) {
            state.links.remove(&self.node);
        }
    }
}

/// Gives a read's place back, and tells the node that nobody reads any more unless the read has ended by itself.
#[derive(Debug)]
struct CancelOnDrop {
    relay: Relay,
    node: NodeKey,
    session: SessionId,
    read_id: String,
    has_ended: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let mut state = self.relay.lock();
        let Some(link) = state.links.get_mut(&self.node).filter(|link| link.session == self.session) else {
            return;
        };
        link.waiting.remove(&self.read_id);
        link.open = link.open.saturating_sub(1);
        if self.has_ended {
            return;
        }
        let cancel = wire::CancelRead { read_id: std::mem::take(&mut self.read_id) };
        // If the outbox is full the agent learns of it from its ServeFile stream, which is answered early.
        let _ = link.outbox.try_send(wire::ControllerMessage { body: Some(Body::CancelRead(cancel)) });
    }
}
