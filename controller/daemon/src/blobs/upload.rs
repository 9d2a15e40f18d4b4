//! One upload of content: spooled, hashed, verified, and only then published under its digest.
//!
//! Every write runs on a blocking thread that owns the file meanwhile, so an upload whose caller goes away in the
//! middle leaves the file whole up to its last chunk. Until `finish` has answered nobody can see anything of it.

use super::error::{BLOB_BYTES_MAX, BlobError};
use super::place::Place;
use super::publish::{Stored, publish};
use super::spool::SpoolFile;
use bytes::Bytes;
use muster_model::Digest;
use std::sync::Arc;

/// What the sender says of the content beforehand. What is said is held against what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announced {
    /// Its digest.
    pub digest: Option<Digest>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// An upload under way. Dropping it breaks it off: what has come of announced content stays for a resume.
#[derive(Debug)]
pub struct Upload {
    place: Arc<Place>,
    announced: Announced,
    /// Away only while a blocking thread has it; gone for good after an error.
    file: Option<SpoolFile>,
}

impl Upload {
    pub(super) const fn new(place: Arc<Place>, announced: Announced, file: SpoolFile) -> Self {
        Self { place, announced, file: Some(file) }
    }

    /// How many bytes have come, those of an earlier try included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, SpoolFile::bytes)
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`BlobError`]: more than announced or allowed, or the disk. The upload is over then.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        let mut file = self.file.take().ok_or(BlobError::BrokenOff)?;
        let found = file.bytes().saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if let Some(announced) = self.announced.size
            && found > announced
        {
            file.discard();
            return Err(BlobError::SizeMismatch { announced, found });
        }
        if found > BLOB_BYTES_MAX {
            file.discard();
            return Err(BlobError::TooLarge);
        }
        let written = tokio::task::spawn_blocking(move || file.append(&chunk).map(|()| file)).await;
        self.file = Some(written.map_err(|_| BlobError::BrokenOff)??);
        Ok(())
    }

    /// Verifies what came, makes it durable and publishes it.
    ///
    /// # Errors
    /// [`BlobError`]: another size or digest than announced (what came is removed), the disk, or the object store.
    pub async fn finish(mut self) -> Result<Stored, BlobError> {
        let mut file = self.file.take().ok_or(BlobError::BrokenOff)?;
        let size = file.bytes();
        if let Some(announced) = self.announced.size
            && announced != size
        {
            // A short upload of announced content may still go on; nothing else of it is wrong.
            return Err(BlobError::SizeMismatch { announced, found: size });
        }
        let sealed = tokio::task::spawn_blocking(move || file.seal().map(|digest| (file, digest))).await;
        let (mut file, digest) = sealed.map_err(|_| BlobError::BrokenOff)??;
        file.discard();
        if let Some(announced) = self.announced.digest
            && announced != digest
        {
            return Err(BlobError::DigestMismatch { announced, found: digest });
        }
        publish(&self.place, &file, Stored { digest, size }).await?;
        Ok(Stored { digest, size })
    }
}
