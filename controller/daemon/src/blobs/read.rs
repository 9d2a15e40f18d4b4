//! Reading a range of a blob as a stream of chunks that fit into messages.
//!
//! Local files are read a whole chunk at a time on a blocking thread, and nothing is read ahead of the reader: a slow
//! reader holds one chunk. A stream that ends early is an error, never a short answer.

use super::error::BlobError;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use muster_model::Digest;
use muster_proto::version::{CHUNK_BYTES, CHUNK_BYTES_MAX};
use object_store::{GetResult, GetResultPayload};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The bytes of a range, in chunks of at most 1 MiB.
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// The bytes of an answer of the object store.
pub(super) fn stream_of(digest: Digest, answer: GetResult) -> BlobStream {
    let range = answer.range.clone();
    let bytes = range.end.saturating_sub(range.start);
    match answer.payload {
        GetResultPayload::File(file, _) => {
            FileRead { digest, file, position: range.start, left: bytes }.stream()
        }
        GetResultPayload::Stream(parts) => {
            let parts = parts.map_err(move |cause| BlobError::Store { action: "read", digest, cause });
            whole(digest, bytes, parts.map_ok(in_chunks).try_flatten().boxed())
        }
    }
}

/// Cuts what an object store sends at once into what one message holds.
fn in_chunks(mut part: Bytes) -> BoxStream<'static, Result<Bytes, BlobError>> {
    let mut chunks = Vec::new();
    while part.len() > CHUNK_BYTES_MAX {
        chunks.push(Ok(part.split_to(CHUNK_BYTES_MAX)));
    }
    if !part.is_empty() {
        chunks.push(Ok(part));
    }
    stream::iter(chunks).boxed()
}

/// Passes chunks on and complains when they end before `bytes` have come.
fn whole(digest: Digest, bytes: u64, chunks: BlobStream) -> BlobStream {
    stream::try_unfold((chunks, bytes), move |(mut chunks, left)| async move {
        match chunks.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                let left = left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                Ok(Some((chunk, (chunks, left))))
            }
            None if left > 0 => Err(BlobError::Damaged { digest, missing: left }),
            None => Ok(None),
        }
    })
    .boxed()
}

struct FileRead {
    digest: Digest,
    file: File,
    position: u64,
    left: u64,
}

impl FileRead {
    fn stream(self) -> BlobStream {
        stream::try_unfold(self, |read| async move {
            if read.left == 0 {
                return Ok(None);
            }
            tokio::task::spawn_blocking(move || read.next())
                .await
                .map_err(|_| BlobError::BrokenOff)?
                .map(Some)
        })
        .boxed()
    }

    fn next(mut self) -> Result<(Bytes, Self), BlobError> {
        let digest = self.digest;
        let failed = |cause| {
            let cause = object_store::Error::Generic { store: "local", source: Box::new(cause) };
            BlobError::Store { action: "read", digest, cause }
        };
        let wanted = usize::try_from(self.left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut chunk = vec![0; wanted];
        self.file.seek(SeekFrom::Start(self.position)).map_err(failed)?;
        let mut filled = 0;
        while filled < wanted {
            match self.file.read(&mut chunk[filled..]) {
                Ok(0) => return Err(BlobError::Damaged { digest, missing: self.left }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let advanced = u64::try_from(filled).unwrap_or(self.left);
        self.position = self.position.saturating_add(advanced);
        self.left = self.left.saturating_sub(advanced);
        Ok((Bytes::from(chunk), self))
    }
}
