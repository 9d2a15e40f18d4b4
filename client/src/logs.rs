//! Reads a task's stdout.txt or stderr.txt: what is there, or live to the end, across broken connections and attempts.
//!
//! Goes in: the task, which stream, and for following a [`TaskFeed`]. Comes out: bytes, exactly once and in order for
//! each attempt, with a mark where an attempt begins and where the controller has only the first and last bytes left.
//!
//! Invariant: `offset` is what the reader has of attempt `attempt`; a break goes on there and nowhere else. Following
//! ends only when the task is completed and its output is read, or was found to be gone.

use std::time::Duration;

use bytes::Bytes;
use muster_proto::wire;
use muster_proto::wire::read_file_response::Body;
use muster_proto::wire::{ErrorReason, ReadFileResponse, TaskState};
use muster_runtime::backoff::Backoff;
use tonic::{Code, Status, Streaming};

use crate::call::Interrupted;
use crate::client::Client;
use crate::error::CallError;
use crate::watch::{Reopen, TaskFeed, TaskSeen};

/// For how long a stream of a completed task may be silent before it is read from what was saved: the node may have
/// gone with it.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// How often the rest of a completed task's output is asked for before what is missing is reported as a gap.
const REST_TRIES_MAX: u32 = 4;

/// The first wait for a file that is not there yet, and the longest. Staging takes from milliseconds to minutes.
const ABSENT_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// One of a task's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl OutputStream {
    /// The file below the task's directory.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Stdout => "stdout.txt",
            Self::Stderr => "stderr.txt",
        }
    }

    /// The excerpt of it that a task carries after its end.
    #[must_use]
    pub fn excerpt(self, task: &wire::Task) -> Option<&wire::OutputExcerpt> {
        match self {
            Self::Stdout => task.stdout.as_ref(),
            Self::Stderr => task.stderr.as_ref(),
        }
    }
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// Output of this attempt follows, from its first byte.
    Attempt {
        /// Its number.
        number: u32,
        /// Its node.
        node_id: String,
    },
    /// The next bytes.
    Bytes(Bytes),
    /// Bytes that nobody has any more.
    Gap {
        /// How many. 0 if that is not known.
        bytes: u64,
    },
}

/// The task's latest state, as far as reading goes.
struct Standing {
    attempt: u32,
    is_completed: bool,
    is_running: bool,
    total: Option<u64>,
}

/// Reads one output stream of a task.
pub struct LogReader {
    client: Client,
    job: String,
    task: String,
    output: OutputStream,
    feed: Option<TaskFeed>,
    attempt: u32,
    announced: u32,
    offset: u64,
    stream: Option<Streaming<ReadFileResponse>>,
    reopen: Reopen,
    absent: Backoff,
    rest_tries: u32,
    is_done: bool,
}

/// What to do after a look at the stream.
enum Next {
    Event(LogEvent),
    Again,
}

