//! Records to statements, one function for each resource but tasks (`write_task`) and sweeps (`write_sweep`).
//!
//! A put replaces the row of its key, a removal of what is not there is nothing. Rows are taken apart by all their
//! fields, so that a new one cannot be forgotten here.

use super::fault::fault;
use super::hot::{Hot, LastTask};
use super::names::{Names, find_container};
use super::template::Templates;
use super::tidy::{Parent, note};
use crate::codec::{
    Coded as _, FORMAT, error_bytes, errors_bytes, facts_bytes, failure_bytes, job_spec_bytes,
    pool_spec_bytes, reply_bytes,
};
use crate::port::{StoreError, integer};
use muster_controller_core::record::{
    AccountRow, FileRow, JobRow, NodeRow, PoolRow, Record, RequestRow, TokenRow,
};
use muster_model::{AccountName, ContainerName, FilePath, JobId};
use rusqlite::{Connection, OptionalExtension as _, Params, params};

/// Writes the records of one transaction.
pub(super) struct Writer<'t> {
    pub(super) connection: &'t Connection,
    pub(super) names: &'t mut Names,
    /// For the display names of members.
    pub(super) templates: &'t Templates,
    /// The statements of tasks, prepared for the whole batch.
    pub(super) hot: Hot<'t>,
    /// The task that the record before was about: the next is often about the same.
    pub(super) last_task: Option<LastTask>,
}

impl<'t> Writer<'t> {
    pub(super) fn new(
        connection: &'t Connection,
        names: &'t mut Names,
        templates: &'t Templates,
    ) -> Result<Self, StoreError> {
        let hot = Hot::prepare(connection).map_err(fault("preparing statements"))?;
        Ok(Self { connection, names, templates, hot, last_task: None })
    }

