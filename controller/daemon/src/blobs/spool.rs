//! The files of uploads under way, and what interrupted ones left behind.
//!
//! An upload of announced content writes to a partial file named after the account and the digest, which stays when
//! the upload breaks off, so that it can go on; any other upload writes to a nameless file that goes with it. One
//! writer per partial file: its lease travels with the open file, also into a write that outlives its caller.

use super::error::BlobError;
use bytes::Bytes;
use muster_model::{AccountName, Digest};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long what an interrupted upload left is kept: a night's pause of a laptop.
const PARTIAL_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How much is read at once when what was left is hashed again.
const REHASH_BYTES: usize = 1024 * 1024;

/// Names what an interrupted upload left: the account and the content, never a text of the client's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadKey {
    /// Whose upload: what one account left is nothing to another.
    pub account: AccountName,
    /// Of what.
    pub digest: Digest,
}

impl UploadKey {
    fn file_name(&self) -> String {
        format!("part-{}-{}", self.account, self.digest)
    }
}

/// The folder of uploads under way.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    leased: Arc<Mutex<BTreeSet<UploadKey>>>,
    next_nameless: AtomicU64,
}

impl Spool {
    /// Takes the folder over, removing nameless files of an earlier process and partial ones that are too old.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        let spool = Self { folder, leased: Arc::default(), next_nameless: AtomicU64::new(0) };
        for entry in std::fs::read_dir(&spool.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("tmp-") {
                std::fs::remove_file(entry.path())?;
            }
        }
        spool.remove_old(SystemTime::now())?;
        Ok(spool)
    }

    /// Removes what interrupted uploads left more than a day ago.
    pub(super) fn remove_old(&self, now: SystemTime) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("part-") {
                continue;
            }
            // A file that is being written is young, so a lease need not be looked at.
            let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > PARTIAL_KEPT {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// How many bytes an interrupted upload left. 0 while it is under way: nobody else can go on with it then.
    pub(super) fn left_of(&self, key: &UploadKey) -> u64 {
        if self.leased.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
            return 0;
        }
        std::fs::metadata(self.folder.join(key.file_name())).map_or(0, |metadata| metadata.len())
    }

    /// A file for an upload that starts anew: partial if its content is announced and nobody uploads it, else nameless.
    pub(super) fn start(&self, key: Option<UploadKey>) -> Result<SpoolFile, BlobError> {
        let lease = key.and_then(|key| Lease::take(&self.leased, key));
        let path = match &lease {
            Some(lease) => self.folder.join(lease.key.file_name()),
            None => self.folder.join(format!("tmp-{}", self.next_nameless.fetch_add(1, Ordering::Relaxed))),
        };
        let file = open_file(&path).map_err(|cause| BlobError::disk("create", &path, cause))?;
        file.set_len(0).map_err(|cause| BlobError::disk("empty", &path, cause))?;
        Ok(SpoolFile {
            file,
            path,
            hash: Sha256::new(),
            bytes: 0,
            fate: Fate::of(lease.as_ref()),
            _lease: lease,
        })
    }

    /// The file of an interrupted upload, ready to go on at `offset`; what lies beyond is cut off.
    pub(super) fn resume(&self, key: UploadKey, offset: u64) -> Result<SpoolFile, BlobError> {
        let digest = key.digest;
        let lease = Lease::take(&self.leased, key).ok_or(BlobError::UploadUnderWay { digest })?;
        let path = self.folder.join(lease.key.file_name());
        let available = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if offset > available {
            return Err(BlobError::NothingToResume { offset, available });
        }
        let mut file = open_file(&path).map_err(|cause| BlobError::disk("open", &path, cause))?;
        let hash = hash_start(&mut file, offset).map_err(|cause| BlobError::disk("read", &path, cause))?;
        file.set_len(offset).map_err(|cause| BlobError::disk("cut", &path, cause))?;
        Ok(SpoolFile { file, path, hash, bytes: offset, fate: Fate::Keep, _lease: Some(lease) })
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Hashes the first bytes of a file and leaves it positioned after them.
fn hash_start(file: &mut File, bytes: u64) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; REHASH_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).map_or(REHASH_BYTES, |left| left.min(REHASH_BYTES));
        file.read_exact(&mut buffer[..part])?;
        hash.update(&buffer[..part]);
        left -= u64::try_from(part).unwrap_or(left);
    }
    file.seek(SeekFrom::Start(bytes))?;
    Ok(hash)
}

/// What becomes of the file when nobody writes to it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Remove,
}