impl LogReader {
    /// The next event. `None` at the end.
    ///
    /// # Errors
    /// As [`CallError`] says; also what ended the feed for good.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, CallError> {
        while !self.is_done {
            let step = match self.feed.take() {
                None => self.step_once().await?,
                Some(mut feed) => {
                    let step = self.step_following(&mut feed).await;
                    self.feed = Some(feed);
                    step?
                }
            };
            match step {
                Next::Event(event) => return Ok(Some(event)),
                Next::Again => {}
            }
        }
        Ok(None)
    }

    /// One look without following: to the present end of the file.
    async fn step_once(&mut self) -> Result<Next, CallError> {
        if self.stream.is_none() {
            match self.open(false).await {
                Ok(stream) => self.stream = Some(stream),
                Err(broken) => self.reopen.wait(&self.client, broken).await?,
            }
            return Ok(Next::Again);
        }
        match self.message().await {
            Ok(Some(message)) => Ok(self.take(message)),
            Ok(None) => {
                self.is_done = true;
                Ok(Next::Again)
            }
            Err(status) => {
                self.stream = None;
                self.reopen.wait(&self.client, Interrupted::Status(Box::new(status))).await?;
                Ok(Next::Again)
            }
        }
    }

    /// One look while following: at the stream, or at the task when there is nothing to read.
    async fn step_following(&mut self, feed: &mut TaskFeed) -> Result<Next, CallError> {
        let Some(standing) = self.standing(feed)? else {
            feed.changed().await;
            return Ok(Next::Again);
        };
        if let Some(bytes) = self.lost(&standing) {
            return Ok(Next::Event(LogEvent::Gap { bytes }));
        }
        if self.settle(&standing) {
            return Ok(Next::Again);
        }
        if self.attempt == 0 {
            feed.changed().await;
            return Ok(Next::Again);
        }
        if self.stream.is_none() {
            let follow = !standing.is_completed;
            tokio::select! {
                opened = self.open(follow) => match opened {
                    Ok(stream) => self.stream = Some(stream),
                    Err(broken) => self.after_break(broken, &standing, feed).await?,
                },
                () = feed.changed() => {}
            }
            return Ok(Next::Again);
        }
        let stall = tokio::time::sleep(STALL_LIMIT);
        tokio::select! {
            message = self.message() => match message {
                Ok(Some(message)) => return Ok(self.take(message)),
                Ok(None) => self.after_end(&standing, feed).await,
                Err(status) => self.after_break(Interrupted::Status(Box::new(status)), &standing, feed).await?,
            },
            () = feed.changed() => {}
            () = stall, if standing.is_completed => {
                self.stream = None;
                self.rest_tries += 1;
            }
        }
        Ok(Next::Again)
    }

    /// Where the task stands. `None` as long as that is not known.
    fn standing(&self, feed: &mut TaskFeed) -> Result<Option<Standing>, CallError> {
        match feed.latest() {
            TaskSeen::Nothing => Ok(None),
            TaskSeen::Failed(error) => Err(error),
            // Deleted by someone: what is running is being ended, and there is no file to read any more.
            TaskSeen::Gone => Ok(Some(Standing {
                attempt: self.attempt,
                is_completed: true,
                is_running: false,
                total: Some(0),
            })),
            TaskSeen::Task(task) => {
                let is_completed = task.state() == TaskState::Completed;
                Ok(Some(Standing {
                    attempt: task.attempt,
                    is_completed,
                    is_running: task.state() == TaskState::Running,
                    total: is_completed
                        .then(|| self.output.excerpt(&task).map_or(0, |excerpt| excerpt.total_bytes)),
                }))
            }
        }
    }

    /// How many bytes of a completed task are not to be had, once that is certain.
    fn lost(&mut self, standing: &Standing) -> Option<u64> {
        let is_over = standing.is_completed && standing.attempt == self.attempt;
        let total = standing.total.filter(|total| is_over && self.offset < *total)?;
        if self.rest_tries < REST_TRIES_MAX {
            return None;
        }
        let bytes = total - self.offset;
        self.offset = total;
        Some(bytes)
    }

    /// Moves on to another attempt or to the end, where the task's state says so. True if anything was changed.
    fn settle(&mut self, standing: &Standing) -> bool {
        if standing.is_completed && standing.attempt == self.attempt {
            let is_read = standing.total.is_some_and(|total| self.offset >= total);
            if is_read {
                self.is_done = true;
                return true;
            }
        }
        // An attempt that is over is read to its end first: the end of its stream calls `begin`.
        if self.attempt == 0 && standing.attempt > 0 {
            self.begin(standing.attempt);
            return true;
        }
        if self.attempt == 0 && standing.is_completed {
            self.is_done = true;
            return true;
        }
        false
    }

    fn begin(&mut self, attempt: u32) {
        self.attempt = attempt;
        self.offset = 0;
        self.stream = None;
        self.rest_tries = 0;
        self.absent.reset();
    }

    /// The stream ended in good order.
    async fn after_end(&mut self, standing: &Standing, feed: &mut TaskFeed) {
        self.stream = None;
        if standing.attempt > self.attempt {
            self.begin(standing.attempt);
        } else if standing.is_completed {
            // Nothing more comes from there. What is short of the total is asked for again, a few times.
            self.rest_tries += 1;
        } else if standing.is_running {
            // The node is done and its report is under way, or the controller ended the stream: look again soon.
            self.pause(feed).await;
        } else {
            feed.changed().await;
        }
    }

    /// The stream broke, or could not be opened.
    async fn after_break(
        &mut self,
        broken: Interrupted,
        standing: &Standing,
        feed: &mut TaskFeed,
    ) -> Result<(), CallError> {
        self.stream = None;
        let status = match &broken {
            Interrupted::Status(status) => status,
            Interrupted::Ours(error) => return Err(error.clone()),
        };
        let is_absent = is_absent(status);
        if standing.is_completed || standing.attempt > self.attempt {
            self.rest_tries += 1;
            let is_lost = self.rest_tries >= REST_TRIES_MAX || is_absent;
            if is_lost && standing.attempt > self.attempt {
                self.begin(standing.attempt);
                return Ok(());
            }
            if is_absent {
                self.rest_tries = REST_TRIES_MAX;
                return Ok(());
            }
        } else if is_absent {
            self.pause(feed).await;
            return Ok(());
        }
        self.reopen.wait(&self.client, broken).await
    }

    /// Waits for a file or a state that is about to come.
    async fn pause(&mut self, feed: &mut TaskFeed) {
        let wait = self.absent.bound();
        let _jitter = self.absent.next_delay();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = feed.changed() => {}
        }
    }

    async fn open(&self, follow: bool) -> Result<Streaming<ReadFileResponse>, Interrupted> {
        let request = wire::ReadTaskFileRequest {
            job_id: self.job.clone(),
            task_id: self.task.clone(),
            attempt: self.attempt,
            path: self.output.path().to_owned(),
            offset: self.offset,
            length: 0,
            follow,
        };
        let call = |request| async { self.client.files().read_task_file(request).await };
        self.client.stream(request, call).await
    }

    async fn message(&mut self) -> Result<Option<ReadFileResponse>, Status> {
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    /// Takes in one message.
    fn take(&mut self, message: ReadFileResponse) -> Next {
        self.reopen.worked();
        self.absent.reset();
        match message.body {
            None => Next::Again,
            Some(Body::Header(header)) => {
                if header.attempt != self.attempt {
                    self.attempt = header.attempt;
                    self.offset = 0;
                }
                // What the controller cannot answer from where we are is gone.
                let skipped = header.offset.saturating_sub(self.offset);
                self.offset = header.offset.max(self.offset);
                if self.announced != self.attempt {
                    self.announced = self.attempt;
                    return Next::Event(LogEvent::Attempt { number: self.attempt, node_id: header.node_id });
                }
                if skipped > 0 { Next::Event(LogEvent::Gap { bytes: skipped }) } else { Next::Again }
            }
            Some(Body::Chunk(bytes)) => {
                self.offset += bytes.len() as u64;
                Next::Event(LogEvent::Bytes(bytes))
            }
            Some(Body::Gap(gap)) => {
                self.offset += gap.skipped_bytes;
                Next::Event(LogEvent::Gap { bytes: gap.skipped_bytes })
            }
        }
    }
}

