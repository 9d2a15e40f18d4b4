//! What one account or node has under way, and what all have together.
//!
//! A share is made when its owner first calls and forgotten when it has nothing under way and its buckets are full, so
//! their number is bounded by those who call. Counts are given back by guards.
//!
//! Invariant: what is counted is what guards hold, never more and never less.

use super::bucket::{Bucket, Pace};
use super::calls::{Kind, Span};
use super::limits::Limits;
use super::owner::Owner;
use super::refused::TooMuch;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// KiB of all requests under way that are not yet the engine's: four accounts at their limit. What a request becomes in
/// memory is some times its size on the wire.
const ALL_REQUESTS_KIB_MAX: u32 = 256 * 1024;

/// Calls of one node under way: as many as its connection can carry.
const NODE_CALLS_MAX: usize = 1024;

/// Uploads are this part of the streams that an account may have open: each may have sent a window of 1 MiB ahead.
const UPLOAD_PARTS: usize = 4;

/// Shares from which on those that nobody needs are looked for.
const SHARES_KEPT: usize = 4096;

/// How long a stream of tasks waits for room that others have.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// All shares. Clones are the same.
#[derive(Debug, Clone)]
pub struct Shares(Arc<All>);

#[derive(Debug)]
struct All {
    limits: Limits,
    started: Instant,
    owners: Mutex<Owners>,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Owners {
    shares: BTreeMap<Owner, Arc<Share>>,
    /// The number at which those that nobody needs are looked for again.
    clean_at: usize,
}

/// One owner's share.
#[derive(Debug)]
pub(super) struct Share {
    owner: Owner,
    all: Arc<All>,
    reads: Mutex<Bucket>,
    writes: Mutex<Bucket>,
    calls: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    uploads: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
}

/// One of a counted number, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// One more, unless there are `max` already.
    pub(super) fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let more = |now: usize| (now < max).then_some(now + 1);
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shares {
    /// Nobody's so far.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let room = Arc::new(Semaphore::new(size(ALL_REQUESTS_KIB_MAX)));
        Self(Arc::new(All { limits, started: Instant::now(), owners: Mutex::default(), room }))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The share of an owner.
    pub(super) fn of(&self, owner: Owner) -> Arc<Share> {
        let mut owners = self.0.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = owners.shares.get(&owner) {
            return Arc::clone(share);
        }
        if owners.shares.len() >= owners.clean_at.max(SHARES_KEPT) {
            let now = self.0.started.elapsed();
            owners.shares.retain(|_, share| Arc::strong_count(share) > 1 || !share.is_rested(now));
            owners.clean_at = owners.shares.len().saturating_mul(2);
        }
        let share = Arc::new(Share::new(owner.clone(), &self.0));
        owners.shares.insert(owner, Arc::clone(&share));
        share
    }
}

impl Share {
    fn new(owner: Owner, all: &Arc<All>) -> Self {
        Self {
            owner,
            all: Arc::clone(all),
            reads: Mutex::default(),
            writes: Mutex::default(),
            calls: Arc::default(),
            streams: Arc::default(),
            uploads: Arc::default(),
            connections: Arc::default(),
            room: Arc::new(Semaphore::new(size(all.limits.request_kib_max))),
        }
    }

    fn is_rested(&self, now: Duration) -> bool {
        let in_use = [&self.calls, &self.streams, &self.uploads, &self.connections];
        in_use.iter().all(|count| count.load(Ordering::Relaxed) == 0)
            && lock(&self.reads).is_full(now)
            && lock(&self.writes).is_full(now)
    }

    /// A call begins.
    pub(super) fn begin(&self, kind: Kind) -> Result<Counted, TooMuch> {
        let limits = &self.all.limits;
        let uploads_max = (limits.streams_max / UPLOAD_PARTS).max(1);
        let (count, max, what) = match (&self.owner, kind.span) {
            (Owner::Node(..), _) => (&self.calls, NODE_CALLS_MAX, "calls under way"),
            (Owner::Account(_), Span::Once) => (&self.calls, limits.calls_max, "calls under way"),
            (Owner::Account(_), Span::Stream) => (&self.streams, limits.streams_max, "streams open"),
            (Owner::Account(_), Span::Upload) => {
                (&self.uploads, uploads_max, "uploads and streams of tasks open")
            }
        };
        if let Owner::Account(_) = self.owner {
            self.pace(kind.is_write)?;
        }
        let full = || TooMuch::Count { owner: self.owner.clone(), max, what };
        Counted::take(count, max).ok_or_else(full)
    }

    fn pace(&self, is_write: bool) -> Result<(), TooMuch> {
        let limits = &self.all.limits;
        let (bucket, per_second, kind) = match is_write {
            true => (&self.writes, limits.writes_per_second, "change something"),
            false => (&self.reads, limits.reads_per_second, "read"),
        };
        let taken = lock(bucket).take(Pace::new(per_second, limits.burst), self.all.started.elapsed());
        taken.map_err(|wait| TooMuch::Rate { owner: self.owner.clone(), per_second, kind, wait })
    }

    /// A connection turns out to be the owner's.
    pub(super) fn connect(&self) -> Result<Counted, TooMuch> {
        let max = self.all.limits.connections_max;
        let full = || TooMuch::Count { owner: self.owner.clone(), max, what: "connections open" };
        Counted::take(&self.connections, max).ok_or_else(full)
    }

