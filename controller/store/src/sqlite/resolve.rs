//! One task by its id: a row, or a member of a sweep that has none; with or without the leading zeros of its number.
//!
//! A row that a deleted sweep has left is not there. What a member without a row looks like is `member`'s.

use super::fault::fault;
use super::row::{Cells, RowError, unreadable};
use super::row_sweep;
use super::tidy::{has_dead_sweeps, is_dead};
use crate::member::{Fate, Outline};
use crate::port::StoreError;
use muster_controller_core::record::SweepStateRow;
use muster_model::spec::split_member;
use muster_model::{AccountName, JobId, SweepId, TaskId};
use rusqlite::{Connection, OptionalExtension as _, Params};

const DOING: &str = "looking up a task";

/// Reads at most one row.
pub(super) fn one<T>(
    connection: &Connection,
    what: &'static str,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(fault(DOING))?;
    let mut rows = statement.query(params).map_err(fault(DOING))?;
    let Some(row) = rows.next().map_err(fault(DOING))? else { return Ok(None) };
    read(&mut Cells::new(row)).map(Some).map_err(|error| unreadable(what, row, error))
}

/// A job whose tasks are read.
#[derive(Clone, Copy)]
pub(super) struct JobAt<'r> {
    pub(super) connection: &'r Connection,
    pub(super) account: &'r AccountName,
    pub(super) id: &'r JobId,
    pub(super) key: i64,
}

/// Where a task is.
pub(super) enum Resolved {
    /// It has a row.
    Row {
        /// The row's key.
        key: i64,
        /// The task's id with all zeros and in its own case.
        id: TaskId,
    },
    /// It is a member without a row.
    Member {
        /// The key of its sweep.
        sweep: i64,
        /// What became of the sweep's members; it is among them.
        state: SweepStateRow,
        /// Which member.
        index: u64,
    },
}

impl JobAt<'_> {
    /// Finds a task.
    pub(super) fn resolve(&self, task: &TaskId) -> Result<Option<Resolved>, StoreError> {
        if let Some(found) = self.row(task)? {
            return Ok(Some(found));
        }
        let Some((sweep, _)) = split_member(task) else { return Ok(None) };
        let Some((key, outline, state)) = self.sweep(&sweep)? else { return Ok(None) };
        let Some(index) = outline.shape.find(&outline.id, task) else { return Ok(None) };
        let id = outline.task_id(index);
        if id != *task
            && let Some(found) = self.row(&id)?
        {
            return Ok(Some(found));
        }
        let untouched = Fate::of(&state, index).is_some();
        Ok(untouched.then_some(Resolved::Member { sweep: key, state, index }))
    }

    fn row(&self, task: &TaskId) -> Result<Option<Resolved>, StoreError> {
        let sql = "SELECT id, key, sweep FROM task WHERE job = ?1 AND id = ?2";
        let found = one(self.connection, "task", sql, (self.key, task.as_str()), |cells| {
            let id = cells.parsed("task id")?;
            Ok((id, cells.take()?, cells.take::<Option<i64>>()?))
        })?;
        let Some((id, key, sweep)) = found else { return Ok(None) };
        if let Some(sweep) = sweep
            && is_dead(self.connection, sweep).map_err(fault(DOING))?
        {
            return Ok(None);
        }
        Ok(Some(Resolved::Row { key, id }))
    }

    /// A sweep's key, outline and state.
    fn sweep(&self, sweep: &SweepId) -> Result<Option<(i64, Outline, SweepStateRow)>, StoreError> {
        let sql = format!(
            "SELECT {}, {} FROM sweep w JOIN sweep_state x ON x.key = w.key WHERE w.job = ?1 AND w.id = ?2",
            row_sweep::OUTLINE,
            row_sweep::SWEEP_STATE
        );
        one(self.connection, "sweep", &sql, (self.key, sweep.as_str()), |cells| {
            let (key, outline) = row_sweep::outline(self.account, self.id, cells)?;
            let state = row_sweep::sweep_state(self.account, self.id, &outline.id, cells)?;
            Ok((key, outline, state))
        })
    }

    /// The sequence numbers that sweeps of the job take up, deleted ones included, in order and with none touching.
    pub(super) fn sweep_ranges(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        let sql = "SELECT sequence, sequence + count - 1 FROM sweep WHERE job = ?1
            UNION ALL SELECT first, last FROM dead_sweep WHERE job = ?1 ORDER BY 1";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault(DOING))?;
        let rows = statement
            .query_map([self.key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .map_err(fault(DOING))?;
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for row in rows {
            let (first, last) = row.map_err(fault(DOING))?;
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                Some(_) | None => ranges.push((first, last)),
            }
        }
        Ok(ranges)
    }

    /// The sequence numbers of one sweep, and the ids of its first and last members.
    pub(super) fn sweep_bounds(&self, sweep: &str) -> Result<Option<SweepBounds>, StoreError> {
        let sql = format!("SELECT {} FROM sweep w WHERE w.job = ?1 AND w.id = ?2", row_sweep::OUTLINE);
        let found = one(self.connection, "sweep", &sql, (self.key, sweep), |cells| {
            row_sweep::outline(self.account, self.id, cells)
        })?;
        Ok(found.map(|(_, outline)| {
            let last = outline.shape.count.saturating_sub(1);
            let number =
                |index: u64| i64::try_from(outline.sequence.saturating_add(index)).unwrap_or(i64::MAX);
            SweepBounds {
                sequences: (number(0), number(last)),
                ids: (outline.task_id(0), outline.task_id(last)),
            }
        }))
    }

    /// Whether rows of deleted sweeps may lie among the job's tasks.
    pub(super) fn has_leftovers(&self) -> Result<bool, StoreError> {
        has_dead_sweeps(self.connection)
    }

    /// How many failures the job has, up to `limit`.
    pub(super) fn failures(&self, limit: u32) -> Result<u32, StoreError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM task_state INDEXED BY task_failed
            WHERE job = ?1 AND result = 2 LIMIT ?2)";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row((self.key, limit), |row| row.get(0)).optional())
            .map(Option::unwrap_or_default)
            .map_err(fault(DOING))
    }
}

/// Where the members of a sweep lie in both orders that have an index.
pub(super) struct SweepBounds {
    pub(super) sequences: (i64, i64),
    pub(super) ids: (TaskId, TaskId),
}
