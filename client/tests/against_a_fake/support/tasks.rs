//! The task service of the fake controller.
//!
//! A test changes the one watched task through its channel and says what reads of output answer. Only calls that tests
//! make are there.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use muster_proto::convert::{item_error, status, status_busy};
use muster_proto::wire;
use muster_proto::wire::read_file_response;
use muster_proto::wire::stream_create_tasks_request::Body;
use muster_proto::wire::task_service_server::TaskService;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Fake;

/// How long a busy fake asks for.
pub(crate) const BUSY_FOR: Duration = Duration::from_millis(60);

pub(crate) struct Tasks {
    /// The watched task; the test changes it.
    pub task: watch::Sender<wire::Task>,
    /// Etags that the task gets, the last one first, each right after the task was read.
    pub etags: Vec<String>,
    /// How many watches were opened.
    pub watches: usize,
    /// Ends the next watch after its first event.
    pub break_watch: bool,
    /// What watches asked to go on after, and the oldest revision that is known. Every change is one more.
    pub resumed: Vec<Option<u64>>,
    pub oldest: u64,
    /// What each next watch of tasks answers.
    pub task_events: Vec<Vec<Result<wire::WatchTasksResponse, Status>>>,
    /// Streams of tasks by their id, and what becomes of them.
    pub streams: BTreeMap<String, TaskStreamSeen>,
    pub stream_faults: Vec<StreamFault>,
    /// Ids of tasks that streams refuse.
    pub refused: Vec<String>,
    /// Chunks are answered when this says so.
    pub is_answering: watch::Sender<bool>,
    /// What each next read of an attempt's output answers after its header.
    pub read_plans: Vec<(u32, Vec<Result<read_file_response::Body, Status>>)>,
    /// What reads asked for: attempt, offset, follow.
    pub reads: Vec<(u32, u64, bool)>,
    /// The ids of tasks that were added, and those that are answered with "busy" the next time they come.
    pub added: Vec<String>,
    pub busy: Vec<String>,
}

/// A stream of tasks as the controller has it.
#[derive(Default)]
pub(crate) struct TaskStreamSeen {
    /// How often it was opened.
    pub opened: usize,
    /// The ids of its tasks, refused ones too.
    pub ids: Vec<String>,
    /// How many tasks each chunk has that was dealt with, by its offset.
    pub cuts: BTreeMap<u64, usize>,
    /// Chunks in the order in which they came: offset and tasks. One that came twice is here twice.
    pub chunks: Vec<(u64, usize)>,
}

/// Where a stream breaks, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFault {
    /// The chunk at this offset is lost.
    BeforeChunk(u64),
    /// The chunk at this offset is dealt with, and its answer is lost.
    AfterChunk(u64),
    /// The controller is busy when this chunk comes, and says when to come back.
    Busy(u64),
    /// The job is completed when this chunk comes.
    JobCompleted(u64),
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            task: watch::Sender::new(wire::Task::default()),
            etags: Vec::new(),
            watches: 0,
            break_watch: false,
            resumed: Vec::new(),
            oldest: 0,
            task_events: Vec::new(),
            streams: BTreeMap::new(),
            stream_faults: Vec::new(),
            refused: Vec::new(),
            is_answering: watch::Sender::new(true),
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

impl Fake {
    /// Takes a chunk of a stream as the real controller does: without gaps, and each task once.
    fn take_chunk(
        &self,
        stream: &str,
        chunk: wire::StreamCreateTasksChunk,
    ) -> Result<wire::StreamCreateTasksResponse, Status> {
        let mut world = self.world();
        let Tasks { streams, stream_faults, refused, .. } = &mut world.tasks;
        let stream = streams.get_mut(stream).unwrap();
        let mut hits = |fault| {
            let at = stream_faults.iter().position(|planned| *planned == fault);
            at.map(|at| stream_faults.remove(at)).is_some()
        };
        stream.chunks.push((chunk.offset, chunk.tasks.len()));
        let (next, count) = (stream.ids.len() as u64, chunk.tasks.len());
        let is_again = chunk.offset < next && stream.cuts.get(&chunk.offset) == Some(&count);
        if !(is_again || chunk.offset == next) || count == 0 {
            return Err(Status::invalid_argument(format!("a chunk at {}", chunk.offset)));
        }
        if hits(StreamFault::JobCompleted(chunk.offset)) {
            return Err(status(Code::FailedPrecondition, wire::ErrorReason::JobCompleted, "it is completed"));
        }
        if hits(StreamFault::Busy(chunk.offset)) {
            return Err(status_busy(Code::ResourceExhausted, "no room: wait", BUSY_FOR));
        }
        if hits(StreamFault::BeforeChunk(chunk.offset)) {
            return Err(Status::unavailable("broken on purpose"));
        }
        let mut answer = wire::StreamCreateTasksResponse::default();
        stream.cuts.insert(chunk.offset, count);
        for (task, offset) in chunk.tasks.into_iter().zip(chunk.offset..) {
            // A chunk that was dealt with is answered as it was, and nothing is added.
            if !is_again {
                stream.ids.push(task.id.clone());
            }
            if refused.contains(&task.id) {
                let error = item_error(Code::AlreadyExists, wire::ErrorReason::TaskExists, "it exists");
                answer.refused.push(wire::StreamTaskRefused { offset, task_id: task.id, error: Some(error) });
            }
        }
        if hits(StreamFault::AfterChunk(chunk.offset)) {
            return Err(Status::unavailable("broken on purpose"));
        }
        answer.acknowledged_offset = stream.ids.len() as u64;
        Ok(answer)
    }
}

