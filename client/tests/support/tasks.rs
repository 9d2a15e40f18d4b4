//! The task service of the fake controller.
//!
//! A test changes the one watched task through its channel and says what reads of output answer. Only calls that tests
//! make are there.

use std::pin::Pin;

use muster_proto::convert::item_error;
use muster_proto::wire;
use muster_proto::wire::read_file_response;
use muster_proto::wire::task_service_server::TaskService;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Fake;

pub(crate) struct Tasks {
    /// The watched task; the test changes it.
    pub task: watch::Sender<wire::Task>,
    /// How many watches were opened.
    pub watches: usize,
    /// Ends the next watch after its first event.
    pub break_watch: bool,
    /// What each next read of an attempt's output answers after its header.
    pub read_plans: Vec<(u32, Vec<Result<read_file_response::Body, Status>>)>,
    /// What reads asked for: attempt, offset, follow.
    pub reads: Vec<(u32, u64, bool)>,
    /// The ids of tasks that were added, and those that are answered with "busy" the next time they come.
    pub added: Vec<String>,
    pub busy: Vec<String>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            task: watch::Sender::new(wire::Task::default()),
            watches: 0,
            break_watch: false,
            read_plans: Vec::new(),
            reads: Vec::new(),
            added: Vec::new(),
            busy: Vec::new(),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn none<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the fake"))
}

#[tonic::async_trait]
impl TaskService for Fake {
    type StreamCreateTasksStream = Items<wire::StreamCreateTasksResponse>;
    type WatchTaskStream = Items<wire::WatchTaskResponse>;

    async fn batch_create_tasks(
        &self,
        request: Request<wire::BatchCreateTasksRequest>,
    ) -> Answer<wire::BatchCreateTasksResponse> {
        self.admit(&request)?;
        let request = request.into_inner();
        let mut world = self.world();
        world.request_ids.push(request.request_id);
        let mut results = Vec::new();
        for task in request.tasks {
            let mut result = wire::TaskAddResult { task_id: task.id.clone(), ..Default::default() };
            if let Some(at) = world.tasks.busy.iter().position(|id| *id == task.id) {
                world.tasks.busy.remove(at);
                result.set_status(wire::TaskAddStatus::ServerError);
            } else if world.tasks.added.contains(&task.id) {
                result.set_status(wire::TaskAddStatus::ClientError);
                result.error =
                    Some(item_error(Code::AlreadyExists, wire::ErrorReason::TaskExists, "it exists"));
            } else {
                world.tasks.added.push(task.id);
                result.set_status(wire::TaskAddStatus::Success);
            }
            results.push(result);
        }
        Ok(Response::new(wire::BatchCreateTasksResponse { results }))
    }

    async fn watch_task(&self, request: Request<wire::WatchTaskRequest>) -> Answer<Self::WatchTaskStream> {
        self.admit(&request)?;
        let mut world = self.world();
        world.tasks.watches += 1;
        let events = WatchStream::new(world.tasks.task.subscribe())
            .map(|task| Ok(wire::WatchTaskResponse { task: Some(task), revision: 1, deleted: false }));
        if std::mem::take(&mut world.tasks.break_watch) {
            let broken = tokio_stream::once(Err(Status::unavailable("broken on purpose")));
            return Ok(Response::new(Box::pin(events.take(1).chain(broken))));
        }
        Ok(Response::new(Box::pin(events)))
    }

    async fn create_task(&self, _: Request<wire::CreateTaskRequest>) -> Answer<wire::Task> {
        none()
    }
    async fn stream_create_tasks(
        &self,
        _: Request<Streaming<wire::StreamCreateTasksRequest>>,
    ) -> Answer<Self::StreamCreateTasksStream> {
        none()
    }
    async fn get_task(&self, _: Request<wire::GetTaskRequest>) -> Answer<wire::Task> {
        none()
    }
    async fn list_tasks(&self, _: Request<wire::ListTasksRequest>) -> Answer<wire::ListTasksResponse> {
        none()
    }
    async fn update_task(&self, _: Request<wire::UpdateTaskRequest>) -> Answer<wire::Task> {
        none()
    }
    async fn delete_task(&self, _: Request<wire::DeleteTaskRequest>) -> Answer<wire::DeleteTaskResponse> {
        none()
    }
    async fn terminate_task(&self, _: Request<wire::TerminateTaskRequest>) -> Answer<wire::Task> {
        none()
    }
    async fn reactivate_task(&self, _: Request<wire::ReactivateTaskRequest>) -> Answer<wire::Task> {
        none()
    }
    async fn list_task_attempts(
        &self,
        _: Request<wire::ListTaskAttemptsRequest>,
    ) -> Answer<wire::ListTaskAttemptsResponse> {
        none()
    }
    async fn explain_task(&self, _: Request<wire::ExplainTaskRequest>) -> Answer<wire::ExplainTaskResponse> {
        none()
    }
}
