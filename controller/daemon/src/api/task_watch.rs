//! WatchTask: a task, at once and after every change.
//!
//! What is sent is the present state, not the change: changes that come faster than the client reads become one
//! message. A state that was sent is not sent again.

use super::context::{Api, checked};
use super::lookup::{self, Known, task_key};
use super::watch::{Changes, End, Feed, Watch, open as open_stream, refuse_resume};
use crate::auth::JobPermit;
use muster_model::state::TaskState;
use muster_model::{AccountName, TaskKey};
use muster_proto::wire::{self, WatchTaskResponse};
use tonic::Status;

/// Opens the stream. A task that is not there is refused before.
pub(super) async fn open(
    api: &Api,
    permit: JobPermit,
    request: wire::WatchTaskRequest,
) -> Result<Watch<WatchTaskResponse>, Status> {
    refuse_resume(request.resume_revision)?;
    let key = checked(|c| task_key(c, &request.job_id, &request.task_id))?;
    let account = permit.for_job(&key.job)?.clone();
    let changes = Changes::of(&api.parts.engine);
    lookup::task(api, &account, &key).await?;
    let watcher = Watcher { api: api.clone(), account, key, until_completed: request.until_completed };
    Ok(open_stream(|feed| watcher.run(changes, feed)))
}

struct Watcher {
    api: Api,
    account: AccountName,
    key: TaskKey,
    until_completed: bool,
}

impl Watcher {
    async fn run(self, mut changes: Changes, feed: Feed<WatchTaskResponse>) -> Result<(), End> {
        let (mut shown, mut revision) = (None, 0);
        loop {
            let (of, wanted) = (self.account.clone(), self.key.clone());
            let found = self.api.read(move |reader| Known::read(reader, &of, &wanted)).await?;
            let Ok(task) = found else {
                return feed.send(WatchTaskResponse { task: None, revision, deleted: true }).await;
            };
            let state = &task.view.state;
            let (is_completed, now) = (state.state == TaskState::Completed, Some(state.revision));
            if shown != now {
                shown = now;
                feed.send(WatchTaskResponse { task: Some(task.message()), revision, deleted: false }).await?;
            }
            if self.until_completed && is_completed {
                return Ok(());
            }
            if let Some(batch) = changes.of_task(&self.account, &self.key).await? {
                revision = batch;
            }
        }
    }
}
