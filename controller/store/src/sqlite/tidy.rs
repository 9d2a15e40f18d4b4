//! Removing what deleted jobs, sweeps and containers leave behind, a bounded number of rows at a time.
//!
//! Deleting a job removes its row and notes its key: from then on no read can reach its tasks, however many there are.
//! The rows themselves go in small steps with later commits, so that deleting a million tasks holds up nobody. Members
//! of a deleted sweep lie among the tasks of a job that lives: `dead_sweep` names their sweep and their sequence numbers
//! until the last of them is gone.

use super::fault::fault;
use crate::port::StoreError;
use rusqlite::{Connection, OptionalExtension as _};

/// What a noted key was a key of. Part of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// A job: its tasks with states and attempts, its sweeps and what it did on nodes are left.
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

/// Removes at most `limit` rows of one deleted parent; `true` while there is more.
pub(super) fn tidy(connection: &Connection, limit: u32) -> Result<bool, StoreError> {
    if let Some(sweep) = dead_sweep(connection).map_err(fault(DOING))? {
        return remove_members(connection, &sweep, limit).map(|()| true).map_err(fault(DOING));
    }
    let next = connection
        .prepare_cached("SELECT kind, key FROM garbage LIMIT 1")
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()
        })
        .map_err(fault(DOING))?;
    let Some((kind, key)) = next else { return Ok(false) };
    let more = if kind == Parent::Job.code() {
        remove_of_job(connection, key, limit)
    } else {
        remove_files(connection, key, limit).map(|removed| removed > 0)
    };
    if !more.map_err(fault(DOING))? {
        connection
            .prepare_cached("DELETE FROM garbage WHERE kind = ?1 AND key = ?2")
            .and_then(|mut statement| statement.execute((kind, key)))
            .map_err(fault(DOING))?;
    }
    Ok(true)
}

/// A deleted sweep whose members may have left rows.
struct DeadSweep {
    key: i64,
    job: i64,
    first: i64,
    last: i64,
}

fn dead_sweep(connection: &Connection) -> rusqlite::Result<Option<DeadSweep>> {
    connection
        .prepare_cached("SELECT key, job, first, last FROM dead_sweep LIMIT 1")?
        .query_row([], |row| {
            Ok(DeadSweep { key: row.get(0)?, job: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
        })
        .optional()
}

/// Whether a deleted sweep may have left rows, so that readers must look out for them.
pub(super) fn has_dead_sweeps(connection: &Connection) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM dead_sweep)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(fault("looking for deleted sweeps"))
}

/// Whether a sweep has been deleted and its members have not all been removed yet.
pub(super) fn is_dead(connection: &Connection, sweep: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM dead_sweep WHERE key = ?1)")?
        .query_row([sweep], |row| row.get(0))
}

/// Removes a sweep and notes its members, which are told by its key and lie between two sequence numbers.
pub(super) fn remove_sweep(connection: &Connection, key: i64) -> Result<(), StoreError> {
    let run = |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([key]));
    run("INSERT INTO dead_sweep (key, job, first, last)
         SELECT key, job, sequence, sequence + count - 1 FROM sweep WHERE key = ?1")
    .and_then(|_| run("DELETE FROM sweep_state WHERE key = ?1"))
    .and_then(|_| run("DELETE FROM sweep WHERE key = ?1"))
    .map(drop)
    .map_err(fault("removing a sweep"))
}

fn remove_members(connection: &Connection, sweep: &DeadSweep, limit: u32) -> rusqlite::Result<()> {
    let sql = "SELECT key FROM task
        WHERE job = ?1 AND sequence BETWEEN ?2 AND ?3 AND sweep = ?4 ORDER BY sequence LIMIT ?5";
    let keys: Vec<i64> = connection
        .prepare_cached(sql)?
        .query_map((sweep.job, sweep.first, sweep.last, sweep.key, limit), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for key in &keys {
        remove_task(connection, *key)?;
    }
    if keys.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        connection.prepare_cached("DELETE FROM dead_sweep WHERE key = ?1")?.execute([sweep.key])?;
    }
    Ok(())
}

/// Sweeps of a deleted job that one step removes: each may be some megabytes of values.
const SWEEPS_PER_STEP: u32 = 10;

/// Removes tasks first, then what else the job had; `false` when there was nothing left.
fn remove_of_job(connection: &Connection, job: i64, limit: u32) -> rusqlite::Result<bool> {
    if remove_tasks(connection, job, limit)? > 0 {
        return Ok(true);
    }
    let sweeps: Vec<i64> = connection
        .prepare_cached("SELECT key FROM sweep WHERE job = ?1 LIMIT ?2")?
        .query_map((job, SWEEPS_PER_STEP), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for sweep in &sweeps {
        connection.prepare_cached("DELETE FROM sweep_state WHERE key = ?1")?.execute([sweep])?;
        connection.prepare_cached("DELETE FROM sweep WHERE key = ?1")?.execute([sweep])?;
    }
    if !sweeps.is_empty() {
        return Ok(true);
    }
    let nodes = connection
        .prepare_cached(
            "DELETE FROM job_node WHERE job = ?1 AND node IN (SELECT node FROM job_node WHERE job = ?1 LIMIT ?2)",
        )?
        .execute((job, limit))?;
    Ok(nodes > 0)
}

fn remove_tasks(connection: &Connection, job: i64, limit: u32) -> rusqlite::Result<usize> {
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

fn remove_files(connection: &Connection, container: i64, limit: u32) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM file WHERE container = ?1 AND path IN (SELECT path FROM file WHERE container = ?1 LIMIT ?2)",
        )?
        .execute((container, limit))
}
