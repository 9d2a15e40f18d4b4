//! Tasks one by one and in lists: reading, changing, ending, trying again, deleting, and the ledger of attempts.
//!
//! A task's message needs its job (for the pool) and, for what its last attempt left behind, a line of the ledger;
//! both are read in the same go as the task, so that an answer is one state of the store.

use super::context::{Api, checked};
use super::list::{ListRequest, fitting_page, next_page_token, query};
use super::lookup::{self, task_key};
use super::read_mask::ReadMask;
use super::{refused, view};
use crate::auth::JobPermit;
use muster_controller_core::input::Command;
use muster_controller_core::record::AttemptRow;
use muster_controller_core::reject::Reject;
use muster_model::state::ExecutionResult;
use muster_model::{JobId, PoolId, RequestId, TaskId, TaskKey};
use muster_proto::convert::{TaskUpdate, etag, job_id, request_id};
use muster_proto::wire;
use muster_store::{Reader, StoreError, TaskView};
use tonic::Status;

/// The service.
pub(super) struct Tasks(pub(super) Api);

/// Fields of a task that come from the ledger and are answered in lists only by name: each may hold 64 KiB.
const LEDGER_FIELDS: [&str; 4] = ["usage", "outputs", "stdout", "stderr"];

/// A task by id with the conditions of a mutation.
struct TaskTarget {
    key: TaskKey,
    if_match: Option<u64>,
    request_id: Option<RequestId>,
}

impl TaskTarget {
    fn of(job: &str, task: &str, given_etag: &str, given_request: &str) -> Result<Self, Status> {
        checked(|c| {
            let if_match = etag(c, given_etag);
            let request_id = request_id(c, given_request);
            task_key(c, job, task).map(|key| Self { key, if_match, request_id })
        })
    }
}

impl Tasks {
    pub(super) async fn get(
        &self,
        permit: JobPermit,
        request: wire::GetTaskRequest,
    ) -> Result<wire::Task, Status> {
        let mask = ReadMask::of(request.read_mask, "Task")?;
        let key = checked(|c| task_key(c, &request.job_id, &request.task_id))?;
        Ok(mask.apply(lookup::task(&self.0, permit.for_job(&key.job)?, &key).await?.message()))
    }

