//! Removing what deleted jobs and containers leave behind, a bounded number of rows at a time.
//!
//! Deleting a job removes its row and notes its key: from then on no read can reach its tasks, however many there are.
//! The rows themselves go in small steps with later commits, so that deleting a million tasks holds up nobody.

use super::fault::fault;
use crate::port::StoreError;
use rusqlite::{Connection, OptionalExtension as _};

/// What a noted key was a key of. Part of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// A job: its tasks, their states and attempts are left.
    Job,
    /// A container: its files are left.
    Container,
}

impl Parent {
    const fn code(self) -> i64 {
        match self {
            Self::Job => 1,
            Self::Container => 2,
        }
    }
}

const DOING: &str = "removing rows of what was deleted";

/// Notes that the rows below `key` are to be removed.
pub(super) fn note(connection: &Connection, parent: Parent, key: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO garbage (kind, key) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute((parent.code(), key)))
        .map(drop)
        .map_err(fault(DOING))
}

/// Removes at most `limit` tasks or files of one deleted parent; `true` while there is more.
pub(super) fn sweep(connection: &Connection, limit: u32) -> Result<bool, StoreError> {
    let next = connection
        .prepare_cached("SELECT kind, key FROM garbage LIMIT 1")
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()
        })
        .map_err(fault(DOING))?;
    let Some((kind, key)) = next else { return Ok(false) };
    let removed = if kind == Parent::Job.code() {
        sweep_tasks(connection, key, limit)
    } else {
        sweep_files(connection, key, limit)
    };
    if removed.map_err(fault(DOING))? < usize::try_from(limit).unwrap_or(usize::MAX) {
        connection
            .prepare_cached("DELETE FROM garbage WHERE kind = ?1 AND key = ?2")
            .and_then(|mut statement| statement.execute((kind, key)))
            .map_err(fault(DOING))?;
    }
    Ok(true)
}

fn sweep_tasks(connection: &Connection, job: i64, limit: u32) -> rusqlite::Result<usize> {
    let keys: Vec<i64> = connection
        .prepare_cached("SELECT key FROM task WHERE job = ?1 ORDER BY sequence LIMIT ?2")?
        .query_map((job, limit), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for key in &keys {
        remove_task(connection, *key)?;
    }
    Ok(keys.len())
}

/// Removes one task with its state and its attempts.
pub(super) fn remove_task(connection: &Connection, key: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM attempt WHERE task = ?1")?.execute([key])?;
    connection.prepare_cached("DELETE FROM task_state WHERE key = ?1")?.execute([key])?;
    connection.prepare_cached("DELETE FROM task WHERE key = ?1")?.execute([key])?;
    Ok(())
}

fn sweep_files(connection: &Connection, container: i64, limit: u32) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM file WHERE container = ?1 AND path IN (SELECT path FROM file WHERE container = ?1 LIMIT ?2)",
        )?
        .execute((container, limit))
}
