//! What changes among the tasks of a job, for a program that keeps a list of them.
//!
//! Invariant: whoever lists the tasks after each [`TasksEvent::ListAnew`] and applies what follows has the list as the
//! controller has it. Changes may be told twice, never not at all.

use muster_proto::wire;

use super::events::Events;
use crate::client::Client;
use crate::error::CallError;

/// What happened among the tasks of a job.
#[derive(Debug, Clone)]
pub enum TasksEvent {
    /// It is not known what changed until now: at first, after a break that was too long, and when very much changed at
    /// one time. List the tasks after it.
    ListAnew,
    /// Some things changed.
    Changed {
        /// Tasks that were added or changed, each as it is, without outputs, stdout and stderr.
        tasks: Vec<wire::Task>,
        /// Tasks that are gone.
        deleted: Vec<String>,
        /// Sweeps that were added, or whose members changed together. Those members are not in `tasks`.
        sweeps: Vec<String>,
    },
}

/// The changes among the tasks of a job, for as long as there is the job.
pub struct TasksWatch {
    events: Events<wire::WatchTasksResponse>,
    is_over: bool,
}

impl TasksWatch {
    /// The next event. `None` when the job is gone.
    ///
    /// # Errors
    /// As [`CallError`] says; NOT_FOUND when there is no such job.
    pub async fn next(&mut self) -> Result<Option<TasksEvent>, CallError> {
        while !self.is_over {
            let (event, is_anew) = self.events.next().await?;
            if event.job_deleted {
                self.is_over = true;
                break;
            }
            if is_anew || event.overflow {
                return Ok(Some(TasksEvent::ListAnew));
            }
            let wire::WatchTasksResponse { changed, deleted_task_ids, changed_sweep_ids, .. } = event;
            let (tasks, deleted, sweeps) = (changed, deleted_task_ids, changed_sweep_ids);
            if !(tasks.is_empty() && deleted.is_empty() && sweeps.is_empty()) {
                return Ok(Some(TasksEvent::Changed { tasks, deleted, sweeps }));
            }
        }
        Ok(None)
    }
}

impl Client {
    /// Watches the tasks of a job.
    #[must_use]
    pub fn watch_tasks(&self, job: &str) -> TasksWatch {
        let job_id = job.to_owned();
        let open = move |client: Client, resume_revision| {
            let request = wire::WatchTasksRequest { job_id: job_id.clone(), resume_revision };
            Box::pin(async move {
                client.stream(request, |request| async { client.tasks().watch_tasks(request).await }).await
            }) as _
        };
        TasksWatch { events: Events::new(self, Box::new(open)), is_over: false }
    }
}
