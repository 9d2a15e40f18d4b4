//! Stages all files of a plan, several at a time, and makes sure that no content is downloaded twice at the same time.
//!
//! Downloads are shared by digest where it is known and by URL where it is not; whoever comes first downloads, the others
//! wait. If the first is cancelled, the next one goes on in its place.

use super::cache::{Blob, Cache, CacheError};
use super::error::{FetchError, Place, StageError};
use super::http::{GetError, Got, Http};
use super::store::ForWhom;
use super::{place, store};
use crate::link::Link;
use crate::workdir::{Dir, TaskPlace};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use muster_model::cause::FailureInfo;
use muster_model::{Cause, Digest};
use muster_proto::convert::{PlannedFile, PlannedSource};
use muster_runtime::backoff::Backoff;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// Files of one plan that are staged at a time.
const FILES_AT_A_TIME: usize = 8;
/// Downloads of the node at a time: enough to fill any link, few enough for every server.
const DOWNLOADS_AT_A_TIME: usize = 16;
/// Tries of one download before it counts as a network fault.
const TRIES: u32 = 5;
/// First and longest wait between tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));
/// URLs of which the ETag is remembered: a few hundred bytes each.
const KNOWN_MAX: usize = 10_000;

/// What a download is shared by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Content(Digest),
    Url(String),
}

/// A content that was fetched from a URL and is known there by an ETag.
#[derive(Debug, Clone)]
struct Known {
    etag: String,
    digest: Digest,
}

type Flight = Arc<OnceCell<Result<Blob, FetchError>>>;

/// Stages files.
#[derive(Debug)]
pub(crate) struct Stager {
    cache: Arc<Cache>,
    http: Http,
    link: Link,
    downloads: Semaphore,
    flights: Mutex<BTreeMap<Key, Flight>>,
    known: Mutex<BTreeMap<String, Known>>,
}

