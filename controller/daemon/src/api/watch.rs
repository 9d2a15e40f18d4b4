//! Streams of events: how one is run, how it ends, and what it waits for.
//!
//! A stream is a task of its own that sends into a short queue. A client that reads slowly makes it wait, and what
//! happens meanwhile is not kept for it: it reads the present state when it goes on. A client that does not read at
//! all is dropped. Whoever subscribes before it reads the store misses nothing, and whoever subscribes where an earlier
//! stream broke off neither.

use super::context::Api;
use super::lookup::Known;
use crate::engine::{Committed, Seen, Subscription};
use crate::refusal;
use muster_model::{AccountName, JobId, SweepId, TaskId};
use muster_proto::convert::status;
use muster_proto::wire::ErrorReason;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// What a service answers for a stream.
pub(super) type Watch<T> = ReceiverStream<Result<T, Status>>;

/// Messages between a stream's task and its connection: hides the hop, and holds a few chunks of 1 MiB at most.
const QUEUE_MAX: usize = 4;

/// How long a client may leave its queue full. Longer than any pause of a network that comes back.
const SEND_WAIT_MAX: Duration = Duration::from_secs(120);

/// The shortest time between two messages of a stream that gathers changes.
pub(super) const PACE: Duration = Duration::from_millis(100);

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

/// Begins to watch: from now on, or after the revision at which an earlier stream broke off.
pub(super) fn subscribe(api: &Api, resume: Option<u64>) -> Result<Subscription, Status> {
    let engine = &api.parts.engine;
    let Some(revision) = resume else { return Ok(engine.subscribe()) };
    engine.resume(revision).ok_or_else(|| {
        let words = format!(
            "resume_revision {revision} is too old: what has changed since is not known any more; start the stream without it and read the present state"
        );
        status(Code::OutOfRange, ErrorReason::RevisionTooOld, words)
    })
}

/// Waits for what comes next; `None` when some of it was missed.
pub(super) async fn next(changes: &mut Subscription) -> Result<Option<Vec<Arc<Committed>>>, Status> {
    match changes.next().await {
        Ok(Seen::Batches(batches)) => Ok(Some(batches)),
        Ok(Seen::Missed) => Ok(None),
        Err(_) => Err(refusal::stopping()),
    }
}

/// Whether some of what has come concerns the caller; what was missed may.
fn concerned(seen: Option<Vec<Arc<Committed>>>, concerns: impl Fn(&Committed) -> bool) -> bool {
    seen.is_none_or(|batches| batches.iter().any(|batch| concerns(batch)))
}

/// Waits until something has changed that concerns the caller, or until something was missed.
pub(super) async fn until(
    changes: &mut Subscription,
    concerns: impl Fn(&Committed) -> bool,
) -> Result<(), Status> {
    while !concerned(next(changes).await?, &concerns) {}
    Ok(())
}

/// Whether something that concerns the caller has changed already.
pub(super) fn already(changes: &mut Subscription, concerns: impl Fn(&Committed) -> bool) -> bool {
    match changes.take() {
        None => false,
        Some(Seen::Batches(batches)) => concerned(Some(batches), concerns),
        Some(Seen::Missed) => true,
    }
}

/// A task as changes name it: by the id that is kept, and by the sweep that it is a member of.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    account: AccountName,
    job: JobId,
    task: TaskId,
    sweep: Option<SweepId>,
}

impl Watched {
    /// The task that was read.
    pub(super) fn of(known: &Known) -> Self {
        let spec = &known.view.spec;
        Self {
            account: spec.account.clone(),
            job: spec.job.clone(),
            task: spec.spec.id.clone(),
            sweep: known.view.sweep.as_ref().map(|(sweep, _)| sweep.clone()),
        }
    }

    /// Whether a batch may have changed it.
    pub(super) fn is_in(&self, batch: &Committed) -> bool {
        batch.in_job(&self.account, &self.job).is_some_and(|changed| {
            let with_sweep = self.sweep.as_ref().is_some_and(|sweep| changed.sweeps.contains(sweep));
            changed.itself || changed.overflow || with_sweep || changed.tasks.contains(&self.task)
        })
    }
}
