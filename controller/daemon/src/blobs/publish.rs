//! Publishing: a spool file that is verified and durable becomes readable under its digest, at once and whole.
//!
//! Content that is there already is left alone, so two uploads of the same content cannot disturb each other. In a
//! folder it is one rename; to an object store the file is sent in parts, which become an object only together.

use super::error::BlobError;
use super::place::Place;
use super::spool::SpoolFile;
use futures_util::StreamExt;
use muster_model::Digest;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, WriteMultipart};
use std::error::Error;
use std::io;
use std::path::Path;

/// How much of the file is read at once.
const READ_BYTES: usize = 1024 * 1024;

/// Up to this size content is sent in one request: the smallest part that the clouds take.
const WHOLE_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// Parts of one object that are sent at the same time: enough to fill a link, little to hold (5 MiB each).
const PARTS_IN_FLIGHT_MAX: usize = 4;

/// A content that is durable and can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Makes a verified, durable spool file readable under its digest.
pub(super) async fn publish(place: &Place, file: &SpoolFile, content: Stored) -> Result<(), BlobError> {
    if place.size(&content.digest).await? == Some(content.size) {
        return Ok(());
    }
    let to = place.path_of(&content.digest);
    let failed = |cause| failure(place, content.digest, cause);
    if let Some(from) = place.spooled(file.path()) {
        return place.store.rename(&from, &to).await.map_err(failed);
    }
    if content.size <= WHOLE_BYTES_MAX {
        let path = file.path();
        let bytes = tokio::fs::read(path).await.map_err(|cause| BlobError::disk("read", path, cause))?;
        return place.store.put(&to, bytes.into()).await.map(|_| ()).map_err(failed);
    }
    send(place, file.path(), &to, content.digest).await
}

async fn send(place: &Place, path: &Path, to: &ObjectPath, digest: Digest) -> Result<(), BlobError> {
    let failed = |cause| failure(place, digest, cause);
    let opened = tokio::fs::File::open(path).await.map_err(|cause| BlobError::disk("open", path, cause))?;
    let mut parts = tokio_util::io::ReaderStream::with_capacity(opened, READ_BYTES);
    let mut upload = WriteMultipart::new(place.store.put_multipart(to).await.map_err(failed)?);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|cause| BlobError::disk("read", path, cause));
        let ready = upload.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await.map_err(failed);
        match (part, ready) {
            (Ok(part), Ok(())) => upload.put(part),
            (Err(error), _) | (Ok(_), Err(error)) => {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, %digest, "parts of a broken upload may be left in the object store");
                }
                return Err(error);
            }
        }
    }
    upload.finish().await.map(|_| ()).map_err(failed)
}

/// An error of the object store; a full local disk is told apart from all others.
fn failure(place: &Place, digest: Digest, cause: object_store::Error) -> BlobError {
    let mut source: Option<&(dyn Error + 'static)> = Some(&cause);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            let cause = io::Error::new(io.kind(), io.to_string());
            return BlobError::DiskFull { folder: place.spool.clone(), cause };
        }
        source = error.source();
    }
    BlobError::Store { action: "keep", digest, cause }
}
