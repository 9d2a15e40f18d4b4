//! Rows of the database back to rows of the core: the columns of each resource, and the function that reads them. Tasks
//! are in `row_task`, sweeps and job preparations in `row_sweep`.
//!
//! Each list of columns begins with the row's own id, for messages. The order of a list is the order in which its
//! function takes the cells.

use crate::codec::{self, CodecError, Coded, check_format};
use crate::port::StoreError;
use crate::view::ContainerView;
use muster_controller_core::record::{
    AccountRow, Drain, FileRow, JobRow, NodeRow, PoolRow, Probation, RequestRow, TokenRow,
};
use muster_model::node::StartTaskInfo;
use muster_model::{AccessKey, AccountName, ContainerName, Digest, Timestamp};
use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};
use std::str::FromStr;

/// Why a row cannot be read.
#[derive(Debug)]
pub(super) enum RowError {
    /// A cell is not of its column's type.
    Cell(rusqlite::Error),
    /// A cell's value is not one.
    Codec(CodecError),
    /// Another row that belongs to this one cannot be read.
    Other(Box<StoreError>),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Cell(error)
    }
}

impl From<StoreError> for RowError {
    fn from(error: StoreError) -> Self {
        Self::Other(Box::new(error))
    }
}

impl From<CodecError> for RowError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// Takes the cells of a row from left to right.
pub(super) struct Cells<'r, 'q> {
    row: &'r Row<'q>,
    at: usize,
}

impl<'r, 'q> Cells<'r, 'q> {
    pub(super) fn new(row: &'r Row<'q>) -> Self {
        Self { row, at: 0 }
    }

    pub(super) fn take<T: FromSql>(&mut self) -> Result<T, RowError> {
        let cell = self.row.get(self.at)?;
        self.at += 1;
        Ok(cell)
    }

    /// A number that is never negative.
    pub(super) fn natural(&mut self) -> Result<u64, RowError> {
        let number: i64 = self.take()?;
        Ok(u64::try_from(number).map_err(|_| CodecError::Code { what: "count", found: number })?)
    }

    pub(super) fn bytes(&mut self) -> Result<&'r [u8], RowError> {
        let cell = self.row.get_ref(self.at)?;
        let at = self.at;
        self.at += 1;
        cell.as_blob().map_err(|_| {
            RowError::Cell(rusqlite::Error::InvalidColumnType(at, "bytes".to_owned(), cell.data_type()))
        })
    }

    pub(super) fn optional_bytes(&mut self) -> Result<Option<&'r [u8]>, RowError> {
        if self.row.get_ref(self.at)? == ValueRef::Null {
            self.at += 1;
            return Ok(None);
        }
        self.bytes().map(Some)
    }

    pub(super) fn code<T: Coded>(&mut self) -> Result<T, RowError> {
        Ok(T::from_code(self.take()?)?)
    }

    pub(super) fn optional_code<T: Coded>(&mut self) -> Result<Option<T>, RowError> {
        let code: Option<i64> = self.take()?;
        Ok(code.map(T::from_code).transpose()?)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, RowError> {
        self.take().map(Timestamp::from_micros)
    }

    pub(super) fn optional_time(&mut self) -> Result<Option<Timestamp>, RowError> {
        let micros: Option<i64> = self.take()?;
        Ok(micros.map(Timestamp::from_micros))
    }

    /// An id or another text with rules.
    pub(super) fn parsed<T>(&mut self, what: &'static str) -> Result<T, RowError>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let text: Box<str> = self.take()?;
        Ok(text.parse().map_err(|cause| CodecError::Invalid { what, cause: Box::new(cause) })?)
    }

    pub(super) fn format(&mut self, what: &'static str) -> Result<(), RowError> {
        Ok(check_format(what, self.take()?)?)
    }

    pub(super) fn digest(&mut self) -> Result<Digest, RowError> {
        Ok(Digest::from_bytes(fixed("digest", self.bytes()?)?))
    }
}

fn fixed<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes.try_into().map_err(|cause| CodecError::Invalid { what, cause: Box::new(cause) })
}

