//! The writer thread: commits one batch after the other and releases each when it is durable.
//!
//! It is the only owner of the store and the only place from which replies, effects and events leave. A batch without
//! records is released in its turn too: a refusal may rest on a change that an earlier batch made. A batch for which the
//! disk has no room is tried again until it has; any other failed commit ends the engine.

use super::accounts::AccountDirectory;
use super::batch::{Batch, Outgoing};
use super::disk::{Disk, DiskSpace};
use super::events::Events;
use super::inbox::Inbox;
use super::routes::Routes;
use muster_controller_core::record::Record;
use muster_store::{Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long nothing must come before the store tidies: a busy store has better things to do.
const IDLE_BEFORE_TIDYING: Duration = Duration::from_millis(20);

/// The first wait for room on the disk; doubles up to `PAUSE_MAX`.
const PAUSE_FIRST: Duration = Duration::from_millis(10);

/// The longest wait for room on the disk before it is looked at again: what hangs on it goes on a second after there is
/// some at the latest, and a full disk is not asked more often than this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a controller that is to stop still waits for room. Nothing that is given up then was acknowledged.
const WAIT_WHEN_STOPPING: Duration = Duration::from_secs(3);

/// A commit that takes longer is worth a line in the log: clients have waited for it, and it says what is wrong.
const SLOW_COMMIT: Duration = Duration::from_secs(1);

/// What the writer thread needs.
pub(super) struct Writer {
    pub(super) store: Box<dyn Store>,
    pub(super) batches: Receiver<Batch>,
    pub(super) inbox: Inbox,
    pub(super) disk: Disk,
    pub(super) accounts: Arc<AccountDirectory>,
    pub(super) routes: Arc<Routes>,
    pub(super) events: Arc<Events>,
    pub(super) revision: u64,
    /// Deleted things may have left something behind.
    pub(super) untidy: bool,
    /// The order to stop has come.
    pub(super) stopping: Arc<AtomicBool>,
    /// When the disk was last looked at for room for the reserve.
    pub(super) looked: Option<Instant>,
}

/// Whether removing this leaves rows to be removed later.
const fn leaves_something(record: &Record) -> bool {
    matches!(record, Record::JobGone(..) | Record::SweepGone(..) | Record::ContainerGone(..))
}

impl Writer {
    /// Works until the engine thread hangs up.
    ///
    /// # Errors
    /// The first failed commit; its batch and all later ones are dropped without a word.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        self.look_for_room();
        while let Some(batch) = self.next() {
            if !batch.records.is_empty() {
                self.commit(&batch)?;
                self.untidy |= batch.records.iter().any(leaves_something);
            }
            self.release(batch);
            self.look_for_room();
            self.inbox.writer_is_free();
        }
        Ok(())
    }

    /// The next batch; `None` when the engine thread has hung up. Uses idle time to tidy what deleted jobs and
    /// containers left, and to see whether a disk that was full has room again.
    fn next(&mut self) -> Option<Batch> {
        loop {
            let idle = match (self.untidy, self.disk.space()) {
                (true, _) => IDLE_BEFORE_TIDYING,
                (false, DiskSpace::Reserve | DiskSpace::Exhausted) => PAUSE_MAX,
                (false, DiskSpace::Enough) => return self.batches.recv().ok(),
            };
            match self.batches.recv_timeout(idle) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.look_for_room();
                    self.tidy();
                }
            }
        }
    }

    /// Commits a batch, however long the disk takes to have room for it.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let start = Instant::now();
        let (mut pause, mut given_up) = (PAUSE_FIRST, None);
        loop {
            let error = match self.store.commit(&batch.records) {
                Ok(()) => break,
                Err(error @ StoreError::Full { .. }) => error,
                Err(error) => return Err(error),
            };
            if self.store.release_reserve() {
                self.disk_is_full(DiskSpace::Reserve, &error);
                continue;
            }
            self.disk_is_full(DiskSpace::Exhausted, &error);
            if self.stopping.load(Ordering::Acquire) {
                let end = *given_up.get_or_insert_with(|| Instant::now() + WAIT_WHEN_STOPPING);
                if Instant::now() >= end {
                    return Err(error);
                }
            }
            // Woken early by the order to stop.
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if self.disk.space() == DiskSpace::Exhausted {
            self.disk.set(DiskSpace::Reserve);
            self.looked = None;
        }
        let took = start.elapsed();
        if took >= SLOW_COMMIT {
            let (inputs, records) = (batch.inputs, batch.records.len());
            tracing::warn!(
                ?took,
                inputs,
                records,
                "a commit was slow: the disk of the data folder cannot keep up"
            );
        }
        Ok(())
    }

    /// Closes the door; says so in the log the first time.
    fn disk_is_full(&self, space: DiskSpace, error: &StoreError) {
        if self.disk.space() == DiskSpace::Enough {
            tracing::error!(%error, cause = ?std::error::Error::source(error),
                "the disk of the data folder is full: new work is refused until there is room");
        }
        if self.disk.space() != space {
            self.disk.set(space);
        }
    }

    /// Opens the door again once the store has taken back what it keeps in reserve. The first time it takes that at all.
    fn look_for_room(&mut self) {
        let (full, last) = (self.disk.space() != DiskSpace::Enough, self.looked);
        let due = last.is_none_or(|last| full && last.elapsed() >= PAUSE_MAX);
        if !due {
            return;
        }
        self.looked = Some(Instant::now());
        let has_room = self.store.restore_reserve();
        if has_room && full {
            self.disk.set(DiskSpace::Enough);
            tracing::info!("the disk of the data folder has room again: new work is taken");
        } else if !has_room && !full {
            tracing::error!("the disk of the data folder is full: new work is refused until there is room");
            self.disk.set(DiskSpace::Reserve);
        }
    }

    /// Nothing is promised about what is tidied, so a failure waits for the next occasion.
    fn tidy(&mut self) {
        if self.untidy {
            self.untidy = self.store.tidy().unwrap_or_else(|error| {
                tracing::warn!(%error, "what deleted jobs left could not be removed");
                false
            });
        }
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
