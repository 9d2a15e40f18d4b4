//! TaskService: tasks one by one and in lists. Adding is in `task_batch`, the stream in `task_watch`.
//!
//! A task's message needs its job (for the pool) and, for what its last attempt left behind, a line of the ledger;
//! both are read in the same go as the task, so that an answer is one state of the store.

use super::context::{Api, answer, check_etag, checked, not_in_this_version};
use super::list::{ListRequest, fitting_page, next_page_token, query};
use super::lookup::{self, task_key};
use super::read_mask::ReadMask;
use super::watch::Watch;
use super::{refused, task_batch, task_watch, view};
use crate::auth::JobPermit;
use muster_controller_core::input::Command;
use muster_controller_core::record::AttemptRow;
use muster_controller_core::reject::Reject;
use muster_model::{JobId, PoolId, RequestId, TaskId, TaskKey};
use muster_proto::convert::{TaskUpdate, etag, job_id, request_id};
use muster_proto::wire;
use muster_proto::wire::task_service_server::TaskService;
use muster_store::{Reader, StoreError, TaskView};
use tonic::{Request, Response, Status, Streaming};

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
    async fn get(&self, permit: JobPermit, request: wire::GetTaskRequest) -> Result<wire::Task, Status> {
        let mask = ReadMask::of(request.read_mask, "Task")?;
        let key = checked(|c| task_key(c, &request.job_id, &request.task_id))?;
        Ok(mask.apply(lookup::task(&self.0, permit.for_job(&key.job)?, &key).await?.message()))
    }

    async fn list(
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
        let id = job.clone();
        let read = move |reader: &dyn Reader| {
            let Some(row) = reader.job(&account, &id)? else { return Ok(None) };
            let message = |task: TaskView| {
                let key = TaskKey { job: id.clone(), task: task.spec.spec.id.clone() };
                let last = match wants_ledger {
                    true => lookup::last_ended(reader, &account, &key, &task.state)?,
                    false => None,
                };
                Ok(mask.apply(view::task(&task, &row.spec.pool, last.as_ref())))
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

    async fn update(
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
        command: fn(JobId, TaskId) -> Command,
    ) -> Result<(), Status> {
        let account = permit.for_job(&target.key.job)?;
        if target.if_match.is_some() {
            let before = lookup::task(&self.0, account, &target.key).await?;
            check_etag(target.if_match, before.view.state.revision, || format!("task '{}'", target.key))?;
        }
        let command = command(target.key.job.clone(), target.key.task.clone());
        self.0.submit(account, target.request_id.clone(), command).await?;
        Ok(())
    }

    async fn delete(
        &self,
        permit: JobPermit,
        request: wire::DeleteTaskRequest,
    ) -> Result<wire::DeleteTaskResponse, Status> {
        let wire::DeleteTaskRequest { job_id, task_id, etag, request_id } = request;
        let target = TaskTarget::of(&job_id, &task_id, &etag, &request_id)?;
        self.change(&permit, &target, |job, task| Command::DeleteTask { job, task }).await?;
        Ok(wire::DeleteTaskResponse {})
    }

    async fn terminate(
        &self,
        permit: JobPermit,
        request: wire::TerminateTaskRequest,
    ) -> Result<wire::Task, Status> {
        let wire::TerminateTaskRequest { job_id, task_id, etag, request_id } = request;
        let target = TaskTarget::of(&job_id, &task_id, &etag, &request_id)?;
        self.change(&permit, &target, |job, task| Command::TerminateTask { job, task }).await?;
        Ok(lookup::task(&self.0, permit.for_job(&target.key.job)?, &target.key).await?.message())
    }

    async fn reactivate(
        &self,
        permit: JobPermit,
        request: wire::ReactivateTaskRequest,
    ) -> Result<wire::Task, Status> {
        let wire::ReactivateTaskRequest { job_id, task_id, etag, request_id } = request;
        let target = TaskTarget::of(&job_id, &task_id, &etag, &request_id)?;
        self.change(&permit, &target, |job, task| Command::ReactivateTask { job, task }).await?;
        Ok(lookup::task(&self.0, permit.for_job(&target.key.job)?, &target.key).await?.message())
    }

    async fn attempts(
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
                let page = reader.attempts(&account, &key, query)?;
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

#[tonic::async_trait]
impl TaskService for Tasks {
    type StreamCreateTasksStream = Watch<wire::StreamCreateTasksResponse>;
    type WatchTaskStream = Watch<wire::WatchTaskResponse>;

    async fn create_task(
        &self,
        request: Request<wire::CreateTaskRequest>,
    ) -> Result<Response<wire::Task>, Status> {
        answer(request, async |permit, body| task_batch::create_one(&self.0, permit, body).await).await
    }

    async fn batch_create_tasks(
        &self,
        request: Request<wire::BatchCreateTasksRequest>,
    ) -> Result<Response<wire::BatchCreateTasksResponse>, Status> {
        answer(request, async |permit, body| task_batch::create_batch(&self.0, permit, body).await).await
    }

    async fn stream_create_tasks(
        &self,
        request: Request<Streaming<wire::StreamCreateTasksRequest>>,
    ) -> Result<Response<Self::StreamCreateTasksStream>, Status> {
        let instead =
            "use BatchCreateTasks with up to 1000 tasks at a time, each with a request_id of its own";
        answer(request, async |_: JobPermit, _| not_in_this_version("StreamCreateTasks", instead)).await
    }

    async fn get_task(&self, request: Request<wire::GetTaskRequest>) -> Result<Response<wire::Task>, Status> {
        answer(request, async |permit, body| self.get(permit, body).await).await
    }

    async fn list_tasks(
        &self,
        request: Request<wire::ListTasksRequest>,
    ) -> Result<Response<wire::ListTasksResponse>, Status> {
        answer(request, async |permit, body| self.list(permit, body).await).await
    }

    async fn update_task(
        &self,
        request: Request<wire::UpdateTaskRequest>,
    ) -> Result<Response<wire::Task>, Status> {
        answer(request, async |permit, body| self.update(permit, body).await).await
    }

    async fn delete_task(
        &self,
        request: Request<wire::DeleteTaskRequest>,
    ) -> Result<Response<wire::DeleteTaskResponse>, Status> {
        answer(request, async |permit, body| self.delete(permit, body).await).await
    }

    async fn terminate_task(
        &self,
        request: Request<wire::TerminateTaskRequest>,
    ) -> Result<Response<wire::Task>, Status> {
        answer(request, async |permit, body| self.terminate(permit, body).await).await
    }

    async fn reactivate_task(
        &self,
        request: Request<wire::ReactivateTaskRequest>,
    ) -> Result<Response<wire::Task>, Status> {
        answer(request, async |permit, body| self.reactivate(permit, body).await).await
    }

    async fn watch_task(
        &self,
        request: Request<wire::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        answer(request, async |permit, body| task_watch::open(&self.0, permit, body).await).await
    }

    async fn list_task_attempts(
        &self,
        request: Request<wire::ListTaskAttemptsRequest>,
    ) -> Result<Response<wire::ListTaskAttemptsResponse>, Status> {
        answer(request, async |permit, body| self.attempts(permit, body).await).await
    }

    async fn explain_task(
        &self,
        request: Request<wire::ExplainTaskRequest>,
    ) -> Result<Response<wire::ExplainTaskResponse>, Status> {
        let instead =
            "see GetTask for its dependencies and slots, and ListNodes for what the nodes have free";
        answer(request, async |_: JobPermit, _| not_in_this_version("ExplainTask", instead)).await
    }
}
