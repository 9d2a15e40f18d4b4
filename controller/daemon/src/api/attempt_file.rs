//! The files of one attempt: on its node while that answers, else what was saved of its output.
//!
//! Each attempt has a directory of its own on its node. Once the attempt has ended and the node is gone or has
//! cleaned up, stdout.txt and stderr.txt are answered from the excerpt in the ledger, and the header says so; any
//! other file is gone, and the refusal says how to keep it next time.

use super::context::Api;
use super::feed::{End, Feed};
use super::lookup::Known;
use super::node_file::{bytes_of, header, send};
use super::refused;
use super::saved::{self, Piece, STDERR, STDOUT};
use crate::relay::{NodeRead, ReadRequest, RelayError};
use muster_controller_core::input::NodeKey;
use muster_controller_core::record::AttemptRow;
use muster_model::{AccountName, AttemptId, AttemptNumber, FilePath, NodeId, TaskKey};
use muster_proto::convert::status;
use muster_proto::wire::read_file_response::Body;
use muster_proto::wire::read_target::Target;
use muster_proto::wire::{self, ErrorReason, ReadFileGap, ReadRefusal, ReadTarget, TaskFileSource};
use tonic::{Code, Status};

/// Where an attempt's directory is, or was.
pub(super) struct Place {
    pub(super) number: AttemptNumber,
    pub(super) node: NodeId,
    /// Its line in the ledger, once it has ended.
    pub(super) ended: Option<AttemptRow>,
}

/// The place of an attempt; `number` 0 is the latest.
///
/// Refuses with TASK_FILES_UNAVAILABLE when there is no attempt yet, and ATTEMPT_NOT_FOUND for a number without one.
pub(super) async fn place(
    api: &Api,
    account: &AccountName,
    key: &TaskKey,
    known: &Known,
    number: AttemptNumber,
) -> Result<Place, Status> {
    let state = &known.view.state;
    let wanted = if number == 0 { state.attempt } else { number };
    if wanted == 0 {
        let words = format!(
            "task '{key}' has not been placed on a node, so it has no files yet: wait until it runs (or read with follow)"
        );
        return Err(status(Code::FailedPrecondition, ErrorReason::TaskFilesUnavailable, words));
    }
    if wanted == state.attempt
        && state.placed
        && let Some(node) = state.node.clone()
    {
        return Ok(Place { number: wanted, node, ended: None });
    }
    let attempt = AttemptId { job: key.job.clone(), task: key.task.clone(), number: wanted };
    let of = account.clone();
    let row = api.read(move |reader| reader.attempt(&of, &attempt)).await?;
    row.map(|row| Place { number: wanted, node: row.node.clone(), ended: Some(row) }).ok_or_else(|| {
        let latest = state.attempt;
        let words = format!("task '{key}' has no attempt {wanted}: its latest is {latest}; use 0 for that");
        status(Code::NotFound, ErrorReason::AttemptNotFound, words)
    })
}

/// A part of a file of a task, as a request names it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) path: FilePath,
    pub(super) offset: u64,
    pub(super) length: Option<u64>,
}

/// An attempt's file that is open: on its node, or from the ledger.
pub(super) enum Opened {
    Node(NodeRead),
    Saved(Vec<Piece>, u64),
}

pub(super) fn attempt_target(key: &TaskKey, number: AttemptNumber) -> Target {
    Target::Attempt(wire::AttemptRef {
        job_id: key.job.to_string(),
        task_id: key.task.to_string(),
        attempt: number,
    })
}

/// Asks the node of an attempt for a file.
pub(super) async fn open_on_node(
    api: &Api,
    account: &AccountName,
    key: &TaskKey,
    place: &Place,
    wanted: &Wanted,
    follow: bool,
) -> Result<NodeRead, RelayError> {
    let node = NodeKey { account: account.clone(), node: place.node.clone() };
    let file = wire::ReadFile {
        read_id: String::new(),
        target: Some(ReadTarget { target: Some(attempt_target(key, place.number)) }),
        path: wanted.path.to_string(),
        offset: wanted.offset,
        length: wanted.length.unwrap_or(0),
        follow,
    };
    api.parts.relay.open(&node, ReadRequest::File(file)).await
}

/// Whether the node's files of an attempt cannot be had, so that what was saved is the best there is.
pub(super) fn is_absent(error: &RelayError) -> bool {
    match error {
        RelayError::NotConnected(_) | RelayError::NoAnswer { .. } | RelayError::BrokenOff(_) => true,
        RelayError::Busy { .. } => false,
        RelayError::Refused { refusal, .. } => match refusal {
            ReadRefusal::AttemptUnknown | ReadRefusal::CleanedUp => true,
            ReadRefusal::NotFound
            | ReadRefusal::NotAllowed
            | ReadRefusal::OutOfRange
            | ReadRefusal::Busy
            | ReadRefusal::Failed
            | ReadRefusal::Unspecified => false,
        },
    }
}

