//! ListJobPreparationAndReleaseTaskStatus: what a job's own tasks did on each node.
//!
//! A job without a preparation task has nothing to tell, and the refusal says so; one whose preparation has run nowhere yet
//! has an empty list.

use super::context::{Api, checked};
use super::list::{ListRequest, fitting_page, next_page_token, query};
use super::{refused, view};
use crate::auth::JobPermit;
use muster_controller_core::reject::Reject;
use muster_proto::convert::{job_id, status};
use muster_proto::wire::{self, ErrorReason};
use muster_store::Reader;
use tonic::{Code, Status};
use wire::ListJobPreparationAndReleaseTaskStatusRequest as ListRequestMessage;
use wire::ListJobPreparationAndReleaseTaskStatusResponse as ListResponse;

/// Lists the nodes that were given the preparation task.
pub(super) async fn list(
    api: &Api,
    permit: JobPermit,
    request: ListRequestMessage,
) -> Result<ListResponse, Status> {
    let id = checked(|c| job_id(c, &request.job_id))?;
    let account = permit.for_job(&id)?.clone();
    let query = query(ListRequest {
        page_size: request.page_size,
        page_token: &request.page_token,
        filter: &request.filter,
        order_by: "",
    })?;
    let job = id.clone();
    let read = move |reader: &dyn Reader| {
        let Some(row) = reader.job(&account, &job)? else { return Ok(None) };
        if row.spec.preparation.is_none() {
            return Ok(Some(None));
        }
        let page = fitting_page(query, |query| {
            let page = reader.job_nodes(&account, &job, query)?;
            let statuses = page.items.iter().map(|node| view::job_node(&row, node)).collect();
            Ok((statuses, next_page_token(&page)))
        });
        page.map(|page| Some(Some(page)))
    };
    match api.read(read).await? {
        Some(Some((statuses, next_page_token))) => Ok(ListResponse { statuses, next_page_token }),
        Some(None) => {
            let words = format!("job '{id}' has no job preparation task: it was created without one");
            Err(status(Code::FailedPrecondition, ErrorReason::JobPreparationTaskNotSpecified, words))
        }
        None => Err(refused::of_reject(&Reject::JobNotFound(id))),
    }
}
