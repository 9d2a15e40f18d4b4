//! Files below a node's root directory, asked of the node itself: what no task owns, such as the start task's output.
//!
//! Also the parts that reading a task's files shares with it: pumping an answer of the relay into a stream, and
//! collecting the entries of a directory.

use super::context::{Api, checked};
use super::feed::{End, Feed, Watch, open as open_stream};
use super::{lookup, refused};
use crate::auth::Permit;
use crate::relay::{NodeRead, Part, ReadRequest, RelayError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use muster_controller_core::input::NodeKey;
use muster_model::path::PATH_BYTES_MAX;
use muster_model::{FilePath, PathError};
use muster_proto::convert::{Checker, Problem, node_id, page_size, pool_id, status};
use muster_proto::wire::read_file_response::Body;
use muster_proto::wire::read_target::Target;
use muster_proto::wire::{self, ErrorReason, NodeRoot, ReadTarget, TaskFileSource};
use tonic::{Code, Status};

/// A directory to list, as a request names it.
pub(super) struct Listing {
    pub(super) prefix: String,
    pub(super) recursive: bool,
    pub(super) page_size: u32,
    pub(super) after_path: String,
}

impl Listing {
    /// Checks the fields that every listing has.
    pub(super) fn of(
        c: &mut Checker,
        prefix: String,
        recursive: bool,
        size: i32,
        page_token: &str,
    ) -> Result<Self, Status> {
        let page_size = page_size(c, size);
        if prefix.len() > PATH_BYTES_MAX {
            let problem = Problem::TooLong { given: prefix.len(), max: PATH_BYTES_MAX, unit: "bytes" };
            c.note_at("prefix", problem);
        } else if prefix.starts_with('/') || prefix.split('/').any(|name| name == "..") {
            c.note_at("prefix", Problem::Path(PathError::Leaves(prefix.chars().take(80).collect())));
        }
        Ok(Self { prefix, recursive, page_size, after_path: path_of_token(page_token)? })
    }

    /// What to ask of a node: one entry more than the page, to know whether there is another page.
    pub(super) fn request(&self, target: Target) -> ReadRequest {
        ReadRequest::Directory(wire::ListNodeDirectory {
            read_id: String::new(),
            target: Some(ReadTarget { target: Some(target) }),
            prefix: self.prefix.clone(),
            recursive: self.recursive,
            after_path: self.after_path.clone(),
            limit: self.page_size.saturating_add(1),
        })
    }

    /// Cuts the entries to the page; answers them with the token of the next page.
    pub(super) fn page(&self, mut files: Vec<wire::NodeFile>) -> (Vec<wire::NodeFile>, String) {
        let size = usize::try_from(self.page_size).unwrap_or(usize::MAX);
        if files.len() <= size {
            return (files, String::new());
        }
        files.truncate(size);
        let token = files.last().map(|file| URL_SAFE_NO_PAD.encode(&file.path)).unwrap_or_default();
        (files, token)
    }
}

fn path_of_token(token: &str) -> Result<String, Status> {
    if token.is_empty() {
        return Ok(String::new());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() <= PATH_BYTES_MAX);
    let path =
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|path| FilePath::parse(path).is_ok());
    path.ok_or_else(|| {
        let words = "page_token is damaged: hand back next_page_token as it was answered, or leave it empty to start over";
        status(Code::InvalidArgument, ErrorReason::InvalidPageToken, words)
    })
}

/// All entries of an answer, at most `max`.
pub(super) async fn entries(mut read: NodeRead, max: u32) -> Result<Vec<wire::NodeFile>, RelayError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(1);
    let mut files = Vec::new();
    while let Some(part) = read.next().await {
        match part? {
            Part::Entries(more) => files.extend(more),
            Part::Chunk(_) => {}
        }
        if files.len() >= max {
            files.truncate(max);
            break;
        }
    }
    Ok(files)
}

/// The header of what is read on a node.
pub(super) fn header(read: &NodeRead, attempt: u32, node: &NodeKey) -> wire::ReadFileHeader {
    wire::ReadFileHeader {
        file: read.header.file.clone(),
        attempt,
        node_id: node.node.to_string(),
        source: TaskFileSource::Node.into(),
        offset: read.header.offset,
    }
}