impl Stager {
    /// A stager with its cache in the agent's directory.
    pub(crate) fn open(
        agent: &Dir,
        cache_bytes_max: u64,
        allow_link_local: bool,
        link: Link,
    ) -> Result<Self, StagerError> {
        Ok(Self {
            cache: Cache::open(agent, cache_bytes_max)?,
            http: Http::new(allow_link_local),
            link,
            downloads: Semaphore::new(DOWNLOADS_AT_A_TIME),
            flights: Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// Bytes in the cache.
    pub(crate) fn cache_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Stages all files; answers the bytes that were fetched over the network.
    pub(crate) async fn stage(
        &self,
        whom: &ForWhom,
        files: &[PlannedFile],
        place: &Arc<TaskPlace>,
    ) -> Result<u64, FailureInfo> {
        let (mut waiting, mut under_way) = (files.iter(), FuturesUnordered::new());
        let mut fetched = 0_u64;
        loop {
            while under_way.len() < FILES_AT_A_TIME
                && let Some(file) = waiting.next()
            {
                under_way.push(self.stage_one(whom, file, place));
            }
            match under_way.next().await {
                Some(staged) => fetched = fetched.saturating_add(staged.map_err(|error| error.failure())?),
                None => return Ok(fetched),
            }
        }
    }

    async fn stage_one(
        &self,
        whom: &ForWhom,
        file: &PlannedFile,
        place: &Arc<TaskPlace>,
    ) -> Result<u64, StageError> {
        let fetch_failed = |cause| StageError::Fetch { file: file.path.clone(), cause };
        let (blob, fetched) = self.obtain(whom, file).await.map_err(fetch_failed)?;
        if let Some(wanted) = file.size.filter(|size| *size != blob.size()) {
            let from = from_of(&file.source);
            return Err(fetch_failed(FetchError::WrongSize { from, wanted, found: blob.size() }));
        }
        let (target, file) = (Arc::clone(place), file.clone());
        let put = tokio::task::spawn_blocking(move || place::put(&blob, &target, &file));
        match put.await {
            Ok(put) => put.map(|()| fetched),
            // A panic there is logged by itself.
            Err(_panicked) => Err(fetch_failed(FetchError::Cache {
                operation: "copy a file",
                cause: Arc::new(std::io::ErrorKind::Other.into()),
            })),
        }
    }

    /// The content of a file, from the cache or by a download that is shared, and the bytes that were fetched for it.
    async fn obtain(&self, whom: &ForWhom, file: &PlannedFile) -> Result<(Blob, u64), FetchError> {
        let wanted = match &file.source {
            PlannedSource::Content(digest) => Some(*digest),
            PlannedSource::Http(_) => file.expected,
        };
        let key = match (&file.source, wanted) {
            (_, Some(digest)) => Key::Content(digest),
            (PlannedSource::Http(url), None) => Key::Url(url.clone()),
            // Contents of the store always have a digest.
            (PlannedSource::Content(digest), None) => Key::Content(*digest),
        };
        loop {
            if let Some(digest) = wanted
                && let Some(blob) = self.cache.get(digest).await
            {
                return Ok((blob, 0));
            }
            let flight = Arc::clone(locked(&self.flights).entry(key.clone()).or_default());
            let mut fetched = None;
            let result = flight
                .get_or_init(|| async {
                    let result = self.download(whom, &file.source, wanted, file.size).await;
                    fetched = Some(result.as_ref().map_or(0, |(_, bytes)| *bytes));
                    result.map(|(blob, _)| blob)
                })
                .await
                .clone();
            {
                let mut flights = locked(&self.flights);
                if flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
                    flights.remove(&key);
                }
            }
            match (result, fetched) {
                // Somebody else's download failed for want of rights, or at another URL: one's own may not.
                (Err(error), None) if error.is_about_rights() => {}
                (result, fetched) => return result.map(|blob| (blob, fetched.unwrap_or(0))),
            }
        }
    }

    async fn download(
        &self,
        whom: &ForWhom,
        source: &PlannedSource,
        wanted: Option<Digest>,
        size: Option<u64>,
    ) -> Result<(Blob, u64), FetchError> {
        // The semaphore is never closed.
        let _turn = self.downloads.acquire().await;
        self.cache.make_room(size.unwrap_or(0));
        match source {
            PlannedSource::Content(digest) => self.download_stored(whom, *digest).await,
            PlannedSource::Http(url) => self.download_url(url, wanted, size).await,
        }
    }

    async fn download_stored(&self, whom: &ForWhom, digest: Digest) -> Result<(Blob, u64), FetchError> {
        let from = Place::Store(digest);
        let mut download = self.cache.begin()?;
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        loop {
            match store::get(&self.link, whom, digest, &mut download).await {
                Ok(size) => {
                    let (digest, size) =
                        download.finish(&from, Some(digest), Some(size), self.cache.blobs())?;
                    return Ok((self.cache.insert(digest, size), size));
                }
                Err(error) => wait_or_fail(error, &mut backoff, &from).await?,
            }
        }
    }

    async fn download_url(
        &self,
        text: &str,
        wanted: Option<Digest>,
        size: Option<u64>,
    ) -> Result<(Blob, u64), FetchError> {
        let url = Http::parse(text)?;
        let from = Place::of_url(&url);
        let known = locked(&self.known).get(text).cloned();
        let known = match known {
            Some(known) if wanted.is_none() => {
                self.cache.get(known.digest).await.map(|blob| (known.etag, blob))
            }
            Some(_) | None => None,
        };
        let mut download = self.cache.begin()?;
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        let mut resume = None;
        loop {
            let etag = known.as_ref().map(|(etag, _)| etag.as_str());
            match self.http.get(&url, &mut download, &mut resume, etag).await {
                Ok(Got::NotModified) => {
                    if let Some((_, blob)) = known {
                        return Ok((blob, 0));
                    }
                }
                Ok(Got::Whole { etag }) => {
                    let (digest, size) = download.finish(&from, wanted, size, self.cache.blobs())?;
                    if let Some(etag) = etag {
                        let mut known = locked(&self.known);
                        if known.len() >= KNOWN_MAX {
                            known.clear();
                        }
                        known.insert(text.to_owned(), Known { etag, digest });
                    }
                    return Ok((self.cache.insert(digest, size), size));
                }
                Err(error) => wait_or_fail(error, &mut backoff, &from).await?,
            }
        }
    }
}

/// Why there can be no stager.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StagerError {
    #[error(transparent)]
    Cache(#[from] CacheError),
}

fn from_of(source: &PlannedSource) -> Place {
    match source {
        PlannedSource::Content(digest) => Place::Store(*digest),
        PlannedSource::Http(url) => Http::parse(url).map_or(Place::Url("".into()), |url| Place::of_url(&url)),
    }
}

async fn wait_or_fail(error: GetError, backoff: &mut Backoff, from: &Place) -> Result<(), FetchError> {
    match error {
        GetError::Final(error) => Err(error),
        GetError::Passing(last) => {
            let wait = backoff.next_delay();
            let tries = backoff.attempt();
            if tries >= TRIES {
                return Err(FetchError::Network { from: from.clone(), tries, last });
            }
            tracing::debug!(%from, last, tries, "a download broke off; trying again");
            tokio::time::sleep(wait).await;
            Ok(())
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps behind these locks are changed in single steps that cannot panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The failure of an attempt whose staging was broken off; the core puts its own reason in the place of it.
pub(crate) fn cancelled() -> FailureInfo {
    FailureInfo::new(Cause::Terminated, "staging was broken off")
}
