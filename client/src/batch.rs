//! Adding up to a thousand tasks in one call, each by itself.
//!
//! Goes in: tasks. Comes out: for each whether it was added, or why not. What a busy controller could not take is given to
//! it again. More tasks than that, or an unknown number, are for `task_stream/`.

use muster_proto::wire;
use muster_proto::wire::TaskAddStatus;
use muster_runtime::backoff::Backoff;

use crate::client::Client;
use crate::error::{CallError, Refusal};
use crate::identifier::request_id;

/// How often tasks are given again to a controller that could not take them.
const TRIES_MAX: u32 = 6;

/// What became of one task.
#[derive(Debug)]
pub struct TaskAdded {
    /// Its id.
    pub task_id: String,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
}

impl Client {
    /// Adds tasks to a job, each by itself: 1 to 1000, together at most 8 MiB. Answers one outcome for each, in order.
    ///
    /// # Errors
    /// As [`CallError`] says: when the tasks as a whole were refused or did not arrive.
    pub async fn create_tasks(&self, job: &str, tasks: Vec<wire::Task>) -> Result<Vec<TaskAdded>, CallError> {
        let mut outcomes: Vec<Option<TaskAdded>> = tasks.iter().map(|_| None).collect();
        let mut open: Vec<(usize, wire::Task)> = tasks.into_iter().enumerate().collect();
        let mut backoff = Backoff::new(self.inner.retry.base, self.inner.retry.cap);
        for attempt in 1..=TRIES_MAX {
            let results = self.add_once(job, open.iter().map(|(_, task)| task.clone()).collect()).await?;
            let mut again = Vec::new();
            for ((index, task), result) in open.into_iter().zip(results) {
                let is_busy = result.status() == TaskAddStatus::ServerError;
                if is_busy && attempt < TRIES_MAX {
                    again.push((index, task));
                    continue;
                }
                let refusal = match result.status() {
                    TaskAddStatus::Success => None,
                    TaskAddStatus::ClientError | TaskAddStatus::ServerError | TaskAddStatus::Unspecified => {
                        Some(Refusal::of_one(result.error.unwrap_or_default()))
                    }
                };
                if let Some(place) = outcomes.get_mut(index) {
                    *place = Some(TaskAdded { task_id: task.id, refusal });
                }
            }
            open = again;
            if open.is_empty() {
                break;
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    async fn add_once(
        &self,
        job: &str,
        tasks: Vec<wire::Task>,
    ) -> Result<Vec<wire::TaskAddResult>, CallError> {
        let wanted = tasks.len();
        let request =
            wire::BatchCreateTasksRequest { job_id: job.to_owned(), tasks, request_id: request_id() };
        let call = |request| async { self.tasks().batch_create_tasks(request).await };
        let answer: wire::BatchCreateTasksResponse = self.unary(request, call).await?;
        if answer.results.len() == wanted {
            return Ok(answer.results);
        }
        Err(CallError::Malformed { call: "BatchCreateTasks", lacks: "result for each task" })
    }
}
