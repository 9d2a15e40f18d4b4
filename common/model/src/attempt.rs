//! One placement of a task: its number, what it used and what came of it.
//!
//! Every placement is a numbered attempt; numbers only grow, and state, output and logs are accepted from the
//! current one alone (promise 2). Values only; the rules are in the controller's `task` and the agent's `attempt`.

use crate::cause::FailureInfo;
use crate::digest::Digest;
use crate::id::{ContainerName, JobId, TaskId};
use crate::path::FilePath;
use crate::state::ExecutionResult;
use crate::time::Timestamp;
use std::fmt;

/// The number of an attempt within its task, from 1.
pub type AttemptNumber = u32;

/// A task's full name within its account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The job.
    pub job: JobId,
    /// The task within the job.
    pub task: TaskId,
}

/// An attempt's full name within its account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// The task within the job.
    pub task: TaskId,
    /// The number within the task.
    pub number: AttemptNumber,
}

impl AttemptId {
    /// The task that this is an attempt of.
    #[must_use]
    pub fn task_key(&self) -> TaskKey {
        TaskKey { job: self.job.clone(), task: self.task.clone() }
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.task)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.job, self.task, self.number)
    }
}

/// What an attempt used, measured by its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Highest memory of all its processes together, in bytes; 0 if the node could not measure it.
    pub peak_memory_bytes: u64,
    /// Processor time in user mode, microseconds.
    pub user_cpu_micros: u64,
    /// Processor time in the kernel, microseconds.
    pub kernel_cpu_micros: u64,
    /// Bytes of resource files that were fetched for it (not found in the node's cache).
    pub staged_bytes: u64,
    /// Bytes of output files that were uploaded.
    pub uploaded_bytes: u64,
    /// Bytes that it read from block devices; 0 if the node could not measure it.
    pub read_bytes: u64,
    /// Bytes that it wrote to block devices; 0 if the node could not measure it.
    pub written_bytes: u64,
    /// Most processes and threads at a time; 0 if the node could not measure it.
    pub peak_processes: u64,
    /// Most bytes in its directory, of an attempt with a disk limit; else 0.
    pub peak_disk_bytes: u64,
}

/// The first and the last part of a stream, which outlive the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// The beginning, at most half of `limits::EXCERPT_BYTES_MAX`.
    pub head: Vec<u8>,
    /// The end, likewise; empty when `head` holds the whole stream.
    pub tail: Vec<u8>,
    /// Bytes of the whole stream; more than `head` and `tail` together when the middle is left out.
    pub total_bytes: u64,
}

/// One published output file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEntry {
    /// The container of the file store.
    pub container: ContainerName,
    /// The name within the container.
    pub path: FilePath,
    /// What the bytes are.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

/// What came of an attempt, as its node reports it, all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// Success is exit code 0 with every output file uploaded.
    pub result: ExecutionResult,
    /// The exit code, when the command ran and exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// Why it failed; `None` exactly when `result` is success.
    pub failure: Option<FailureInfo>,
    /// When the command was started; `None` if it never was.
    pub start_time: Option<Timestamp>,
    /// When it ended, by the node's clock.
    pub end_time: Timestamp,
    /// What it used.
    pub usage: Usage,
    /// Its stdout.
    pub stdout: Excerpt,
    /// Its stderr.
    pub stderr: Excerpt,
    /// Its output files: one atomic manifest, published only if this attempt is current.
    pub outputs: Vec<OutputEntry>,
}

impl AttemptResult {
    /// A failed attempt whose command never ran.
    #[must_use]
    pub fn not_started(failure: FailureInfo, end_time: Timestamp) -> Self {
        Self {
            result: ExecutionResult::Failure,
            exit_code: None,
            signal: None,
            failure: Some(failure),
            start_time: None,
            end_time,
            usage: Usage::default(),
            stdout: Excerpt::default(),
            stderr: Excerpt::default(),
            outputs: Vec::new(),
        }
    }
}
