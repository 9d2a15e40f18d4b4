//! Calls on jobs.
//!
//! Goes in: ids and the API's messages. Comes out: jobs and their counts. Watching a job to its end is in `watch.rs`.

use muster_proto::wire;
use prost_types::FieldMask;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

impl Client {
    /// Creates a job.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn create_job(&self, job: wire::Job) -> Result<wire::Job, CallError> {
        let request = wire::CreateJobRequest { job: Some(job), request_id: request_id() };
        self.unary(request, |request| async { self.jobs().create_job(request).await }).await
    }

    /// Answers one job.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_job(&self, job: &str) -> Result<wire::Job, CallError> {
        let request = wire::GetJobRequest { job_id: job.to_owned(), read_mask: None };
        self.unary(request, |request| async { self.jobs().get_job(request).await }).await
    }

    /// Lists jobs.
    #[must_use]
    pub fn list_jobs(&self, selection: &Selection) -> Pages<wire::Job> {
        let (client, selected) = (self.clone(), selection.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let Selection { filter, order_by, read_mask, limit: _ } = selected.clone();
            let request = wire::ListJobsRequest { page_size, page_token, filter, order_by, read_mask };
            Box::pin(async move {
                let call = |request| async { client.jobs().list_jobs(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.jobs, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Changes the fields of a job that `fields` names, for example `["priority"]`.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn update_job(&self, job: wire::Job, fields: &[&str]) -> Result<wire::Job, CallError> {
        let paths = fields.iter().map(|&field| field.to_owned()).collect();
        let request = wire::UpdateJobRequest {
            job: Some(job),
            update_mask: Some(FieldMask { paths }),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.jobs().update_job(request).await }).await
    }

    /// Ends a job. An empty reason means `UserTerminate`.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when it has ended.
    pub async fn terminate_job(&self, job: &str, reason: &str) -> Result<wire::Job, CallError> {
        let request = wire::TerminateJobRequest {
            job_id: job.to_owned(),
            terminate_reason: reason.to_owned(),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.jobs().terminate_job(request).await }).await
    }

    /// Deletes a job with its tasks and their files.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_job(&self, job: &str) -> Result<wire::Job, CallError> {
        let request =
            wire::DeleteJobRequest { job_id: job.to_owned(), request_id: request_id(), ..Default::default() };
        self.unary(request, |request| async { self.jobs().delete_job(request).await }).await
    }

    /// Counts a job's tasks by state.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_task_counts(&self, job: &str) -> Result<wire::TaskCountsReport, CallError> {
        let request = wire::GetTaskCountsRequest { job_id: job.to_owned() };
        self.unary(request, |request| async { self.jobs().get_task_counts(request).await }).await
    }
}