impl Fate {
    const fn of(lease: Option<&Lease>) -> Self {
        if lease.is_some() { Self::Keep } else { Self::Remove }
    }
}

/// A file that is being uploaded, with the hash of what it has.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
    fate: Fate,
    _lease: Option<Lease>,
}

impl SpoolFile {
    /// How many bytes it has.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it when it is dropped, whatever was planned: it is worthless, or has been published.
    pub(super) const fn discard(&mut self) {
        self.fate = Fate::Remove;
    }

    /// Adds bytes at the end. After an error the file is worthless.
    pub(super) fn append(&mut self, chunk: &Bytes) -> Result<(), BlobError> {
        if let Err(cause) = self.file.write_all(chunk) {
            self.discard();
            return Err(BlobError::disk("write", &self.path, cause));
        }
        self.hash.update(chunk);
        self.bytes = self.bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Makes the bytes durable and says what they are.
    pub(super) fn seal(&mut self) -> Result<Digest, BlobError> {
        if let Err(cause) = self.file.sync_all() {
            self.discard();
            return Err(BlobError::disk("sync", &self.path, cause));
        }
        Ok(Digest::from_bytes(self.hash.clone().finalize().into()))
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if self.fate == Fate::Remove
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a file of an upload could not be removed");
        }
    }
}

/// The right to write one partial file.
#[derive(Debug)]
struct Lease {
    key: UploadKey,
    leased: Arc<Mutex<BTreeSet<UploadKey>>>,
}

impl Lease {
    fn take(leased: &Arc<Mutex<BTreeSet<UploadKey>>>, key: UploadKey) -> Option<Self> {
        let is_free = leased.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_free.then(|| Self { key, leased: Arc::clone(leased) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leased.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> UploadKey {
        UploadKey { account: AccountName::parse("studio").unwrap(), digest: Digest::from_bytes([seed; 32]) }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_an_interrupted_upload_left_is_found_by_its_account_alone() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_path_buf()).unwrap();
        let mut file = spool.start(Some(key(1))).unwrap();
        file.append(&Bytes::from_static(b"hello ")).unwrap();
        assert_eq!(spool.left_of(&key(1)), 0, "somebody writes it");
        drop(file);
        assert_eq!(spool.left_of(&key(1)), 6);
        let other = UploadKey { account: AccountName::parse("other1").unwrap(), ..key(1) };
        assert_eq!(spool.left_of(&other), 0);

        let mut file = spool.resume(key(1), 4).unwrap();
        file.append(&Bytes::from_static(b"p!")).unwrap();
        let whole = Digest::from_bytes(Sha256::digest(b"hellp!").into());
        assert_eq!(file.seal().unwrap(), whole);
        assert_eq!(std::fs::read(file.path()).unwrap(), b"hellp!");
    }

    #[test]
    fn a_second_upload_of_the_same_content_does_not_touch_the_firsts_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_path_buf()).unwrap();
        let first = spool.start(Some(key(1))).unwrap();
        let second = spool.start(Some(key(1))).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(matches!(spool.resume(key(1), 0), Err(BlobError::UploadUnderWay { .. })));
        drop(second);
        assert_eq!(names(folder.path()).len(), 1, "the nameless file goes with its upload");
    }

    #[test]
    fn going_on_beyond_what_is_left_is_refused_with_both_figures() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_path_buf()).unwrap();
        let words = spool.resume(key(1), 10).unwrap_err().to_string();
        assert!(words.contains("byte 10") && words.contains("0 bytes are left"), "{words}");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_full_disk_is_named_and_what_was_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_path_buf()).unwrap();
        let mut file = spool.start(Some(key(1))).unwrap();
        file.append(&Bytes::from_static(b"there was room for this")).unwrap();
        // Every write to this device fails as one to a full disk does.
        file.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = file.append(&Bytes::from_static(b"not for this")).unwrap_err();
        assert!(
            matches!(&error, BlobError::DiskFull { folder: full, .. } if full == folder.path()),
            "{error:?}"
        );
        drop(file);
        assert_eq!((names(folder.path()).len(), spool.left_of(&key(1))), (0, 0));
    }

    #[test]
    fn an_earlier_processs_nameless_files_and_old_partial_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tmp-7"), b"x").unwrap();
        std::fs::write(folder.path().join(key(1).file_name()), b"x").unwrap();
        let spool = Spool::open(folder.path().to_path_buf()).unwrap();
        assert_eq!(names(folder.path()), [key(1).file_name()]);
        spool.remove_old(SystemTime::now() + PARTIAL_KEPT + Duration::from_secs(60)).unwrap();
        assert!(names(folder.path()).is_empty());
    }
}