/// Whether the file is not there, or not yet: the attempt is still staging, never started, or its directory is gone.
fn is_absent(status: &Status) -> bool {
    let reason = muster_proto::convert::reason_of(status);
    let is_gone = matches!(
        reason,
        Some(
            ErrorReason::FileNotFound
                | ErrorReason::AttemptNotFound
                | ErrorReason::TaskFilesUnavailable
                | ErrorReason::TaskFilesCleanedup
        )
    );
    // A range beyond the end: everything was read.
    is_gone || status.code() == Code::OutOfRange
}

impl Client {
    /// Reads what there is of an output stream of a task; attempt 0 means the latest.
    #[must_use]
    pub fn read_log(&self, job: &str, task: &str, output: OutputStream, attempt: u32) -> LogReader {
        self.log_reader(job, task, output, attempt, None)
    }

    /// Reads an output stream of a task live, from its first byte and through all further attempts, until the task is
    /// completed. `feed` is a feed of the same task.
    #[must_use]
    pub fn follow_log(&self, job: &str, task: &str, output: OutputStream, feed: TaskFeed) -> LogReader {
        self.log_reader(job, task, output, 0, Some(feed))
    }

    fn log_reader(
        &self,
        job: &str,
        task: &str,
        output: OutputStream,
        attempt: u32,
        feed: Option<TaskFeed>,
    ) -> LogReader {
        LogReader {
            client: self.clone(),
            job: job.to_owned(),
            task: task.to_owned(),
            output,
            feed,
            attempt,
            announced: 0,
            offset: 0,
            stream: None,
            reopen: Reopen::new(self),
            absent: Backoff::new(ABSENT_WAIT.0, ABSENT_WAIT.1),
            rest_tries: 0,
            is_done: false,
        }
    }
}
