//! The writer's face of the memory store, and its cheap copies.

use super::check::check;
use super::reader::MemoryReader;
use super::rows::MemoryRows;
use crate::port::{Reader, Store, StoreError};
use muster_controller_core::record::{Record, Rows};
use std::sync::{Arc, PoisonError, RwLock};

/// The committed rows, shared by a store and its readers. The inner `Arc` makes a copy of all rows one reference.
pub(super) type Shared = Arc<RwLock<Arc<MemoryRows>>>;

/// A store in memory. Rows live as long as the store or one of its readers does.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: Shared,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store that holds what is committed in this one: the disk that a crashed controller leaves behind.
    ///
    /// Rows are shared until either store changes them, so that a copy costs one reference and the next commit of
    /// either store one more reference for each row.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { rows: Arc::new(RwLock::new(Arc::clone(&read(&self.rows)))) }
    }
}

/// A panic while the lock was held cannot have left half a batch: `commit` checks before it changes.
pub(super) fn read(rows: &Shared) -> std::sync::RwLockReadGuard<'_, Arc<MemoryRows>> {
    rows.read().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Rows, StoreError> {
        read(&self.rows).load()
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        check(&rows, records)?;
        let rows = Arc::make_mut(&mut rows);
        records.iter().for_each(|record| rows.apply(record));
        Ok(())
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(MemoryReader::new(Arc::clone(&self.rows)))
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}
