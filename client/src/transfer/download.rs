//! From the file store onto this disk: into a temporary file beside the target, verified, then renamed.
//!
//! A download that broke off, also one of an earlier run of the program, goes on where the temporary file ends; its name
//! holds the digest, so that parts of two contents never meet. A target that has the content already is left alone.
//!
//! Invariant: a file under its final name has the digest that the store announced.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use muster_model::FilePath;
use muster_proto::wire;
use muster_proto::wire::get_file_response::Body;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::digest::{digest_file, finish, partial_digest};
use super::error::TransferError;
use super::progress::Progress;
use super::upload::STREAMS_MAX;
use crate::call::Interrupted;
use crate::client::Client;
use crate::watch::Reopen;

/// Chunks received ahead of the disk.
const CHUNKS_AHEAD: usize = 4;

/// Digits of the digest in the name of a temporary file: enough that two contents do not meet.
const PART_DIGITS: usize = 16;

/// One file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its name in the file store.
    pub name: wire::FileStorePath,
    /// The SHA-256 of its content, 64 lower-case hex digits.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where it goes.
    pub target: PathBuf,
}

/// What a download did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Files that are there now.
    pub files: u64,
    /// The bytes of all of them.
    pub bytes: u64,
    /// The bytes that had to be fetched.
    pub fetched_bytes: u64,
}

impl Download {
    /// A file that goes below a folder, at its path in the store without the first `strip` bytes.
    ///
    /// # Errors
    /// [`TransferError::Path`] when the path would leave the folder.
    pub fn below(folder: &Path, file: &wire::FileInfo, strip: usize) -> Result<Self, TransferError> {
        let name = file.name.clone().unwrap_or_default();
        let rest = name.path.get(strip..).unwrap_or_default().trim_start_matches('/');
        let path = FilePath::parse(rest)
            .map_err(|source| TransferError::Path { name: name.path.clone(), source })?;
        let target = folder.join(path.as_str());
        Ok(Self { name, sha256: file.sha256.clone(), size: file.size_bytes, target })
    }
}

impl Client {
    /// Downloads files, a few at a time.
    ///
    /// # Errors
    /// As the variants of [`TransferError`] say. Files that were complete before the error stay.
    pub async fn download(
        &self,
        files: Vec<Download>,
        progress: Arc<dyn Progress>,
    ) -> Result<Downloaded, TransferError> {
        progress.expect(files.iter().map(|file| file.size).sum());
        let done = Downloaded {
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
            fetched_bytes: 0,
        };
        let fetched: Vec<u64> = stream::iter(files)
            .map(|file| self.download_one(file, &progress))
            .buffer_unordered(STREAMS_MAX)
            .try_collect()
            .await?;
        Ok(Downloaded { fetched_bytes: fetched.iter().sum(), ..done })
    }

