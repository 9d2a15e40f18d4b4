//! Durable batches for those who watch: published by the writer, closed when the process stops.
//!
//! Nobody is waited for: a receiver that falls behind is told that it has missed something and reads the store anew.
//! Without receivers nothing is kept.

use muster_controller_core::record::Record;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Batches that a slow watcher may be behind before it must start anew: over a second at the fullest rate.
const EVENTS_MAX: usize = 256;

/// One durable batch, for those who watch.
#[derive(Debug)]
pub struct Committed {
    /// Grows by one with each batch; starts anew, far above all earlier ones, when the controller does.
    pub revision: u64,
    /// What changed, in order; never empty.
    pub records: Arc<[Record]>,
}

/// The sending end, shared by all handles and the writer.
pub(super) struct Events {
    /// `None` once closed.
    open: Mutex<Option<broadcast::Sender<Arc<Committed>>>>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { open: Mutex::new(Some(broadcast::channel(EVENTS_MAX).0)) }
    }

    /// Tells everybody of a durable batch.
    pub(super) fn publish(&self, revision: u64, records: Vec<Record>) {
        if let Some(sender) = &*self.lock()
            && sender.receiver_count() > 0
        {
            // Nobody may be left to hear it by now, which is no fault.
            let _ = sender.send(Arc::new(Committed { revision, records: records.into() }));
        }
    }

    /// Every batch from now on; after the close a receiver that is closed.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Committed>> {
        match &*self.lock() {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Lets receivers read what was published and then see the end.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<broadcast::Sender<Arc<Committed>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
