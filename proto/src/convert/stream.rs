//! A stream of tasks: how it is opened. Its id lets it go on after a broken connection; how chunks are known again is the
//! controller's business.
//!
//! The tasks of a chunk are checked one by one (`batch_task`), since each is added or refused by itself.

use muster_model::JobId;

use super::common::job_id;
use super::violation::{Checker, FieldErrors, Problem, shown};
use crate::wire;

/// Longest id of a stream in characters: with a chunk's place behind it, it is a request id.
const STREAM_ID_CHARS_MAX: usize = 64;

/// A checked opening of `StreamCreateTasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStream {
    /// The job.
    pub job: JobId,
    /// Names the stream: 1 to 64 letters, digits, '-' and '_'.
    pub stream_id: String,
}

impl TryFrom<wire::StreamCreateTasksOpen> for TaskStream {
    type Error = FieldErrors;

    fn try_from(open: wire::StreamCreateTasksOpen) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let stream = checker.at("open", |c| {
            let job = job_id(c, &open.job_id);
            let is_plain = (1..=STREAM_ID_CHARS_MAX).contains(&open.stream_id.len())
                && open.stream_id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if !is_plain {
                let rule = "1 to 64 letters, digits, '-' and '_', best a UUID";
                c.note_at("stream_id", Problem::NotName { given: shown(&open.stream_id), rule });
            }
            job.map(|job| Self { job, stream_id: open.stream_id })
        });
        checker.finish(stream)
    }
}