/// Names the row that cannot be read.
pub(super) fn unreadable(what: &'static str, row: &Row<'_>, error: RowError) -> StoreError {
    match error {
        RowError::Other(error) => *error,
        RowError::Cell(cause) => StoreError::Damaged { doing: what, cause: Some(Box::new(cause)) },
        RowError::Codec(cause) => {
            let id = row.get_ref(0).ok().and_then(|cell| match cell {
                ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Integer(number) => Some(number.to_string()),
                ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
            });
            StoreError::Decode { what, key: id.unwrap_or_default(), cause }
        }
    }
}

pub(super) const ACCOUNT: &str =
    "n.name, a.display_name, a.is_operator, a.primary_key, a.secondary_key, a.created, a.revision";

pub(super) fn account(cells: &mut Cells<'_, '_>) -> Result<AccountRow, RowError> {
    Ok(AccountRow {
        name: cells.parsed("account name")?,
        display_name: cells.take()?,
        is_operator: cells.take()?,
        primary: AccessKey::from_bytes(fixed("access key", cells.bytes()?)?),
        secondary: AccessKey::from_bytes(fixed("access key", cells.bytes()?)?),
        created: cells.time()?,
        revision: cells.natural()?,
    })
}

pub(super) const POOL: &str = "p.id, p.format, p.spec, p.state, p.allocation_state, p.allocation_since,
    p.resize_deadline, p.resize_code, p.resize_message, p.created, p.modified, p.revision";

pub(super) fn pool(account: &AccountName, cells: &mut Cells<'_, '_>) -> Result<PoolRow, RowError> {
    let _id: Box<str> = cells.take()?;
    cells.format("pool")?;
    let spec = codec::pool_spec(cells.bytes()?)?;
    let state = cells.code()?;
    let allocation_state = cells.code()?;
    let allocation_since = cells.time()?;
    let resize_deadline = cells.optional_time()?;
    let code: Option<String> = cells.take()?;
    let message: Option<String> = cells.take()?;
    Ok(PoolRow {
        account: account.clone(),
        spec,
        state,
        allocation_state,
        allocation_since,
        resize_deadline,
        resize_error: code.zip(message),
        created: cells.time()?,
        modified: cells.time()?,
        revision: cells.natural()?,
    })
}

pub(super) const NODE: &str = "n.id, n.pool, n.format, n.facts, n.boot_time, n.slots, n.state, n.state_since,
    n.scheduling, n.start_state, n.start_started, n.start_ended, n.start_exit_code, n.start_retries, n.start_result,
    n.start_cause, n.start_failure, n.errors, n.drain_option, n.drain_deadline, n.drain_then, n.launch_failures,
    n.strikes, n.probation_until, n.probation_error, n.joined, n.tasks_run, n.tasks_succeeded, n.running_tasks,
    n.running_slots, n.revision";

pub(super) fn node(account: &AccountName, cells: &mut Cells<'_, '_>) -> Result<NodeRow, RowError> {
    let id = cells.parsed("node id")?;
    let pool = cells.parsed("pool id")?;
    cells.format("node")?;
    let facts = cells.bytes()?;
    let facts = codec::facts(facts, cells.time()?)?;
    let slots = cells.take()?;
    let state = cells.code()?;
    let state_since = cells.time()?;
    Ok(NodeRow {
        account: account.clone(),
        id,
        pool,
        facts,
        slots,
        state,
        state_since,
        scheduling: cells.code()?,
        start_task: start_task(cells)?,
        errors: codec::errors(cells.bytes()?, state_since)?,
        drain: drain(cells)?,
        probation: probation(cells, state_since)?,
        joined: cells.time()?,
        tasks_run: cells.natural()?,
        tasks_succeeded: cells.natural()?,
        running_tasks: cells.take()?,
        running_slots: cells.take()?,
        revision: cells.natural()?,
    })
}

fn drain(cells: &mut Cells<'_, '_>) -> Result<Option<Drain>, RowError> {
    let option = cells.optional_code()?;
    let deadline = cells.optional_time()?;
    let then = cells.optional_code()?;
    let Some(option) = option else { return Ok(None) };
    let then = then.ok_or(CodecError::Missing { what: "action after draining" })?;
    Ok(Some(Drain { option, deadline, then }))
}

