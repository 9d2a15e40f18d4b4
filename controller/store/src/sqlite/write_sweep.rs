//! Records of sweeps, their members and what jobs do on nodes to statements.
//!
//! A sweep's values are written once; its small state with every batch that takes members out of it. A member is a task
//! whose specification is the sweep's: its row has the sweep's key instead, and its display name for filters.

use super::fault::fault;
use super::hot::LastTask;
use super::tidy::remove_sweep;
use super::write::Writer;
use crate::codec::{Coded as _, FORMAT, ended_bytes, failure_bytes, index_set_bytes, sweep_spec_bytes};
use crate::port::{StoreError, integer};
use muster_controller_core::record::{JobNodeRow, JobNodeTask, MemberRow, SweepRow, SweepStateRow};
use muster_model::{AccountName, JobId, NodeId, SweepId};
use rusqlite::{ToSql, params};

impl Writer<'_> {
    /// The key of a job that must be there.
    pub(super) fn known_job(
        &mut self,
        account: &AccountName,
        job: &JobId,
        what: &'static str,
        id: &str,
    ) -> Result<i64, StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let unknown = || StoreError::UnknownJob { job: job.clone(), what, id: id.to_owned() };
        self.names.job(self.connection, tenant, job)?.ok_or_else(unknown)
    }

    fn known_sweep(
        &mut self,
        job: i64,
        id: &JobId,
        sweep: &SweepId,
        what: &'static str,
    ) -> Result<i64, StoreError> {
        let unknown = || StoreError::UnknownSweep { job: id.clone(), sweep: sweep.clone(), what };
        self.names.sweep(self.connection, job, sweep)?.ok_or_else(unknown)
    }

    /// Keeps the sweep's key when it is there already: its members hang on it.
    pub(super) fn put_sweep(&mut self, row: &SweepRow) -> Result<(), StoreError> {
        let SweepRow { account, job, spec, sequence, created } = row;
        let job = self.known_job(account, job, "sweep", spec.id.as_str())?;
        if self.names.sweep(self.connection, job, &spec.id)?.is_some() {
            // Whoever writes a sweep again must not find the first one remembered.
            self.templates.forget_all();
        }
        let shape = spec.shape();
        let sql = "INSERT INTO sweep
            (job, id, sequence, created, first, step, count, display_name, format, spec)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            ON CONFLICT (job, id) DO UPDATE SET
             sequence = excluded.sequence, created = excluded.created, first = excluded.first, step = excluded.step,
             count = excluded.count, display_name = excluded.display_name, format = excluded.format,
             spec = excluded.spec";
        let params = params![
            job,
            spec.id.as_str(),
            integer("sequence", *sequence)?,
            created.as_micros(),
            integer("first number", shape.first)?,
            integer("step", shape.step)?,
            integer("count", shape.count)?,
            spec.template.display_name,
            FORMAT,
            sweep_spec_bytes(spec),
        ];
        self.execute("writing a sweep", sql, params).map(drop)
    }

    pub(super) fn put_sweep_state(&mut self, row: &SweepStateRow) -> Result<(), StoreError> {
        let SweepStateRow { account, job, sweep, pending, ended, deleting, modified, revision } = row;
        let key = self.known_job(account, job, "state", sweep.as_str())?;
        let key = self.known_sweep(key, job, sweep, "state")?;
        let untouched =
            ended.iter().fold(pending.len(), |sum, group| sum.saturating_add(group.members.len()));
        let sql = "INSERT OR REPLACE INTO sweep_state
            (key, format, untouched, pending, ended, deleting, modified, revision)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let params = params![
            key,
            FORMAT,
            integer("members", untouched)?,
            index_set_bytes(pending),
            ended_bytes(ended),
            deleting,
            modified.as_micros(),
            integer("revision", *revision)?,
        ];
        self.execute("writing the state of a sweep", sql, params).map(drop)
    }

    pub(super) fn remove_sweep(
        &mut self,
        account: &AccountName,
        job: &JobId,
        sweep: &SweepId,
    ) -> Result<(), StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let Some(job) = self.names.job(self.connection, tenant, job)? else { return Ok(()) };
        let Some(key) = self.names.sweep(self.connection, job, sweep)? else { return Ok(()) };
        self.names.forget_sweep(job, sweep);
        self.last_task = None;
        remove_sweep(self.connection, key)
    }

    pub(super) fn put_member(&mut self, row: &MemberRow) -> Result<(), StoreError> {
        let MemberRow { account, job, sweep, index, task, sequence, created } = row;
        let job_key = self.known_job(account, job, "member", sweep.as_str())?;
        let key = self.known_sweep(job_key, job, sweep, "member")?;
        let template = self.templates.get(self.connection, account, job, key)?;
        let name = template.map(|template| template.display_name(*index)).unwrap_or_default();
        let (sequence, member) = (integer("sequence", *sequence)?, integer("index", *index)?);
        let none: &[u8] = &[];
        let params: [&dyn ToSql; 9] =
            [&job_key, &task.as_str(), &sequence, &created.as_micros(), &name, &FORMAT, &none, &key, &member];
        if let Some(key) = self.insert_task(job_key, task, &params)? {
            let fresh = Some(*created);
            self.last_task = Some(LastTask { job: job_key, id: task.clone(), key, fresh, member: true });
        }
        Ok(())
    }

    pub(super) fn put_job_node(&mut self, row: &JobNodeRow) -> Result<(), StoreError> {
        let JobNodeRow { account, job, node, pool, boot_id, preparation, release } = row;
        let job = self.known_job(account, job, "preparation on node", node.as_str())?;
        let sql = "INSERT OR REPLACE INTO job_node
            (job, node, pool, boot_id, prep_attempt, prep_state, prep_placed, prep_started, prep_ended, prep_exit_code,
             prep_retries, prep_last_retry, prep_result, prep_cause, prep_failure, rel_attempt, rel_state, rel_placed,
             rel_started, rel_ended, rel_exit_code, rel_retries, rel_last_retry, rel_result, rel_cause, rel_failure)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
             ?23, ?24, ?25, ?26)";
        let mut statement =
            self.connection.prepare_cached(sql).map_err(fault("writing a job preparation"))?;
        let mut values: Vec<Box<dyn ToSql>> = vec![
            Box::new(job),
            Box::new(node.as_str().to_owned()),
            Box::new(pool.as_str().to_owned()),
            Box::new(boot_id.clone()),
        ];
        values.extend(task_values(Some(preparation)));
        values.extend(task_values(release.as_ref()));
        statement
            .execute(rusqlite::params_from_iter(values))
            .map(drop)
            .map_err(fault("writing a job preparation"))
    }

    pub(super) fn remove_job_node(
        &mut self,
        account: &AccountName,
        job: &JobId,
        node: &NodeId,
    ) -> Result<(), StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let Some(job) = self.names.job(self.connection, tenant, job)? else { return Ok(()) };
        let sql = "DELETE FROM job_node WHERE job = ?1 AND node = ?2";
        self.execute("removing a job preparation", sql, (job, node.as_str())).map(drop)
    }
}

/// The eleven columns of a preparation or release task; all NULL when there is none.
fn task_values(task: Option<&JobNodeTask>) -> [Box<dyn ToSql>; 11] {
    let failure = task.and_then(|task| task.failure.as_ref());
    let time = |time: Option<muster_model::Timestamp>| time.map(|time| time.as_micros());
    [
        Box::new(task.map(|task| task.attempt)),
        Box::new(task.map(|task| task.state.code())),
        Box::new(task.map(|task| task.placed)),
        Box::new(task.and_then(|task| time(task.started))),
        Box::new(task.and_then(|task| time(task.ended))),
        Box::new(task.and_then(|task| task.exit_code)),
        Box::new(task.map(|task| task.retry_count)),
        Box::new(task.and_then(|task| time(task.last_retry))),
        Box::new(task.and_then(|task| task.result).map(|result| result.code())),
        Box::new(failure.map(|failure| failure.cause.code())),
        Box::new(failure.map(failure_bytes)),
    ]
}