    pub(super) async fn list(
        &self,
        permit: JobPermit,
        request: wire::ListTasksRequest,
    ) -> Result<wire::ListTasksResponse, Status> {
        let mask = ReadMask::of(request.read_mask, "Task")?;
        let job = checked(|c| job_id(c, &request.job_id))?;
        let account = permit.for_job(&job)?.clone();
        let query = query(ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            filter: &request.filter,
            order_by: &request.order_by,
        })?;
        let wants_ledger = LEDGER_FIELDS.iter().any(|field| mask.names(field));
        let (id, api) = (job.clone(), self.0.clone());
        let read = move |reader: &dyn Reader| {
            let Some(row) = reader.job(&account, &id)? else { return Ok(None) };
            let message = |task: TaskView| {
                let last = match wants_ledger {
                    true => lookup::last_ended(reader, &account, &task)?,
                    false => None,
                };
                let live = lookup::live_usage(&api, &account, &task);
                Ok(mask.apply(view::task(&task, &row.spec.pool, last.as_ref(), live.as_ref())))
            };
            fitting_page(query, |query| {
                let page = reader.tasks(&account, &id, query)?;
                let next = next_page_token(&page);
                Ok((page.items.into_iter().map(message).collect::<Result<_, StoreError>>()?, next))
            })
            .map(Some)
        };
        let (tasks, next_page_token) = self.0.read_one(read, || Reject::JobNotFound(job.clone())).await?;
        Ok(wire::ListTasksResponse { tasks, next_page_token })
    }

    pub(super) async fn update(
        &self,
        permit: JobPermit,
        request: wire::UpdateTaskRequest,
    ) -> Result<wire::Task, Status> {
        let TaskUpdate { job, task, constraints, if_match, request_id } = TaskUpdate::try_from(request)?;
        let account = permit.for_job(&job)?;
        let command = Command::UpdateTask { job: job.clone(), task: task.clone(), constraints, if_match };
        self.0.submit(account, request_id, command).await?;
        Ok(lookup::task(&self.0, account, &TaskKey { job, task }).await?.message())
    }

    /// Carries out a command on one task.
    async fn change(
        &self,
        permit: &JobPermit,
        target: &TaskTarget,
        command: fn(JobId, TaskId, Option<u64>) -> Command,
    ) -> Result<(), Status> {
        let account = permit.for_job(&target.key.job)?;
        let command = command(target.key.job.clone(), target.key.task.clone(), target.if_match);
        self.0.submit(account, target.request_id.clone(), command).await?;
        Ok(())
    }

    /// Holds an etag against a task that has succeeded. The core remembers such members of sweeps by their index alone; as
    /// they never change again, what is stored is as good.
    async fn compare_succeeded(&self, permit: &JobPermit, target: &TaskTarget) -> Result<(), Status> {
        let Some(given) = target.if_match else { return Ok(()) };
        let (account, key) = (permit.for_job(&target.key.job)?.clone(), target.key.clone());
        let stored = self.0.read(move |reader| reader.task(&account, &key)).await?;
        let succeeded = stored.filter(|view| view.state.result == Some(ExecutionResult::Success));
        let Some(current) = succeeded.map(|view| view.state.revision).filter(|current| *current != given)
        else {
            return Ok(());
        };
        let what = format!("task '{}' of job '{}'", target.key.task, target.key.job);
        Err(refused::of_reject(&Reject::EtagMismatch { what, given, current }))
    }

    pub(super) async fn delete(
        &self,
        permit: JobPermit,
        request: wire::DeleteTaskRequest,
    ) -> Result<wire::DeleteTaskResponse, Status> {
        let wire::DeleteTaskRequest { job_id, task_id, etag, request_id } = request;
        let target = TaskTarget::of(&job_id, &task_id, &etag, &request_id)?;
        self.compare_succeeded(&permit, &target).await?;
        let command = |job, task, if_match| Command::DeleteTask { job, task, if_match };
        self.change(&permit, &target, command).await?;
        Ok(wire::DeleteTaskResponse {})
    }

    pub(super) async fn terminate(
        &self,
        permit: JobPermit,
        request: wire::TerminateTaskRequest,
    ) -> Result<wire::Task, Status> {
        let wire::TerminateTaskRequest { job_id, task_id, etag, request_id } = request;
        let target = TaskTarget::of(&job_id, &task_id, &etag, &request_id)?;
        let command = |job, task, if_match| Command::TerminateTask { job, task, if_match };
        self.change(&permit, &target, command).await?;
        Ok(lookup::task(&self.0, permit.for_job(&target.key.job)?, &target.key).await?.message())
    }

    pub(super) async fn reactivate(
        &self,
        permit: JobPermit,
        request: wire::ReactivateTaskRequest,
    ) -> Result<wire::Task, Status> {
        let wire::ReactivateTaskRequest { job_id, task_id, etag, request_id } = request;
        let target = TaskTarget::of(&job_id, &task_id, &etag, &request_id)?;
        let command = |job, task, if_match| Command::ReactivateTask { job, task, if_match };
        self.change(&permit, &target, command).await?;
        Ok(lookup::task(&self.0, permit.for_job(&target.key.job)?, &target.key).await?.message())
    }

    pub(super) async fn attempts(
        &self,
        permit: JobPermit,
        request: wire::ListTaskAttemptsRequest,
    ) -> Result<wire::ListTaskAttemptsResponse, Status> {
        let mask = ReadMask::of(request.read_mask, "TaskAttempt")?;
        let key = checked(|c| task_key(c, &request.job_id, &request.task_id))?;
        let account = permit.for_job(&key.job)?.clone();
        let list = ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            ..Default::default()
        };
        let query = query(list)?;
        let message = move |row: &AttemptRow, pool: &PoolId| {
            let mut attempt = view::attempt(row, pool);
            if !mask.names("stdout") {
                attempt.stdout = None;
            }
            if !mask.names("stderr") {
                attempt.stderr = None;
            }
            mask.apply(attempt)
        };
        let read = move |reader: &dyn Reader| {
            let known = match lookup::Known::read(reader, &account, &key)? {
                Ok(known) => known,
                Err(reject) => return Ok(Err(reject)),
            };
            fitting_page(query, |query| {
                let page = reader.attempts(&account, &known.key(), query)?;
                let next = next_page_token(&page);
                Ok((page.items.iter().map(|row| message(row, &known.pool)).collect(), next))
            })
            .map(Ok)
        };
        let found = self.0.read(read).await?;
        let (attempts, next_page_token) = found.map_err(|reject| refused::of_reject(&reject))?;
        Ok(wire::ListTaskAttemptsResponse { attempts, next_page_token })
    }
}
