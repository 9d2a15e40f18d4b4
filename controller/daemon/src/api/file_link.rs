//! Names for contents that are in the store, and which contents are not: how a client uploads only what is missing.
//!
//! Content belongs to whoever has a name for it: an account links and finds what it has itself, and nothing else.

use super::context::{Api, checked};
use super::upload::{name_content, owned_sizes};
use super::view;
use crate::auth::Permit;
use crate::blobs::{BlobError, Stored, UploadKey};
use crate::refusal;
use futures_util::stream::{self, StreamExt};
use muster_model::{AccountName, Digest, RequestId};
use muster_proto::convert::{
    Checker, FieldErrors, FileName, Problem, digest, file_name, item_error, reason_of, request_id, status,
    status_field,
};
use muster_proto::version::BATCH_FILES_MAX;
use muster_proto::wire::{self, ErrorReason, FileLink, LinkFileResult};
use tonic::{Code, Status};

/// Names that are handed in at one time: enough that one commit takes many, few enough to leave room for others.
const LINKS_AT_ONCE: usize = 64;

fn check_count(field: &str, given: usize) -> Result<(), Status> {
    match given {
        0 => Err(status_field(field, Problem::Missing { hint: "give at least one" })),
        _ if given > BATCH_FILES_MAX => {
            Err(status_field(field, Problem::TooMany { given, max: BATCH_FILES_MAX }))
        }
        _enough => Ok(()),
    }
}

/// Says which contents the account does not have, and how much an interrupted upload left of each.
pub(super) async fn find_missing(
    api: &Api,
    permit: Permit,
    request: wire::FindMissingFilesRequest,
) -> Result<wire::FindMissingFilesResponse, Status> {
    check_count("sha256", request.sha256.len())?;
    let wanted = checked(|c| {
        let parse = |c: &mut Checker, text: String| c.keep(Digest::parse(&text));
        Some(c.each("sha256", request.sha256, BATCH_FILES_MAX, parse))
    })?;
    let sizes = owned_sizes(api, permit.account(), wanted.clone()).await?;
    let mut missing = Vec::new();
    for (digest, size) in wanted.into_iter().zip(sizes) {
        if size.is_none() {
            let key = UploadKey { account: permit.account().clone(), digest };
            let resume_offset = api.parts.blobs.left_of(key).await;
            missing.push(wire::MissingFile { sha256: digest.to_string(), resume_offset });
        }
    }
    Ok(wire::FindMissingFilesResponse { missing })
}

/// A checked name for a content.
struct Link {
    name: FileName,
    digest: Digest,
}

fn check_link(index: usize, link: FileLink) -> Result<Link, FieldErrors> {
    let mut checker = Checker::new();
    let link = checker.at_item("links", index, |c| {
        let name = c.required("name", link.name, "name the container and the path");
        let name = name.and_then(|name| c.at("name", |c| file_name(c, &name)));
        let digest = digest(c, "sha256", &link.sha256);
        Some(Link { name: name?, digest: digest? })
    });
    checker.finish(link)
}

/// The request id of one name of a request: repeats of the request repeat each of its names.
fn id_of(request: Option<&RequestId>, index: usize) -> Option<RequestId> {
    let request = request?;
    // An id that is too long to be told apart goes without: naming the same content twice changes nothing.
    RequestId::parse(&format!("{request}/{index}")).ok()
}

/// Gives names to contents, each for itself.
pub(super) async fn link(
    api: &Api,
    permit: Permit,
    request: wire::LinkFilesRequest,
) -> Result<wire::LinkFilesResponse, Status> {
    check_count("links", request.links.len())?;
    let request_id = checked(|c| Some(request_id(c, &request.request_id)))?;
    let links: Vec<_> =
        request.links.into_iter().enumerate().map(|(at, link)| check_link(at, link)).collect();
    let digests = links.iter().map(|link| link.as_ref().ok().map(|link| link.digest)).collect::<Vec<_>>();
    let known: Vec<Digest> = digests.iter().flatten().copied().collect();
    let mut sizes = owned_sizes(api, permit.account(), known).await?.into_iter();
    let jobs: Vec<_> = links
        .into_iter()
        .enumerate()
        .map(|(at, link)| {
            let size = if link.is_ok() { sizes.next().flatten() } else { None };
            link_one(api, permit.account(), id_of(request_id.as_ref(), at), link, size)
        })
        .collect();
    let results = stream::iter(jobs).buffered(LINKS_AT_ONCE).collect().await;
    Ok(wire::LinkFilesResponse { results })
}

async fn link_one(
    api: &Api,
    account: &AccountName,
    request_id: Option<RequestId>,
    link: Result<Link, FieldErrors>,
    size: Option<u64>,
) -> LinkFileResult {
    let refuse = |error| LinkFileResult { file: None, error: Some(error) };
    let Link { name, digest } = match link {
        Ok(link) => link,
        Err(errors) => return refuse(wire::ItemError::from(&errors)),
    };
    let Some(size) = size else {
        let words = format!(
            "the content {digest} is not in the store of account '{account}': upload it with PutFile"
        );
        return refuse(item_error(Code::FailedPrecondition, ErrorReason::ContentMissing, words));
    };
    match name_content(api, account, request_id, &name, Stored { digest, size }).await {
        Ok(row) => LinkFileResult { file: Some(view::file_info(&row)), error: None },
        Err(refusal) => refuse(item_of(&refusal)),
    }
}

fn item_of(refusal: &Status) -> wire::ItemError {
    item_error(refusal.code(), reason_of(refusal).unwrap_or(ErrorReason::Internal), refusal.message())
}

/// The refusal for content that a name leads to and that cannot be read.
pub(super) fn unreadable(error: &BlobError, name: &FileName) -> Status {
    let BlobError::NotFound { digest } = error else { return refusal::of_blob(error) };
    tracing::error!(%digest, container = %name.container, path = %name.path, "a file's content is not in the store");
    let words = format!(
        "the content of file '{}' of container '{}' is lost: upload it again, and tell the controller's operator",
        name.path, name.container
    );
    status(Code::DataLoss, ErrorReason::ContentMissing, words)
}
