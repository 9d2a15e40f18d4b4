//! The node's cache of contents: by digest, each downloaded once, forgotten when there is no room, never while in use.
//!
//! ```text
//! ROOT/agent/cache/blobs/<sha256>      whole contents, mode 0444
//! ROOT/agent/cache/arriving/<number>   downloads under way; emptied at start
//! ```
//!
//! A content that was found at start is hashed before its first use: after a power failure it may not be what its name says.
//!
//! Invariant: what a [`Blob`] names exists for as long as the `Blob` does.

use super::download::Download;
use super::error::FetchError;
use crate::workdir::{Dir, EntryKind};
use muster_model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Size of the buffer for hashing.
const HASH_BYTES: usize = 256 * 1024;

/// Why the cache cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the cache of resource files below the agent's directory")]
pub(crate) struct CacheError(#[from] io::Error);

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    blobs: Dir,
    arriving: Dir,
    bytes_max: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    entries: BTreeMap<Digest, Entry>,
    bytes: u64,
    /// Counts uses; stands for a time in the choice of what to forget.
    tick: u64,
    next_name: u64,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    used: u64,
    users: u32,
    verified: bool,
}

/// A content that is in use.
#[derive(Debug)]
pub(super) struct Blob {
    digest: Digest,
    size: u64,
    cache: Arc<Cache>,
}

impl Cache {
    /// Opens the cache in the agent's directory and looks what is in it.
    pub(super) fn open(agent: &Dir, bytes_max: u64) -> Result<Arc<Self>, CacheError> {
        let root = agent.make_dir("cache", 0o700)?;
        let blobs = root.make_dir("blobs", 0o700)?;
        let arriving = root.make_dir("arriving", 0o700)?;
        for (name, _) in arriving.entries()? {
            arriving.remove_tree(&name)?;
        }
        let mut index = Index::default();
        for (name, kind) in blobs.entries()? {
            match (Digest::parse(&name), kind) {
                (Ok(digest), EntryKind::File) => index.insert(digest, blobs.facts(&name)?.size, false),
                (Ok(_) | Err(_), _) => blobs.remove_tree(&name)?,
            }
        }
        let cache = Arc::new(Self { blobs, arriving, bytes_max, index: Mutex::new(index) });
        cache.make_room(0);
        Ok(cache)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // The index is changed in single steps that cannot panic, so a poisoned one is whole.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all contents.
    pub(super) fn bytes(&self) -> u64 {
        self.index().bytes
    }

    /// The content of this digest, if it is there and what its name says. May take as long as hashing it.
    pub(super) async fn get(self: &Arc<Self>, digest: Digest) -> Option<Blob> {
        let (blob, verified) = {
            let mut index = self.index();
            index.tick += 1;
            let tick = index.tick;
            let entry = index.entries.get_mut(&digest)?;
            entry.used = tick;
            entry.users += 1;
            (Blob { digest, size: entry.size, cache: Arc::clone(self) }, entry.verified)
        };
        if verified {
            return Some(blob);
        }
        let cache = Arc::clone(self);
        let same = tokio::task::spawn_blocking(move || cache.hash(digest).is_ok_and(|found| found == digest));
        let same = same.await.unwrap_or(false);
        let mut index = self.index();
        if same {
            if let Some(entry) = index.entries.get_mut(&digest) {
                entry.verified = true;
            }
            drop(index);
            return Some(blob);
        }
        tracing::warn!(%digest, "a content of the cache is not what its name says; it is fetched again");
        if let Some(entry) = index.entries.remove(&digest) {
            index.bytes = index.bytes.saturating_sub(entry.size);
        }
        drop(index);
        let _fetched_anew = self.blobs.remove_file(&digest.to_string());
        None
    }

    fn hash(&self, digest: Digest) -> io::Result<Digest> {
        let (mut file, _) = self.blobs.open_file(&digest.to_string())?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; HASH_BYTES];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Digest::from_bytes(hash.finalize().into())),
                length => hash.update(&buffer[..length]),
            }
        }
    }

    /// Begins a download.
    pub(super) fn begin(&self) -> Result<Download<'_>, FetchError> {
        let name = {
            let mut index = self.index();
            index.next_name += 1;
            index.next_name.to_string()
        };
        Download::begin(&self.arriving, name)
    }

    /// Where finished downloads go.
    pub(super) const fn blobs(&self) -> &Dir {
        &self.blobs
    }

    /// Takes a finished download in.
    pub(super) fn insert(self: &Arc<Self>, digest: Digest, size: u64) -> Blob {
        {
            let mut index = self.index();
            index.insert(digest, size, true);
            if let Some(entry) = index.entries.get_mut(&digest) {
                entry.users += 1;
            }
        }
        self.make_room(0);
        Blob { digest, size, cache: Arc::clone(self) }
    }

    /// Forgets contents that are not in use, those used longest ago first, until `wanted` more bytes fit.
    pub(super) fn make_room(&self, wanted: u64) {
        let mut index = self.index();
        while index.bytes.saturating_add(wanted) > self.bytes_max {
            let idle = index.entries.iter().filter(|(_, entry)| entry.users == 0);
            let Some(oldest) = idle.min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest) else {
                return;
            };
            if let Some(entry) = index.entries.remove(&oldest) {
                index.bytes = index.bytes.saturating_sub(entry.size);
            }
            if let Err(error) = self.blobs.remove_file(&oldest.to_string()) {
                tracing::warn!(digest = %oldest, %error, "cannot remove a content from the cache");
            }
        }
    }
}