    /// Downloads one file. Answers how many bytes had to be fetched.
    async fn download_one(&self, file: Download, progress: &Arc<dyn Progress>) -> Result<u64, TransferError> {
        let is_there =
            fs::metadata(&file.target).is_ok_and(|found| found.is_file() && found.len() == file.size);
        if is_there && digest_file(&file.target).await?.0.to_string() == file.sha256 {
            progress.skipped(file.size);
            return Ok(0);
        }
        let part = part_path(&file);
        if let Some(folder) = part.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|source| write(folder, source))?;
        }
        let (mut hash, mut offset) = match partial_digest(&part).await {
            Ok((hash, length)) if length <= file.size => (hash, length),
            Ok(_) | Err(_) => (Sha256::new(), 0),
        };
        progress.skipped(offset);
        let start = offset;
        let mut reopen = Reopen::new(self);
        // A file of no bytes is fetched too, once, so that a name that does not exist is an error.
        while offset < file.size || (file.size == 0 && !part.exists()) {
            if let Err(broken) =
                self.fetch(&file, &part, &mut hash, &mut offset, progress, &mut reopen).await?
            {
                reopen.wait(self, broken).await?;
            }
        }
        let found = finish(hash).to_string();
        if found != file.sha256 {
            // The part is of no use to the next try either.
            let _gone = fs::remove_file(&part);
            let name = format!("{}/{}", file.name.container, file.name.path);
            return Err(TransferError::Corrupt { name, wanted: file.sha256, found });
        }
        fs::rename(&part, &file.target).map_err(|source| write(&file.target, source))?;
        Ok(offset - start)
    }

    /// One try to fetch the rest. The outer error is final, the inner one may be worth another try.
    async fn fetch(
        &self,
        file: &Download,
        part: &Path,
        hash: &mut Sha256,
        offset: &mut u64,
        progress: &Arc<dyn Progress>,
        reopen: &mut Reopen,
    ) -> Result<Result<(), Interrupted>, TransferError> {
        let request = wire::GetFileRequest {
            name: Some(file.name.clone()),
            offset: *offset,
            length: 0,
            etag: String::new(),
        };
        let call = |request| async { self.files().get_file(request).await };
        let mut stream = match self.stream(request, call).await {
            Ok(stream) => stream,
            Err(broken) => return Ok(Err(broken)),
        };
        let writer = PartWriter::open(part, *offset);
        let end = loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) if *offset >= file.size => break Ok(()),
                Ok(None) => break Err(tonic::Status::unavailable("the download ended early")),
                Err(status) => break Err(status),
            };
            reopen.worked();
            match message.body {
                Some(Body::Header(header)) if header.sha256 != file.sha256 => {
                    // The name has other content than it had when the list was made.
                    let name = format!("{}/{}", file.name.container, file.name.path);
                    return Err(TransferError::Corrupt {
                        name,
                        wanted: file.sha256.clone(),
                        found: header.sha256,
                    });
                }
                Some(Body::Chunk(bytes)) => {
                    hash.update(&bytes);
                    *offset += bytes.len() as u64;
                    progress.moved(bytes.len() as u64);
                    if writer.write(bytes).await.is_err() {
                        break Ok(());
                    }
                }
                Some(Body::Header(_)) | None => {}
            }
        };
        writer.finish().await?;
        Ok(end.map_err(|status| Interrupted::Status(Box::new(status))))
    }
}

fn write(path: &Path, source: std::io::Error) -> TransferError {
    TransferError::Write { path: path.to_owned(), source }
}

/// The temporary file beside a target.
fn part_path(file: &Download) -> PathBuf {
    let digits = file.sha256.get(..PART_DIGITS).unwrap_or(&file.sha256);
    let name = file.target.file_name().unwrap_or_default().to_string_lossy();
    file.target.with_file_name(format!(".{name}.{digits}.part"))
}

/// A thread that writes chunks to a file, so that a slow disk does not hold up other streams.
struct PartWriter {
    chunks: mpsc::Sender<Bytes>,
    thread: tokio::task::JoinHandle<Result<(), TransferError>>,
}

/// The writing thread has ended; `finish` says why.
struct WriterEnded;

impl PartWriter {
    /// Writes after the first `offset` bytes of the file; what is behind them is cut off.
    fn open(path: &Path, offset: u64) -> Self {
        let (chunks, mut rx) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
        let path = path.to_owned();
        let thread = tokio::task::spawn_blocking(move || {
            let failed = |source| write(&path, source);
            let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
            file.set_len(offset).map_err(failed)?;
            while let Some(chunk) = rx.blocking_recv() {
                file.write_all(&chunk).map_err(failed)?;
            }
            Ok(())
        });
        Self { chunks, thread }
    }

    async fn write(&self, chunk: Bytes) -> Result<(), WriterEnded> {
        self.chunks.send(chunk).await.map_err(|_| WriterEnded)
    }

    async fn finish(self) -> Result<(), TransferError> {
        drop(self.chunks);
        self.thread.await.map_err(|_| TransferError::CutOff)?
    }
}
