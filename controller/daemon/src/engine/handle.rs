//! The engine as the rest of the process sees it: submit an input, ask the core, read the store, watch commits.
//!
//! Cheap to clone. Everything here waits for room in the inbox and then for the commit; nothing here decides.
//! Guarantee: what `submit` and `query` answer rests on durable state only.

use super::accounts::AccountDirectory;
use super::disk::{Disk, DiskSpace};
use super::error::{ReadError, SubmitError};
use super::events::{Events, Subscription};
use super::inbox::{Heartbeat, Inbox, Query};
use super::routes::{NodeOutbox, Routes, SessionRoute};
use super::state::{EngineFailure, EngineState};
use muster_controller_core::Core;
use muster_controller_core::input::{Input, NodeKey, SessionId};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_store::{Reader, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, oneshot, watch};

/// Reads of the store at one time. Each occupies a blocking thread; more would only wait for the same disk.
pub(super) const READS_MAX: usize = 32;

/// A handle on the running engine.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) shared: Arc<Shared>,
}

/// What all handles and both threads share.
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    pub(super) disk: Disk,
    pub(super) accounts: Arc<AccountDirectory>,
    pub(super) routes: Arc<Routes>,
    pub(super) events: Arc<Events>,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) reads: Semaphore,
    pub(super) state: watch::Sender<EngineState>,
    pub(super) next_session: AtomicU64,
}

impl EngineHandle {
    /// Carries out an input and answers when what it changed is durable.
    ///
    /// # Errors
    /// [`SubmitError`]: refused, no room in time, no room on the disk, or stopping.
    pub async fn submit(&self, input: Input) -> Result<Reply, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.send_input(input, Some(reply)).await?;
        Answer(answer).wait().await
    }

    /// Hands an input in as soon as there is room, however long that takes; the answer can be waited for later. Inputs
    /// that one task of the caller hands in one after the other are carried out in that order.
    ///
    /// # Errors
    /// [`SubmitError::DiskFull`] or [`SubmitError::Stopping`].
    pub async fn hand_in(&self, input: Input) -> Result<Answer, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.send_input_in_turn(input, Some(reply)).await?;
        Ok(Answer(answer))
    }

    /// Hands an input in without waiting for its outcome; a refusal is logged by the engine. Inputs of one task of the
    /// caller stay in order.
    ///
    /// # Errors
    /// [`SubmitError::Overloaded`], [`SubmitError::DiskFull`] or [`SubmitError::Stopping`]; never `Rejected`.
    pub async fn post(&self, input: Input) -> Result<(), SubmitError> {
        self.shared.inbox.send_input(input, None).await
    }

    /// As `post`, however long it takes until there is room: for a session, which must not break because the disk is slow.
    ///
    /// # Errors
    /// [`SubmitError::DiskFull`] or [`SubmitError::Stopping`].
    pub async fn post_in_turn(&self, input: Input) -> Result<(), SubmitError> {
        self.shared.inbox.send_input_in_turn(input, None).await
    }

    /// A node asks for its lease to go on. Never waits, and neither does the answer wait for a commit; a later heartbeat of
    /// the session takes the place of one that was not answered yet.
    pub fn heartbeat(&self, node: NodeKey, session: SessionId, sequence: u64) {
        self.shared.inbox.heartbeat(Heartbeat { node, session, sequence });
    }

    /// Whether the disk of the store has room, now and whenever that changes.
    #[must_use]
    pub fn disk_space(&self) -> watch::Receiver<DiskSpace> {
        self.shared.disk.watch()
    }

    /// Asks the live core something small. Answered once everything that came before it is durable.
    ///
    /// # Errors
    /// [`SubmitError::Overloaded`], [`SubmitError::DiskFull`] or [`SubmitError::Stopping`]; never `Rejected`.
    pub async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, SubmitError> {
        let (send, answer) = oneshot::channel();
        let query: Query = Box::new(move |core| {
            let value = ask(core);
            Box::new(move || drop(send.send(value)))
        });
        self.shared.inbox.send_query(query).await?;
        answer.await.map_err(|_| SubmitError::Stopping)
    }

    /// Answers once everything that this task of the caller has handed in is durable, however long that takes.
    ///
    /// # Errors
    /// [`SubmitError::Stopping`].
    pub async fn settled(&self) -> Result<(), SubmitError> {
        let (send, answer) = oneshot::channel();
        let query: Query = Box::new(move |_| {
            Box::new(move || {
                // Whoever asked may have gone.
                let _ = send.send(());
            })
        });
        self.shared.inbox.send_query_in_turn(query).await?;
        answer.await.map_err(|_| SubmitError::Stopping)
    }

    /// Every durable batch from now on. A subscription that falls behind is told so and must read the store anew; one
    /// that is closed belongs to a controller that stops.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.shared.events.subscribe()
    }

    /// Every durable batch after the one with this revision; `None` when that lies too far back, before the start of the
    /// controller, or in the future.
    #[must_use]
    pub fn resume(&self, revision: u64) -> Option<Subscription> {
        self.shared.events.resume(revision)
    }

    /// Ends all subscriptions: the process stops, and whoever watches is to connect again elsewhere or later.
    pub fn end_watches(&self) {
        self.shared.events.close();
    }

    /// The store's reader. Its calls block: see [`EngineHandle::read`].
    #[must_use]
    pub fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.shared.reader)
    }

    /// Reads the store on a blocking thread.
    ///
    /// # Errors
    /// [`ReadError`]: the store's, or broken off.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let _turn = self.shared.reads.acquire().await.map_err(|_| ReadError::BrokenOff)?;
        let reader = self.reader();
        let joined = tokio::task::spawn_blocking(move || read(reader.as_ref())).await;
        Ok(joined.map_err(|_| ReadError::BrokenOff)??)
    }

    /// The accounts as of the last durable batch.
    #[must_use]
    pub fn accounts(&self) -> &Arc<AccountDirectory> {
        &self.shared.accounts
    }

    /// A number for a new session, above all that were given out before, also before a restart.
    #[must_use]
    pub fn new_session_id(&self) -> SessionId {
        self.shared.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens the way for effects meant for a session: register first, then submit `Connected`. The outbox ends when
    /// the node does not read, or when the engine ends; dropping the route closes the way.
    #[must_use]
    pub fn register_session(&self, node: NodeKey, session: SessionId) -> (SessionRoute, NodeOutbox) {
        self.shared.routes.register(node, session)
    }

    /// Waits until the engine has failed; never answers while it runs or when it is stopped in order.
    pub async fn failed(&self) -> EngineFailure {
        let mut state = self.shared.state.subscribe();
        loop {
            if let EngineState::Failed(failure) = &*state.borrow_and_update() {
                return failure.clone();
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The answer to an input that was handed in.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Result<Reply, Reject>>);

impl Answer {
    /// Waits until what the input changed is durable.
    ///
    /// # Errors
    /// [`SubmitError::Rejected`], or [`SubmitError::Stopping`].
    pub async fn wait(self) -> Result<Reply, SubmitError> {
        self.0.await.map_err(|_| SubmitError::Stopping)?.map_err(SubmitError::Rejected)
    }
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").field("state", &*self.shared.state.borrow()).finish_non_exhaustive()
    }
}
