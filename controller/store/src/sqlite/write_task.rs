//! Records of tasks to statements: the hot path of the store.
//!
//! A task's specification is written once, its small state many times; both and its attempts hang on the integer key
//! of the task, found by (job, id) in one index. Statements are prepared once for each batch (`hot`), and the key of the
//! task before is remembered: the core's records of one task come together.

use super::fault::fault;
use super::hot::{Hot, LastTask};
use super::tidy::{is_dead, remove_task};
use super::write::Writer;
use crate::codec::{
    Coded as _, FORMAT, attempt_detail_bytes, constraints_bytes, failure_bytes, rare_bytes, task_spec_bytes,
};
use crate::port::{StoreError, integer};
use crate::view::untouched;
use muster_controller_core::record::{AttemptRow, TaskSpecRow, TaskStateRow};
use muster_model::{AccountName, AttemptResult, JobId, TaskId, TaskKey, Timestamp};
use rusqlite::{OptionalExtension as _, ToSql, params};

/// Keeps the task's key: its state and attempts hang on it.
const UPDATE_TASK: &str = "UPDATE task SET
     sequence = ?3, created = ?4, display_name = ?5, format = ?6, spec = ?7, sweep = NULL, member = NULL
    WHERE job = ?1 AND id = ?2";

/// A task that is written again keeps the state that it had, also one that nothing had happened to.
const KEEP_STATE: &str = "INSERT OR IGNORE INTO task_state
    (key, format, state, state_since, attempt, placed, retry_count, requeue_count, server_retry_count, modified, revision,
     job, sequence)
    SELECT key, ?3, 1, created, 0, 0, 0, 0, 0, created, 1, job, sequence FROM task WHERE job = ?1 AND id = ?2";

const MOVE_STATE: &str = "UPDATE task_state SET sequence = ?3
    WHERE key = (SELECT key FROM task WHERE job = ?1 AND id = ?2)";

const WRITING_STATE: &str = "writing a task's state";

