//! The writer thread: commits one batch after the other and releases each when it is durable.
//!
//! It is the only owner of the store and the only place from which replies, effects and events leave. A batch without
//! records is released in its turn too: a refusal may rest on a change that an earlier batch made.

use super::accounts::AccountDirectory;
use super::batch::{Batch, Outgoing};
use super::events::Events;
use super::inbox::{Inbox, Message};
use super::routes::Routes;
use muster_controller_core::record::Record;
use muster_store::{Store, StoreError};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long nothing must come before the store tidies: a busy store has better things to do.
const IDLE_BEFORE_TIDYING: Duration = Duration::from_millis(20);

/// What the writer thread needs.
pub(super) struct Writer {
    pub(super) store: Box<dyn Store>,
    pub(super) batches: Receiver<Batch>,
    pub(super) done: Sender<()>,
    pub(super) inbox: Inbox,
    pub(super) accounts: Arc<AccountDirectory>,
    pub(super) routes: Arc<Routes>,
    pub(super) events: Arc<Events>,
    pub(super) revision: u64,
    /// Deleted things may have left something behind.
    pub(super) untidy: bool,
}

/// Whether removing this leaves rows to be removed later.
const fn leaves_something(record: &Record) -> bool {
    matches!(record, Record::JobGone(..) | Record::ContainerGone(..))
}

impl Writer {
    /// Works until the engine thread hangs up.
    ///
    /// # Errors
    /// The first failed commit; its batch and all later ones are dropped without a word.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        while let Some(batch) = self.next() {
            if !batch.records.is_empty() {
                self.store.commit(&batch.records)?;
                self.untidy |= batch.records.iter().any(leaves_something);
            }
            self.release(batch);
            if self.done.send(()).is_err() {
                break;
            }
            self.inbox.send_internal(Message::WriterFree);
        }
        Ok(())
    }

    /// The next batch; `None` when the engine thread has hung up. Uses idle time to tidy what deleted jobs and
    /// containers left.
    fn next(&mut self) -> Option<Batch> {
        while self.untidy {
            match self.batches.recv_timeout(IDLE_BEFORE_TIDYING) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.tidy(),
            }
        }
        self.batches.recv().ok()
    }

    /// Nothing is promised about what is tidied, so a failure waits for the next occasion.
    fn tidy(&mut self) {
        self.untidy = self.store.tidy().unwrap_or_else(|error| {
            tracing::warn!(%error, "what deleted jobs left could not be removed");
            false
        });
    }

    fn release(&mut self, mut batch: Batch) {
        self.accounts.apply(&batch.records);
        // Before the replies: who was told of a change and asks what has changed since then must hear of it.
        if !batch.records.is_empty() {
            self.revision += 1;
            self.events.publish(self.revision, &batch.records);
        }
        for outgoing in batch.outgoing.drain(..) {
            match outgoing {
                Outgoing::Release(tell) => tell(),
                Outgoing::Effect(effect) => self.routes.deliver(effect),
            }
        }
    }
}
