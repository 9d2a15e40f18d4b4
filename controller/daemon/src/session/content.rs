//! Content for attempts: FetchFile brings what a plan names, UploadFile takes what an attempt leaves.
//!
//! A node gets at content only through a plan of its own, and may bring content only for an attempt that it holds now.
//! A plan that was sent is remembered (`granted`); after a restart of the controller it is made again and looked at.

use super::context::{SessionContext, key_of};
use super::granted::PlanOf;
use super::plan::{self, Planned, Planner};
use crate::auth::NodeIdentity;
use crate::blobs::{Announced, BlobError};
use crate::refusal;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use muster_controller_core::input::NodeKey;
use muster_model::{AttemptId, Digest};
use muster_proto::convert::{FieldErrors, Problem, status, status_field};
use muster_proto::version::CHUNK_BYTES_MAX;
use muster_proto::wire;
use std::time::Duration;
use tonic::{Code, Status, Streaming};
use wire::ErrorReason;
use wire::upload_file_request::Body;

/// How long an agent may take from one message of an upload to the next.
const MESSAGE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Handles a FetchFile.
pub(super) async fn fetch(
    context: &SessionContext,
    identity: &NodeIdentity,
    request: wire::FetchFileRequest,
) -> Result<BoxStream<'static, Result<wire::FetchFileResponse, Status>>, Status> {
    let node = key_of(identity);
    let digest = Digest::parse(&request.sha256).map_err(|error| status_field("sha256", error.into()))?;
    let whom = match request.for_whom {
        Some(wire::fetch_file_request::ForWhom::Attempt(attempt)) => PlanOf::Attempt(attempt.try_into()?),
        Some(wire::fetch_file_request::ForWhom::StartTask(_)) => PlanOf::StartTask,
        None => {
            return Err(status_field(
                "for_whom",
                Problem::Missing { hint: "name the attempt or the start task" },
            ));
        }
    };
    if !context.granted.has(&node, &whom, &digest) && !is_planned(context, identity, &whom, digest).await? {
        let words = format!("no plan of node '{}' names the content {digest}", node.node);
        return Err(status(Code::PermissionDenied, ErrorReason::PermissionDenied, words));
    }
    let size = context.blobs.size(&digest).await.map_err(|error| refusal::of_blob(&error))?;
    let size = size.ok_or_else(|| refusal::of_blob(&BlobError::NotFound { digest }))?;
    if request.offset > size {
        let words =
            format!("the content {digest} has {size} bytes: byte {} is beyond its end", request.offset);
        return Err(status(Code::OutOfRange, ErrorReason::InvalidRange, words));
    }
    let bytes =
        context.blobs.read(&digest, request.offset..size).await.map_err(|error| refusal::of_blob(&error))?;
    let header = wire::fetch_file_response::Body::Header(wire::FetchFileHeader { size_bytes: size });
    let chunks = bytes.map(|chunk| match chunk {
        Ok(chunk) => Ok(wire::fetch_file_response::Body::Chunk(chunk)),
        Err(error) => Err(refusal::of_blob(&error)),
    });
    let bodies = stream::once(std::future::ready(Ok(header))).chain(chunks);
    Ok(bodies.map(|body| body.map(|body| wire::FetchFileResponse { body: Some(body) })).boxed())
}

/// Makes the plan again and looks whether it names the content.
async fn is_planned(
    context: &SessionContext,
    identity: &NodeIdentity,
    whom: &PlanOf,
    digest: Digest,
) -> Result<bool, Status> {
    let (node, pool, of) = (key_of(identity), identity.pool.clone(), whom.clone());
    let digests = context.engine.read(move |reader| {
        let mut planner = Planner::new(reader, &node.account);
        let files = match &of {
            PlanOf::Attempt(attempt) => match planner.attempt(&node, attempt)? {
                Some(Planned::Plan(plan)) => plan.resource_files,
                Some(Planned::Failed(..)) | None => Vec::new(),
            },
            PlanOf::StartTask => {
                let pool = reader.pool(&node.account, &pool)?;
                let plan = pool.map(|pool| planner.start_task(&pool)).transpose()?.flatten();
                plan.and_then(Result::ok).map(|plan| plan.resource_files).unwrap_or_default()
            }
        };
        Ok(plan::digests(&files))
    });
    let digests = digests.await.map_err(|error| refusal::of_read(&error))?;
    let named = digests.contains(&digest);
    context.granted.remember(&key_of(identity), whom.clone(), digests);
    Ok(named)
}

