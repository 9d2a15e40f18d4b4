//! A file of tasks, one JSON object a line, into a stream of tasks.
//!
//! Lines that are no task, and tasks that are refused, are told by the number of their line while the others go on. Lines
//! are read as they are needed, so an input without an end works too.
//!
//! Invariant: an offset counts the lines that are tasks. A file that is given again unchanged under the same stream id
//! therefore goes on where it was.

use std::collections::VecDeque;
use std::io;
use std::str::Utf8Error;

use tokio::io::AsyncRead;

use super::chunk::TaskTooLong;
use super::line_reader::{Found, LINE_BYTES_MAX, LineReader};
use super::stream::{ChunkAnswer, TaskStream, TaskStreamError};
use crate::client::Client;
use crate::error::{CallError, Refusal};
use crate::json::JsonError;
use crate::task_json::task_from_line;

/// Why a line is not a task.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not JSON of a task.
    #[error("{}", in_one_line(.0))]
    Json(#[from] JsonError),
    /// It is not text.
    #[error("it is not text in UTF-8: {0}")]
    Text(#[from] Utf8Error),
    /// It would not fit into a request by itself.
    #[error(transparent)]
    TooLong(#[from] TaskTooLong),
}

/// A task stands in one line: that it is the first one of its text says nothing.
fn in_one_line(error: &JsonError) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Why adding lines ended early. What was acknowledged stays added.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The input cannot be read.
    #[error("cannot read line {line}")]
    Read {
        /// The line.
        line: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line has no end.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes; write one task on each line")]
    Endless {
        /// The line.
        line: u64,
    },
    /// The controller refused the stream, or could not be reached for too long.
    #[error(
        "{acknowledged} tasks are dealt with; to go on there, give the same lines under the stream id {stream_id}"
    )]
    Stream {
        /// How many.
        acknowledged: u64,
        /// The stream.
        stream_id: String,
        /// What went wrong.
        #[source]
        source: CallError,
    },
}

/// What is told while lines are added.
#[derive(Debug)]
pub enum LinesEvent<'a> {
    /// An earlier stream of this id has brought so many tasks: their lines are left out.
    Resumed {
        /// How many.
        tasks: u64,
    },
    /// A line is not a task.
    NotATask {
        /// Its number, from 1.
        line: u64,
        /// Why.
        error: &'a LineError,
    },
    /// A task was refused.
    Refused {
        /// The number of its line, from 1.
        line: u64,
        /// Its id.
        task_id: &'a str,
        /// Why.
        refusal: &'a Refusal,
    },
    /// Some more tasks are dealt with.
    Progress(&'a LinesSummary),
}

/// How far the lines of a file are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinesSummary {
    /// Lines that were read.
    pub lines: u64,
    /// Tasks that were added.
    pub added: u64,
    /// Tasks that an earlier stream of this id has brought.
    pub resumed: u64,
    /// Tasks that were refused, and lines that are not tasks.
    pub refused: u64,
}

impl Client {
    /// Adds the tasks of an input to a job: one JSON object on each line, with the field names of the API. Blank lines are
    /// skipped. `report` hears of each line that is refused, and of progress.
    ///
    /// # Errors
    /// [`LinesError`]; a line that is refused is none.
    pub async fn add_task_lines<R: AsyncRead + Unpin>(
        &self,
        job: &str,
        stream_id: &str,
        input: R,
        report: impl FnMut(LinesEvent<'_>),
    ) -> Result<LinesSummary, LinesError> {
        let ended = |acknowledged, source| {
            let stream_id = stream_id.to_owned();
            LinesError::Stream { acknowledged, stream_id, source }
        };
        let stream = self.stream_tasks(job, stream_id).await.map_err(|source| ended(0, source))?;
        let mut adding = Adding::new(stream, report);
        let read = adding.read_all(LineReader::new(input)).await?;
        let sent = if read.is_ok() { adding.stream.flush().await } else { read };
        let Adding { mut stream, mut told, .. } = adding;
        told.take(stream.answers());
        sent.map_err(|source| ended(stream.acknowledged(), source))?;
        let acknowledged = stream.acknowledged();
        stream.finish().await.map_err(|source| ended(acknowledged, source))?;
        Ok(told.summary)
    }
}

/// Where the lines of offsets are known from: `line` is the line of the task at `offset`, and so on until the next mark.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: u64,
    line: u64,
}

