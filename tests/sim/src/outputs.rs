//! What attempts leave behind, marked with the process that wrote it: that nothing is taken from one that is not current.
//!
//! Every process has a number of its own. It stands in the output and in the content of the file that its attempt uploads, so
//! that what the controller records can be traced to the very process, whatever the record calls it.

use crate::book::Book;
use crate::broken::{Kept, broken, promise};
use crate::names::parsed;
use crate::oracle::Oracle;
use muster_agent_core::input::Collected;
use muster_controller_core::record::{AttemptRow, FileRow, Record};
use muster_model::{AttemptId, ContainerName, Digest, Excerpt, FilePath, OutputEntry};

/// What is collected from the directory in which the process of this number ran last.
pub(crate) fn left_by(mark: Option<u32>, is_uploaded: bool) -> Collected {
    let Some(mark) = mark else { return Collected::default() };
    let head = mark.to_string().into_bytes();
    let stdout = Excerpt { total_bytes: head.len() as u64, head, tail: Vec::new() };
    let outputs = if is_uploaded { vec![entry(mark)] } else { Vec::new() };
    Collected { stdout, outputs, ..Collected::default() }
}

/// The file that a process makes. All write the same name.
fn entry(mark: u32) -> OutputEntry {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&mark.to_be_bytes());
    OutputEntry {
        container: parsed(ContainerName::parse("results")),
        path: parsed(FilePath::parse("picture.png")),
        digest: Digest::from_bytes(bytes),
        size: 4,
    }
}

/// Looks at the results, logs and files that a step takes over, by what could be read before it.
pub(crate) fn accepted(book: &Book, oracle: &mut Oracle, records: &[Record]) -> Kept {
    for record in records {
        #[expect(clippy::wildcard_enum_match_arm, reason = "only these come from attempts")]
        match record {
            Record::Attempt(row) => attempt(book, oracle, row)?,
            Record::File(row) => file(book, oracle, row)?,
            _ => {}
        }
    }
    Ok(())
}

fn attempt(book: &Book, oracle: &mut Oracle, row: &AttemptRow) -> Kept {
    let id = AttemptId { job: row.job.clone(), task: row.task.clone(), number: row.number };
    let stand = book.task(&id.task_key()).map(|known| &known.stand);
    let is_current = stand.is_some_and(|stand| {
        stand.placed && stand.attempt == id.number && stand.node.as_ref() == Some(&row.node)
    });
    promise("no result is accepted from a fenced attempt", is_current, || {
        format!("the result of {id} on {} is recorded while clients read {stand:?}", row.node)
    })?;
    let head = &row.result.stdout.head;
    if head.is_empty() {
        return Ok(());
    }
    let mark = std::str::from_utf8(head).ok().and_then(|text| text.parse().ok());
    let wrote = mark.and_then(|mark| oracle.who(mark));
    let is_its_own = wrote.as_ref().is_some_and(|wrote| wrote.attempt == id && wrote.node == row.node);
    promise("no log is accepted from a fenced attempt", is_its_own, || {
        format!("the output of {id} on {} was written by {wrote:?}", row.node)
    })?;
    oracle.saw("a log is kept");
    Ok(())
}

fn file(book: &Book, oracle: &mut Oracle, row: &FileRow) -> Kept {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&row.digest.as_bytes()[..4]);
    let wrote = oracle.who(u32::from_be_bytes(bytes));
    let wrote =
        wrote.ok_or_else(|| broken("no output is accepted from a fenced attempt", format!("{row:?}")))?;
    let stand = book.task(&wrote.attempt.task_key()).map(|known| &known.stand);
    let is_current = stand.is_some_and(|stand| {
        stand.placed && stand.attempt == wrote.attempt.number && stand.node.as_ref() == Some(&wrote.node)
    });
    promise("no output is accepted from a fenced attempt", is_current, || {
        format!("the file of {wrote:?} is published while clients read {stand:?}")
    })?;
    oracle.saw("an output is published");
    Ok(())
}
