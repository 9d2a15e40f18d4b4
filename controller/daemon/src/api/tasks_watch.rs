//! WatchTasks: what changes among the tasks of a job, gathered, at most ten times a second.
//!
//! An event names tasks and sweeps and shows each task as it is now; what changed more often than once is told once. Where
//! there is more than an event can tell it tells nothing, and the client lists anew. An event of many large tasks goes out
//! in parts; all but the last keep the revision before it, so that a client that resumes after a part misses nothing.

use super::context::{Api, checked};
use super::feed::{End, Feed, Watch, open as open_stream};
use super::watch::{PACE, next, subscribe};
use super::{lookup, view};
use crate::auth::JobPermit;
use crate::engine::{Committed, JobChanges, Seen, Subscription};
use muster_model::{AccountName, JobId, SweepId, TaskId, TaskKey};
use muster_proto::convert::job_id;
use muster_proto::version::{WATCH_SWEEPS_MAX, WATCH_TASKS_MAX};
use muster_proto::wire::{self, WatchTasksResponse};
use muster_store::{Reader, StoreError};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::Status;

/// The most bytes of one event: gRPC clients take messages of 4 MiB unless told otherwise.
const EVENT_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Opens the stream. A job that is not there is refused before, unless the client has seen it.
pub(super) async fn open(
    api: &Api,
    permit: JobPermit,
    request: wire::WatchTasksRequest,
) -> Result<Watch<WatchTasksResponse>, Status> {
    let job = checked(|c| job_id(c, &request.job_id))?;
    let account = permit.for_job(&job)?.clone();
    let changes = subscribe(api, request.resume_revision)?;
    let resumed = request.resume_revision.is_some();
    if !resumed {
        lookup::job(api, &account, &job).await?;
    }
    let watcher = Watcher { api: api.clone(), account, job, changed: Changed::default() };
    Ok(open_stream(|feed| watcher.run(changes, feed, resumed)))
}

/// What is to be told.
#[derive(Debug, Default)]
struct Changed {
    tasks: BTreeSet<TaskId>,
    sweeps: BTreeSet<SweepId>,
    /// There is more than an event can tell.
    overflow: bool,
    /// Something of the job has changed.
    any: bool,
}

impl Changed {
    fn add(&mut self, changes: &JobChanges) {
        self.any = true;
        self.overflow |= changes.overflow;
        self.tasks.extend(changes.tasks.iter().cloned());
        self.sweeps.extend(changes.sweeps.iter().cloned());
        if self.overflow || self.tasks.len() > WATCH_TASKS_MAX || self.sweeps.len() > WATCH_SWEEPS_MAX {
            self.all();
        }
    }

    /// More than can be told.
    fn all(&mut self) {
        *self = Self { overflow: true, any: true, ..Self::default() };
    }
}

struct Watcher {
    api: Api,
    account: AccountName,
    job: JobId,
    changed: Changed,
}

impl Watcher {
    async fn run(
        mut self,
        mut changes: Subscription,
        feed: Feed<WatchTasksResponse>,
        resumed: bool,
    ) -> Result<(), End> {
        let mut told = changes.revision();
        if resumed {
            // The job may have gone before.
            self.changed.any = true;
            match changes.take() {
                Some(Seen::Batches(batches)) => self.gather(Some(batches)),
                Some(Seen::Missed) => self.gather(None),
                None => {}
            }
        } else {
            feed.send(WatchTasksResponse { revision: told, ..Default::default() }).await?;
        }
        loop {
            while !self.changed.any {
                self.gather(next(&mut changes).await?);
            }
            let (looked, revision) = (Instant::now(), changes.revision());
            let changed = std::mem::take(&mut self.changed);
            if self.tell(&feed, changed, told, revision).await? {
                return Ok(());
            }
            told = revision;
            tokio::time::sleep_until(looked + PACE).await;
        }
    }

    fn gather(&mut self, batches: Option<Vec<Arc<Committed>>>) {
        let Some(batches) = batches else { return self.changed.all() };
        for batch in batches {
            if let Some(changes) = batch.in_job(&self.account, &self.job) {
                self.changed.add(changes);
            }
        }
    }

    /// Tells what has changed; answers whether the job is gone.
    async fn tell(
        &self,
        feed: &Feed<WatchTasksResponse>,
        changed: Changed,
        before: u64,
        revision: u64,
    ) -> Result<bool, End> {
        let Changed { tasks, sweeps, overflow, any: _ } = changed;
        let (account, job) = (self.account.clone(), self.job.clone());
        let read = move |reader: &dyn Reader| now(reader, &account, &job, tasks);
        let Some(mut parts) = self.api.read(read).await? else {
            let gone = WatchTasksResponse { job_deleted: true, revision, ..Default::default() };
            feed.send(gone).await?;
            return Ok(true);
        };
        let mut last = parts.pop().unwrap_or_default();
        for part in parts {
            feed.send(WatchTasksResponse { revision: before, ..part }).await?;
        }
        last.changed_sweep_ids = sweeps.iter().map(ToString::to_string).collect();
        let says_nothing =
            last.changed.is_empty() && last.deleted_task_ids.is_empty() && last.changed_sweep_ids.is_empty();
        if overflow || !says_nothing {
            feed.send(WatchTasksResponse { revision, overflow, ..last }).await?;
        }
        Ok(false)
    }
}

/// These tasks as they are now, in events of a bounded size; `None` when the job is gone.
fn now(
    reader: &dyn Reader,
    account: &AccountName,
    job: &JobId,
    tasks: BTreeSet<TaskId>,
) -> Result<Option<Vec<WatchTasksResponse>>, StoreError> {
    let Some(row) = reader.job(account, job)? else { return Ok(None) };
    let (mut parts, mut part, mut bytes) = (Vec::new(), WatchTasksResponse::default(), 0);
    for task in tasks {
        let key = TaskKey { job: job.clone(), task };
        match reader.task(account, &key)? {
            None => part.deleted_task_ids.push(key.task.to_string()),
            Some(found) => {
                let message = view::task(&found, &row.spec.pool, None, None);
                let size = message.encoded_len();
                if bytes > 0 && bytes + size > EVENT_BYTES_MAX {
                    parts.push(std::mem::take(&mut part));
                    bytes = 0;
                }
                bytes += size;
                part.changed.push(message);
            }
        }
    }
    parts.push(part);
    Ok(Some(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(tasks: usize, sweeps: usize) -> JobChanges {
        JobChanges {
            account: AccountName::parse("studio").unwrap(),
            job: JobId::parse("film").unwrap(),
            itself: false,
            tasks: (0..tasks).map(|n| TaskId::parse(&format!("t{n}")).unwrap()).collect(),
            sweeps: (0..sweeps).map(|n| SweepId::parse(&format!("s{n}")).unwrap()).collect(),
            overflow: false,
        }
    }

    #[test]
    fn an_event_tells_everything_or_that_it_cannot() {
        let mut changed = Changed::default();
        changed.add(&changes(WATCH_TASKS_MAX, WATCH_SWEEPS_MAX));
        changed.add(&changes(10, 1));
        assert_eq!((changed.tasks.len(), changed.overflow), (WATCH_TASKS_MAX, false), "each is told once");
        changed.add(&changes(0, WATCH_SWEEPS_MAX + 1));
        assert!(changed.overflow && changed.tasks.is_empty() && changed.sweeps.is_empty());
        let mut flooded = Changed::default();
        flooded.add(&JobChanges { overflow: true, ..changes(0, 0) });
        assert!(flooded.overflow && flooded.any);
    }
}