    /// Applies one record.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Account(row) => self.put_account(row),
            Record::Pool(row) => self.put_pool(row),
            Record::PoolGone(account, pool) => {
                self.remove(account, pool.as_str(), "DELETE FROM pool WHERE tenant = ?1 AND id = ?2")
            }
            Record::Node(row) => self.put_node(row),
            Record::NodeGone(account, node) => {
                self.remove(account, node.as_str(), "DELETE FROM node WHERE tenant = ?1 AND id = ?2")
            }
            Record::Token(row) => self.put_token(row),
            Record::TokenGone(account, token) => {
                self.remove(account, token.as_str(), "DELETE FROM token WHERE tenant = ?1 AND id = ?2")
            }
            Record::Job(row) => self.put_job(row),
            Record::JobGone(account, job) => self.remove_job(account, job),
            Record::Sweep(row) => self.put_sweep(row),
            Record::SweepState(row) => self.put_sweep_state(row),
            Record::SweepGone(account, job, sweep) => self.remove_sweep(account, job, sweep),
            Record::Member(row) => self.put_member(row),
            Record::JobNode(row) => self.put_job_node(row),
            Record::JobNodeGone(account, job, node) => self.remove_job_node(account, job, node),
            Record::TaskSpec(row) => self.put_task_spec(row),
            Record::TaskState(row) => self.put_task_state(row),
            Record::TaskGone(account, job, task) => self.remove_task(account, job, task),
            Record::Attempt(row) => self.put_attempt(row),
            Record::File(row) => self.put_file(row),
            Record::FileGone(account, container, path) => self.remove_file(account, container, path),
            Record::ContainerGone(account, container) => self.remove_container(account, container),
            Record::NumbersUsed(number) => self.put_numbers_used(*number),
            Record::Request(row) => self.put_request(row),
            Record::RequestGone(account, request) => {
                self.remove(account, request.as_str(), "DELETE FROM request WHERE tenant = ?1 AND id = ?2")
            }
        }
    }

    /// Runs one prepared statement; answers how many rows it changed.
    pub(super) fn execute(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(fault(doing))
    }

    fn remove(&mut self, account: &AccountName, id: &str, sql: &str) -> Result<(), StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        self.execute("removing a row", sql, (tenant, id)).map(drop)
    }

    fn put_account(&mut self, row: &AccountRow) -> Result<(), StoreError> {
        let AccountRow { name, display_name, is_operator, primary, secondary, created, revision } = row;
        let tenant = self.names.tenant(self.connection, name)?;
        let sql = "INSERT OR REPLACE INTO account
            (tenant, display_name, is_operator, primary_key, secondary_key, created, revision)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let params = params![
            tenant,
            display_name,
            is_operator,
            primary.expose().as_slice(),
            secondary.expose().as_slice(),
            created.as_micros(),
            integer("revision", *revision)?,
        ];
        self.execute("writing an account", sql, params).map(drop)
    }

    fn put_pool(&mut self, row: &PoolRow) -> Result<(), StoreError> {
        let PoolRow {
            account,
            spec,
            state,
            allocation_state,
            allocation_since,
            resize_deadline,
            resize_error,
            created,
            modified,
            revision,
        } = row;
        let tenant = self.names.tenant(self.connection, account)?;
        let sql = "INSERT OR REPLACE INTO pool
            (tenant, id, format, spec, state, allocation_state, allocation_since, resize_deadline, resize_code,
             resize_message, created, modified, revision)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let params = params![
            tenant,
            spec.id.as_str(),
            FORMAT,
            pool_spec_bytes(spec),
            state.code(),
            allocation_state.code(),
            allocation_since.as_micros(),
            resize_deadline.map(|time| time.as_micros()),
            resize_error.as_ref().map(|(code, _)| code),
            resize_error.as_ref().map(|(_, message)| message),
            created.as_micros(),
            modified.as_micros(),
            integer("revision", *revision)?,
        ];
        self.execute("writing a pool", sql, params).map(drop)
    }

    fn put_node(&mut self, row: &NodeRow) -> Result<(), StoreError> {
        let NodeRow {
            account,
            id,
            pool,
            facts,
            slots,
            state,
            state_since,
            scheduling,
            start_task,
            errors,
            drain,
            probation,
            joined,
            tasks_run,
            tasks_succeeded,
            running_tasks,
            running_slots,
            revision,
        } = row;
        let tenant = self.names.tenant(self.connection, account)?;
        let start = start_task.as_ref();
        let failure = start.and_then(|start| start.failure.as_ref());
        let sql = "INSERT OR REPLACE INTO node
            (tenant, id, pool, format, facts, boot_time, slots, state, state_since, scheduling, start_state,
             start_started, start_ended, start_exit_code, start_retries, start_result, start_cause, start_failure,
             errors, joined, tasks_run, tasks_succeeded, running_tasks, running_slots, revision, drain_option,
             drain_deadline, drain_then, launch_failures, strikes, probation_until, probation_error)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                    ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32)";
        let params = params![
            tenant,
            id.as_str(),
            pool.as_str(),
            FORMAT,
            facts_bytes(facts),
            facts.boot_time.as_micros(),
            slots,
            state.code(),
            state_since.as_micros(),
            scheduling.code(),
            start.map(|start| start.state.code()),
            start.map(|start| start.start_time.as_micros()),
            start.and_then(|start| start.end_time).map(|time| time.as_micros()),
            start.and_then(|start| start.exit_code),
            start.map(|start| start.retry_count),
            start.and_then(|start| start.result).map(|result| result.code()),
            failure.map(|failure| failure.cause.code()),
            failure.map(failure_bytes),
            errors_bytes(errors),
            joined.as_micros(),
            integer("tasks_run", *tasks_run)?,
            integer("tasks_succeeded", *tasks_succeeded)?,
            running_tasks,
            running_slots,
            integer("revision", *revision)?,
            drain.map(|drain| drain.option.code()),
            drain.and_then(|drain| drain.deadline).map(|time| time.as_micros()),
            drain.map(|drain| drain.then.code()),
            probation.launch_failures,
            probation.strikes,
            probation.until.map(|time| time.as_micros()),
            probation.error.as_ref().map(error_bytes),
        ];
        self.execute("writing a node", sql, params).map(drop)
    }

    fn put_numbers_used(&mut self, number: u64) -> Result<(), StoreError> {
        const DOING: &str = "writing which numbers are used";
        let sql = "INSERT OR REPLACE INTO numbers_used (key, number) VALUES (1, ?1)";
        let mut put = self.connection.prepare_cached(sql).map_err(fault(DOING))?;
        put.execute([integer("number", number)?]).map(drop).map_err(fault(DOING))
    }

    fn put_token(&mut self, row: &TokenRow) -> Result<(), StoreError> {
        let TokenRow { account, id, pool, secret_hash, created, expires, uses_max, uses } = row;
        let tenant = self.names.tenant(self.connection, account)?;
        let sql = "INSERT OR REPLACE INTO token
            (tenant, id, pool, secret_hash, created, expires, uses_max, uses)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let params = params![
            tenant,
            id.as_str(),
            pool.as_str(),
            secret_hash.as_bytes().as_slice(),
            created.as_micros(),
            expires.as_micros(),
            uses_max,
            uses,
        ];
        self.execute("writing a join token", sql, params).map(drop)
    }

    /// Keeps the job's key when the job is there already: its tasks hang on it.
    fn put_job(&mut self, row: &JobRow) -> Result<(), StoreError> {
        let JobRow {
            account,
            spec,
            state,
            state_since,
            previous_state,
            previous_state_since,
            sequence,
            created,
            modified,
            ended,
            terminate_reason,
            revision,
        } = row;
        let tenant = self.names.tenant(self.connection, account)?;
        let sql = "INSERT INTO job
            (tenant, id, format, spec, pool, priority, display_name, state, state_since, previous_state, sequence,
             created, modified, ended, terminate_reason, revision, previous_state_since)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
            ON CONFLICT (tenant, id) DO UPDATE SET
             format = excluded.format, spec = excluded.spec, pool = excluded.pool, priority = excluded.priority,
             display_name = excluded.display_name, state = excluded.state, state_since = excluded.state_since,
             previous_state = excluded.previous_state, sequence = excluded.sequence, created = excluded.created,
             modified = excluded.modified, ended = excluded.ended, terminate_reason = excluded.terminate_reason,
             revision = excluded.revision, previous_state_since = excluded.previous_state_since";
        let params = params![
            tenant,
            spec.id.as_str(),
            FORMAT,
            job_spec_bytes(spec),
            spec.pool.as_str(),
            spec.priority,
            spec.display_name,
            state.code(),
            state_since.as_micros(),
            previous_state.map(|state| state.code()),
            integer("sequence", *sequence)?,
            created.as_micros(),
            modified.as_micros(),
            ended.map(|time| time.as_micros()),
            terminate_reason,
            integer("revision", *revision)?,
            previous_state_since.map(|time| time.as_micros()),
        ];
        self.execute("writing a job", sql, params).map(drop)
    }

    fn remove_job(&mut self, account: &AccountName, job: &JobId) -> Result<(), StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let Some(key) = self.names.job(self.connection, tenant, job)? else { return Ok(()) };
        self.execute("removing a job", "DELETE FROM job WHERE key = ?1", [key])?;
        self.names.forget_job(tenant, job);
        note(self.connection, Parent::Job, key)
    }

    fn put_file(&mut self, row: &FileRow) -> Result<(), StoreError> {
        let FileRow { account, container, path, digest, size, modified } = row;
        let tenant = self.names.tenant(self.connection, account)?;
        let key = match find_container(self.connection, tenant, container)? {
            Some(key) => key,
            None => self
                .connection
                .prepare_cached("INSERT INTO container (tenant, name, created) VALUES (?1, ?2, ?3)")
                .and_then(|mut statement| {
                    statement.insert((tenant, container.as_str(), modified.as_micros()))
                })
                .map_err(fault("writing a container"))?,
        };
        let sql = "INSERT OR REPLACE INTO file (container, path, digest, size, modified)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let size = integer("size", *size)?;
        let params = params![key, path.as_str(), digest.as_bytes().as_slice(), size, modified.as_micros()];
        self.execute("writing a file's name", sql, params).map(drop)
    }

    fn remove_file(
        &mut self,
        account: &AccountName,
        container: &ContainerName,
        path: &FilePath,
    ) -> Result<(), StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let Some(key) = find_container(self.connection, tenant, container)? else { return Ok(()) };
        let sql = "DELETE FROM file WHERE container = ?1 AND path = ?2";
        self.execute("removing a file's name", sql, (key, path.as_str())).map(drop)
    }

    fn remove_container(
        &mut self,
        account: &AccountName,
        container: &ContainerName,
    ) -> Result<(), StoreError> {
        let tenant = self.names.tenant(self.connection, account)?;
        let sql = "DELETE FROM container WHERE tenant = ?1 AND name = ?2 RETURNING key";
        let removed = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.query_row((tenant, container.as_str()), |row| row.get(0)).optional()
            })
            .map_err(fault("removing a container"))?;
        match removed {
            Some(key) => note(self.connection, Parent::Container, key),
            None => Ok(()),
        }
    }

    fn put_request(&mut self, row: &RequestRow) -> Result<(), StoreError> {
        let RequestRow { account, id, command, reply, expires } = row;
        let tenant = self.names.tenant(self.connection, account)?;
        let sql = "INSERT OR REPLACE INTO request (tenant, id, command, format, reply, expires)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let params = params![tenant, id.as_str(), command, FORMAT, reply_bytes(reply), expires.as_micros()];
        self.execute("writing an answered request", sql, params).map(drop)
    }
}
