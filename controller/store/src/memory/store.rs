//! The writer's face of the memory store, and its cheap copies.
//!
//! A batch is checked as a whole before a row of it is applied, so that a refused one leaves nothing. Nothing outlives
//! the process: `snapshot` is what stands for a disk after a crash. Readers are in `reader`.

use super::check::check;
use super::reader::MemoryReader;
use super::shared::{Shared, read};
use crate::port::{Reader, Store, StoreError};
use muster_controller_core::record::{Record, Rows, TaskRows};
use std::sync::{Arc, PoisonError, RwLock};

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

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Rows, StoreError> {
        Ok(read(&self.rows).load())
    }

    fn load_tasks(&mut self, each: &mut dyn FnMut(TaskRows)) -> Result<(), StoreError> {
        let rows = Arc::clone(&read(&self.rows));
        rows.load_tasks(each);
        Ok(())
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
