//! The door to content: whether it is there, reading a range of it, beginning an upload.
//!
//! It knows digests and nothing else: which account may see which content is decided by the names in the file store,
//! before this is asked.

use super::error::{BlobError, PlaceError};
use super::place::{self, Place};
use super::read::{self, BlobStream};
use super::spool::{Spool, UploadKey};
use super::upload::{Announced, Upload};
use futures_util::stream::{self, StreamExt};
use muster_model::Digest;
use object_store::{GetOptions, GetRange};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// All content. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Blobs {
    place: Arc<Place>,
    spool: Arc<Spool>,
}

impl Blobs {
    /// Opens the store: `folder` on the local disk, or the object store at `url` with `folder` for uploads under way.
    /// Touches the disk: call it before serving.
    ///
    /// # Errors
    /// [`PlaceError`] names the setting and what to change.
    pub fn open(folder: &Path, url: Option<&str>) -> Result<Self, PlaceError> {
        Self::at(place::open(folder, url)?)
    }

    fn at(place: Place) -> Result<Self, PlaceError> {
        let folder = place.spool.clone();
        let spool = Spool::open(folder.clone()).map_err(|cause| PlaceError::Folder { folder, cause })?;
        Ok(Self { place: Arc::new(place), spool: Arc::new(spool) })
    }

    /// The size of a content, or `None` when it is not here.
    ///
    /// # Errors
    /// [`BlobError::Store`] when the store cannot say.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        self.place.size(digest).await
    }

    /// The bytes of a range of a content. A range that reaches beyond the end is cut; an empty one has no bytes.
    ///
    /// # Errors
    /// [`BlobError`]: not here, or the store cannot be read.
    pub async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<BlobStream, BlobError> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.place.store.get_opts(&self.place.path_of(digest), options).await {
            Ok(answer) => Ok(read::stream_of(*digest, answer)),
            Err(object_store::Error::NotFound { .. }) => Err(BlobError::NotFound { digest: *digest }),
            Err(cause) => Err(BlobError::Store { action: "read", digest: *digest, cause }),
        }
    }

    /// How many bytes an interrupted upload left: where [`Blobs::resume`] may go on.
    pub async fn left_of(&self, key: UploadKey) -> u64 {
        let spool = Arc::clone(&self.spool);
        tokio::task::spawn_blocking(move || spool.left_of(&key)).await.unwrap_or(0)
    }

    /// Begins an upload from its first byte. With a key, what comes of it stays when it breaks off.
    ///
    /// # Errors
    /// [`BlobError`] of the disk.
    pub async fn begin(&self, announced: Announced, key: Option<UploadKey>) -> Result<Upload, BlobError> {
        let spool = Arc::clone(&self.spool);
        let file = tokio::task::spawn_blocking(move || spool.start(key)).await;
        Ok(Upload::new(Arc::clone(&self.place), announced, file.map_err(|_| BlobError::BrokenOff)??))
    }

    /// Goes on with an interrupted upload at `offset`, which is at most what [`Blobs::left_of`] answered.
    ///
    /// # Errors
    /// [`BlobError`]: less is left than that, another call goes on with it, or the disk.
    pub async fn resume(
        &self,
        announced: Announced,
        key: UploadKey,
        offset: u64,
    ) -> Result<Upload, BlobError> {
        let spool = Arc::clone(&self.spool);
        let file = tokio::task::spawn_blocking(move || spool.resume(key, offset)).await;
        Ok(Upload::new(Arc::clone(&self.place), announced, file.map_err(|_| BlobError::BrokenOff)??))
    }

    /// Removes what interrupted uploads left more than a day ago. Due now and then; opening does it too.
    pub async fn remove_old_uploads(&self) {
        let spool = Arc::clone(&self.spool);
        let done = tokio::task::spawn_blocking(move || spool.remove_old(SystemTime::now())).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "what interrupted uploads left could not be removed");
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
