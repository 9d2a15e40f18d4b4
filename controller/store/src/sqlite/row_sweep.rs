//! Rows of sweeps, and of what jobs do on nodes, back to rows of the core.
//!
//! A sweep's specification with its values may be megabytes: lists of tasks read the outline, which leaves it where it is.

use super::row::{Cells, RowError};
use crate::codec::{self, CodecError};
use crate::member::Outline;
use crate::view::SweepView;
use muster_controller_core::record::{JobNodeRow, JobNodeTask, SweepRow, SweepStateRow};
use muster_model::spec::SweepShape;
use muster_model::{AccountName, JobId, SweepId};

/// The columns of a sweep.
pub(super) const SWEEP: &str = "w.id, w.sequence, w.created, w.format, w.spec";

pub(super) fn sweep(
    account: &AccountName,
    job: &JobId,
    cells: &mut Cells<'_, '_>,
) -> Result<SweepRow, RowError> {
    let _id: Box<str> = cells.take()?;
    let sequence = cells.natural()?;
    let created = cells.time()?;
    cells.format("sweep")?;
    let spec = codec::sweep_spec(cells.bytes()?)?;
    Ok(SweepRow { account: account.clone(), job: job.clone(), spec, sequence, created })
}

/// The columns of a sweep without its specification.
pub(super) const OUTLINE: &str =
    "w.id, w.key, w.sequence, w.created, w.first, w.step, w.count, w.display_name";

/// A sweep's key and its outline.
pub(super) fn outline(
    account: &AccountName,
    job: &JobId,
    cells: &mut Cells<'_, '_>,
) -> Result<(i64, Outline), RowError> {
    let id = cells.parsed("sweep id")?;
    let key = cells.take()?;
    let sequence = cells.natural()?;
    let created = cells.time()?;
    let shape = SweepShape { first: cells.natural()?, step: cells.natural()?, count: cells.natural()? };
    let display_name = cells.take()?;
    let (account, job) = (account.clone(), job.clone());
    Ok((key, Outline { account, job, id, shape, sequence, created, display_name }))
}

/// The columns of a sweep's state; they follow those of the sweep.
pub(super) const SWEEP_STATE: &str = "x.format, x.pending, x.ended, x.deleting, x.modified, x.revision";

pub(super) fn sweep_state(
    account: &AccountName,
    job: &JobId,
    sweep: &SweepId,
    cells: &mut Cells<'_, '_>,
) -> Result<SweepStateRow, RowError> {
    cells.format("sweep state")?;
    Ok(SweepStateRow {
        account: account.clone(),
        job: job.clone(),
        sweep: sweep.clone(),
        pending: codec::index_set(cells.bytes()?)?,
        ended: codec::ended(cells.bytes()?)?,
        deleting: cells.take()?,
        modified: cells.time()?,
        revision: cells.natural()?,
    })
}

pub(super) fn sweep_view(
    account: &AccountName,
    job: &JobId,
    cells: &mut Cells<'_, '_>,
) -> Result<SweepView, RowError> {
    let row = sweep(account, job, cells)?;
    let state = sweep_state(account, job, &row.spec.id, cells)?;
    Ok(SweepView { row, state })
}

/// The columns of what a job did on a node.
pub(super) const JOB_NODE: &str = "m.node, m.pool, m.boot_id, m.prep_attempt, m.prep_state, m.prep_placed,
    m.prep_started, m.prep_ended, m.prep_exit_code, m.prep_retries, m.prep_last_retry, m.prep_result, m.prep_cause,
    m.prep_failure, m.rel_attempt, m.rel_state, m.rel_placed, m.rel_started, m.rel_ended, m.rel_exit_code,
    m.rel_retries, m.rel_last_retry, m.rel_result, m.rel_cause, m.rel_failure";

pub(super) fn job_node(
    account: &AccountName,
    job: &JobId,
    cells: &mut Cells<'_, '_>,
) -> Result<JobNodeRow, RowError> {
    Ok(JobNodeRow {
        account: account.clone(),
        job: job.clone(),
        node: cells.parsed("node id")?,
        pool: cells.parsed("pool id")?,
        boot_id: cells.take()?,
        preparation: job_node_task(cells)?.ok_or(CodecError::Missing { what: "job preparation" })?,
        release: job_node_task(cells)?,
    })
}

fn job_node_task(cells: &mut Cells<'_, '_>) -> Result<Option<JobNodeTask>, RowError> {
    let attempt = cells.take()?;
    let state = cells.optional_code()?;
    let placed: Option<bool> = cells.take()?;
    let started = cells.optional_time()?;
    let ended = cells.optional_time()?;
    let exit_code = cells.take()?;
    let retry_count: Option<u32> = cells.take()?;
    let last_retry = cells.optional_time()?;
    let result = cells.optional_code()?;
    let cause = cells.take()?;
    let failure = codec::failure(cause, cells.optional_bytes()?)?;
    let (Some(attempt), Some(state)) = (attempt, state) else { return Ok(None) };
    Ok(Some(JobNodeTask {
        attempt,
        state,
        placed: placed.unwrap_or_default(),
        started,
        ended,
        exit_code,
        retry_count: retry_count.unwrap_or_default(),
        last_retry,
        result,
        failure,
    }))
}
