//! PutFile: content comes in as a stream, is verified and stored, and gets its name in one step at the end.
//!
//! Until the name is durable nothing of the upload can be seen. Content that the account has under another name is
//! named without being sent; content that only other accounts have must be sent, so that knowing a digest gives
//! nobody a file.

use super::context::{Api, checked, required};
use super::{refused, view};
use crate::auth::Permit;
use crate::blobs::{Announced, Stored, Upload, UploadKey};
use crate::refusal;
use muster_controller_core::input::Command;
use muster_controller_core::record::FileRow;
use muster_model::{AccountName, Digest, RequestId};
use muster_proto::convert::{
    Checker, FileName, Problem, digest, file_name, request_id, status, status_field,
};
use muster_proto::version::CHUNK_BYTES_MAX;
use muster_proto::wire::put_file_request::Body;
use muster_proto::wire::{self, ErrorReason, PutFileRequest};
use std::time::Duration;
use tonic::{Code, Status, Streaming};

/// How long an upload may send nothing: a laptop's network change, not a forgotten connection.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// A checked header.
struct Header {
    name: FileName,
    digest: Option<Digest>,
    size: Option<u64>,
    offset: u64,
    if_match: String,
    request_id: Option<RequestId>,
}

impl Header {
    fn of(header: wire::PutFileHeader) -> Result<Self, Status> {
        checked(|c| {
            let request_id = c.at("header", |c| request_id(c, &header.request_id));
            c.at("header", |c| {
                let name = c.required("name", header.name, "name the container and the path");
                let name = name.and_then(|name| c.at("name", |c| file_name(c, &name)));
                let announced = match header.sha256.as_str() {
                    "" => None,
                    text => digest(c, "sha256", text),
                };
                note_conflicts(c, &header.sha256, header.size_bytes, header.offset);
                Some(Self {
                    name: name?,
                    digest: announced,
                    size: header.size_bytes,
                    offset: header.offset,
                    if_match: header.etag,
                    request_id,
                })
            })
        })
    }
}

fn note_conflicts(c: &mut Checker, sha256: &str, size: Option<u64>, offset: u64) {
    if !sha256.is_empty() && size.is_none() {
        c.note_at("size_bytes", Problem::Missing { hint: "it goes with sha256" });
    }
    if sha256.is_empty() && offset != 0 {
        c.note_at(
            "sha256",
            Problem::Missing { hint: "only announced content can be gone on with (offset is not 0)" },
        );
    }
    if let Some(size) = size
        && offset > size
    {
        let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        c.note_at("offset", Problem::OutOfRange { given: bound(offset), min: 0, max: bound(size) });
    }
}

/// Reads one name of the file store.
pub(super) async fn row(
    api: &Api,
    account: &AccountName,
    name: &FileName,
) -> Result<Option<FileRow>, Status> {
    let (of, wanted) = (account.clone(), name.clone());
    api.read(move |reader| reader.file(&of, &wanted.container, &wanted.path)).await
}

/// The refusal for a name that is not there.
pub(super) fn missing(name: &FileName) -> Status {
    let words = format!(
        "container '{}' has no file '{}': see `muster file list {}`",
        name.container, name.path, name.container
    );
    let refused = status(Code::NotFound, ErrorReason::FileNotFound, words);
    refused::with_resource(refused, "file", &format!("{}/{}", name.container, name.path))
}

/// Refuses unless the name's etag is the one that the caller sent. An empty one always is.
pub(super) async fn check_etag(
    api: &Api,
    account: &AccountName,
    name: &FileName,
    given: &str,
) -> Result<(), Status> {
    if given.is_empty() {
        return Ok(());
    }
    let current = row(api, account, name).await?.as_ref().map(view::file_etag).unwrap_or_default();
    if current == given {
        return Ok(());
    }
    let given: String = given.chars().take(80).collect();
    let state =
        if current.is_empty() { "does not exist".to_owned() } else { format!("now has etag {current}") };
    let words = format!(
        "file '{}' of container '{}' {state}, not {given:?}: read it again and decide anew",
        name.path, name.container
    );
    Err(status(Code::Aborted, ErrorReason::ConditionNotMet, words))
}

