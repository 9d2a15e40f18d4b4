//! WatchJob: a job and its counts, at once and after every change, at most ten times a second.
//!
//! Nothing is forwarded: a change of the job or of any of its tasks only says that it is time to look, and what is sent
//! is the present state. A job that ends a thousand tasks in a second costs its watchers ten messages.

use super::context::{Api, checked};
use super::feed::{End, Feed, Watch, open as open_stream};
use super::watch::{PACE, already, subscribe, until};
use super::{lookup, view};
use crate::auth::JobPermit;
use crate::engine::{Committed, Subscription};
use muster_controller_core::TaskCounts;
use muster_controller_core::record::JobRow;
use muster_model::state::JobState;
use muster_model::{AccountName, JobId};
use muster_proto::convert::job_id;
use muster_proto::wire::{self, WatchJobResponse};
use tokio::time::Instant;
use tonic::Status;

/// Opens the stream. A job that is not there is refused before, unless the client has seen it.
pub(super) async fn open(
    api: &Api,
    permit: JobPermit,
    request: wire::WatchJobRequest,
) -> Result<Watch<WatchJobResponse>, Status> {
    let job = checked(|c| job_id(c, &request.job_id))?;
    let account = permit.for_job(&job)?.clone();
    let changes = subscribe(api, request.resume_revision)?;
    let resumed = request.resume_revision.is_some();
    if !resumed {
        lookup::job(api, &account, &job).await?;
    }
    let until_complete = request.until_complete;
    let watcher = Watcher { api: api.clone(), account, job, until_complete, resumed, shown: None };
    Ok(open_stream(|feed| watcher.run(changes, feed)))
}

struct Watcher {
    api: Api,
    account: AccountName,
    job: JobId,
    until_complete: bool,
    /// The client has seen the job as it was at the revision where the stream begins.
    resumed: bool,
    /// What the client was told last: the job's revision and its counts.
    shown: Option<(u64, TaskCounts)>,
}

impl Watcher {
    async fn run(mut self, mut changes: Subscription, feed: Feed<WatchJobResponse>) -> Result<(), End> {
        let (of, in_job) = (self.account.clone(), self.job.clone());
        let concerns = |batch: &Committed| batch.in_job(&of, &in_job).is_some();
        // The client that resumes hears of the job again only when something has changed since.
        let mut unchanged = self.resumed && !already(&mut changes, concerns);
        loop {
            let (looked, revision) = (Instant::now(), changes.revision());
            let (account, id) = (self.account.clone(), self.job.clone());
            let row = self.api.read(move |reader| reader.job(&account, &id)).await?;
            let counts = lookup::task_counts(&self.api, &self.account, &self.job).await?;
            let Some((row, counts)) = row.zip(counts) else {
                let gone = WatchJobResponse { deleted: true, revision, ..Default::default() };
                return feed.send(gone).await;
            };
            let is_over = self.until_complete && is_complete(&row, &counts);
            if !unchanged || is_over {
                self.show(&feed, &row, counts, revision).await?;
            }
            if is_over {
                return Ok(());
            }
            unchanged = false;
            until(&mut changes, concerns).await?;
            tokio::time::sleep_until(looked + PACE).await;
            // What came meanwhile is in the state that is read next.
            changes.take();
        }
    }

    async fn show(
        &mut self,
        feed: &Feed<WatchJobResponse>,
        row: &JobRow,
        counts: TaskCounts,
        revision: u64,
    ) -> Result<(), End> {
        let job_changed = self.shown.is_none_or(|(revision, _)| revision != row.revision);
        let counts_changed = self.shown.is_none_or(|(_, shown)| shown != counts);
        if !job_changed && !counts_changed {
            return Ok(());
        }
        self.shown = Some((row.revision, counts));
        feed.send(WatchJobResponse {
            job: job_changed.then(|| view::job(row)),
            counts: Some(view::task_counts(&counts)),
            revision,
            deleted: false,
        })
        .await
    }
}

/// Whether the job is completed, or has tasks and all of them are.
fn is_complete(row: &JobRow, counts: &TaskCounts) -> bool {
    let ended = counts.succeeded.saturating_add(counts.failed);
    row.state == JobState::Completed || (ended > 0 && counts.active == 0 && counts.running == 0)
}
