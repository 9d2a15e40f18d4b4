//! From this disk into a container: what is there is named, what is missing is sent.
//!
//! Goes in: files with their paths. Comes out: what each became. Contents are sent once however many names they have.
//! A break goes on at the byte that the controller has; a file that changes meanwhile is an error and never a wrong
//! content, because the digest is sent first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use muster_model::Digest;
use muster_proto::convert::reason_of;
use muster_proto::version::{BATCH_FILES_MAX, CHUNK_BYTES};
use muster_proto::wire;
use muster_proto::wire::put_file_request::Body;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::digest::digest_file;
use super::error::TransferError;
use super::progress::Progress;
use super::tree::LocalFile;
use crate::call::Interrupted;
use crate::client::Client;
use crate::error::Refusal;
use crate::identifier::request_id;
use crate::retry::is_busy;
use crate::watch::Reopen;

/// How many files move at one time: enough to hide the round trips of small files, few enough that large ones do not
/// take turns on the disk.
pub(super) const STREAMS_MAX: usize = 8;

/// Chunks read ahead of the network for one stream: two keep disk and network busy side by side.
const CHUNKS_AHEAD: usize = 2;

/// How often one file is sent anew after breaks. A controller that was busy counts as none.
const TRIES_MAX: u32 = 8;

/// What an upload did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Files that have their name now.
    pub files: u64,
    /// The bytes of all of them.
    pub bytes: u64,
    /// The bytes that had to be sent.
    pub sent_bytes: u64,
}

/// A file whose content is known.
struct Hashed {
    file: LocalFile,
    digest: Digest,
    size: u64,
}

impl Client {
    /// Uploads files into a container. Content that the store has is not sent again.
    ///
    /// # Errors
    /// As the variants of [`TransferError`] say. What was uploaded before the error keeps its name.
    pub async fn upload(
        &self,
        container: &str,
        files: Vec<LocalFile>,
        progress: Arc<dyn Progress>,
    ) -> Result<Uploaded, TransferError> {
        progress.expect(files.iter().map(|file| file.size).sum());
        let hashed: Vec<Hashed> = stream::iter(files)
            .map(|file| async move {
                let (digest, size) = digest_file(&file.source).await?;
                Ok::<_, TransferError>(Hashed { file, digest, size })
            })
            .buffered(STREAMS_MAX)
            .try_collect()
            .await?;
        let mut done = Uploaded { files: hashed.len() as u64, ..Uploaded::default() };
        for file in &hashed {
            done.bytes += file.size;
        }
        let missing = self.missing(&hashed).await?;
        // The first file of each missing content carries it; all others, and all of what is there, are named after it.
        let mut carried: BTreeMap<Digest, u64> = missing;
        let mut to_send = Vec::new();
        let mut to_link = Vec::new();
        for file in hashed {
            match carried.remove(&file.digest) {
                Some(offset) => to_send.push((file, offset)),
                None => to_link.push(file),
            }
        }
        let sent: Vec<u64> = stream::iter(to_send)
            .map(|(file, offset)| self.send_file(container, file, offset, &progress))
            .buffer_unordered(STREAMS_MAX)
            .try_collect()
            .await?;
        done.sent_bytes = sent.iter().sum();
        let unlinked = self.link(container, to_link, &progress).await?;
        for file in unlinked {
            done.sent_bytes += self.send_file(container, file, 0, &progress).await?;
        }
        Ok(done)
    }

    /// Which contents are not in the store, and from which byte on.
    async fn missing(&self, hashed: &[Hashed]) -> Result<BTreeMap<Digest, u64>, TransferError> {
        let mut digests: Vec<String> = hashed.iter().map(|file| file.digest.to_string()).collect();
        digests.sort();
        digests.dedup();
        let mut missing = BTreeMap::new();
        for batch in digests.chunks(BATCH_FILES_MAX) {
            for file in self.find_missing_files(batch.to_vec()).await? {
                if let Ok(digest) = Digest::parse(&file.sha256) {
                    missing.insert(digest, file.resume_offset);
                }
            }
        }
        Ok(missing)
    }

    /// Names contents that are there. Answers the files whose content has gone meanwhile.
    async fn link(
        &self,
        container: &str,
        files: Vec<Hashed>,
        progress: &Arc<dyn Progress>,
    ) -> Result<Vec<Hashed>, TransferError> {
        let mut unlinked = Vec::new();
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() {
            let batch: Vec<Hashed> = files.by_ref().take(BATCH_FILES_MAX).collect();
            let links = batch.iter().map(|file| wire::FileLink {
                name: Some(name(container, file)),
                sha256: file.digest.to_string(),
            });
            let results = self.link_files(links.collect()).await?;
            for (file, result) in batch.into_iter().zip(results) {
                match result.error.map(Refusal::from) {
                    None => progress.skipped(file.size),
                    Some(refusal) if refusal.reason == Some(wire::ErrorReason::ContentMissing) => {
                        unlinked.push(file)
                    }
                    Some(refusal) => {
                        return Err(TransferError::Refused {
                            container: container.to_owned(),
                            path: file.file.dest.to_string(),
                            refusal: Box::new(refusal),
                        });
                    }
                }
            }
        }
        Ok(unlinked)
    }

