//! Calls on tasks.
//!
//! Goes in: a job, tasks of it. Comes out: tasks and their attempts. Adding many is in `batch.rs` and `task_stream/`,
//! watching in `watch/`, the files of one in `file.rs` and `logs.rs`.

use muster_proto::wire;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

/// How often a change is made anew because the task has changed meanwhile: a task that starts, runs and ends between the
/// tries has no more changes than that.
const CHANGE_TRIES_MAX: u32 = 5;

impl Client {
    /// Adds one task to a job.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn create_task(&self, job: &str, task: wire::Task) -> Result<wire::Task, CallError> {
        let request =
            wire::CreateTaskRequest { job_id: job.to_owned(), task: Some(task), request_id: request_id() };
        self.unary(request, |request| async { self.tasks().create_task(request).await }).await
    }

    /// Answers one task, with its outputs and the excerpts of its stdout and stderr.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_task(&self, job: &str, task: &str) -> Result<wire::Task, CallError> {
        let request =
            wire::GetTaskRequest { job_id: job.to_owned(), task_id: task.to_owned(), read_mask: None };
        self.unary(request, |request| async { self.tasks().get_task(request).await }).await
    }

    /// Lists the tasks of a job.
    #[must_use]
    pub fn list_tasks(&self, job: &str, selection: &Selection) -> Pages<wire::Task> {
        let (client, job_id, selected) = (self.clone(), job.to_owned(), selection.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let Selection { filter, order_by, read_mask, limit: _ } = selected.clone();
            let job_id = job_id.clone();
            let request =
                wire::ListTasksRequest { job_id, page_size, page_token, filter, order_by, read_mask };
            Box::pin(async move {
                let call = |request| async { client.tasks().list_tasks(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.tasks, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Replaces the constraints of a task that is not completed, also while it runs. With an etag only if the task still has
    /// it; an empty one means "whatever it is".
    ///
    /// # Errors
    /// As [`CallError`] says; ABORTED when the etag is another.
    pub async fn update_task(
        &self,
        job: &str,
        task: &str,
        constraints: wire::TaskConstraints,
        etag: &str,
    ) -> Result<wire::Task, CallError> {
        let task = wire::Task {
            job_id: job.to_owned(),
            id: task.to_owned(),
            constraints: Some(constraints),
            ..Default::default()
        };
        let request = wire::UpdateTaskRequest {
            task: Some(task),
            etag: etag.to_owned(),
            request_id: request_id(),
            update_mask: None,
        };
        self.unary(request, |request| async { self.tasks().update_task(request).await }).await
    }

    /// Changes some of the constraints of a task: reads them, lets `change` at them, writes them, and does so again when the
    /// task has changed meanwhile, as a running one does by itself.
    ///
    /// # Errors
    /// As [`Client::update_task`] says; ABORTED when it changes faster than that.
    pub async fn change_task(
        &self,
        job: &str,
        task: &str,
        change: impl Fn(&mut wire::TaskConstraints),
    ) -> Result<wire::Task, CallError> {
        let mut tries = 1..=CHANGE_TRIES_MAX;
        loop {
            tries.next();
            let present = self.get_task(job, task).await?;
            let mut constraints = present.constraints.unwrap_or_default();
            change(&mut constraints);
            match self.update_task(job, task, constraints, &present.etag).await {
                Err(error)
                    if error.reason() == Some(wire::ErrorReason::ConditionNotMet) && !tries.is_empty() => {}
                done => return done,
            }
        }
    }

    /// Says why a task waits.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn explain_task(&self, job: &str, task: &str) -> Result<wire::ExplainTaskResponse, CallError> {
        let request = wire::ExplainTaskRequest { job_id: job.to_owned(), task_id: task.to_owned() };
        self.unary(request, |request| async { self.tasks().explain_task(request).await }).await
    }

    /// Says what a task would wait for if it were added now, and adds nothing.
    ///
    /// # Errors
    /// As [`CallError`] says; what adding it would refuse is refused.
    pub async fn check_task(
        &self,
        job: &str,
        task: wire::Task,
    ) -> Result<wire::ExplainTaskResponse, CallError> {
        let request = wire::CheckTaskRequest { job_id: job.to_owned(), task: Some(task) };
        self.unary(request, |request| async { self.tasks().check_task(request).await }).await
    }

    /// Ends a task.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when it is completed.
    pub async fn terminate_task(&self, job: &str, task: &str) -> Result<wire::Task, CallError> {
        let request = wire::TerminateTaskRequest {
            job_id: job.to_owned(),
            task_id: task.to_owned(),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.tasks().terminate_task(request).await }).await
    }

    /// Deletes a task and its files; a running command is ended.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_task(&self, job: &str, task: &str) -> Result<(), CallError> {
        let request = wire::DeleteTaskRequest {
            job_id: job.to_owned(),
            task_id: task.to_owned(),
            request_id: request_id(),
            ..Default::default()
        };
        let call = |request| async { self.tasks().delete_task(request).await };
        self.unary(request, call).await.map(|_: wire::DeleteTaskResponse| ())
    }

    /// Makes a failed, completed task active again.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when it is not completed or succeeded.
    pub async fn reactivate_task(&self, job: &str, task: &str) -> Result<wire::Task, CallError> {
        let request = wire::ReactivateTaskRequest {
            job_id: job.to_owned(),
            task_id: task.to_owned(),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.tasks().reactivate_task(request).await }).await
    }

    /// Lists the attempts of a task that are over, newest first.
    #[must_use]
    pub fn list_task_attempts(&self, job: &str, task: &str) -> Pages<wire::TaskAttempt> {
        let (client, job_id, task_id) = (self.clone(), job.to_owned(), task.to_owned());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let request = wire::ListTaskAttemptsRequest {
                job_id: job_id.clone(),
                task_id: task_id.clone(),
                page_size,
                page_token,
                read_mask: None,
            };
            Box::pin(async move {
                let call = |request| async { client.tasks().list_task_attempts(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.attempts, page.next_page_token))
            }) as _
        };
        Pages::new(None, Box::new(fetch))
    }
}
