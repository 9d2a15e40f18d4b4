//! Streams of events: how one is run, how it ends, and what it waits for.
//!
//! A stream is a task of its own that sends into a short queue. A client that reads slowly makes it wait, and what
//! happens meanwhile is not kept for it: it reads the present state when it goes on. A client that does not read at
//! all is dropped. Whoever subscribes before it reads the store misses nothing.

use crate::engine::{Committed, EngineHandle};
use crate::refusal;
use muster_controller_core::record::Record;
use muster_model::{AccountName, JobId, TaskId, TaskKey};
use muster_proto::convert::status;
use muster_proto::wire::ErrorReason;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// What a service answers for a stream.
pub(super) type Watch<T> = ReceiverStream<Result<T, Status>>;

/// Messages between a stream's task and its connection: hides the hop, and holds a few chunks of 1 MiB at most.
const QUEUE_MAX: usize = 4;

/// How long a client may leave its queue full. Longer than any pause of a network that comes back.
const SEND_WAIT_MAX: Duration = Duration::from_secs(120);

/// Why a stream ends before its time.
pub(super) enum End {
    /// The client has gone, or does not read.
    Gone,
    /// The stream ends with this status.
    Refused(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// The sending end of a stream.
pub(super) struct Feed<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Feed<T> {
    /// Sends one message; waits while the client reads.
    pub(super) async fn send(&self, message: T) -> Result<(), End> {
        self.0.send_timeout(Ok(message), SEND_WAIT_MAX).await.map_err(|_| End::Gone)
    }
}

/// Starts a stream: runs `feed` until it is done, fails, or the client has gone.
pub(super) fn open<T, F>(feed: impl FnOnce(Feed<T>) -> F) -> Watch<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), End>> + Send + 'static,
{
    let (send, receive) = mpsc::channel(QUEUE_MAX);
    let run = feed(Feed(send.clone()));
    tokio::spawn(async move {
        let end = tokio::select! {
            end = run => end,
            () = send.closed() => Err(End::Gone),
        };
        if let Err(End::Refused(status)) = end {
            // A client that has gone needs no status.
            let _ = send.send_timeout(Err(status), SEND_WAIT_MAX).await;
        }
    });
    ReceiverStream::new(receive)
}

/// What has become durable, as far as one watcher is concerned.
pub(super) struct Changes(broadcast::Receiver<Arc<Committed>>);

/// The next thing to look at.
pub(super) enum Change {
    /// One batch.
    Batch(Arc<Committed>),
    /// Some batches were missed: read the present state.
    Missed,
}

impl Changes {
    /// Everything from now on.
    pub(super) fn of(engine: &EngineHandle) -> Self {
        Self(engine.subscribe())
    }

    /// Waits for the next batch.
    pub(super) async fn next(&mut self) -> Result<Change, Status> {
        match self.0.recv().await {
            Ok(batch) => Ok(Change::Batch(batch)),
            Err(RecvError::Lagged(_)) => Ok(Change::Missed),
            Err(RecvError::Closed) => Err(refusal::stopping()),
        }
    }

    /// Passes over what is waiting already, for who is about to read the present state. Answers the last revision.
    pub(super) fn skip_waiting(&mut self) -> Option<u64> {
        let mut last = None;
        while let Ok(batch) = self.0.try_recv() {
            last = Some(batch.revision);
        }
        last
    }

    /// Waits until something of a job has changed, or of one of its tasks alone. Answers the batch's revision, or
    /// `None` when batches were missed.
    pub(super) async fn of_job(
        &mut self,
        account: &AccountName,
        job: &JobId,
        task: Option<&TaskId>,
    ) -> Result<Option<u64>, Status> {
        loop {
            match self.next().await? {
                Change::Missed => return Ok(None),
                Change::Batch(batch) => {
                    let concerns = |record: &Record| match subject(record) {
                        Some((of, in_job, what)) if of == account && in_job == job => {
                            task.is_none() || what.is_none() || what == task
                        }
                        Some(_) | None => false,
                    };
                    if batch.records.iter().any(concerns) {
                        return Ok(Some(batch.revision));
                    }
                }
            }
        }
    }

    /// Waits until something of a task has changed.
    pub(super) async fn of_task(
        &mut self,
        account: &AccountName,
        key: &TaskKey,
    ) -> Result<Option<u64>, Status> {
        self.of_job(account, &key.job, Some(&key.task)).await
    }
}

/// The account, the job and, if it is about one, the task of a record.
fn subject(record: &Record) -> Option<(&AccountName, &JobId, Option<&TaskId>)> {
    match record {
        Record::Job(row) => Some((&row.account, &row.spec.id, None)),
        Record::JobGone(account, job) => Some((account, job, None)),
        Record::TaskSpec(row) => Some((&row.account, &row.job, Some(&row.spec.id))),
        Record::TaskState(row) => Some((&row.account, &row.job, Some(&row.task))),
        Record::TaskGone(account, job, task) => Some((account, job, Some(task))),
        Record::Attempt(row) => Some((&row.account, &row.job, Some(&row.task))),
        Record::Account(_)
        | Record::Pool(_)
        | Record::PoolGone(..)
        | Record::Node(_)
        | Record::NodeGone(..)
        | Record::Token(_)
        | Record::TokenGone(..)
        | Record::File(_)
        | Record::FileGone(..)
        | Record::ContainerGone(..)
        | Record::Request(_)
        | Record::RequestGone(..) => None,
    }
}

/// Refuses to go on after a revision: changes are not kept, and the state that a fresh stream begins with has them all.
pub(super) fn refuse_resume(revision: Option<u64>) -> Result<(), Status> {
    match revision {
        None => Ok(()),
        Some(revision) => {
            let words = format!(
                "resume_revision {revision} is too old: start the stream without it; it begins with the present state"
            );
            Err(status(Code::OutOfRange, ErrorReason::RevisionTooOld, words))
        }
    }
}
