//! Records of tasks to statements: the hot path of the store.
//!
//! A task's specification is written once, its small state many times; both and its attempts hang on the integer key
//! of the task, found by (job, id) in one index. Statements are prepared once for each batch (`hot`), and the key of the
//! task before is remembered: the core's records of one task come together.

use super::fault::fault;
use super::hot::LastTask;
use super::sweep::remove_task;
use super::write::Writer;
use crate::codec::{
    Coded as _, FORMAT, attempt_detail_bytes, constraints_bytes, failure_bytes, task_spec_bytes,
};
use crate::port::{StoreError, integer};
use muster_controller_core::record::{AttemptRow, TaskSpecRow, TaskStateRow};
use muster_model::{AccountName, AttemptResult, JobId, TaskId, TaskKey};
use rusqlite::{OptionalExtension as _, params};

/// Keeps the task's key: its state and attempts hang on it.
const UPDATE_TASK: &str =
    "UPDATE task SET sequence = ?3, created = ?4, display_name = ?5, format = ?6, spec = ?7
    WHERE job = ?1 AND id = ?2";

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
        self.last_task = found.map(|key| LastTask { job, id: task.clone(), key, fresh: false });
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
        let tenant = self.names.tenant(self.connection, account)?;
        let unknown = || StoreError::UnknownJob { job: job.clone(), task: spec.id.clone() };
        let job = self.names.job(self.connection, tenant, job)?.ok_or_else(unknown)?;
        let params = params![
            job,
            spec.id.as_str(),
            integer("sequence", *sequence)?,
            created.as_micros(),
            spec.display_name,
            FORMAT,
            task_spec_bytes(spec),
        ];
        if self.hot.insert_task.execute(params).map_err(fault(DOING))? == 1 {
            let key = self.connection.last_insert_rowid();
            self.last_task = Some(LastTask { job, id: spec.id.clone(), key, fresh: true });
            return Ok(());
        }
        let mut update = self.connection.prepare_cached(UPDATE_TASK).map_err(fault(DOING))?;
        update.execute(params).map(drop).map_err(fault(DOING))
    }

    pub(super) fn put_task_state(&mut self, row: &TaskStateRow) -> Result<(), StoreError> {
        const DOING: &str = "writing a task's state";
        let TaskStateRow {
            account,
            job,
            task,
            state,
            state_since,
            previous_state,
            attempt,
            node,
            placed,
            ending,
            retry_count,
            requeue_count,
            server_retry_count,
            not_before,
            constraints,
            started,
            ended,
            exit_code,
            signal,
            result,
            failure,
            modified,
            revision,
        } = row;
        let key = self.known_task(account, job, task, "state")?;
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
        ];
        let fresh = self.last_task.as_mut().is_some_and(|last| std::mem::take(&mut last.fresh));
        let updated = if fresh { Ok(0) } else { self.hot.update_state.execute(params) };
        if updated.map_err(fault(DOING))? == 0 {
            self.hot.insert_state.execute(params).map_err(fault(DOING))?;
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
