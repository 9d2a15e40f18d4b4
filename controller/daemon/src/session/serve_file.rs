//! ServeFile: an agent's answer to a read, passed on to whoever reads.
//!
//! The reader's pace is the agent's: nothing is read from the stream while the pipe is full. When the reader goes, the
//! call is answered at once and the agent stops; when the agent breaks off, the reader is told.

use super::context::SessionContext;
use crate::refusal;
use crate::relay::{NodeServe, Part};
use muster_controller_core::input::NodeKey;
use muster_proto::convert::status;
use muster_proto::version::CHUNK_BYTES_MAX;
use muster_proto::wire;
use std::time::Duration;
use tonic::{Code, Status, Streaming};
use wire::ErrorReason;
use wire::serve_file_request::Body;

/// How long an agent may take to send the header of a call that it opened itself.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Most entries of one message, as the protocol says.
const ENTRIES_MAX: usize = 1000;

/// Handles one call.
pub(super) async fn serve(
    context: &SessionContext,
    node: &NodeKey,
    mut inbound: Streaming<wire::ServeFileRequest>,
) -> Result<wire::ServeFileResponse, Status> {
    let first = tokio::time::timeout(HEADER_WAIT_MAX, inbound.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no header came: send it at once"))??;
    let Some(Body::Header(header)) = first.and_then(|message| message.body) else {
        return Err(wrong("the first message must be the header"));
    };
    let read_id = header.read_id.clone();
    let Some(serve) = context.relay.accept(node, header) else {
        let words = format!("nobody waits for read '{read_id}' (any more): stop sending");
        return Err(status(Code::NotFound, ErrorReason::FileNotFound, words));
    };
    let passed = tokio::select! {
        passed = pass_on(&serve, &mut inbound) => passed,
        () = serve.closed() => Ok(()),
        () = context.shutdown.begun() => Err(refusal::stopping()),
    };
    match passed {
        Ok(()) => {
            serve.finish();
            Ok(wire::ServeFileResponse {})
        }
        Err(error) => {
            serve.break_off().await;
            Err(error)
        }
    }
}

/// Passes parts on up to the end of the stream, or until the reader has gone.
async fn pass_on(serve: &NodeServe, inbound: &mut Streaming<wire::ServeFileRequest>) -> Result<(), Status> {
    while let Some(message) = inbound.message().await? {
        let part = match message.body {
            Some(Body::Chunk(chunk)) if chunk.len() <= CHUNK_BYTES_MAX => Part::Chunk(chunk),
            Some(Body::Entries(entries)) if entries.files.len() <= ENTRIES_MAX => {
                Part::Entries(entries.files)
            }
            Some(Body::Chunk(_) | Body::Entries(_)) => return Err(wrong("a message is too large: split it")),
            Some(Body::Header(_)) | None => {
                return Err(wrong("after the header come chunks or entries alone"));
            }
        };
        if !serve.send(part).await {
            break;
        }
    }
    Ok(())
}

fn wrong(words: &'static str) -> Status {
    status(Code::InvalidArgument, ErrorReason::InvalidPropertyValue, words)
}
