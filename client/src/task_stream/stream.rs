//! A stream of tasks to a job, of any length, across broken connections.
//!
//! Tasks become chunks; a few chunks go ahead of their answers; when these do not come, nothing more is taken. Chunks stay
//! here until they are answered. After a break those that were not are sent again, the same bytes at the same offsets: the
//! controller answers what it has as it did the first time, so no task is added twice and no refusal is lost.
//!
//! Invariant: what this holds is bounded by [`AHEAD_CHUNKS_MAX`] and [`AHEAD_BYTES_MAX`], however long the stream is.

use std::collections::VecDeque;
use std::time::Duration;

use muster_proto::wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Status, Streaming};

use super::chunk::{Chunk, Chunker, Frame, TaskTooLong};
use super::codec::ChunkCodec;
use crate::call::Interrupted;
use crate::client::Client;
use crate::error::{CallError, Refusal};
use crate::watch::Reopen;

/// Chunks that go ahead of their answers: enough that the controller never waits for the next one while an answer
/// travels around the world (16,000 tasks in 0.3 s are 50,000 a second).
const AHEAD_CHUNKS_MAX: usize = 16;

/// Bytes that go ahead of their answers, for tasks that are long: more is added only to a stream that has none ahead.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages between this and the connection: the next one is ready while one is written.
const HANDED_OVER_MAX: usize = 2;

/// How long tasks may wait for more that fill their chunk. A program that makes a task now and then does not wonder where
/// they are.
const LINGER: Duration = Duration::from_millis(100);

/// How long the controller may take to say good-bye when everything is acknowledged already.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

const CALL: &str = "StreamCreateTasks";
const PATH: PathAndQuery = PathAndQuery::from_static("/muster.v1.TaskService/StreamCreateTasks");

/// Why a stream of tasks ended early. What was acknowledged stays added; the stream can be resumed under its id.
#[derive(Debug, thiserror::Error)]
pub enum TaskStreamError {
    /// One task does not fit into a request. It has no part in the stream; the stream goes on.
    #[error(transparent)]
    TooLong(#[from] TaskTooLong),
    /// The controller refused the stream, or could not be reached for too long.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A task of a stream that was not added.
#[derive(Debug, Clone)]
pub struct TaskRefused {
    /// How many tasks of the stream come before it.
    pub offset: u64,
    /// Its id.
    pub task_id: String,
    /// Why.
    pub refusal: Refusal,
}

/// The controller's answer to a part of a stream: that part is durable, and refused tasks are known.
#[derive(Debug, Clone, Default)]
pub struct ChunkAnswer {
    /// How many tasks from the start of the stream are dealt with.
    pub acknowledged: u64,
    /// How many tasks of this part were added.
    pub added: u64,
    /// Those that were not.
    pub refused: Vec<TaskRefused>,
}

/// One call.
struct Link {
    /// `None` when the call takes no more.
    out: Option<mpsc::Sender<Frame>>,
    answers: Streaming<wire::StreamCreateTasksResponse>,
}

/// A stream of tasks to a job. Made by [`Client::stream_tasks`].
pub struct TaskStream {
    client: Client,
    open: wire::StreamCreateTasksOpen,
    chunker: Chunker,
    /// Since when the first task of the chunk that is being made waits.
    since: Option<Instant>,
    /// Chunks that are not acknowledged, and how many bytes they have; the first `sent` of them are given to the call.
    ahead: VecDeque<Chunk>,
    ahead_bytes: usize,
    sent: usize,
    link: Option<Link>,
    acknowledged: u64,
    answers: Vec<ChunkAnswer>,
    reopen: Reopen,
}

impl Client {
    /// Opens a stream of tasks to a job, or opens it again: a stream of the same id goes on at
    /// [`TaskStream::next_offset`], and the caller leaves out that many tasks. The id is 1 to 64 letters, digits, '-' and
    /// '_'; [`crate::random_id`] makes one.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn stream_tasks(&self, job: &str, stream_id: &str) -> Result<TaskStream, CallError> {
        let open = wire::StreamCreateTasksOpen { job_id: job.to_owned(), stream_id: stream_id.to_owned() };
        let mut stream = TaskStream {
            client: self.clone(),
            open,
            chunker: Chunker::default(),
            since: None,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            sent: 0,
            link: None,
            acknowledged: 0,
            answers: Vec::new(),
            reopen: Reopen::new(self),
        };
        stream.acknowledged = loop {
            if let Some(acknowledged) = stream.connect().await? {
                break acknowledged;
            }
        };
        stream.chunker = Chunker::at(stream.acknowledged);
        Ok(stream)
    }
}

impl TaskStream {
    /// For how long a connection that broke is tried again; ten minutes unless this says otherwise.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.reopen = self.reopen.with_patience(patience);
        self
    }

