//! Decoded sweeps, remembered: a table of values is read once and not for every member that is dispatched or listed.
//!
//! A sweep never changes and its key is never used again, so that what is remembered stays true; only what a failed
//! transaction wrote must be forgotten. The bounds count bytes in memory, roughly, and the newest always fits.

use super::fault::fault;
use super::row::{Cells, unreadable};
use super::row_sweep as row;
use crate::expand::Template;
use crate::port::StoreError;
use muster_model::{AccountName, JobId};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most sweeps that are remembered: those whose members run at one time, in a large installation.
const COUNT_MAX: usize = 256;
/// Most bytes of remembered sweeps together: two or three of the largest tables of short values, thousands of plain ranges.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// The remembered sweeps of one database, for its readers and its writer.
#[derive(Debug, Default)]
pub(super) struct Templates {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_key: BTreeMap<i64, Entry>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    template: Arc<Template>,
    bytes: usize,
    last_use: u64,
}

impl Templates {
    /// The sweep of a key, decoded; `None` when it is not there.
    pub(super) fn get(
        &self,
        connection: &Connection,
        account: &AccountName,
        job: &JobId,
        key: i64,
    ) -> Result<Option<Arc<Template>>, StoreError> {
        const DOING: &str = "reading a sweep";
        if let Some(template) = self.lock().find(key) {
            return Ok(Some(template));
        }
        let sql = format!("SELECT {} FROM sweep w WHERE w.key = ?1", row::SWEEP);
        let mut statement = connection.prepare_cached(&sql).map_err(fault(DOING))?;
        let mut rows = statement.query([key]).map_err(fault(DOING))?;
        let Some(found) = rows.next().map_err(fault(DOING))? else { return Ok(None) };
        let sweep = row::sweep(account, job, &mut Cells::new(found))
            .map_err(|error| unreadable("sweep", found, error))?;
        let template = Arc::new(Template::new(sweep));
        self.lock().keep(key, Arc::clone(&template));
        Ok(Some(template))
    }

    /// Forgets everything.
    pub(super) fn forget_all(&self) {
        *self.lock() = Held::default();
    }

    /// Nothing that is done under the lock can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn find(&mut self, key: i64) -> Option<Arc<Template>> {
        self.uses = self.uses.wrapping_add(1);
        let entry = self.by_key.get_mut(&key)?;
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.template))
    }

    fn keep(&mut self, key: i64, template: Arc<Template>) {
        let bytes = template.weight();
        self.drop_entry(key);
        while !self.by_key.is_empty() && (self.by_key.len() >= COUNT_MAX || self.bytes + bytes > BYTES_MAX) {
            let oldest = self.by_key.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.drop_entry(oldest);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_key.insert(key, Entry { template, bytes, last_use: self.uses });
    }

    fn drop_entry(&mut self, key: i64) {
        if let Some(entry) = self.by_key.remove(&key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}
