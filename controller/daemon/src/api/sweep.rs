//! Sweeps: made, read, listed, ended, tried again, deleted.
//!
//! What is asked for and what has become of it as a whole comes from the store, the counts from the live core. Members are
//! tasks and are read and changed as such (`task`). Nothing here looks at members one by one.

use super::context::{Api, checked};
use super::list::{ListRequest, fitting_page, next_page_token, query};
use super::task_batch::refuse_job_action;
use super::{refused, view};
use crate::auth::JobPermit;
use crate::refusal;
use muster_controller_core::TaskCounts;
use muster_controller_core::input::Command;
use muster_controller_core::reject::Reject;
use muster_model::{AccountName, JobId, SweepId};
use muster_proto::convert::{NewSweep, SweepTarget, job_id, sweep_id};
use muster_proto::wire;
use muster_store::{Reader, SweepView};
use tonic::Status;

/// A sweep and how many of its members are where.
async fn read(
    api: &Api,
    account: &AccountName,
    job: &JobId,
    sweep: &SweepId,
) -> Result<(SweepView, TaskCounts), Status> {
    let (of, in_job, id) = (account.clone(), job.clone(), sweep.clone());
    let found = api
        .read(move |reader| {
            let has_job = reader.job(&of, &in_job)?.is_some();
            Ok((has_job, reader.sweep(&of, &in_job, &id)?))
        })
        .await?;
    let missing = || refused::of_reject(&Reject::SweepNotFound { job: job.clone(), sweep: sweep.clone() });
    let view = match found {
        (true, Some(view)) => view,
        (true, None) => return Err(missing()),
        (false, _) => return Err(refused::of_reject(&Reject::JobNotFound(job.clone()))),
    };
    let (of, in_job, id) = (account.clone(), job.clone(), sweep.clone());
    let counts = api.query(move |core| core.sweep_counts(&of, &in_job, &id)).await?;
    Ok((view, counts.ok_or_else(missing)?))
}

/// The answer to a change of a sweep.
async fn changed(api: &Api, account: &AccountName, job: &JobId, id: &SweepId) -> Result<wire::Sweep, Status> {
    let (view, counts) = read(api, account, job, id).await?;
    Ok(view::sweep_without_rows(&view, &counts))
}

/// Adds a sweep.
pub(super) async fn create(
    api: &Api,
    permit: JobPermit,
    request: wire::CreateSweepRequest,
) -> Result<wire::Sweep, Status> {
    // Tables of megabytes take a while to check.
    let checked = tokio::task::spawn_blocking(move || NewSweep::try_from(request)).await;
    let checked = checked.map_err(|error| refusal::internal(&error, "checking a sweep"))?;
    let NewSweep { job, spec, request_id } = checked?;
    let account = permit.for_job(&job)?;
    refuse_job_action(api, account, &job, &spec.template, "sweep.template").await?;
    let id = spec.id.clone();
    let command = Command::CreateSweep { job: job.clone(), sweep: Box::new(spec) };
    api.submit(account, request_id, command).await?;
    changed(api, account, &job, &id).await
}

/// Answers one sweep, with the rows of its tables.
pub(super) async fn get(
    api: &Api,
    permit: JobPermit,
    request: wire::GetSweepRequest,
) -> Result<wire::Sweep, Status> {
    let (job, id) = checked(|c| {
        let job = job_id(c, &request.job_id);
        let sweep = sweep_id(c, &request.sweep_id);
        job.zip(sweep)
    })?;
    let (view, counts) = read(api, permit.for_job(&job)?, &job, &id).await?;
    Ok(view::sweep(&view, &counts))
}

/// Lists the sweeps of a job.
pub(super) async fn list(
    api: &Api,
    permit: JobPermit,
    request: wire::ListSweepsRequest,
) -> Result<wire::ListSweepsResponse, Status> {
    let job = checked(|c| job_id(c, &request.job_id))?;
    let account = permit.for_job(&job)?;
    let query = query(ListRequest {
        page_size: request.page_size,
        page_token: &request.page_token,
        filter: &request.filter,
        order_by: &request.order_by,
    })?;
    let (of, id) = (account.clone(), job.clone());
    let read = move |reader: &dyn Reader| {
        if reader.job(&of, &id)?.is_none() {
            return Ok(None);
        }
        let mut ids = Vec::new();
        let page = fitting_page(query, |query| {
            let page = reader.sweeps(&of, &id, query)?;
            ids = page.items.iter().map(|view| view.row.spec.id.clone()).collect();
            let nothing = TaskCounts::default();
            let sweeps = page.items.iter().map(|view| view::sweep_without_rows(view, &nothing)).collect();
            Ok((sweeps, next_page_token(&page)))
        });
        page.map(|page| Some((page, ids)))
    };
    let ((mut sweeps, next_page_token), ids) =
        api.read_one(read, || Reject::JobNotFound(job.clone())).await?;
    let (of, id) = (account.clone(), job.clone());
    let counts = api.query(move |core| {
        let counts = ids.iter().map(|sweep| core.sweep_counts(&of, &id, sweep));
        counts.collect::<Vec<_>>()
    });
    // One that has gone meanwhile is answered as having no members left.
    for (sweep, counts) in sweeps.iter_mut().zip(counts.await?) {
        sweep.counts = Some(view::counts_by_state(&counts.unwrap_or_default()));
    }
    Ok(wire::ListSweepsResponse { sweeps, next_page_token })
}

/// Ends members of a sweep.
pub(super) async fn terminate(
    api: &Api,
    permit: JobPermit,
    request: wire::TerminateSweepRequest,
) -> Result<wire::Sweep, Status> {
    let SweepTarget { job, sweep, numbers, request_id } = SweepTarget::try_from(request)?;
    let account = permit.for_job(&job)?;
    let command = Command::TerminateSweep { job: job.clone(), sweep: sweep.clone(), numbers };
    api.submit(account, request_id, command).await?;
    changed(api, account, &job, &sweep).await
}

/// Lets failed members of a sweep run once more.
pub(super) async fn reactivate(
    api: &Api,
    permit: JobPermit,
    request: wire::ReactivateSweepRequest,
) -> Result<wire::Sweep, Status> {
    let SweepTarget { job, sweep, numbers, request_id } = SweepTarget::try_from(request)?;
    let account = permit.for_job(&job)?;
    let command = Command::ReactivateSweep { job: job.clone(), sweep: sweep.clone(), numbers };
    api.submit(account, request_id, command).await?;
    changed(api, account, &job, &sweep).await
}

/// Deletes a sweep with its members.
pub(super) async fn delete(
    api: &Api,
    permit: JobPermit,
    request: wire::DeleteSweepRequest,
) -> Result<wire::DeleteSweepResponse, Status> {
    let SweepTarget { job, sweep, request_id, .. } = SweepTarget::try_from(request)?;
    let account = permit.for_job(&job)?;
    api.submit(account, request_id, Command::DeleteSweep { job, sweep }).await?;
    Ok(wire::DeleteSweepResponse {})
}
