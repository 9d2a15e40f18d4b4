//! A task, watched until it is completed.
//!
//! `TaskFeed` is a task's watch that several readers look at together (`logs.rs`, a program's main loop).

use std::sync::Arc;

use muster_proto::wire;
use tokio::sync::watch;

use super::events::Events;
use crate::client::Client;
use crate::error::CallError;

/// A task, now and after every change, until it is completed or gone.
pub struct TaskWatch {
    events: Events<wire::WatchTaskResponse>,
    is_over: bool,
}

impl TaskWatch {
    /// The task as it is, then as it becomes. `None` after it was completed, and when it is gone.
    ///
    /// # Errors
    /// As [`CallError`] says; NOT_FOUND when there is no such task.
    pub async fn next(&mut self) -> Result<Option<wire::Task>, CallError> {
        while !self.is_over {
            let (event, _) = self.events.next().await?;
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

impl Client {
    /// Watches a task until it is completed.
    #[must_use]
    pub fn watch_task(&self, job: &str, task: &str) -> TaskWatch {
        let (job_id, task_id) = (job.to_owned(), task.to_owned());
        let open = move |client: Client, resume_revision| {
            let request = wire::WatchTaskRequest {
                job_id: job_id.clone(),
                task_id: task_id.clone(),
                until_completed: true,
                resume_revision,
            };
            Box::pin(async move {
                client.stream(request, |request| async { client.tasks().watch_task(request).await }).await
            }) as _
        };
        TaskWatch { events: Events::new(self, Box::new(open)), is_over: false }
    }
}