/// What was told so far, and to whom.
struct Told<F> {
    summary: LinesSummary,
    marks: VecDeque<Mark>,
    report: F,
}

impl<F: FnMut(LinesEvent<'_>)> Told<F> {
    /// Notes which line the task at an offset stands in.
    fn mark(&mut self, offset: u64, line: u64) {
        let follows = |mark: &Mark| mark.line.checked_sub(mark.offset) == line.checked_sub(offset);
        if !self.marks.back().is_some_and(follows) {
            self.marks.push_back(Mark { offset, line });
        }
    }

    /// The line of a task; marks before it are not needed any more.
    fn line(&mut self, offset: u64) -> u64 {
        while self.marks.get(1).is_some_and(|next| next.offset <= offset) {
            self.marks.pop_front();
        }
        self.marks.front().map_or(0, |mark| mark.line + offset.saturating_sub(mark.offset))
    }

    fn not_a_task(&mut self, error: &LineError) {
        self.summary.refused += 1;
        (self.report)(LinesEvent::NotATask { line: self.summary.lines, error });
    }

    fn take(&mut self, answers: Vec<ChunkAnswer>) {
        for answer in answers {
            self.summary.added += answer.added;
            self.summary.refused += answer.refused.len() as u64;
            for refused in &answer.refused {
                let (line, task_id) = (self.line(refused.offset), refused.task_id.as_str());
                (self.report)(LinesEvent::Refused { line, task_id, refusal: &refused.refusal });
            }
            self.line(answer.acknowledged);
            (self.report)(LinesEvent::Progress(&self.summary));
        }
    }
}

/// Lines on their way into a stream.
struct Adding<F> {
    stream: TaskStream,
    told: Told<F>,
    /// Tasks that are still to be left out.
    skip: u64,
}

impl<F: FnMut(LinesEvent<'_>)> Adding<F> {
    fn new(stream: TaskStream, mut report: F) -> Self {
        let skip = stream.next_offset();
        if skip > 0 {
            report(LinesEvent::Resumed { tasks: skip });
        }
        Self { stream, told: Told { summary: LinesSummary::default(), marks: VecDeque::new(), report }, skip }
    }

    /// Reads to the end. The outer error is the input's, the inner one the stream's.
    async fn read_all<R: AsyncRead + Unpin>(
        &mut self,
        mut reader: LineReader<R>,
    ) -> Result<Result<(), CallError>, LinesError> {
        loop {
            match reader.next() {
                Found::Line(line) => {
                    self.told.summary.lines += 1;
                    if let Err(error) = self.line(reader.bytes(line)).await {
                        return Ok(Err(error));
                    }
                }
                Found::More => {
                    let settled = tokio::select! {
                        read = reader.read() => {
                            let line = self.told.summary.lines + 1;
                            read.map_err(|source| LinesError::Read { line, source })?;
                            Ok(())
                        }
                        settled = self.stream.settle() => settled,
                    };
                    self.told.take(self.stream.answers());
                    if settled.is_err() {
                        return Ok(settled);
                    }
                }
                Found::End => return Ok(Ok(())),
                Found::TooLong => return Err(LinesError::Endless { line: self.told.summary.lines + 1 }),
            }
        }
    }

    /// Takes one line.
    async fn line(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                self.told.not_a_task(&error.into());
                return Ok(());
            }
        };
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        let task = match task_from_line(text) {
            Ok(task) => task,
            Err(error) => {
                self.told.not_a_task(&error.into());
                return Ok(());
            }
        };
        if self.skip > 0 {
            self.skip -= 1;
            self.told.summary.resumed += 1;
            return Ok(());
        }
        let offset = self.stream.next_offset();
        self.told.mark(offset, self.told.summary.lines);
        let added = self.stream.add(&task).await;
        if self.stream.has_answers() {
            self.told.take(self.stream.answers());
        }
        match added {
            Ok(()) => Ok(()),
            Err(TaskStreamError::TooLong(error)) => {
                self.told.not_a_task(&error.into());
                Ok(())
            }
            Err(TaskStreamError::Call(error)) => Err(error),
        }
    }
}
