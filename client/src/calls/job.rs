//! Calls on jobs.
//!
//! Goes in: ids and the API's messages. Comes out: jobs and their counts. Watching a job to its end is in `watch/`.

use muster_proto::wire;
use prost_types::FieldMask;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

/// Which fields of a job change, and on which condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobChange<'a> {
    /// The fields: what is not set in the job gets its default. `["*"]` means all that can change; `None` means those that
    /// are set in the job.
    pub fields: Option<&'a [&'a str]>,
    /// The etag that the job must have. Empty means "whatever it is".
    pub etag: &'a str,
}

impl<'a> JobChange<'a> {
    /// Exactly these fields, whatever the job's etag is.
    #[must_use]
    pub const fn of(fields: &'a [&'a str]) -> Self {
        Self { fields: Some(fields), etag: "" }
    }
}

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

    /// Changes a job: what [`JobChange`] says. With an etag only if the job still has it.
    ///
    /// # Errors
    /// As [`CallError`] says; ABORTED when the etag is another.
    pub async fn update_job(&self, job: wire::Job, change: JobChange<'_>) -> Result<wire::Job, CallError> {
        let paths = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect();
        let request = wire::UpdateJobRequest {
            job: Some(job),
            update_mask: change.fields.map(|fields| FieldMask { paths: paths(fields) }),
            etag: change.etag.to_owned(),
            request_id: request_id(),
        };
        self.unary(request, |request| async { self.jobs().update_job(request).await }).await
    }

    /// Stops placing a job's tasks; `tasks` says what becomes of running ones.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION in states that do not allow it.
    pub async fn disable_job(
        &self,
        job: &str,
        tasks: wire::DisableTasksOption,
    ) -> Result<wire::Job, CallError> {
        let request = wire::DisableJobRequest {
            job_id: job.to_owned(),
            disable_tasks: tasks.into(),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.jobs().disable_job(request).await }).await
    }

    /// Places a job's tasks again.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION in states that do not allow it.
    pub async fn enable_job(&self, job: &str) -> Result<wire::Job, CallError> {
        let request =
            wire::EnableJobRequest { job_id: job.to_owned(), request_id: request_id(), ..Default::default() };
        self.unary(request, |request| async { self.jobs().enable_job(request).await }).await
    }

    /// Says why the waiting tasks of a job wait: those with the same needs and reasons together.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn explain_job(&self, job: &str) -> Result<wire::ExplainJobResponse, CallError> {
        let request = wire::ExplainJobRequest { job_id: job.to_owned() };
        self.unary(request, |request| async { self.jobs().explain_job(request).await }).await
    }

    /// Lists what a job's preparation and release tasks did on each node. Of the selection filter and limit count.
    #[must_use]
    pub fn list_job_nodes(
        &self,
        job: &str,
        selection: &Selection,
    ) -> Pages<wire::JobPreparationAndReleaseTaskStatus> {
        let (client, job_id, filter) = (self.clone(), job.to_owned(), selection.filter.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let request = wire::ListJobPreparationAndReleaseTaskStatusRequest {
                job_id: job_id.clone(),
                page_size,
                page_token,
                filter: filter.clone(),
            };
            Box::pin(async move {
                let call = |request| async {
                    client.jobs().list_job_preparation_and_release_task_status(request).await
                };
                let page = client.unary(request, call).await?;
                Ok((page.statuses, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
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