    /// How many tasks of the stream come before the next one that is added here. Right after opening: how many an earlier
    /// stream of this id has brought.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.chunker.next_offset()
    }

    /// How many tasks from the start of the stream are dealt with.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What was answered since the last call of this. Call it now and then: refused tasks wait here.
    #[must_use]
    pub fn answers(&mut self) -> Vec<ChunkAnswer> {
        std::mem::take(&mut self.answers)
    }

    /// Whether there is something that [`TaskStream::answers`] would give.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Adds a task. Waits while too much is under way; cancelling that wait loses nothing.
    ///
    /// # Errors
    /// [`TaskStreamError::TooLong`] concerns this task only.
    pub async fn add(&mut self, task: &wire::Task) -> Result<(), TaskStreamError> {
        if let Some(chunk) = self.chunker.push(task)? {
            self.enqueue(chunk);
        }
        self.since.get_or_insert_with(Instant::now);
        while self.sent < self.ahead.len() || self.is_full() {
            self.step().await?;
        }
        Ok(())
    }

    /// For the time in which there is no next task yet: sends what is there after a moment and takes answers. Ends when
    /// everything is acknowledged; with nothing to do it waits for ever. Made to be cancelled by the next task.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn settle(&mut self) -> Result<(), CallError> {
        if self.chunker.next_offset() == self.acknowledged {
            return std::future::pending().await;
        }
        if let Some(since) = self.since {
            tokio::time::sleep_until(since + LINGER).await;
        }
        self.flush().await
    }

    /// Sends what is there and waits until everything is acknowledged.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn flush(&mut self) -> Result<(), CallError> {
        if let Some(chunk) = self.chunker.cut() {
            self.enqueue(chunk);
        }
        while !self.ahead.is_empty() {
            self.step().await?;
        }
        Ok(())
    }

    /// Sends what is there, waits until everything is acknowledged, and ends the call. Answers the last answers.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn finish(mut self) -> Result<Vec<ChunkAnswer>, CallError> {
        self.flush().await?;
        if let Some(mut link) = self.link.take() {
            link.out = None;
            // Everything is durable: what the controller says now, or whether it says it, changes nothing.
            let _said = tokio::time::timeout(CLOSE_LIMIT, link.answers.message()).await;
        }
        Ok(self.answers)
    }

    fn enqueue(&mut self, chunk: Chunk) {
        self.ahead_bytes += chunk.bytes();
        self.ahead.push_back(chunk);
        self.since = None;
    }

    fn is_full(&self) -> bool {
        self.ahead.len() >= AHEAD_CHUNKS_MAX || (self.ahead.len() > 1 && self.ahead_bytes >= AHEAD_BYTES_MAX)
    }

    /// Does one thing: opens the call, sends a chunk, or takes an answer. May be cancelled.
    async fn step(&mut self) -> Result<(), CallError> {
        let Some(link) = &mut self.link else {
            let opened = self.connect().await?;
            return opened.map_or(Ok(()), |acknowledged| self.resume_at(acknowledged));
        };
        let next = self.ahead.get(self.sent).map(Chunk::frame);
        let is_open = link.out.is_some();
        let send = async {
            match (&link.out, next) {
                (Some(out), Some(frame)) => out.reserve().await.map(|permit| permit.send(frame)).is_ok(),
                (Some(_) | None, _) => std::future::pending().await,
            }
        };
        let broken = tokio::select! {
            answer = link.answers.message() => match answer {
                Ok(Some(answer)) => return self.take(answer),
                Ok(None) => Interrupted::Status(Box::new(Status::unavailable("the controller ended the stream"))),
                Err(status) => Interrupted::Status(Box::new(status)),
            },
            is_sent = send, if is_open => {
                if is_sent {
                    self.sent += 1;
                } else {
                    // The call takes no more; its last answer says why.
                    link.out = None;
                }
                return Ok(());
            }
        };
        self.link = None;
        self.reopen.wait(&self.client, broken).await
    }

    /// Tries to open the call once, and waits if that was in vain. `Some` is the offset at which it goes on.
    async fn connect(&mut self) -> Result<Option<u64>, CallError> {
        self.sent = 0;
        match self.call().await {
            Ok((link, acknowledged)) => {
                self.reopen.opened();
                self.link = Some(link);
                Ok(Some(acknowledged))
            }
            Err(broken) => self.reopen.wait(&self.client, broken).await.map(|()| None),
        }
    }

    async fn call(&self) -> Result<(Link, u64), Interrupted> {
        let (out, frames) = mpsc::channel(HANDED_OVER_MAX);
        // There is room for the first message.
        let _roomy = out.try_send(Frame::open(self.open.clone()));
        let request = self.client.signed(ReceiverStream::new(frames), None).map_err(Interrupted::Ours)?;
        let failed = |status| Interrupted::Status(Box::new(status));
        let mut grpc = tonic::client::Grpc::new(self.client.inner.channel.clone());
        grpc.ready().await.map_err(|error| failed(Status::from_error(Box::new(error))))?;
        let mut answers = grpc.streaming(request, PATH, ChunkCodec).await.map_err(failed)?.into_inner();
        let first = answers.message().await.map_err(failed)?;
        let ended = || failed(Status::unavailable("the controller ended the stream"));
        let acknowledged = first.ok_or_else(ended)?.acknowledged_offset;
        Ok((Link { out: Some(out), answers }, acknowledged))
    }

    /// Goes on in a call that was opened again, with the chunks that have no answer: also those that the controller has,
    /// whose answers were lost.
    fn resume_at(&mut self, acknowledged: u64) -> Result<(), CallError> {
        if acknowledged >= self.acknowledged {
            return Ok(());
        }
        Err(CallError::Malformed { call: CALL, lacks: "tasks that it acknowledged before" })
    }

    /// Takes the answer to the first chunk that is ahead. One that came again may be answered with an offset beyond it.
    fn take(&mut self, answer: wire::StreamCreateTasksResponse) -> Result<(), CallError> {
        self.reopen.worked();
        let is_answered = |chunk: &mut Chunk| chunk.end() <= answer.acknowledged_offset;
        let Some(chunk) = self.ahead.pop_front_if(is_answered).filter(|_| self.sent > 0) else {
            return Err(CallError::Malformed { call: CALL, lacks: "offset at which the next chunk ends" });
        };
        self.sent -= 1;
        self.ahead_bytes -= chunk.bytes();
        self.acknowledged = chunk.end();
        let refused: Vec<TaskRefused> = answer.refused.into_iter().map(refused).collect();
        let added = chunk.count().saturating_sub(refused.len() as u64);
        self.answers.push(ChunkAnswer { acknowledged: self.acknowledged, added, refused });
        Ok(())
    }
}

fn refused(task: wire::StreamTaskRefused) -> TaskRefused {
    let refusal = Refusal::of_one(task.error.unwrap_or_default());
    TaskRefused { offset: task.offset, task_id: task.task_id, refusal }
}