/// Sends one part of an answer.
pub(super) async fn send(feed: &Feed<wire::ReadFileResponse>, body: Body) -> Result<(), End> {
    feed.send(wire::ReadFileResponse { body: Some(body) }).await
}

/// The bytes of a part; entries in the answer to a file are no bytes.
pub(super) fn bytes_of(part: Part) -> Bytes {
    match part {
        Part::Chunk(bytes) => bytes,
        Part::Entries(_) => Bytes::new(),
    }
}

/// Lists a directory of a node.
pub(super) async fn list(
    api: &Api,
    permit: Permit,
    request: wire::ListNodeFilesRequest,
) -> Result<wire::ListNodeFilesResponse, Status> {
    let mut checker = Checker::new();
    let listing =
        Listing::of(&mut checker, request.prefix, request.recursive, request.page_size, &request.page_token)?;
    let ids = pool_id(&mut checker, &request.pool_id).zip(node_id(&mut checker, &request.node_id));
    let (pool, node) = checker.finish(ids)?;
    lookup::node(api, permit.account(), &pool, &node).await?;
    let key = NodeKey { account: permit.account().clone(), node };
    let read = api.parts.relay.open(&key, listing.request(Target::NodeRoot(NodeRoot {}))).await;
    let read = read.map_err(|error| refused::of_relay(&error))?;
    let found = entries(read, listing.page_size).await.map_err(|error| refused::of_relay(&error))?;
    let (files, next_page_token) = listing.page(found);
    Ok(wire::ListNodeFilesResponse { files, next_page_token })
}

/// Reads a file of a node.
pub(super) async fn read(
    api: &Api,
    permit: Permit,
    request: wire::ReadNodeFileRequest,
) -> Result<Watch<wire::ReadFileResponse>, Status> {
    let (pool, node, path) = checked(|c| {
        let ids = pool_id(c, &request.pool_id).zip(node_id(c, &request.node_id));
        let path = c.at("path", |c| c.keep(FilePath::parse(&request.path)));
        let (pool, node) = ids?;
        Some((pool, node, path?))
    })?;
    lookup::node(api, permit.account(), &pool, &node).await?;
    let key = NodeKey { account: permit.account().clone(), node };
    let file = wire::ReadFile {
        read_id: String::new(),
        target: Some(ReadTarget { target: Some(Target::NodeRoot(NodeRoot {})) }),
        path: path.to_string(),
        offset: request.offset,
        length: request.length,
        follow: request.follow,
    };
    let opened = api.parts.relay.open(&key, ReadRequest::File(file)).await;
    let mut read = opened.map_err(|error| refused::of_relay(&error))?;
    Ok(open_stream(|feed| async move {
        send(&feed, Body::Header(header(&read, 0, &key))).await?;
        while let Some(part) = read.next().await {
            let part = part.map_err(|error| refused::of_relay(&error))?;
            send(&feed, Body::Chunk(bytes_of(part))).await?;
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> wire::NodeFile {
        wire::NodeFile { path: path.into(), ..Default::default() }
    }

    #[test]
    fn a_page_ends_with_a_token_that_leads_on() {
        let mut checker = Checker::new();
        let first = Listing::of(&mut checker, String::new(), false, 2, "").unwrap();
        let (files, token) = first.page(vec![file("a"), file("b/ü"), file("c")]);
        assert_eq!(files.len(), 2);
        let second = Listing::of(&mut checker, String::new(), false, 2, &token).unwrap();
        assert_eq!(second.after_path, "b/ü");
        assert_eq!(second.page(vec![file("c")]).1, "");
        assert!(checker.is_clean());
    }

    #[test]
    fn foreign_tokens_and_prefixes_that_climb_are_refused() {
        for bad in ["!", "Li4", "L2V0Yw", &"A".repeat(9000)] {
            assert!(path_of_token(bad).is_err(), "{bad}");
        }
        let mut checker = Checker::new();
        let _ = Listing::of(&mut checker, "a/../../b".into(), false, 0, "");
        assert!(!checker.is_clean());
    }
}
