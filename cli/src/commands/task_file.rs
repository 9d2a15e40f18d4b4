//! `muster task add --file`: thousands of tasks from lines of JSON.
//!
//! Lines are read as they are needed, so a pipe without an end works too. What is wrong with a line is told with its
//! number, on standard error, and the other lines go on.

use std::io;
use std::path::{Path, PathBuf};

use muster_client::{Added, Client, TaskBatch, TaskBatcher};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::Context;
use crate::exit::{Exit, Failure};
use crate::progress::CountBar;

/// The most lines that are reported one by one; a file of the wrong kind must not bury what matters.
const REPORTED_MAX: u64 = 100;

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
enum FileError {
    /// It cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What has become of the lines so far.
#[derive(Default)]
struct Tally {
    lines: u64,
    added: u64,
    refused: u64,
}

/// Adds the tasks of a file, or of standard input for `-`.
pub(super) async fn add(context: &Context, client: &Client, job: &str, file: &Path) -> Result<Exit, Failure> {
    let read = |source| Failure::new(Exit::Failed, FileError::Read { path: file.to_owned(), source });
    let input: Box<dyn AsyncRead + Unpin> = if file == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        let opened = tokio::fs::File::open(file).await;
        let not_found = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let exit = if not_found { Exit::NotFound } else { Exit::Failed };
        Box::new(opened.map_err(|source| read(source).with_exit(exit))?)
    };
    let bar = CountBar::new(&context.outlet, "adding");
    let mut lines = BufReader::with_capacity(1024 * 1024, input).lines();
    let mut batcher = TaskBatcher::new();
    let mut tally = Tally::default();
    while let Some(line) = lines.next_line().await.map_err(read)? {
        tally.lines += 1;
        match batcher.push(tally.lines, &line) {
            Ok(None) => {}
            Ok(Some(batch)) => send(context, client, job, batch, &mut tally, &bar).await?,
            Err(error) => report(context, &bar, &mut tally, None, &error.to_string()),
        }
    }
    send(context, client, job, batcher.finish(), &mut tally, &bar).await?;
    drop(bar);
    if context.outlet.is_json() {
        context.outlet.json(&json!({ "job_id": job, "added": tally.added, "refused": tally.refused }))?;
    } else if tally.refused > 0 {
        context
            .outlet
            .line(&format!("{} tasks added to job {job}, {} refused", tally.added, tally.refused))?;
    } else {
        context.outlet.line(&format!("{} tasks added to job {job}", tally.added))?;
    }
    Ok(if tally.refused > 0 { Exit::Partly } else { Exit::Done })
}

async fn send(
    context: &Context,
    client: &Client,
    job: &str,
    batch: TaskBatch,
    tally: &mut Tally,
    bar: &CountBar,
) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    for Added { line, task_id, refusal } in client.add_tasks(job, batch).await? {
        match refusal {
            None => tally.added += 1,
            Some(refusal) => {
                let task = if task_id.is_empty() { String::new() } else { format!("task '{task_id}': ") };
                report(context, bar, tally, Some(line), &format!("{task}{refusal}"));
            }
        }
    }
    bar.set(tally.added, tally.lines, "tasks".to_owned());
    Ok(())
}

/// Tells of a line that was refused; the last one read unless it is said which.
fn report(context: &Context, bar: &CountBar, tally: &mut Tally, line: Option<u64>, why: &str) {
    tally.refused += 1;
    let line = line.unwrap_or(tally.lines);
    if tally.refused <= REPORTED_MAX {
        bar.above(&context.outlet, &format!("line {line}: {why}"));
    } else if tally.refused == REPORTED_MAX + 1 {
        bar.above(&context.outlet, "more lines are refused; they are counted and not shown");
    }
}
