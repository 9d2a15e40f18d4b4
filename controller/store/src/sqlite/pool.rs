//! A few reading connections, lent one at a time.
//!
//! A read takes a connection, opens one read transaction on it, and so sees one committed state however many
//! statements it takes. When all are lent, the next reader waits: reads are pages and end soon.

use super::fault::fault;
use super::open::open_reader;
use crate::port::StoreError;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Most reading connections: twice the processors of a small machine keeps them busy while one waits for the disk.
const READERS_MAX: usize = 4;

/// The reading connections of one database.
#[derive(Debug)]
pub(super) struct ReadPool {
    path: PathBuf,
    state: Mutex<Lending>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Lending {
    idle: Vec<Connection>,
    /// Idle and lent ones.
    open: usize,
}

/// A lent connection; goes back when dropped.
struct Lent<'p> {
    pool: &'p ReadPool,
    connection: Option<Connection>,
}

impl ReadPool {
    /// An empty pool; connections are opened when they are needed.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `read` in a read transaction.
    pub(super) fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lent = self.lend();
        let connection = match lent.connection.take() {
            Some(connection) => connection,
            None => open_reader(&self.path).map_err(fault(doing))?,
        };
        let connection = lent.connection.insert(connection);
        let transaction = connection.unchecked_transaction().map_err(fault(doing))?;
        let answer = read(&transaction)?;
        transaction.finish().map_err(fault(doing))?;
        Ok(answer)
    }

    /// Lends an idle connection, or the right to open one.
    fn lend(&self) -> Lent<'_> {
        let mut state = self.lock();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Lent { pool: self, connection: Some(connection) };
            }
            if state.open < READERS_MAX {
                state.open += 1;
                return Lent { pool: self, connection: None };
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing that is done under the lock can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Lending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open = state.open.saturating_sub(1),
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