impl Writer<'_> {
    fn find_task(
        &mut self,
        account: &AccountName,
        job: &JobId,
        task: &TaskId,
    ) -> Result<Option<i64>, StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let Some(job) = self.names.job(self.connection, tenant, job)? else { return Ok(None) };
        if let Some(last) = self.last_task.as_ref().filter(|last| last.job == job && last.id == *task) {
            return Ok(Some(last.key));
        }
        let found = self.hot.find_task.query_row((job, task.as_str()), |row| row.get(0)).optional();
        let found = found.map_err(fault("looking up a task"))?;
        self.last_task = found.map(|key| LastTask { job, id: task.clone(), key, fresh: None, member: false });
        Ok(found)
    }

    fn known_task(
        &mut self,
        account: &AccountName,
        job: &JobId,
        task: &TaskId,
        what: &'static str,
    ) -> Result<i64, StoreError> {
        self.find_task(account, job, task)?.ok_or_else(|| StoreError::UnknownTask {
            task: TaskKey { job: job.clone(), task: task.clone() },
            what,
        })
    }

    pub(super) fn put_task_spec(&mut self, row: &TaskSpecRow) -> Result<(), StoreError> {
        const DOING: &str = "writing a task";
        let TaskSpecRow { account, job, spec, sequence, created } = row;
        let job = self.known_job(account, job, "task", spec.id.as_str())?;
        let sequence = integer("sequence", *sequence)?;
        let (bytes, none) = (task_spec_bytes(spec), None::<i64>);
        let params: [&dyn ToSql; 9] = [
            &job,
            &spec.id.as_str(),
            &sequence,
            &created.as_micros(),
            &spec.display_name,
            &FORMAT,
            &bytes,
            &none,
            &none,
        ];
        if let Some(key) = self.insert_task(job, &spec.id, &params)? {
            let fresh = Some(*created);
            self.last_task = Some(LastTask { job, id: spec.id.clone(), key, fresh, member: false });
            return Ok(());
        }
        let [replaced @ .., _, _] = &params;
        self.execute(DOING, KEEP_STATE, (job, spec.id.as_str(), FORMAT))?;
        self.execute(DOING, MOVE_STATE, (job, spec.id.as_str(), sequence))?;
        let mut update = self.connection.prepare_cached(UPDATE_TASK).map_err(fault(DOING))?;
        update.execute(replaced.as_slice()).map(drop).map_err(fault(DOING))
    }

    /// Inserts a task or member; answers its key, or `None` when it is there already. Its id may be that of a member of a
    /// deleted sweep which has not been removed yet: that goes first.
    pub(super) fn insert_task(
        &mut self,
        job: i64,
        task: &TaskId,
        params: &[&dyn ToSql; 9],
    ) -> Result<Option<i64>, StoreError> {
        const DOING: &str = "writing a task";
        for _attempt in 0..2 {
            if self.hot.insert_task.execute(params.as_slice()).map_err(fault(DOING))? == 1 {
                return Ok(Some(self.connection.last_insert_rowid()));
            }
            let left = self
                .connection
                .prepare_cached(
                    "SELECT key, sweep FROM task WHERE job = ?1 AND id = ?2 AND sweep IS NOT NULL",
                )
                .and_then(|mut statement| {
                    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                    statement.query_row((job, task.as_str()), read).optional()
                })
                .map_err(fault(DOING))?;
            let Some((key, sweep)): Option<(i64, i64)> = left else { return Ok(None) };
            if !is_dead(self.connection, sweep).map_err(fault(DOING))? {
                return Ok(None);
            }
            remove_task(self.connection, key).map_err(fault(DOING))?;
        }
        Ok(None)
    }

    pub(super) fn put_task_state(&mut self, row: &TaskStateRow) -> Result<(), StoreError> {
        let TaskStateRow {
            account,
            job,
            task,
            state,
            state_since,
            previous_state,
            previous_state_since,
            attempt,
            node,
            placed,
            ending,
            retry_count,
            requeue_count,
            server_retry_count,
            // These are in the rare parts.
            last_retry: _,
            last_requeue: _,
            memory_bytes: _,
            avoid: _,
            nodes_lost: _,
            not_before,
            constraints,
            started,
            ended,
            exit_code,
            signal,
            result,
            satisfies,
            failure,
            modified,
            revision,
        } = row;
        let key = self.known_task(account, job, task, "state")?;
        let (fresh, member, job_key) = self.take_fresh();
        if fresh.is_some_and(|created| !member && is_untouched(row, created)) {
            return Ok(());
        }
        let params = params![
            key,
            FORMAT,
            state.code(),
            state_since.as_micros(),
            previous_state.map(|state| state.code()),
            attempt,
            node.as_ref().map(|node| node.as_str()),
            placed,
            ending.map(|ending| ending.code()),
            retry_count,
            requeue_count,
            server_retry_count,
            not_before.map(|time| time.as_micros()),
            constraints.as_ref().map(constraints_bytes),
            started.map(|time| time.as_micros()),
            ended.map(|time| time.as_micros()),
            exit_code,
            signal,
            result.map(|result| result.code()),
            failure.as_ref().map(|failure| failure.cause.code()),
            failure.as_ref().map(failure_bytes),
            modified.as_micros(),
            integer("revision", *revision)?,
            previous_state_since.map(|time| time.as_micros()),
            satisfies,
            rare_bytes(row),
            job_key,
        ];
        // A second revision is mostly the first change of a task that has no row for its state.
        self.write_state(params, fresh.is_some() || *revision == 2)
    }

    /// Of the task just found: when it was made, if that was by this batch and it has no row for its state; whether it is a
    /// member; and its job's key.
    fn take_fresh(&mut self) -> (Option<Timestamp>, bool, i64) {
        let last = self.last_task.as_mut();
        last.map_or((None, false, 0), |last| (last.fresh.take(), last.member, last.job))
    }

    /// Writes a row of `task_state`; `first` when it is probably the first of its task. The last of `params` is the job,
    /// which never changes.
    fn write_state(&mut self, params: &[&dyn ToSql], first: bool) -> Result<(), StoreError> {
        let insert = |hot: &mut Hot<'_>| hot.insert_state.execute(params).map_err(fault(WRITING_STATE));
        if first && insert(&mut self.hot)? == 1 {
            return Ok(());
        }
        let [changing @ .., _] = params else { return Ok(()) };
        if self.hot.update_state.execute(changing).map_err(fault(WRITING_STATE))? == 0 {
            insert(&mut self.hot)?;
        }
        Ok(())
    }

    pub(super) fn remove_task(
        &mut self,
        account: &AccountName,
        job: &JobId,
        task: &TaskId,
    ) -> Result<(), StoreError> {
        let found = self.find_task(account, job, task)?;
        self.last_task = None;
        match found {
            Some(key) => remove_task(self.connection, key).map_err(fault("removing a task")),
            None => Ok(()),
        }
    }

    pub(super) fn put_attempt(&mut self, row: &AttemptRow) -> Result<(), StoreError> {
        let AttemptRow { account, job, task, number, node, result } = row;
        let detail = attempt_detail_bytes(result);
        // Use, excerpts and outputs are in the detail.
        let AttemptResult { result, exit_code, signal, failure, start_time, end_time, .. } = result;
        let key = self.known_task(account, job, task, "result of an attempt")?;
        let params = params![
            key,
            number,
            node.as_str(),
            result.code(),
            exit_code,
            signal,
            failure.as_ref().map(|failure| failure.cause.code()),
            failure.as_ref().map(failure_bytes),
            start_time.map(|time| time.as_micros()),
            end_time.as_micros(),
            FORMAT,
            detail,
        ];
        self.hot.put_attempt.execute(params).map(drop).map_err(fault("writing an attempt"))
    }
}

/// Whether a state is that of a task that nothing has happened to.
fn is_untouched(row: &TaskStateRow, created: Timestamp) -> bool {
    // Cheap for most that are not.
    row.revision == 1
        && row.attempt == 0
        && *row == untouched(row.account.clone(), row.job.clone(), row.task.clone(), created)
}
