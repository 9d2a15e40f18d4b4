//! Rows of tasks back to rows of the core: specifications, states and attempts.
//!
//! A row without a sweep holds its specification; one with a sweep is a member, whose specification is made of the sweep's
//! template by whoever needs it. A task without a row for its state is one that nothing has happened to.

use super::row::{Cells, RowError};
use crate::codec::{self, CodecError, check_format};
use crate::expand::Template;
use crate::port::StoreError;
use crate::view::{TaskView, untouched};
use muster_controller_core::record::{AttemptRow, MemberRow, TaskSpecRow, TaskStateRow};
use muster_model::{AccountName, AttemptResult, JobId, SweepId, TaskId, TaskKey, Timestamp};
use std::sync::Arc;

/// The columns of a task's specification; its own id first.
pub(super) const TASK_SPEC: &str = "t.id, t.sequence, t.created, t.format, t.spec, t.sweep, t.member";

/// The columns of a task's state, all NULL when it has no row. They follow those of its specification.
pub(super) const TASK_STATE: &str = "s.format, s.state, s.state_since, s.previous_state, s.previous_state_since,
    s.attempt, s.node, s.placed, s.ending, s.retry_count, s.requeue_count, s.server_retry_count, s.not_before,
    s.constraints, s.started, s.ended, s.exit_code, s.signal, s.result, s.satisfies, s.cause, s.failure, s.rare,
    s.modified, s.revision";

/// What a row of the table of tasks says of a task's making.
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart where it is made")]
pub(super) enum Origin {
    /// A task of its own.
    Plain(TaskSpecRow),
    /// A member of the sweep of this key; the sweep's id is the reader's to find out.
    Member { sweep: i64, row: Member },
}

/// A member's row without its sweep's id.
pub(super) struct Member {
    pub(super) task: TaskId,
    pub(super) index: u64,
    pub(super) sequence: u64,
    pub(super) created: Timestamp,
}

impl Member {
    /// The row as the core knows it.
    pub(super) fn of(self, account: &AccountName, job: &JobId, sweep: SweepId) -> MemberRow {
        let Self { task, index, sequence, created } = self;
        MemberRow { account: account.clone(), job: job.clone(), sweep, index, task, sequence, created }
    }
}

/// Finds the decoded sweep of a key.
pub(super) type FindTemplate<'f> = &'f dyn Fn(i64) -> Result<Option<Arc<Template>>, StoreError>;

pub(super) fn origin(
    account: &AccountName,
    job: &JobId,
    cells: &mut Cells<'_, '_>,
) -> Result<Origin, RowError> {
    let id: Box<str> = cells.take()?;
    let sequence = cells.natural()?;
    let created = cells.time()?;
    cells.format("task")?;
    let spec = cells.bytes()?;
    let sweep: Option<i64> = cells.take()?;
    let Some(sweep) = sweep else {
        let _index: Option<i64> = cells.take()?;
        let spec = codec::task_spec(spec)?;
        let row = TaskSpecRow { account: account.clone(), job: job.clone(), spec, sequence, created };
        return Ok(Origin::Plain(row));
    };
    let index = cells.natural()?;
    let task = TaskId::parse(&id)
        .map_err(|cause| CodecError::Invalid { what: "task id", cause: Box::new(cause) })?;
    Ok(Origin::Member { sweep, row: Member { task, index, sequence, created } })
}

/// A task's specification, filled in for a member.
pub(super) fn task_spec(
    account: &AccountName,
    job: &JobId,
    find: FindTemplate<'_>,
    cells: &mut Cells<'_, '_>,
) -> Result<TaskSpecRow, RowError> {
    Ok(match origin(account, job, cells)? {
        Origin::Plain(row) => row,
        Origin::Member { sweep, row } => template(find, sweep)?.expand(row.index).0,
    })
}

fn template(find: FindTemplate<'_>, sweep: i64) -> Result<Arc<Template>, RowError> {
    let damaged = || StoreError::Damaged { doing: "reading a task whose sweep is not there", cause: None };
    Ok(find(sweep)?.ok_or_else(damaged)?)
}

