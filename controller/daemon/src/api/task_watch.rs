//! WatchTask: a task, at once and after every change.
//!
//! What is sent is the present state, not the change: changes that come faster than the client reads become one
//! message. A state that was sent is not sent again.

use super::context::{Api, checked};
use super::feed::{End, Feed, Watch, open as open_stream};
use super::lookup::{self, Known, task_key};
use super::watch::{Watched, already, subscribe, until};
use crate::auth::JobPermit;
use crate::engine::Subscription;
use muster_model::state::TaskState;
use muster_model::{AccountName, TaskKey};
use muster_proto::wire::{self, WatchTaskResponse};
use tonic::Status;

/// Opens the stream. A task that is not there is refused before, unless the client has seen it.
pub(super) async fn open(
    api: &Api,
    permit: JobPermit,
    request: wire::WatchTaskRequest,
) -> Result<Watch<WatchTaskResponse>, Status> {
    let key = checked(|c| task_key(c, &request.job_id, &request.task_id))?;
    let account = permit.for_job(&key.job)?.clone();
    let changes = subscribe(api, request.resume_revision)?;
    let resumed = request.resume_revision.is_some();
    if !resumed {
        lookup::task(api, &account, &key).await?;
    }
    let watcher =
        Watcher { api: api.clone(), account, key, until_completed: request.until_completed, resumed };
    Ok(open_stream(|feed| watcher.run(changes, feed)))
}

struct Watcher {
    api: Api,
    account: AccountName,
    key: TaskKey,
    until_completed: bool,
    /// The client has seen the task as it was at the revision where the stream begins.
    resumed: bool,
}

impl Watcher {
    async fn run(self, mut changes: Subscription, feed: Feed<WatchTaskResponse>) -> Result<(), End> {
        // The client that resumes has seen the task, and hears of it again only when it has changed since.
        let mut unchanged = match self.resumed {
            false => false,
            true => match self.read().await? {
                Some(known) => {
                    let watched = Watched::of(&known);
                    !already(&mut changes, |batch| watched.is_in(batch))
                }
                None => false,
            },
        };
        let mut shown = None;
        loop {
            let revision = changes.revision();
            let Some(task) = self.read().await? else {
                return feed.send(WatchTaskResponse { task: None, revision, deleted: true }).await;
            };
            let state = &task.view.state;
            let now = Some(state.revision);
            let is_over = self.until_completed && state.state == TaskState::Completed;
            if shown != now && (!unchanged || is_over) {
                shown = now;
                feed.send(WatchTaskResponse { task: Some(task.message()), revision, deleted: false }).await?;
            }
            if is_over {
                return Ok(());
            }
            unchanged = false;
            let watched = Watched::of(&task);
            until(&mut changes, |batch| watched.is_in(batch)).await?;
        }
    }

    async fn read(&self) -> Result<Option<Known>, Status> {
        let (of, wanted) = (self.account.clone(), self.key.clone());
        Ok(self.api.read(move |reader| Known::read(reader, &of, &wanted)).await?.ok())
    }
}
