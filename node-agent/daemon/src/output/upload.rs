//! Carries one file to the controller: hashes it first, so that a content that is there already is not sent.
//!
//! The controller may answer before the last chunk; then the rest is not read. What breaks off is begun anew: the controller
//! keeps nothing of a broken upload of a node.

use crate::link::Link;
use bytes::Bytes;
use muster_model::{AttemptId, Digest};
use muster_proto::version::CHUNK_BYTES;
use muster_proto::wire;
use muster_proto::wire::upload_file_request::Body;
use muster_runtime::backoff::Backoff;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// Tries before an upload has failed.
const TRIES: u32 = 6;
/// First and longest wait between tries: together they outlast the restart of a controller.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Chunks that are read ahead of the network.
const CHUNKS_AHEAD: usize = 4;

/// Why a file cannot be uploaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the controller refused it: {0}")]
    Refused(Box<str>),
    #[error("the controller could not be reached in {tries} tries: {last}")]
    Network { tries: u32, last: Box<str> },
    #[error("the controller stored other bytes ({found}) than were sent ({sent})")]
    Mismatch { sent: Digest, found: Box<str> },
}

/// What was uploaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uploaded {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Bytes that went over the network; 0 if the content was there already.
    pub(super) sent_bytes: u64,
}

/// Uploads a file for an attempt.
pub(super) async fn upload(link: &Link, attempt: &AttemptId, file: File) -> Result<Uploaded, UploadError> {
    let (file, digest, size) = blocking(move || hash(file)).await?;
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    loop {
        let again = file.try_clone()?;
        match upload_once(link, attempt, again, digest, size).await {
            Ok(sent_bytes) => return Ok(Uploaded { digest, size, sent_bytes }),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(last)) => {
                let wait = backoff.next_delay();
                let tries = backoff.attempt();
                if tries >= TRIES {
                    return Err(UploadError::Network { tries, last });
                }
                tokio::time::sleep(wait).await;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn hash(mut file: File) -> io::Result<(File, Digest, u64)> {
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((file, Digest::from_bytes(hash.finalize().into()), size)),
            length => {
                hash.update(&buffer[..length]);
                size = size.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            }
        }
    }
}

enum Failure {
    Final(UploadError),
    Passing(Box<str>),
}

async fn upload_once(
    link: &Link,
    attempt: &AttemptId,
    file: File,
    digest: Digest,
    size: u64,
) -> Result<u64, Failure> {
    let mut node = link.node().await.map_err(|error| Failure::Passing(error.to_string().into()))?;
    let (messages, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let header = wire::UploadFileHeader {
        attempt: Some(attempt.into()),
        sha256: digest.to_string(),
        size_bytes: Some(size),
    };
    let first = wire::UploadFileRequest { body: Some(Body::Header(header)) };
    // The channel is new and empty.
    let _room = messages.try_send(first);
    let reading = tokio::task::spawn_blocking(move || send_chunks(file, &messages));
    let answer = node.upload_file(ReceiverStream::new(receiver)).await;
    // The receiver is gone with the call, so the reading ends by itself.
    let read = reading.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    match answer {
        Ok(response) => {
            let response = response.into_inner();
            if response.sha256 != digest.to_string() {
                let found = response.sha256.into();
                return Err(Failure::Final(UploadError::Mismatch { sent: digest, found }));
            }
            Ok(if response.already_present { 0 } else { size })
        }
        Err(status) => {
            read.map_err(|error| Failure::Final(error.into()))?;
            Err(failed(&status))
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is gRPC's; every other code may pass")]
fn failed(status: &tonic::Status) -> Failure {
    match status.code() {
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::Unimplemented
        | Code::OutOfRange => Failure::Final(UploadError::Refused(status.message().into())),
        code => Failure::Passing(format!("{code:?}: {}", status.message()).into()),
    }
}

/// Reads the file into the channel; ends early without an error when nobody listens any more.
fn send_chunks(mut file: File, messages: &mpsc::Sender<wire::UploadFileRequest>) -> io::Result<()> {
    file.rewind()?;
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        chunk.truncate(length);
        let message = wire::UploadFileRequest { body: Some(Body::Chunk(Bytes::from(chunk))) };
        if messages.blocking_send(message).is_err() {
            return Ok(());
        }
    }
}