/// Handles an UploadFile.
pub(super) async fn upload(
    context: &SessionContext,
    identity: &NodeIdentity,
    mut inbound: Streaming<wire::UploadFileRequest>,
) -> Result<wire::UploadFileResponse, Status> {
    let node = key_of(identity);
    let Some(Body::Header(header)) = next(context, &mut inbound).await? else {
        return Err(status_field("header", Problem::Missing { hint: "send it as the first message" }));
    };
    let missing = || status_field("header.attempt", Problem::Missing { hint: "name the attempt" });
    let attempt: AttemptId =
        header.attempt.ok_or_else(missing)?.try_into().map_err(|errors: FieldErrors| Status::from(errors))?;
    check_current(context, &node, &attempt).await?;
    let digest = match header.sha256.as_str() {
        "" => None,
        text => Some(Digest::parse(text).map_err(|error| status_field("header.sha256", error.into()))?),
    };
    if let Some(digest) = digest
        && let Some(size_bytes) = size_of_known(context, &node, digest).await?
    {
        context.uploaded.remember(&node, digest);
        return Ok(wire::UploadFileResponse {
            sha256: digest.to_string(),
            size_bytes,
            already_present: true,
        });
    }
    let announced = Announced { digest, size: header.size_bytes };
    let mut upload = context.blobs.begin(announced, None).await.map_err(|error| refusal::of_blob(&error))?;
    while let Some(body) = next(context, &mut inbound).await? {
        match body {
            Body::Chunk(chunk) if chunk.len() <= CHUNK_BYTES_MAX => {
                upload.write(chunk).await.map_err(|error| refusal::of_blob(&error))?;
            }
            Body::Chunk(chunk) => {
                let problem = Problem::TooLong { given: chunk.len(), max: CHUNK_BYTES_MAX, unit: "bytes" };
                return Err(status_field("chunk", problem));
            }
            Body::Header(_) => {
                return Err(status_field("header", Problem::Conflict { other: "the first message" }));
            }
        }
    }
    let stored = upload.finish().await.map_err(|error| refusal::of_blob(&error))?;
    context.uploaded.remember(&node, stored.digest);
    tracing::debug!(account = %node.account, node = %node.node, %attempt, digest = %stored.digest, size = stored.size, "an output came");
    Ok(wire::UploadFileResponse {
        sha256: stored.digest.to_string(),
        size_bytes: stored.size,
        already_present: false,
    })
}

/// The next message's body, within its time. Messages without a body are passed over.
async fn next(
    context: &SessionContext,
    inbound: &mut Streaming<wire::UploadFileRequest>,
) -> Result<Option<Body>, Status> {
    loop {
        let message = tokio::select! {
            message = tokio::time::timeout(MESSAGE_WAIT_MAX, inbound.message()) => message,
            () = context.shutdown.begun() => return Err(refusal::stopping()),
        };
        let late = |_| {
            let words = format!("no message of the upload came for {MESSAGE_WAIT_MAX:?}: begin again");
            Status::deadline_exceeded(words)
        };
        match message.map_err(late)?? {
            None => return Ok(None),
            Some(wire::UploadFileRequest { body: Some(body) }) => return Ok(Some(body)),
            Some(wire::UploadFileRequest { body: None }) => {}
        }
    }
}

async fn check_current(context: &SessionContext, node: &NodeKey, attempt: &AttemptId) -> Result<(), Status> {
    let (account, key) = (node.account.clone(), attempt.task_key());
    let task = context.engine.read(move |reader| reader.task(&account, &key)).await;
    let task = task.map_err(|error| refusal::of_read(&error))?;
    if task.is_some_and(|task| plan::is_current(&task, node, attempt)) {
        return Ok(());
    }
    let words =
        format!("attempt {attempt} is not the current one of its task, or not on node '{}'", node.node);
    Err(status(Code::PermissionDenied, ErrorReason::PermissionDenied, words))
}

/// The size of a content that is there and that this node may know of.
async fn size_of_known(
    context: &SessionContext,
    node: &NodeKey,
    digest: Digest,
) -> Result<Option<u64>, Status> {
    let account = node.account.clone();
    let named = context.engine.read(move |reader| reader.content_sizes(&account, &[digest])).await;
    let named = named.map_err(|error| refusal::of_read(&error))?.into_iter().any(|size| size.is_some());
    if !named && !context.uploaded.has(node, &digest) {
        return Ok(None);
    }
    context.blobs.size(&digest).await.map_err(|error| refusal::of_blob(&error))
}
