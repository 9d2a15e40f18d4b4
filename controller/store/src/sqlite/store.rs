//! The writer's face of the SQLite store.
//!
//! A commit is one transaction: its records, and a bounded part of what deleted parents have left. When it fails, nothing
//! of it stays and the keys that were remembered are forgotten. The statements are in `write` and `write_task`, opening in
//! `open`, the readers' face in `read`.

use super::fault::{fault, is_full_after_all};
use super::load::{load, load_tasks};
use super::names::Names;
use super::open::{OpenError, open_writer};
use super::pool::ReadPool;
use super::read::SqliteReader;
use super::reserve::{Reserve, takes_nothing};
use super::template::Templates;
use super::tidy::tidy;
use super::write::Writer;
use crate::port::{Reader, Store, StoreError};
use muster_controller_core::record::{Record, Rows, TaskRows};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of deleted parents that each commit removes: about a millisecond, while a million goes in a thousand commits.
const REMOVED_PER_COMMIT: u32 = 200;
/// Rows of deleted parents that one idle step removes: a pause of some ten milliseconds for who comes next.
const REMOVED_WHEN_IDLE: u32 = 5_000;

/// A store in one SQLite file.
///
/// One process at a time may open a file for writing; the daemon's lock on its data folder sees to that.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    names: Names,
    readers: Arc<ReadPool>,
    templates: Arc<Templates>,
    /// Whether deleted parents may have left rows.
    to_tidy: bool,
    path: PathBuf,
    reserve: Reserve,
}

impl SqliteStore {
    /// Opens the database at `path`, makes it when the file is new or empty, and brings an older schema up to date.
    /// A new file can be read and written by its owner alone. On a full disk the reserve is given up for it.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not a Muster database, is of a later version, is damaged or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let reserve = Reserve::of(path);
        let connection = match open_writer(path) {
            Err(OpenError::Full { .. }) if reserve.release() => open_writer(path)?,
            opened => opened?,
        };
        let readers = Arc::new(ReadPool::new(path.to_owned()));
        let templates = Arc::new(Templates::default());
        Ok(Self {
            connection,
            names: Names::default(),
            readers,
            templates,
            to_tidy: true,
            path: path.to_owned(),
            reserve,
        })
    }

    /// Runs `write` in one transaction; on any error nothing of it stays.
    fn transact<T>(
        &mut self,
        write: impl FnOnce(&Connection, &mut Names, &Templates) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fault("beginning a transaction"))
            .map_err(|error| is_full_after_all(error, || takes_nothing(&self.path)))?;
        let written = write(&transaction, &mut self.names, &self.templates)
            .and_then(|answer| transaction.commit().map(|()| answer).map_err(fault("committing")));
        if written.is_err() {
            self.names.forget_all();
            // A sweep of this transaction may be among them, and its key goes to another.
            self.templates.forget_all();
        }
        written.map_err(|error| is_full_after_all(error, || takes_nothing(&self.path)))
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Rows, StoreError> {
        let transaction = self.connection.transaction().map_err(fault("loading all rows"))?;
        load(&transaction)
    }

    fn load_tasks(&mut self, each: &mut dyn FnMut(TaskRows)) -> Result<(), StoreError> {
        let transaction = self.connection.transaction().map_err(fault("loading all tasks"))?;
        load_tasks(&transaction, each)
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let to_tidy = self.to_tidy || records.iter().any(leaves_rows);
        let more = self.transact(|connection, names, templates| {
            let mut writer = Writer::new(connection, names, templates)?;
            records.iter().try_for_each(|record| writer.apply(record))?;
            if to_tidy { tidy(connection, REMOVED_PER_COMMIT) } else { Ok(false) }
        })?;
        self.to_tidy = more;
        Ok(())
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(SqliteReader::new(Arc::clone(&self.readers), Arc::clone(&self.templates)))
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        if self.to_tidy {
            self.to_tidy = self.transact(|connection, _, _| tidy(connection, REMOVED_WHEN_IDLE))?;
        }
        Ok(self.to_tidy)
    }

    fn release_reserve(&mut self) -> bool {
        self.reserve.release()
    }

    fn restore_reserve(&mut self) -> bool {
        self.reserve.restore()
    }
}

/// Whether a record removes a parent and leaves the rows below it to `tidy`.
fn leaves_rows(record: &Record) -> bool {
    matches!(record, Record::JobGone(..) | Record::SweepGone(..) | Record::ContainerGone(..))
}
