//! WatchJob: a job and its counts, at once and after every change, at most ten times a second.
//!
//! Nothing is forwarded: a change of the job or of any of its tasks only says that it is time to look, and what is sent
//! is the present state. A job that ends a thousand tasks in a second costs its watchers ten messages.

use super::context::{Api, checked};
use super::watch::{Changes, End, Feed, Watch, open as open_stream, refuse_resume};
use super::{lookup, view};
use crate::auth::JobPermit;
use muster_controller_core::TaskCounts;
use muster_controller_core::record::JobRow;
use muster_model::state::JobState;
use muster_model::{AccountName, JobId};
use muster_proto::convert::job_id;
use muster_proto::wire::{self, WatchJobResponse};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;

/// The shortest time between two messages.
const PACE: Duration = Duration::from_millis(100);

/// Opens the stream. A job that is not there is refused before.
pub(super) async fn open(
    api: &Api,
    permit: JobPermit,
    request: wire::WatchJobRequest,
) -> Result<Watch<WatchJobResponse>, Status> {
    refuse_resume(request.resume_revision)?;
    let job = checked(|c| job_id(c, &request.job_id))?;
    let account = permit.for_job(&job)?.clone();
    let changes = Changes::of(&api.parts.engine);
    lookup::job(api, &account, &job).await?;
    let watcher = Watcher {
        api: api.clone(),
        account,
        job,
        until_complete: request.until_complete,
        shown: None,
        revision: 0,
    };
    Ok(open_stream(|feed| watcher.run(changes, feed)))
}

struct Watcher {
    api: Api,
    account: AccountName,
    job: JobId,
    until_complete: bool,
    /// What the client was told last: the job's revision and its counts.
    shown: Option<(u64, TaskCounts)>,
    revision: u64,
}

impl Watcher {
    async fn run(mut self, mut changes: Changes, feed: Feed<WatchJobResponse>) -> Result<(), End> {
        loop {
            let looked = Instant::now();
            let (of, id) = (self.account.clone(), self.job.clone());
            let row = self.api.read(move |reader| reader.job(&of, &id)).await?;
            let counts = lookup::task_counts(&self.api, &self.account, &self.job).await?;
            let Some((row, counts)) = row.zip(counts) else {
                let gone = WatchJobResponse { deleted: true, revision: self.revision, ..Default::default() };
                return feed.send(gone).await;
            };
            self.show(&feed, &row, counts).await?;
            if self.until_complete && is_complete(&row, &counts) {
                return Ok(());
            }
            if let Some(revision) = changes.of_job(&self.account, &self.job, None).await? {
                self.revision = revision;
            }
            tokio::time::sleep_until(looked + PACE).await;
            if let Some(revision) = changes.skip_waiting() {
                self.revision = revision;
            }
        }
    }

    async fn show(
        &mut self,
        feed: &Feed<WatchJobResponse>,
        row: &JobRow,
        counts: TaskCounts,
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
            revision: self.revision,
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