    /// Sends one file's content. Answers how many bytes had to be sent.
    async fn send_file(
        &self,
        container: &str,
        file: Hashed,
        offset: u64,
        progress: &Arc<dyn Progress>,
    ) -> Result<u64, TransferError> {
        progress.skipped(offset);
        let mut header = wire::PutFileHeader {
            name: Some(name(container, &file)),
            sha256: file.digest.to_string(),
            size_bytes: Some(file.size),
            offset,
            etag: String::new(),
            request_id: request_id(),
        };
        let mut reopen = Reopen::new(self);
        let (mut sent, mut breaks) = (0, 0);
        loop {
            let broken = match self.put(&file, header.clone(), progress, &mut sent).await? {
                Ok(()) => return Ok(sent),
                Err(broken) => broken,
            };
            if let Interrupted::Status(status) = &broken
                && !is_busy(status)
            {
                breaks += 1;
                if breaks == TRIES_MAX {
                    return Err(self.failed(Status::clone(status), TRIES_MAX).into());
                }
            }
            reopen.wait(self, broken).await?;
            let missing = self.find_missing_files(vec![file.digest.to_string()]).await?;
            // Nothing missing: all content arrived, and the next try only gives it its name.
            header.offset = missing.first().map_or(0, |missing| missing.resume_offset);
        }
    }

    /// One try to send a file. The outer error is final, the inner one may be worth another try.
    async fn put(
        &self,
        file: &Hashed,
        header: wire::PutFileHeader,
        progress: &Arc<dyn Progress>,
        sent: &mut u64,
    ) -> Result<Result<(), Interrupted>, TransferError> {
        let (tx, rx) = mpsc::channel(CHUNKS_AHEAD);
        let source = file.file.source.clone();
        let (size, moved, offset) = (file.size, progress.clone(), header.offset);
        let reader = tokio::task::spawn_blocking(move || read_into(&tx, &source, size, header, &*moved));
        let call = |request| async { self.files().put_file(request).await };
        let request = match self.signed(ReceiverStream::new(rx), None) {
            Ok(request) => request,
            Err(error) => return Ok(Err(Interrupted::Ours(error))),
        };
        let answer = call(request).await;
        // The answer drops the receiver, which ends the reader if it has not ended by itself.
        let read = reader.await.map_err(|_| TransferError::CutOff)?;
        match (answer, read) {
            (Ok(answer), read) => {
                let read = read.unwrap_or_default();
                *sent += read;
                // An answer before the last chunk: the rest was there already.
                progress.skipped(file.size.saturating_sub(offset + read));
                drop(answer);
                Ok(Ok(()))
            }
            (Err(_), Err(error)) => Err(error),
            (Err(status), Ok(bytes)) => {
                *sent += bytes;
                if reason_of(&status) == Some(wire::ErrorReason::ContentMismatch) {
                    return Err(TransferError::Changed { path: file.file.source.clone() });
                }
                Ok(Err(Interrupted::Status(Box::new(status))))
            }
        }
    }
}

fn name(container: &str, file: &Hashed) -> wire::FileStorePath {
    wire::FileStorePath { container: container.to_owned(), path: file.file.dest.to_string() }
}

/// Reads a file from the header's offset and hands it to the stream. Ends early, without an error, when nobody listens.
fn read_into(
    tx: &mpsc::Sender<wire::PutFileRequest>,
    path: &Path,
    size: u64,
    header: wire::PutFileHeader,
    progress: &dyn Progress,
) -> Result<u64, TransferError> {
    let failed = |source| TransferError::Read { path: path.to_owned(), source };
    let message = |body| wire::PutFileRequest { body: Some(body) };
    let offset = header.offset;
    if tx.blocking_send(message(Body::Header(header))).is_err() {
        return Ok(0);
    }
    let mut file = File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut file = file.take(size.saturating_sub(offset));
    let mut sent = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map_err(failed)?;
        if read == 0 {
            break;
        }
        if tx.blocking_send(message(Body::Chunk(Bytes::from(chunk)))).is_err() {
            return Ok(sent);
        }
        sent += read as u64;
        progress.moved(read as u64);
    }
    if offset + sent < size {
        return Err(TransferError::Changed { path: path.to_owned() });
    }
    Ok(sent)
}