fn probation(cells: &mut Cells<'_, '_>, since: Timestamp) -> Result<Probation, RowError> {
    Ok(Probation {
        launch_failures: cells.take()?,
        strikes: cells.take()?,
        until: cells.optional_time()?,
        error: cells.optional_bytes()?.map(|bytes| codec::error(bytes, since)).transpose()?,
    })
}

fn start_task(cells: &mut Cells<'_, '_>) -> Result<Option<StartTaskInfo>, RowError> {
    let state = cells.optional_code()?;
    let start_time = cells.optional_time()?;
    let end_time = cells.optional_time()?;
    let exit_code = cells.take()?;
    let retry_count: Option<u32> = cells.take()?;
    let result = cells.optional_code()?;
    let cause = cells.take()?;
    let failure = codec::failure(cause, cells.optional_bytes()?)?;
    let Some(state) = state else { return Ok(None) };
    let start_time = start_time.ok_or(CodecError::Missing { what: "start of the start task" })?;
    let retry_count = retry_count.ok_or(CodecError::Missing { what: "retry count of the start task" })?;
    Ok(Some(StartTaskInfo { state, start_time, end_time, exit_code, retry_count, result, failure }))
}

pub(super) const TOKEN: &str = "t.id, t.pool, t.secret_hash, t.created, t.expires, t.uses_max, t.uses";

pub(super) fn token(account: &AccountName, cells: &mut Cells<'_, '_>) -> Result<TokenRow, RowError> {
    Ok(TokenRow {
        account: account.clone(),
        id: cells.parsed("token id")?,
        pool: cells.parsed("pool id")?,
        secret_hash: cells.digest()?,
        created: cells.time()?,
        expires: cells.time()?,
        uses_max: cells.take()?,
        uses: cells.take()?,
    })
}

pub(super) const JOB: &str =
    "j.id, j.format, j.spec, j.state, j.state_since, j.previous_state, j.previous_state_since, j.sequence, j.created,
    j.modified, j.ended, j.terminate_reason, j.revision";

pub(super) fn job(account: &AccountName, cells: &mut Cells<'_, '_>) -> Result<JobRow, RowError> {
    let _id: Box<str> = cells.take()?;
    cells.format("job")?;
    Ok(JobRow {
        account: account.clone(),
        spec: codec::job_spec(cells.bytes()?)?,
        state: cells.code()?,
        state_since: cells.time()?,
        previous_state: cells.optional_code()?,
        previous_state_since: cells.optional_time()?,
        sequence: cells.natural()?,
        created: cells.time()?,
        modified: cells.time()?,
        ended: cells.optional_time()?,
        terminate_reason: cells.take()?,
        revision: cells.natural()?,
    })
}

pub(super) const CONTAINER: &str = "c.name, c.created";

pub(super) fn container(account: &AccountName, cells: &mut Cells<'_, '_>) -> Result<ContainerView, RowError> {
    Ok(ContainerView {
        account: account.clone(),
        name: cells.parsed("container name")?,
        created: cells.time()?,
    })
}

pub(super) const FILE: &str = "f.path, f.digest, f.size, f.modified";

pub(super) fn file(
    account: &AccountName,
    container: &ContainerName,
    cells: &mut Cells<'_, '_>,
) -> Result<FileRow, RowError> {
    let path: Box<str> = cells.take()?;
    let path = muster_model::FilePath::parse(&path)
        .map_err(|cause| CodecError::Invalid { what: "file path", cause: Box::new(cause) })?;
    Ok(FileRow {
        account: account.clone(),
        container: container.clone(),
        path,
        digest: cells.digest()?,
        size: cells.natural()?,
        modified: cells.time()?,
    })
}

pub(super) const REQUEST: &str = "r.id, r.command, r.format, r.reply, r.expires";

pub(super) fn request(account: &AccountName, cells: &mut Cells<'_, '_>) -> Result<RequestRow, RowError> {
    let id = cells.parsed("request id")?;
    let command = cells.take()?;
    cells.format("request")?;
    Ok(RequestRow {
        account: account.clone(),
        id,
        command,
        reply: codec::reply(cells.bytes()?)?,
        expires: cells.time()?,
    })
}
