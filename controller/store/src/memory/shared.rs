//! The committed rows behind their lock, as a store and its readers share them.
//!
//! Readers take a reference to all rows and let the lock go at once; only `store` writes. What they hold is one commit
//! as a whole and never changes under them.

use super::rows::MemoryRows;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The committed rows, shared by a store and its readers. The inner `Arc` makes a copy of all rows one reference.
pub(super) type Shared = Arc<RwLock<Arc<MemoryRows>>>;

/// A panic while the lock was held cannot have left half a batch: `commit` checks before it changes.
pub(super) fn read(rows: &Shared) -> RwLockReadGuard<'_, Arc<MemoryRows>> {
    rows.read().unwrap_or_else(PoisonError::into_inner)
}