    /// Room for so much of a request, if there is some now.
    pub(super) fn room_now(&self, kib: u32) -> Result<RoomHeld, TooMuch> {
        let max_kib = self.all.limits.request_kib_max;
        let own = Arc::clone(&self.room).try_acquire_many_owned(kib);
        let own = own.map_err(|_| TooMuch::Bytes { owner: self.owner.clone(), max_kib })?;
        let of_all = Arc::clone(&self.all.room).try_acquire_many_owned(kib);
        let of_all = of_all.map_err(|_| TooMuch::AllBytes { max_kib: ALL_REQUESTS_KIB_MAX })?;
        Ok(RoomHeld { _own: own, _of_all: of_all })
    }
}

/// Room for requests under way; given back when it is dropped.
#[derive(Debug)]
pub struct RoomHeld {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// The room that a stream of tasks has for its chunks under way: left with its request by the turnstile.
#[derive(Debug, Clone)]
pub struct StreamRoom(pub(super) Arc<Share>);

impl StreamRoom {
    /// Waits for so much room: for that of its own account as long as it takes, for that of all for a bounded time.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED with the time to come back.
    pub async fn take(&self, kib: u32) -> Result<RoomHeld, Status> {
        let all = &self.0.all;
        let kib = kib.min(all.limits.request_kib_max);
        let full = || Status::from(TooMuch::AllBytes { max_kib: ALL_REQUESTS_KIB_MAX });
        // Neither semaphore is ever closed.
        let own = Arc::clone(&self.0.room).acquire_many_owned(kib).await.map_err(|_| full())?;
        let of_all = Arc::clone(&all.room).acquire_many_owned(kib);
        let of_all = tokio::time::timeout(ROOM_WAIT_MAX, of_all).await;
        Ok(RoomHeld { _own: own, _of_all: of_all.map_err(|_| full())?.map_err(|_| full())? })
    }
}

fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(kib: u32) -> usize {
    usize::try_from(kib).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::{AccountName, NodeId};

    const READ: Kind = Kind { span: Span::Once, is_write: false };
    const WRITE: Kind = Kind { span: Span::Once, is_write: true };
    const STREAM: Kind = Kind { span: Span::Stream, is_write: false };
    const UPLOAD: Kind = Kind { span: Span::Upload, is_write: true };

    fn owner(name: &str) -> Owner {
        Owner::Account(AccountName::parse(name).unwrap())
    }

    fn tight() -> Limits {
        Limits {
            reads_per_second: 1,
            writes_per_second: 1,
            burst: Duration::from_secs(3),
            calls_max: 2,
            streams_max: 1,
            connections_max: 1,
            request_kib_max: 10,
            ..Limits::default()
        }
    }

    #[test]
    fn reads_writes_and_accounts_have_paces_of_their_own() {
        let shares = Shares::new(tight());
        let studio = shares.of(owner("studio"));
        let many = |kind| (0..10).filter(|_| studio.begin(kind).is_ok()).count();
        assert_eq!(many(READ), 3);
        assert_eq!(many(WRITE), 3);
        let other = shares.of(owner("other1"));
        assert!(other.begin(READ).is_ok());
        assert!(
            matches!(shares.of(owner("studio")).begin(READ), Err(TooMuch::Rate { .. })),
            "it is the same share"
        );
    }

    #[test]
    fn what_is_under_way_is_counted_until_it_ends() {
        let shares = Shares::new(Limits { reads_per_second: 1_000, writes_per_second: 1_000, ..tight() });
        let share = shares.of(owner("studio"));
        let first = share.begin(READ).unwrap();
        let _second = share.begin(READ).unwrap();
        assert!(matches!(share.begin(READ), Err(TooMuch::Count { max: 2, .. })));
        let stream = share.begin(STREAM).unwrap();
        assert!(matches!(share.begin(STREAM), Err(TooMuch::Count { max: 1, .. })));
        let _upload = share.begin(UPLOAD).unwrap();
        assert!(matches!(share.begin(UPLOAD), Err(TooMuch::Count { max: 1, .. })));
        drop((first, stream));
        assert!(share.begin(READ).is_ok() && share.begin(STREAM).is_ok());
        let connection = share.connect().unwrap();
        assert!(share.connect().is_err());
        drop(connection);
        assert!(share.connect().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_and_given_back() {
        let shares = Shares::new(tight());
        let share = shares.of(owner("studio"));
        let held = share.room_now(8).unwrap();
        assert!(matches!(share.room_now(3), Err(TooMuch::Bytes { max_kib: 10, .. })));
        let room = StreamRoom(Arc::clone(&share));
        let waiting = tokio::spawn(async move { room.take(1_000_000).await.is_ok() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert!(waiting.await.unwrap(), "one that is larger than all takes all");
        assert!(share.room_now(10).is_ok());
    }

    #[test]
    fn nodes_have_no_pace_but_a_number_of_calls() {
        let shares = Shares::new(tight());
        let node = Owner::Node(AccountName::parse("studio").unwrap(), NodeId::parse("n").unwrap());
        let share = shares.of(node);
        let held: Vec<_> = (0..2 * NODE_CALLS_MAX).map_while(|_| share.begin(STREAM).ok()).collect();
        assert_eq!(held.len(), NODE_CALLS_MAX);
    }

    #[test]
    fn shares_that_nobody_needs_are_forgotten() {
        let shares = Shares::new(Limits::default());
        let busy = shares.of(owner("busy"));
        let _call = busy.connect().unwrap();
        drop(busy);
        for number in 0..3 * SHARES_KEPT {
            drop(shares.of(owner(&format!("acc{number}"))));
        }
        let owners = shares.0.owners.lock().unwrap();
        assert!(owners.shares.len() <= SHARES_KEPT + 1, "{}", owners.shares.len());
        assert!(owners.shares.contains_key(&owner("busy")));
    }
}
