//! Watches: the present state of a task, a job or all pools, and every change, across broken connections.
//!
//! After a break the watch is opened anew and answers the present state first, so nothing is lost that still matters.
//! States between two looks may be skipped. A watch that has worked keeps trying for [`PATIENCE`]; one that never did
//! gives up like any other call.
//!
//! `TaskFeed` is a task's watch that several readers look at together (`logs.rs`, a program's main loop).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use muster_proto::wire;
use muster_proto::wire::watch_pools_response::Event;
use muster_runtime::backoff::Backoff;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use crate::call::Interrupted;
use crate::client::Client;
use crate::error::CallError;
use crate::retry::{Retries, is_worth_retrying};

/// For how long a watch that worked tries to reach the controller again: an upgrade or a reboot of its machine passes in
/// this time; a longer silence is for a person to look at.
const PATIENCE: Duration = Duration::from_secs(600);

/// The first wait after a break is at most this long.
const REOPEN_BASE: Duration = Duration::from_millis(100);

/// No wait between two tries is longer: a controller that is back is noticed soon.
const REOPEN_CAP: Duration = Duration::from_secs(3);

/// When an interrupted stream is opened again.
pub(crate) struct Reopen {
    retries: Retries,
    backoff: Backoff,
    has_worked: bool,
    broken_since: Option<Instant>,
}

impl Reopen {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            retries: Retries::new(client.inner.retry),
            backoff: Backoff::new(REOPEN_BASE, REOPEN_CAP),
            has_worked: false,
            broken_since: None,
        }
    }

    /// Something was received.
    pub(crate) fn worked(&mut self) {
        self.has_worked = true;
        self.broken_since = None;
        self.backoff.reset();
    }

    /// Waits after a break, or says that it is no use.
    pub(crate) async fn wait(&mut self, client: &Client, broken: Interrupted) -> Result<(), CallError> {
        let status = match broken {
            Interrupted::Ours(error) => return Err(error),
            Interrupted::Status(status) => *status,
        };
        let wait = if self.has_worked {
            let since = *self.broken_since.get_or_insert_with(Instant::now);
            let is_hopeless = !is_worth_retrying(&status) || since.elapsed() > PATIENCE;
            (!is_hopeless).then(|| self.backoff.next_delay())
        } else {
            self.retries.after(&status)
        };
        let Some(wait) = wait else { return Err(client.failed(status, self.retries.attempts().max(1))) };
        tracing::debug!(code = ?status.code(), "a stream broke and is opened again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Opens a watch, for the first time and after every break.
type Open<A> = Box<dyn Fn(Client) -> BoxFuture<'static, Result<Streaming<A>, Interrupted>> + Send + Sync>;

/// A stream of events that is opened again after every break, until its reader has seen enough.
struct Watch<A> {
    client: Client,
    open: Open<A>,
    stream: Option<Streaming<A>>,
    reopen: Reopen,
}

impl<A> Watch<A> {
    fn new(client: &Client, open: Open<A>) -> Self {
        Self { client: client.clone(), open, stream: None, reopen: Reopen::new(client) }
    }

    /// The next event. The flag says whether it is the first one of a newly opened stream.
    async fn next(&mut self) -> Result<(A, bool), CallError> {
        let mut is_first = false;
        loop {
            let broken = match &mut self.stream {
                None => match (self.open)(self.client.clone()).await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        is_first = true;
                        continue;
                    }
                    Err(broken) => broken,
                },
                Some(stream) => match stream.message().await {
                    Ok(Some(event)) => {
                        self.reopen.worked();
                        return Ok((event, is_first));
                    }
                    // A controller that stops ends its streams in good order; the reader has not seen the end yet.
                    Ok(None) => {
                        Interrupted::Status(Box::new(Status::unavailable("the controller ended the watch")))
                    }
                    Err(status) => Interrupted::Status(Box::new(status)),
                },
            };
            self.stream = None;
            self.reopen.wait(&self.client, broken).await?;
        }
    }
}