pub(super) fn task(
    account: &AccountName,
    job: &JobId,
    find: FindTemplate<'_>,
    cells: &mut Cells<'_, '_>,
) -> Result<TaskView, RowError> {
    let (spec, sweep, fault) = match origin(account, job, cells)? {
        Origin::Plain(row) => (row, None, None),
        Origin::Member { sweep, row } => {
            let template = template(find, sweep)?;
            let (spec, fault) = template.expand(row.index);
            (spec, Some((template.id().clone(), row.index)), fault)
        }
    };
    let state = task_state(account, job, &spec.spec.id, spec.created, cells)?;
    Ok(TaskView { spec, state, sweep, fault })
}

pub(super) fn task_state(
    account: &AccountName,
    job: &JobId,
    task: &TaskId,
    created: Timestamp,
    cells: &mut Cells<'_, '_>,
) -> Result<TaskStateRow, RowError> {
    let format: Option<i64> = cells.take()?;
    let Some(format) = format else {
        return Ok(untouched(account.clone(), job.clone(), task.clone(), created));
    };
    check_format("task state", format)?;
    let state = cells.code()?;
    let state_since = cells.time()?;
    let previous_state = cells.optional_code()?;
    let previous_state_since = cells.optional_time()?;
    let attempt = cells.take()?;
    let node: Option<Box<str>> = cells.take()?;
    let node = node.map(|node| node.parse()).transpose();
    let node = node.map_err(|cause| CodecError::Invalid { what: "node id", cause: Box::new(cause) })?;
    let placed = cells.take()?;
    let ending = cells.optional_code()?;
    let retry_count = cells.take()?;
    let requeue_count = cells.take()?;
    let server_retry_count = cells.take()?;
    let not_before = cells.optional_time()?;
    let constraints = cells.optional_bytes()?.map(codec::constraints).transpose()?;
    let started = cells.optional_time()?;
    let ended = cells.optional_time()?;
    let exit_code = cells.take()?;
    let signal = cells.take()?;
    let result = cells.optional_code()?;
    let satisfies = cells.take()?;
    let cause = cells.take()?;
    let failure = codec::failure(cause, cells.optional_bytes()?)?;
    let rare = codec::rare(cells.optional_bytes()?)?;
    Ok(TaskStateRow {
        account: account.clone(),
        job: job.clone(),
        task: task.clone(),
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
        last_retry: rare.last_retry,
        last_requeue: rare.last_requeue,
        memory_bytes: rare.memory_bytes,
        avoid: rare.avoid,
        nodes_lost: rare.nodes_lost,
        not_before,
        constraints,
        started,
        ended,
        exit_code,
        signal,
        result,
        satisfies,
        failure,
        modified: cells.time()?,
        revision: cells.natural()?,
    })
}

pub(super) const ATTEMPT: &str =
    "a.number, a.node, a.result, a.exit_code, a.signal, a.cause, a.failure, a.started,
    a.ended, a.format, a.detail";

pub(super) fn attempt(
    account: &AccountName,
    task: &TaskKey,
    cells: &mut Cells<'_, '_>,
) -> Result<AttemptRow, RowError> {
    let number = cells.take()?;
    let node = cells.parsed("node id")?;
    let result = cells.code()?;
    let exit_code = cells.take()?;
    let signal = cells.take()?;
    let cause = cells.take()?;
    let failure = codec::failure(cause, cells.optional_bytes()?)?;
    let start_time = cells.optional_time()?;
    let end_time = cells.time()?;
    cells.format("attempt")?;
    let detail = codec::attempt_detail(cells.bytes()?)?;
    Ok(AttemptRow {
        account: account.clone(),
        job: task.job.clone(),
        task: task.task.clone(),
        number,
        node,
        result: AttemptResult {
            result,
            exit_code,
            signal,
            failure,
            start_time,
            end_time,
            usage: detail.usage,
            stdout: detail.stdout,
            stderr: detail.stderr,
            outputs: detail.outputs,
        },
    })
}
