//! TaskService: every call led to the file of its subject.
//!
//! Tasks one by one are in `task`, adding in `task_batch` and `task_stream`, sweeps in `sweep`, streams of events in
//! `task_watch` and `tasks_watch`, reasons in `explain`. Nothing happens here but that.

use super::context::answer;
use super::feed::Watch;
use super::task::Tasks;
use super::{explain, sweep, task_batch, task_stream, task_watch, tasks_watch};
use muster_proto::wire;
use muster_proto::wire::task_service_server::TaskService;
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl TaskService for Tasks {
    type StreamCreateTasksStream = Watch<wire::StreamCreateTasksResponse>;
    type WatchTaskStream = Watch<wire::WatchTaskResponse>;
    type WatchTasksStream = Watch<wire::WatchTasksResponse>;

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
        let room = request.extensions().get().cloned();
        answer(request, async |permit, body| task_stream::open(&self.0, permit, room, body).await).await
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
        answer(request, async |permit, body| explain::task(&self.0, permit, body).await).await
    }

    async fn check_task(
        &self,
        request: Request<wire::CheckTaskRequest>,
    ) -> Result<Response<wire::ExplainTaskResponse>, Status> {
        answer(request, async |permit, body| explain::new_task(&self.0, permit, body).await).await
    }

    async fn watch_tasks(
        &self,
        request: Request<wire::WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        answer(request, async |permit, body| tasks_watch::open(&self.0, permit, body).await).await
    }

    async fn create_sweep(
        &self,
        request: Request<wire::CreateSweepRequest>,
    ) -> Result<Response<wire::Sweep>, Status> {
        answer(request, async |permit, body| sweep::create(&self.0, permit, body).await).await
    }

    async fn get_sweep(
        &self,
        request: Request<wire::GetSweepRequest>,
    ) -> Result<Response<wire::Sweep>, Status> {
        answer(request, async |permit, body| sweep::get(&self.0, permit, body).await).await
    }

    async fn list_sweeps(
        &self,
        request: Request<wire::ListSweepsRequest>,
    ) -> Result<Response<wire::ListSweepsResponse>, Status> {
        answer(request, async |permit, body| sweep::list(&self.0, permit, body).await).await
    }

    async fn terminate_sweep(
        &self,
        request: Request<wire::TerminateSweepRequest>,
    ) -> Result<Response<wire::Sweep>, Status> {
        answer(request, async |permit, body| sweep::terminate(&self.0, permit, body).await).await
    }

    async fn reactivate_sweep(
        &self,
        request: Request<wire::ReactivateSweepRequest>,
    ) -> Result<Response<wire::Sweep>, Status> {
        answer(request, async |permit, body| sweep::reactivate(&self.0, permit, body).await).await
    }

    async fn delete_sweep(
        &self,
        request: Request<wire::DeleteSweepRequest>,
    ) -> Result<Response<wire::DeleteSweepResponse>, Status> {
        answer(request, async |permit, body| sweep::delete(&self.0, permit, body).await).await
    }
}
