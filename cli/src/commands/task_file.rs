//! `muster task add --file`: thousands of tasks from lines of JSON.
//!
//! Reading, sending and going on after a break are the client library's. What is wrong with a line is told with its number,
//! on standard error, and the other lines go on.

use std::path::Path;

use muster_client::{ErrorKind, LinesError, LinesEvent, LinesSummary, random_id};
use serde_json::json;
use tokio::io::AsyncRead;

use super::Context;
use super::input::{InputError, unreadable};
use crate::exit::{Exit, Failure};
use crate::progress::CountBar;

/// The most lines that are reported one by one; a file of the wrong kind must not bury what matters.
const REPORTED_MAX: u64 = 100;

/// Letters of a stream's id: two streams of an account do not meet.
const STREAM_ID_LETTERS: usize = 16;

/// Adds the tasks of a file, or of standard input for '-'.
pub(super) async fn add(
    context: &Context,
    job: &str,
    file: &Path,
    stream_id: Option<&str>,
) -> Result<Exit, Failure> {
    let input: Box<dyn AsyncRead + Unpin> = if file == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        Box::new(tokio::fs::File::open(file).await.map_err(|source| unreadable(file, source))?)
    };
    let stream_id = stream_id.map_or_else(|| random_id(STREAM_ID_LETTERS), str::to_owned);
    let client = context.client()?;
    context.outlet.remark(&format!("if this ends early, it goes on with --stream-id {stream_id}"));
    let bar = CountBar::new(&context.outlet, "adding");
    let mut reported = 0;
    let ended = client
        .add_task_lines(job, &stream_id, input, |event| match event {
            LinesEvent::Resumed { tasks } => {
                bar.above(&context.outlet, &format!("{tasks} tasks of this stream are there already"));
            }
            LinesEvent::Progress(summary) => {
                bar.set(summary.added + summary.resumed, summary.lines, "tasks".to_owned());
            }
            LinesEvent::NotATask { line, error } => {
                report(context, &bar, &mut reported, &format!("line {line}: {error}"));
            }
            LinesEvent::Refused { line, task_id, refusal } => {
                let task = if task_id.is_empty() { String::new() } else { format!("task '{task_id}': ") };
                report(context, &bar, &mut reported, &format!("line {line}: {task}{refusal}"));
            }
        })
        .await;
    drop(bar);
    let summary = ended.map_err(|error| failure(file, error))?;
    tell(context, job, &stream_id, &summary)?;
    Ok(if summary.refused > 0 { Exit::Partly } else { Exit::Done })
}

fn tell(context: &Context, job: &str, stream_id: &str, summary: &LinesSummary) -> Result<(), Failure> {
    let LinesSummary { lines: _, added, resumed, refused } = *summary;
    if context.outlet.is_json() {
        context.outlet.json(&json!({
            "job_id": job, "stream_id": stream_id, "added": added, "resumed": resumed, "refused": refused
        }))?;
        return Ok(());
    }
    let mut text = format!("{added} tasks added to job {job}");
    for (count, words) in [(resumed, "were there already"), (refused, "refused")] {
        if count > 0 {
            text.push_str(&format!(", {count} {words}"));
        }
    }
    context.outlet.line(&text)?;
    Ok(())
}

/// Tells of a line that was refused.
fn report(context: &Context, bar: &CountBar, reported: &mut u64, text: &str) {
    *reported += 1;
    if *reported <= REPORTED_MAX {
        bar.above(&context.outlet, text);
    } else if *reported == REPORTED_MAX + 1 {
        bar.above(&context.outlet, "more lines are refused; they are counted and not shown");
    }
}

fn failure(file: &Path, error: LinesError) -> Failure {
    match error {
        LinesError::Read { source, .. } => {
            Failure::new(Exit::Failed, InputError::Read { path: file.to_owned(), source })
        }
        LinesError::Endless { .. } => Failure::new(Exit::Usage, error),
        // Nothing of it has arrived, so there is nothing to go on with.
        LinesError::Stream { acknowledged: 0, source, .. } => source.into(),
        LinesError::Stream { ref source, .. } => Failure::new(exit(source.kind()), error),
    }
}

fn exit(kind: ErrorKind) -> Exit {
    kind.into()
}
