//! Calls on sweeps.
//!
//! Goes in: a job, a sweep of it, ranges of its numbers. Comes out: sweeps with their counts. Members are tasks like any
//! other: list them with the filter `sweep_id = "..."` (`task.rs`). Making axes of files of values is in `sweep_values.rs`.

use muster_proto::wire;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

/// Members of a sweep by their numbers, both ends included. `None` means without an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepNumbers {
    /// The first number.
    pub first: Option<u64>,
    /// The last number.
    pub last: Option<u64>,
}

impl Client {
    /// Adds a sweep to a job: up to 100 million tasks in one call.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn create_sweep(&self, job: &str, sweep: wire::Sweep) -> Result<wire::Sweep, CallError> {
        let request =
            wire::CreateSweepRequest { job_id: job.to_owned(), sweep: Some(sweep), request_id: request_id() };
        self.unary(request, |request| async { self.tasks().create_sweep(request).await }).await
    }

    /// Answers one sweep, with all its values and its counts.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_sweep(&self, job: &str, sweep: &str) -> Result<wire::Sweep, CallError> {
        let request = wire::GetSweepRequest { job_id: job.to_owned(), sweep_id: sweep.to_owned() };
        self.unary(request, |request| async { self.tasks().get_sweep(request).await }).await
    }

    /// Lists the sweeps of a job, their tables without rows. Of the selection the read mask does not count.
    #[must_use]
    pub fn list_sweeps(&self, job: &str, selection: &Selection) -> Pages<wire::Sweep> {
        let (client, job_id, selected) = (self.clone(), job.to_owned(), selection.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let Selection { filter, order_by, read_mask: _, limit: _ } = selected.clone();
            let job_id = job_id.clone();
            let request = wire::ListSweepsRequest { job_id, page_size, page_token, filter, order_by };
            Box::pin(async move {
                let call = |request| async { client.tasks().list_sweeps(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.sweeps, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Ends members of a sweep that are not completed.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn terminate_sweep(
        &self,
        job: &str,
        sweep: &str,
        members: SweepNumbers,
    ) -> Result<wire::Sweep, CallError> {
        let request = wire::TerminateSweepRequest {
            job_id: job.to_owned(),
            sweep_id: sweep.to_owned(),
            first: members.first,
            last: members.last,
            request_id: request_id(),
        };
        self.unary(request, |request| async { self.tasks().terminate_sweep(request).await }).await
    }

    /// Makes failed, completed members of a sweep active again.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn reactivate_sweep(
        &self,
        job: &str,
        sweep: &str,
        members: SweepNumbers,
    ) -> Result<wire::Sweep, CallError> {
        let request = wire::ReactivateSweepRequest {
            job_id: job.to_owned(),
            sweep_id: sweep.to_owned(),
            first: members.first,
            last: members.last,
            request_id: request_id(),
        };
        self.unary(request, |request| async { self.tasks().reactivate_sweep(request).await }).await
    }

    /// Deletes a sweep with its members and their files. It is gone when [`Client::get_sweep`] does not find it.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_sweep(&self, job: &str, sweep: &str) -> Result<(), CallError> {
        let request = wire::DeleteSweepRequest {
            job_id: job.to_owned(),
            sweep_id: sweep.to_owned(),
            request_id: request_id(),
        };
        let call = |request| async { self.tasks().delete_sweep(request).await };
        self.unary(request, call).await.map(|_: wire::DeleteSweepResponse| ())
    }
}