/// A task, now and after every change, until it is completed or gone.
pub struct TaskWatch {
    watch: Watch<wire::WatchTaskResponse>,
    is_over: bool,
}

impl TaskWatch {
    /// The task as it is, then as it becomes. `None` after it was completed, and when it is gone.
    ///
    /// # Errors
    /// As [`CallError`] says; NOT_FOUND when there is no such task.
    pub async fn next(&mut self) -> Result<Option<wire::Task>, CallError> {
        while !self.is_over {
            let (event, _) = self.watch.next().await?;
            if event.deleted {
                self.is_over = true;
                return Ok(None);
            }
            if let Some(task) = event.task {
                self.is_over = task.state() == wire::TaskState::Completed;
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// Lets several readers look at the task together. Must be called inside a tokio runtime.
    #[must_use]
    pub fn into_feed(mut self) -> TaskFeed {
        let (sender, receiver) = watch::channel(TaskSeen::Nothing);
        let pump = tokio::spawn(async move {
            loop {
                let seen = match self.next().await {
                    Ok(Some(task)) => TaskSeen::Task(Arc::new(task)),
                    Ok(None) if self.has_completed(&sender) => return,
                    Ok(None) => TaskSeen::Gone,
                    Err(error) => TaskSeen::Failed(error),
                };
                let is_last = matches!(seen, TaskSeen::Gone | TaskSeen::Failed(_));
                if sender.send(seen).is_err() || is_last {
                    return;
                }
            }
        });
        TaskFeed { receiver, pump: Arc::new(AbortOnDrop(pump)) }
    }

    fn has_completed(&self, sender: &watch::Sender<TaskSeen>) -> bool {
        sender.borrow().completed().is_some()
    }
}

/// What the readers of a feed see.
#[derive(Debug, Clone)]
pub enum TaskSeen {
    /// No answer has come yet.
    Nothing,
    /// The task as it was last.
    Task(Arc<wire::Task>),
    /// The task was deleted.
    Gone,
    /// The watch failed for good.
    Failed(CallError),
}

impl TaskSeen {
    /// The task, if it is completed.
    #[must_use]
    pub fn completed(&self) -> Option<&Arc<wire::Task>> {
        match self {
            Self::Task(task) if task.state() == wire::TaskState::Completed => Some(task),
            Self::Task(_) | Self::Nothing | Self::Gone | Self::Failed(_) => None,
        }
    }
}

/// Stops the pump of a feed when its last reader is gone.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One reader of a watched task. Clones are further readers.
#[derive(Clone)]
pub struct TaskFeed {
    receiver: watch::Receiver<TaskSeen>,
    #[expect(dead_code, reason = "held for its drop")]
    pump: Arc<AbortOnDrop>,
}

impl TaskFeed {
    /// What was seen last.
    #[must_use]
    pub fn latest(&mut self) -> TaskSeen {
        self.receiver.borrow_and_update().clone()
    }

    /// Waits until something else is seen than at the last call of `latest`. Never ends after the last change.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A job and its counts as they were last.
#[derive(Debug, Clone, Default)]
pub struct JobProgress {
    /// The job.
    pub job: wire::Job,
    /// How many of its tasks are in each state.
    pub counts: wire::TaskCounts,
}

impl JobProgress {
    /// Whether nothing more will happen by itself: the job, or every task of it, is completed. A job without tasks counts as
    /// all complete, as in the reference; a progress that has not seen its job yet is not over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let seen = !self.job.id.is_empty();
        let all_done = self.counts.active == 0 && self.counts.running == 0;
        seen && (self.job.state() == wire::JobState::Completed || all_done)
    }
}

/// A job's progress, now and after every change, until all is over.
pub struct JobWatch {
    watch: Watch<wire::WatchJobResponse>,
    progress: JobProgress,
    is_over: bool,
}

impl JobWatch {
    /// The job as it is, then as it becomes. `None` after it was over, and when it is gone.
    ///
    /// # Errors
    /// As [`CallError`] says; NOT_FOUND when there is no such job.
    pub async fn next(&mut self) -> Result<Option<JobProgress>, CallError> {
        if self.is_over {
            return Ok(None);
        }
        let (event, _) = self.watch.next().await?;
        if event.deleted {
            self.is_over = true;
            return Ok(None);
        }
        self.progress.job = event.job.unwrap_or_else(|| std::mem::take(&mut self.progress.job));
        if let Some(counts) = event.counts.and_then(|report| report.task_counts) {
            self.progress.counts = counts;
        }
        self.is_over = self.progress.is_over();
        Ok(Some(self.progress.clone()))
    }
}

/// What happened to the pools of the account.
#[derive(Debug, Clone)]
pub enum PoolEvent {
    /// All pools that there are: at first, and after every break.
    Snapshot(BTreeMap<String, wire::Pool>),
    /// A pool is new or has changed.
    Changed(Box<wire::Pool>),
    /// A pool is gone.
    Deleted(String),
}

/// All pools of the account, now and after every change, for as long as one looks.
pub struct PoolWatch {
    watch: Watch<wire::WatchPoolsResponse>,
    snapshot: Option<BTreeMap<String, wire::Pool>>,
}

impl PoolWatch {
    /// The next event.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn next(&mut self) -> Result<PoolEvent, CallError> {
        loop {
            let (event, is_first) = self.watch.next().await?;
            if is_first {
                self.snapshot = Some(BTreeMap::new());
            }
            match (event.event, &mut self.snapshot) {
                (Some(Event::Pool(pool)), Some(snapshot)) => {
                    snapshot.insert(pool.id.clone(), pool);
                }
                (Some(Event::DeletedPoolId(pool)), Some(snapshot)) => {
                    snapshot.remove(&pool);
                }
                (Some(Event::SnapshotComplete(_)), snapshot) => {
                    return Ok(PoolEvent::Snapshot(snapshot.take().unwrap_or_default()));
                }
                (Some(Event::Pool(pool)), None) => return Ok(PoolEvent::Changed(Box::new(pool))),
                (Some(Event::DeletedPoolId(pool)), None) => return Ok(PoolEvent::Deleted(pool)),
                (None, _) => {}
            }
        }
    }
}

impl Client {
    /// Watches a task until it is completed.
    #[must_use]
    pub fn watch_task(&self, job: &str, task: &str) -> TaskWatch {
        let (job_id, task_id) = (job.to_owned(), task.to_owned());
        let open = move |client: Client| {
            let request = wire::WatchTaskRequest {
                job_id: job_id.clone(),
                task_id: task_id.clone(),
                until_completed: true,
                resume_revision: None,
            };
            Box::pin(async move {
                client.stream(request, |request| async { client.tasks().watch_task(request).await }).await
            }) as _
        };
        TaskWatch { watch: Watch::new(self, Box::new(open)), is_over: false }
    }

    /// Watches a job until it is completed, or has tasks and all of them are.
    #[must_use]
    pub fn watch_job(&self, job: &str) -> JobWatch {
        let job_id = job.to_owned();
        let open = move |client: Client| {
            let job_id = job_id.clone();
            let request = wire::WatchJobRequest { job_id, until_complete: true, resume_revision: None };
            Box::pin(async move {
                client.stream(request, |request| async { client.jobs().watch_job(request).await }).await
            }) as _
        };
        JobWatch { watch: Watch::new(self, Box::new(open)), progress: JobProgress::default(), is_over: false }
    }

    /// Watches the pools of the account.
    #[must_use]
    pub fn watch_pools(&self) -> PoolWatch {
        let open = move |client: Client| {
            let request = wire::WatchPoolsRequest::default();
            Box::pin(async move {
                client.stream(request, |request| async { client.pools().watch_pools(request).await }).await
            }) as _
        };
        PoolWatch { watch: Watch::new(self, Box::new(open)), snapshot: None }
    }
}