/// The sizes of contents that files of the account name; content of other accounts counts as absent.
pub(super) async fn owned_sizes(
    api: &Api,
    account: &AccountName,
    digests: Vec<Digest>,
) -> Result<Vec<Option<u64>>, Status> {
    let of = account.clone();
    api.read(move |reader| reader.content_sizes(&of, &digests)).await
}

/// Gives a stored content its name.
pub(super) async fn name_content(
    api: &Api,
    account: &AccountName,
    request_id: Option<RequestId>,
    name: &FileName,
    content: Stored,
) -> Result<FileRow, Status> {
    let command = Command::PutFile {
        container: name.container.clone(),
        path: name.path.clone(),
        digest: content.digest,
        size: content.size,
    };
    api.submit(account, request_id, command).await?;
    row(api, account, name).await?.ok_or_else(|| missing(name))
}

async fn next(stream: &mut Streaming<PutFileRequest>) -> Result<Option<Body>, Status> {
    match tokio::time::timeout(IDLE_MAX, stream.message()).await {
        Ok(message) => Ok(message?.and_then(|message| message.body)),
        Err(_) => {
            let words = format!(
                "the upload sent nothing for {} s: ask FindMissingFiles where to go on",
                IDLE_MAX.as_secs()
            );
            Err(Status::new(Code::DeadlineExceeded, words))
        }
    }
}

/// Takes an upload in.
pub(super) async fn put(
    api: &Api,
    permit: Permit,
    mut stream: Streaming<PutFileRequest>,
) -> Result<wire::PutFileResponse, Status> {
    let account = permit.account();
    let header = match next(&mut stream).await? {
        Some(Body::Header(header)) => Header::of(header)?,
        Some(Body::Chunk(_)) | None => return required("header", None, "the first message is the header"),
    };
    check_etag(api, account, &header.name, &header.if_match).await?;
    if let Some(digest) = header.digest
        && let Some(size) = owned_sizes(api, account, vec![digest]).await?.pop().flatten()
    {
        if header.size.is_some_and(|announced| announced != size) {
            let words = format!(
                "content {digest} has {size} bytes, size_bytes says otherwise: send the size of this content"
            );
            return Err(status(Code::InvalidArgument, ErrorReason::ContentMismatch, words));
        }
        let content = Stored { digest, size };
        let row = name_content(api, account, header.request_id, &header.name, content).await?;
        return Ok(wire::PutFileResponse { file: Some(view::file_info(&row)), already_present: true });
    }
    let upload = begin(api, account, &header).await?;
    let content = receive(upload, &mut stream).await?;
    let row = name_content(api, account, header.request_id, &header.name, content).await?;
    Ok(wire::PutFileResponse { file: Some(view::file_info(&row)), already_present: false })
}

async fn begin(api: &Api, account: &AccountName, header: &Header) -> Result<Upload, Status> {
    let announced = Announced { digest: header.digest, size: header.size };
    let key = header.digest.map(|digest| UploadKey { account: account.clone(), digest });
    let begun = match key {
        Some(key) if header.offset > 0 => api.parts.blobs.resume(announced, key, header.offset).await,
        key => api.parts.blobs.begin(announced, key).await,
    };
    begun.map_err(|error| refusal::of_blob(&error))
}

async fn receive(mut upload: Upload, stream: &mut Streaming<PutFileRequest>) -> Result<Stored, Status> {
    while let Some(body) = next(stream).await? {
        match body {
            Body::Chunk(chunk) if chunk.len() > CHUNK_BYTES_MAX => {
                let problem = Problem::TooLong { given: chunk.len(), max: CHUNK_BYTES_MAX, unit: "bytes" };
                return Err(status_field("chunk", problem));
            }
            Body::Chunk(chunk) => upload.write(chunk).await.map_err(|error| refusal::of_blob(&error))?,
            Body::Header(_) => {
                return Err(status_field(
                    "header",
                    Problem::Conflict { other: "an earlier header of this stream" },
                ));
            }
        }
    }
    upload.finish().await.map_err(|error| refusal::of_blob(&error))
}