/// Opens a file of an attempt, wherever it can be had.
pub(super) async fn open_anywhere(
    api: &Api,
    account: &AccountName,
    key: &TaskKey,
    place: &Place,
    wanted: &Wanted,
) -> Result<Opened, Status> {
    let error = match open_on_node(api, account, key, place, wanted, false).await {
        Ok(read) => return Ok(Opened::Node(read)),
        Err(error) => error,
    };
    let Some(row) = &place.ended else { return Err(refused::of_relay(&error)) };
    // A command that never started has left no file; what was saved says so without an error.
    let never_written = matches!(&error, RelayError::Refused { refusal: ReadRefusal::NotFound, .. });
    if !is_absent(&error) && !never_written {
        return Err(refused::of_relay(&error));
    }
    match saved::excerpt_of(row, wanted.path.as_str()) {
        Some(excerpt) => saved::pieces(excerpt, wanted.offset, wanted.length)
            .map(|pieces| Opened::Saved(pieces, excerpt.total_bytes))
            .ok_or_else(|| beyond_the_end(wanted, excerpt.total_bytes)),
        None if never_written => Err(refused::of_relay(&error)),
        None => Err(gone(key, place, wanted.path.as_str(), &error)),
    }
}

fn beyond_the_end(wanted: &Wanted, size: u64) -> Status {
    let Wanted { path, offset, .. } = wanted;
    let words = format!("'{path}' has {size} bytes: offset {offset} lies beyond its end");
    status(Code::OutOfRange, ErrorReason::InvalidRange, words)
}

/// The refusal for files of an ended attempt that nobody has any more.
pub(super) fn gone(key: &TaskKey, place: &Place, what: &str, error: &RelayError) -> Status {
    let Place { number, node, .. } = place;
    let keep = "declare what a task should leave behind in its output_files";
    if matches!(error, RelayError::Refused { refusal: ReadRefusal::CleanedUp, .. }) {
        let words = format!(
            "'{what}' of attempt {number} of task '{key}' was removed from node '{node}' after the task's retention time: raise constraints.retention_time, or {keep}"
        );
        return status(Code::FailedPrecondition, ErrorReason::TaskFilesCleanedup, words);
    }
    let words = format!(
        "'{what}' of attempt {number} of task '{key}' was on node '{node}', which does not have it or cannot be reached ({error}): {keep}"
    );
    status(Code::FailedPrecondition, ErrorReason::TaskFilesUnavailable, words)
}

/// Sends an open file from its header on; answers how many bytes of the file it covered, gaps included.
pub(super) async fn send_opened(
    feed: &Feed<wire::ReadFileResponse>,
    opened: Opened,
    place: &Place,
    account: &AccountName,
    wanted: &Wanted,
) -> Result<u64, End> {
    match opened {
        Opened::Node(mut read) => {
            let node = NodeKey { account: account.clone(), node: place.node.clone() };
            send(feed, Body::Header(header(&read, place.number, &node))).await?;
            let mut covered = 0_u64;
            while let Some(part) = read.next().await {
                let bytes = bytes_of(part.map_err(|error| refused::of_relay(&error))?);
                covered = covered.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                send(feed, Body::Chunk(bytes)).await?;
            }
            Ok(covered)
        }
        Opened::Saved(pieces, size) => {
            let file =
                wire::NodeFile { path: wanted.path.to_string(), size_bytes: size, ..Default::default() };
            let header = wire::ReadFileHeader {
                file: Some(file),
                attempt: place.number,
                node_id: place.node.to_string(),
                source: TaskFileSource::Saved.into(),
                offset: wanted.offset,
            };
            send(feed, Body::Header(header)).await?;
            let mut covered = 0_u64;
            for piece in pieces {
                let (bytes, body) = match piece {
                    Piece::Bytes(bytes) => {
                        (u64::try_from(bytes.len()).unwrap_or(u64::MAX), Body::Chunk(bytes))
                    }
                    Piece::Gap(skipped) => (skipped, Body::Gap(ReadFileGap { skipped_bytes: skipped })),
                };
                covered = covered.saturating_add(bytes);
                send(feed, body).await?;
            }
            Ok(covered)
        }
    }
}

/// Whether a file of a task may come into being late: the command's output does when the command starts.
pub(super) fn is_output(path: &FilePath) -> bool {
    matches!(path.as_str(), STDOUT | STDERR)
}
