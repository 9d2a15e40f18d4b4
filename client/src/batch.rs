//! Adding many tasks: lines of JSON become batches, batches become calls, and each task gets its own answer.
//!
//! Goes in: lines, one task each. Comes out: for each line whether it was added, or why not, by its number. Batches go
//! one after the other, so that tasks are created in the order of their lines; what a busy controller could not take is
//! given to it again.

use muster_model::limits::{BATCH_TASKS_MAX, REQUEST_BYTES_MAX};
use muster_proto::wire;
use muster_proto::wire::TaskAddStatus;
use muster_runtime::backoff::Backoff;
use prost::Message;

use crate::client::Client;
use crate::error::{CallError, Refusal};
use crate::identifier::request_id;
use crate::json::{self, JsonError};

/// Bytes of a request that are not tasks: ids and framing, generously.
const OVERHEAD_BYTES: usize = 4096;

/// How often tasks are given again to a controller that could not take them.
const TRIES_MAX: u32 = 6;

/// Why a line is not a task.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It is not JSON of a task.
    #[error("{}", in_one_line(.0))]
    Json(#[from] JsonError),
    /// It would not fit into a request by itself.
    #[error(
        "the task is {bytes} bytes long, more than the {max} that one request may have; use fewer or shorter \
             resource files, environment settings or a script in a resource file"
    )]
    TooLong {
        /// Its size on the wire.
        bytes: usize,
        /// The largest.
        max: usize,
    },
}

/// A task stands in one line: that it is the first one of its text says nothing.
fn in_one_line(error: &JsonError) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// A batch that is ready to be added.
#[derive(Debug, Default)]
pub struct TaskBatch {
    lines: Vec<u64>,
    tasks: Vec<wire::Task>,
    bytes: usize,
}

impl TaskBatch {
    /// How many tasks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// Makes batches of lines.
#[derive(Debug, Default)]
pub struct TaskBatcher {
    next: TaskBatch,
}

impl TaskBatcher {
    /// A batcher without lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a line, whose number counts from 1. Blank lines are skipped. `Some` is a batch that is full.
    ///
    /// # Errors
    /// [`BatchError`] when the line is not a task; the batch is as it was before.
    pub fn push(&mut self, number: u64, line: &str) -> Result<Option<TaskBatch>, BatchError> {
        let max = REQUEST_BYTES_MAX - OVERHEAD_BYTES;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let task: wire::Task = json::from_text(line)?;
        // A task in a request has a tag and its length before it, at most eleven bytes.
        let bytes = task.encoded_len() + 11;
        if bytes > max {
            return Err(BatchError::TooLong { bytes, max });
        }
        let is_full = self.next.len() >= BATCH_TASKS_MAX || self.next.bytes + bytes > max;
        let full = is_full.then(|| std::mem::take(&mut self.next));
        self.next.lines.push(number);
        self.next.tasks.push(task);
        self.next.bytes += bytes;
        Ok(full)
    }

    /// The tasks that are left.
    #[must_use]
    pub fn finish(self) -> TaskBatch {
        self.next
    }
}

/// What became of the task of one line.
#[derive(Debug)]
pub struct Added {
    /// The line.
    pub line: u64,
    /// The task's id.
    pub task_id: String,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
}

impl Client {
    /// Adds the tasks of a batch to a job, each by itself. Answers one outcome for each, in order.
    ///
    /// # Errors
    /// As [`CallError`] says: when the batch as a whole was refused or did not arrive.
    pub async fn add_tasks(&self, job: &str, batch: TaskBatch) -> Result<Vec<Added>, CallError> {
        let mut open: Vec<(usize, wire::Task)> = batch.tasks.into_iter().enumerate().collect();
        let mut outcomes: Vec<Option<Added>> = batch.lines.iter().map(|_| None).collect();
        let mut backoff = Backoff::new(self.inner.retry.base, self.inner.retry.cap);
        for attempt in 1..=TRIES_MAX {
            if open.is_empty() {
                break;
            }
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
                        Some(of_one_task(result.error.unwrap_or_default()))
                    }
                };
                let line = batch.lines.get(index).copied().unwrap_or_default();
                if let Some(place) = outcomes.get_mut(index) {
                    *place = Some(Added { line, task_id: task.id, refusal });
                }
            }
            open = again;
            if !open.is_empty() {
                tokio::time::sleep(backoff.next_delay()).await;
            }
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

/// The refusal of one task, in the words of that task: the place in the batch is nothing that the caller knows.
fn of_one_task(error: wire::ItemError) -> Refusal {
    let mut refusal = Refusal::from(error);
    for violation in &mut refusal.violations {
        if let Some((_, field)) =
            violation.field.strip_prefix("tasks[").and_then(|rest| rest.split_once("]."))
        {
            violation.field = field.to_owned();
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_batches_of_a_thousand() {
        let mut batcher = TaskBatcher::new();
        let mut full = Vec::new();
        for number in 1..=2001 {
            let line = format!(r#"{{"id": "t{number}", "command_line": "true"}}"#);
            full.extend(batcher.push(number, &line).unwrap());
        }
        assert_eq!(full.iter().map(TaskBatch::len).collect::<Vec<_>>(), [1000, 1000]);
        let last = batcher.finish();
        assert_eq!((last.len(), last.lines[0], last.tasks[0].id.as_str()), (1, 2001, "t2001"));
    }

    #[test]
    fn a_batch_stays_below_the_request_limit() {
        let mut batcher = TaskBatcher::new();
        let long = "x".repeat(3 * 1024 * 1024);
        let line = |id: u32| format!(r#"{{"id": "{id}", "command_line": "{long}"}}"#);
        assert!(batcher.push(1, &line(1)).unwrap().is_none());
        assert!(batcher.push(2, &line(2)).unwrap().is_none());
        assert_eq!(batcher.push(3, &line(3)).unwrap().unwrap().len(), 2);
        let monster = format!(r#"{{"command_line": "{}"}}"#, "x".repeat(9 * 1024 * 1024));
        assert!(matches!(batcher.push(4, &monster), Err(BatchError::TooLong { .. })));
        assert_eq!(batcher.finish().len(), 1);
    }

    #[test]
    fn the_place_in_the_batch_is_not_told() {
        let violation = |field: &str| wire::FieldViolation {
            field: field.to_owned(),
            description: "is wrong".to_owned(),
        };
        let error = wire::ItemError {
            violations: vec![violation("tasks[7].output_files[1].path")],
            ..Default::default()
        };
        assert_eq!(of_one_task(error).to_string(), "output_files[1].path: is wrong");
        let error = TaskBatcher::new().push(9, r#"{"nope": 1}"#).unwrap_err().to_string();
        assert!(error.contains("nope") && error.contains("at column") && !error.contains("line"), "{error}");
    }

    #[test]
    fn blank_lines_are_skipped_and_bad_ones_refused() {
        let mut batcher = TaskBatcher::new();
        assert!(batcher.push(1, "  ").unwrap().is_none());
        assert!(batcher.push(2, "{").is_err());
        assert!(batcher.finish().is_empty());
    }
}
