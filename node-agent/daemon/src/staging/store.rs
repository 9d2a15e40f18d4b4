//! Contents from the controller's file store, by digest.
//!
//! The controller checks that a plan of this node names the content, so every request says whose plan it is. One try;
//! retries are the stager's.

use super::download::Download;
use super::error::{FetchError, Place};
use super::http::GetError;
use crate::link::Link;
use muster_model::{AttemptId, Digest};
use muster_proto::wire;
use muster_proto::wire::fetch_file_request::ForWhom as WireForWhom;
use muster_proto::wire::fetch_file_response::Body;
use tonic::{Code, Status};

/// Whose plan names a file; the controller checks it.
#[derive(Debug, Clone)]
pub(crate) enum ForWhom {
    /// An attempt's.
    Attempt(AttemptId),
    /// The start task's of this version.
    StartTask { version: u64 },
}

/// Asks for what `download` does not have yet; returns the size of the whole.
pub(super) async fn get(
    link: &Link,
    whom: &ForWhom,
    digest: Digest,
    download: &mut Download<'_>,
) -> Result<u64, GetError> {
    let mut node = link.node().await.map_err(|error| GetError::Passing(error.to_string().into()))?;
    let for_whom = match whom {
        ForWhom::Attempt(attempt) => WireForWhom::Attempt(attempt.into()),
        ForWhom::StartTask { version } => WireForWhom::StartTask(wire::StartTaskRef { version: *version }),
    };
    let request = wire::FetchFileRequest {
        for_whom: Some(for_whom),
        sha256: digest.to_string(),
        offset: download.written(),
    };
    let mut stream = node.fetch_file(request).await.map_err(|status| failed(&status, digest))?.into_inner();
    let mut size = None;
    while let Some(message) = stream.message().await.map_err(|status| failed(&status, digest))? {
        match message.body {
            Some(Body::Header(header)) => size = Some(header.size_bytes),
            Some(Body::Chunk(chunk)) => download.append(&chunk)?,
            None => {}
        }
    }
    match size {
        Some(size) if download.written() < size => Err(GetError::Passing("the controller broke off".into())),
        Some(size) => Ok(size),
        None => Err(GetError::Passing("the controller answered nothing".into())),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is gRPC's; every other code may pass")]
fn failed(status: &Status, digest: Digest) -> GetError {
    let from = Place::Store(digest);
    match status.code() {
        Code::NotFound => FetchError::NotStored { digest }.into(),
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::FailedPrecondition => {
            FetchError::Forbidden { from, reason: status.message().into() }.into()
        }
        _ => GetError::Passing(
            format!("the controller answered {:?}: {}", status.code(), status.message()).into(),
        ),
    }
}