impl Index {
    fn insert(&mut self, digest: Digest, size: u64, verified: bool) {
        self.tick += 1;
        let (used, users) = (self.tick, self.entries.get(&digest).map_or(0, |entry| entry.users));
        if let Some(before) = self.entries.insert(digest, Entry { size, used, users, verified }) {
            self.bytes = self.bytes.saturating_sub(before.size);
        }
        self.bytes = self.bytes.saturating_add(size);
    }
}

impl Blob {
    /// The content's name.
    #[cfg(test)]
    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Its size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Opens it for reading.
    pub(super) fn open(&self) -> io::Result<File> {
        self.cache.blobs.open_file(&self.digest.to_string()).map(|(file, _)| file)
    }

    /// Gives it a second name elsewhere on the same file system.
    pub(super) fn link(&self, to: &Dir, name: &str) -> io::Result<()> {
        self.cache.blobs.link(&self.digest.to_string(), to, name)
    }
}

impl Clone for Blob {
    fn clone(&self) -> Self {
        if let Some(entry) = self.cache.index().entries.get_mut(&self.digest) {
            entry.users += 1;
        }
        Self { digest: self.digest, size: self.size, cache: Arc::clone(&self.cache) }
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if let Some(entry) = self.cache.index().entries.get_mut(&self.digest) {
            entry.users = entry.users.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Place;
    use super::*;
    use crate::workdir::Layout;

    fn put(cache: &Arc<Cache>, text: &[u8]) -> Blob {
        let mut download = cache.begin().unwrap();
        download.append(text).unwrap();
        let from = Place::Url("x".into());
        let (digest, size) = download.finish(&from, None, None, cache.blobs()).unwrap();
        cache.insert(digest, size)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_in_use_stays_and_the_oldest_of_the_rest_goes() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let cache = Cache::open(layout.agent(), 8).unwrap();
        let used = put(&cache, b"aaaa");
        let old = put(&cache, b"bbbb").digest();
        let new = put(&cache, b"cccc").digest();
        assert!(cache.get(old).await.is_none());
        assert!(cache.get(new).await.is_some() && cache.get(used.digest()).await.is_some());
        drop(used);
        put(&cache, b"dddddddd");
        assert!(cache.get(new).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_content_that_rotted_between_two_starts_is_not_given_out() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let (good, bad) = {
            let cache = Cache::open(layout.agent(), 1 << 20).unwrap();
            (put(&cache, b"good").digest(), put(&cache, b"bad").digest())
        };
        let path = temporary.path().join(format!("agent/cache/blobs/{bad}"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "rot").unwrap();
        let cache = Cache::open(layout.agent(), 1 << 20).unwrap();
        assert!(cache.get(good).await.is_some());
        assert!(cache.get(bad).await.is_none());
        assert!(!path.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_digest_leaves_nothing_behind() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let cache = Cache::open(layout.agent(), 1 << 20).unwrap();
        let mut download = cache.begin().unwrap();
        download.append(b"x").unwrap();
        let wanted = Digest::from_bytes([7; 32]);
        let finished = download.finish(&Place::Store(wanted), Some(wanted), None, cache.blobs());
        assert!(matches!(finished, Err(FetchError::WrongDigest { .. })));
        for folder in ["arriving", "blobs"] {
            let path = temporary.path().join("agent/cache").join(folder);
            assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "{folder}");
        }
    }
}
