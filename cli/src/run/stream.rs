//! Copies a running task's stdout and stderr to ours, byte for byte, both at one time.
//!
//! Each stream has a thread that writes, so that a reader of one who takes his time does not hold up the other. What is
//! received waits in a short channel; when that is full, nothing more is asked of the controller.

use std::io::{self, Write};

use bytes::Bytes;
use muster_client::logs::{LogEvent, LogReader, OutputStream};
use muster_client::{CallError, Client, TaskFeed};
use muster_proto::wire;
use tokio::sync::mpsc;

use super::plan::TASK;
use crate::outlet::Outlet;

/// Chunks that wait for a slow reader: a few megabytes at most.
const CHUNKS_AHEAD: usize = 8;

/// Why copying ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The output cannot be read.
    #[error(transparent)]
    Read(#[from] CallError),
    /// Our own stream cannot be written; nobody reads it, as a rule.
    #[error("cannot write the task's output")]
    Write(#[source] io::Error),
}

impl CopyError {
    /// Whether nobody reads our stream any more.
    pub(super) fn is_unread(&self) -> bool {
        match self {
            Self::Write(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Read(_) => false,
        }
    }
}

/// Copies both streams until the task is completed and its output is read.
pub(super) async fn copy_live(
    client: &Client,
    job: &str,
    feed: &TaskFeed,
    outlet: &Outlet,
) -> Result<(), CopyError> {
    let reader = |output| client.follow_log(job, TASK, output, feed.clone());
    tokio::try_join!(
        copy(reader(OutputStream::Stdout), OutputStream::Stdout, outlet),
        copy(reader(OutputStream::Stderr), OutputStream::Stderr, outlet),
    )?;
    Ok(())
}

async fn copy(mut reader: LogReader, output: OutputStream, outlet: &Outlet) -> Result<(), CopyError> {
    let (tx, rx) = mpsc::channel(CHUNKS_AHEAD);
    let writer = std::thread::Builder::new().name("output".to_owned());
    let (done_tx, done) = tokio::sync::oneshot::channel();
    writer
        .spawn(move || {
            // Nobody listens any more when the copy was given up: then it does not matter how it ended.
            let _unheard = done_tx.send(write_all(output, rx));
        })
        .map_err(CopyError::Write)?;
    let read = pump(&mut reader, output, &tx, outlet).await;
    drop(tx);
    // A writer that stopped early has the better reason.
    match done.await {
        Ok(written) => written.map_err(CopyError::Write)?,
        Err(_) => return Err(CopyError::Write(io::Error::other("the writing thread is gone"))),
    }
    read
}

async fn pump(
    reader: &mut LogReader,
    output: OutputStream,
    tx: &mpsc::Sender<Bytes>,
    outlet: &Outlet,
) -> Result<(), CopyError> {
    while let Some(event) = reader.next().await? {
        match event {
            LogEvent::Bytes(bytes) => {
                if tx.send(bytes).await.is_err() {
                    return Ok(());
                }
            }
            LogEvent::Attempt { number, node_id } if number > 1 && output == OutputStream::Stdout => {
                outlet.warn(&format!("attempt {number} begins, on node {node_id}: output starts again"));
            }
            LogEvent::Attempt { .. } => {}
            LogEvent::Gap { bytes } => {
                outlet.warn(&format!("{bytes} bytes of {} are lost with their node", output.path()));
            }
        }
    }
    Ok(())
}

fn write_all(output: OutputStream, mut rx: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(bytes) = rx.blocking_recv() {
        write(output, &bytes)?;
    }
    Ok(())
}

/// Writes to our stream of the same name, past any buffer.
fn write(output: OutputStream, bytes: &[u8]) -> io::Result<()> {
    match output {
        OutputStream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        OutputStream::Stderr => io::stderr().lock().write_all(bytes),
    }
}

/// Whether a completed task carries all of its output.
pub(super) fn is_complete(task: &wire::Task) -> bool {
    [OutputStream::Stdout, OutputStream::Stderr].iter().all(|output| {
        output
            .excerpt(task)
            .is_none_or(|excerpt| (excerpt.head.len() + excerpt.tail.len()) as u64 == excerpt.total_bytes)
    })
}

/// Writes the output that a completed task carries.
pub(super) fn write_excerpts(task: &wire::Task) -> Result<(), CopyError> {
    for output in [OutputStream::Stdout, OutputStream::Stderr] {
        if let Some(excerpt) = output.excerpt(task) {
            for part in [&excerpt.head, &excerpt.tail] {
                write(output, part).map_err(CopyError::Write)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_complete_when_nothing_is_left_out() {
        let excerpt = |head: usize, tail: usize, total_bytes| {
            Some(wire::OutputExcerpt {
                head: Bytes::from(vec![0; head]),
                tail: Bytes::from(vec![0; tail]),
                total_bytes,
            })
        };
        let task = |stdout, stderr| wire::Task { stdout, stderr, ..Default::default() };
        assert!(is_complete(&task(None, None)));
        assert!(is_complete(&task(excerpt(5, 0, 5), excerpt(0, 0, 0))));
        assert!(is_complete(&task(excerpt(10, 10, 20), None)));
        assert!(!is_complete(&task(excerpt(10, 10, 21), None)));
        assert!(!is_complete(&task(None, excerpt(1, 0, 2))));
    }
}