#[tonic::async_trait]
impl TaskService for Fake {
    type StreamCreateTasksStream = Items<wire::StreamCreateTasksResponse>;
    type WatchTaskStream = Items<wire::WatchTaskResponse>;
    type WatchTasksStream = Items<wire::WatchTasksResponse>;

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
        let resumed = request.get_ref().resume_revision;
        world.tasks.resumed.push(resumed);
        if resumed.is_some_and(|revision| revision < world.tasks.oldest) {
            return Err(status(Code::OutOfRange, wire::ErrorReason::RevisionTooOld, "too old"));
        }
        let events = WatchStream::new(world.tasks.task.subscribe())
            .map(|task| Ok(wire::WatchTaskResponse { task: Some(task), revision: 7, deleted: false }));
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
        request: Request<Streaming<wire::StreamCreateTasksRequest>>,
    ) -> Answer<Self::StreamCreateTasksStream> {
        self.admit(&request)?;
        let mut requests = request.into_inner();
        let Some(Ok(wire::StreamCreateTasksRequest { body: Some(Body::Open(open)) })) = requests.next().await
        else {
            return Err(Status::invalid_argument("no open"));
        };
        let seen = |fake: &Self| {
            let mut world = fake.world();
            let stream = world.tasks.streams.entry(open.stream_id.clone()).or_default();
            stream.opened += 1;
            stream.ids.len() as u64
        };
        let acknowledged_offset = seen(self);
        let (answers, answered) = tokio::sync::mpsc::channel(1);
        let first = wire::StreamCreateTasksResponse { acknowledged_offset, ..Default::default() };
        answers.send(Ok(first)).await.unwrap();
        let (fake, id) = (self.clone(), open.stream_id.clone());
        let mut is_answering = self.world().tasks.is_answering.subscribe();
        tokio::spawn(async move {
            while let Some(Ok(message)) = requests.next().await {
                let Some(Body::Chunk(chunk)) = message.body else { return };
                // The receiver sees changes after its last look, and the sender lives as long as the fake.
                is_answering.wait_for(|is_answering| *is_answering).await.unwrap();
                let answer = fake.take_chunk(&id, chunk);
                let is_over = answer.is_err();
                if answers.send(answer).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(answered))))
    }

    async fn watch_tasks(&self, request: Request<wire::WatchTasksRequest>) -> Answer<Self::WatchTasksStream> {
        self.admit(&request)?;
        let mut world = self.world();
        world.tasks.resumed.push(request.get_ref().resume_revision);
        if world.tasks.task_events.is_empty() {
            return Err(Status::not_found("no more of it"));
        }
        let mut events = world.tasks.task_events.remove(0);
        if let [Err(_)] = events.as_slice() {
            return Err(events.remove(0).unwrap_err());
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }
    async fn get_task(&self, request: Request<wire::GetTaskRequest>) -> Answer<wire::Task> {
        self.admit(&request)?;
        let mut world = self.world();
        let task = world.tasks.task.borrow().clone();
        // Somebody else changes it right after it was read.
        if let Some(etag) = world.tasks.etags.pop() {
            world.tasks.task.send_modify(|task| task.etag = etag);
        }
        Ok(Response::new(task))
    }
    async fn list_tasks(&self, _: Request<wire::ListTasksRequest>) -> Answer<wire::ListTasksResponse> {
        none()
    }
    async fn update_task(&self, request: Request<wire::UpdateTaskRequest>) -> Answer<wire::Task> {
        self.admit(&request)?;
        let request = request.into_inner();
        let world = self.world();
        let mut task = world.tasks.task.borrow().clone();
        if !request.etag.is_empty() && request.etag != task.etag {
            return Err(status(Code::Aborted, wire::ErrorReason::ConditionNotMet, "another etag"));
        }
        task.constraints = request.task.and_then(|task| task.constraints);
        world.tasks.task.send_replace(task.clone());
        Ok(Response::new(task))
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
    async fn check_task(&self, _: Request<wire::CheckTaskRequest>) -> Answer<wire::ExplainTaskResponse> {
        none()
    }
    async fn create_sweep(&self, _: Request<wire::CreateSweepRequest>) -> Answer<wire::Sweep> {
        none()
    }
    async fn get_sweep(&self, _: Request<wire::GetSweepRequest>) -> Answer<wire::Sweep> {
        none()
    }
    async fn list_sweeps(&self, _: Request<wire::ListSweepsRequest>) -> Answer<wire::ListSweepsResponse> {
        none()
    }
    async fn terminate_sweep(&self, _: Request<wire::TerminateSweepRequest>) -> Answer<wire::Sweep> {
        none()
    }
    async fn reactivate_sweep(&self, _: Request<wire::ReactivateSweepRequest>) -> Answer<wire::Sweep> {
        none()
    }
    async fn delete_sweep(&self, _: Request<wire::DeleteSweepRequest>) -> Answer<wire::DeleteSweepResponse> {
        none()
    }
}
