//! Who has a place at a listener: strangers, who lose theirs to others in time, and peers that somebody vouches for.
//!
//! A connection begins as a stranger and stays one until the daemon says that its peer has shown who it is. Strangers are
//! bounded, in all and for each source, and so is their time. When their places are full, the next one takes the place of
//! one that has not sent a byte, then of the oldest of those that had a fair time: whoever opens connections and leaves
//! them pushes out his own, and not a client that goes on with its handshake. Peers that were vouched for are
//! counted among all connections and lose their place only when they have made no call for a long time.
//!
//! Goes in: connections that come and go, and the time. It opens, reads and closes no socket.
//!
//! Invariant: `open` holds exactly the connections that are not told to close, and `strangers` those of them for which
//! nobody has vouched.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a stranger that has sent nothing is left alone although others wait: a round trip to the other side of the
/// world, after which the first bytes of a handshake are there.
const SILENT_TIME: Duration = Duration::from_millis(250);

/// How long a stranger that speaks is left alone although others wait: a handshake and a first call take two round trips.
const FAIR_TIME: Duration = Duration::from_secs(1);

/// How long a connection lives whose daemon wants it gone: its last answer gets out in that time.
const DISMISSED_TIME: Duration = Duration::from_secs(1);

/// The bounds of one listener. Values of zero count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// How many connections may be open at once.
    pub connections_max: usize,
    /// How many of them may be strangers'.
    pub strangers_max: usize,
    /// How many strangers may come from one source: an IPv4 address, or an IPv6 network of 64 bits.
    pub strangers_per_source_max: usize,
    /// How long one handshake may take, from the first moment of the connection.
    pub handshake_deadline: Duration,
    /// How long a connection may be a stranger's.
    pub stranger_time_max: Duration,
    /// How many bytes a stranger may send after the handshake; what is beyond waits until somebody vouches for it.
    pub stranger_bytes_max: u64,
    /// How long a connection may be without a call.
    pub idle_max: Duration,
}

impl Default for AcceptLimits {
    /// 8,192 connections: a pool of the largest size the design aims at, below the usual limit of descriptors
    /// of a service. 2,048 strangers, of which one source has half: each costs a few dozen KiB at most, and as many new
    /// ones a second are more handshakes than two cores do. 10 seconds: a slow mobile link needs two. 30 seconds: a client
    /// makes its first call at once. 256 KiB: many times the headers of a first call; a body waits. 10 minutes without
    /// a call: a client connects again in a millisecond.
    fn default() -> Self {
        Self {
            connections_max: 8192,
            strangers_max: 2048,
            strangers_per_source_max: 1024,
            handshake_deadline: Duration::from_secs(10),
            stranger_time_max: Duration::from_secs(30),
            stranger_bytes_max: 256 * 1024,
            idle_max: Duration::from_secs(600),
        }
    }
}

/// What a daemon may say of a connection, and what it may be told of it. Clones are the same.
#[derive(Debug, Clone)]
pub struct Standing(Arc<Connection>);

struct Connection {
    number: u64,
    source: IpAddr,
    since: Instant,
    /// Whether the handshake is done.
    is_up: AtomicBool,
    is_vouched: AtomicBool,
    is_closed: AtomicBool,
    /// Microseconds after `since` at which it is to be closed; 0 when nobody wants that.
    dismissed_us: AtomicU64,
    /// Calls under way, and when the last one ended: microseconds after `since`.
    calls: AtomicUsize,
    last_call_us: AtomicU64,
    /// The task that reads or writes.
    waker: Mutex<Option<Waker>>,
    /// What is to live as long as the connection.
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
    places: Weak<Places>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A call under way on a connection. The connection is not idle until it is dropped.
#[derive(Debug)]
pub struct CallUnderWay(Arc<Connection>);

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.0.last_call_us.store(self.0.age_us(), Ordering::Relaxed);
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    fn age_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether its time is over.
    fn is_over(&self, limits: &AcceptLimits, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        let dismissed = self.dismissed_us.load(Ordering::Relaxed);
        if dismissed > 0 && age > Duration::from_micros(dismissed) {
            return true;
        }
        if !self.is_vouched.load(Ordering::Relaxed) {
            let is_up = self.is_up.load(Ordering::Relaxed);
            return age > limits.stranger_time_max || (!is_up && age > limits.handshake_deadline);
        }
        let last = Duration::from_micros(self.last_call_us.load(Ordering::Relaxed));
        self.calls.load(Ordering::Relaxed) == 0 && age.saturating_sub(last) > limits.idle_max
    }
}

impl Standing {
    /// The connection's number: those of one listener grow in the order in which they were accepted.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The peer has shown who it is: it is no stranger any more.
    pub fn vouch(&self) {
        if self.0.is_vouched.swap(true, Ordering::AcqRel) {
            return;
        }
        self.0.last_call_us.store(self.0.age_us(), Ordering::Relaxed);
        if let Some(places) = self.0.places.upgrade() {
            places.lock().strangers.remove(self.0.number, self.0.source);
            places.freed.notify_one();
        }
        // What it has sent ahead may be read.
        self.0.wake();
    }

    /// The same, with something that is kept as long as the connection, unless it keeps something already.
    pub fn vouch_keeping(&self, kept: impl Send + Sync + 'static) {
        // The first one stands.
        let _ = self.0.kept.set(Box::new(kept));
        self.vouch();
    }

    /// Whether somebody has vouched for the peer.
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        self.0.is_vouched.load(Ordering::Acquire)
    }

    /// Nothing more is read of this connection, and in a second it is closed.
    pub fn dismiss(&self) {
        let at =
            self.0.age_us().saturating_add(u64::try_from(DISMISSED_TIME.as_micros()).unwrap_or(0)).max(1);
        // Whoever was first stands.
        let _ = self.0.dismissed_us.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A call begins.
    #[must_use]
    pub fn call(&self) -> CallUnderWay {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        CallUnderWay(Arc::clone(&self.0))
    }

    /// How many calls are under way.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Whether nothing is to be read any more.
    pub(super) fn is_dismissed(&self) -> bool {
        self.0.dismissed_us.load(Ordering::Relaxed) > 0
    }

    /// Ready when the connection is to be closed. The task is woken for that, and when somebody vouches for the peer.
    pub(super) fn poll_closed(&self, context: &Context<'_>) -> Poll<()> {
        if self.0.is_closed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        drop(waker);
        // It may have been closed between the two looks.
        if self.0.is_closed.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits until the connection is to be closed.
    pub(super) async fn closed(&self) {
        std::future::poll_fn(|context| self.poll_closed(context)).await;
    }

    /// The peer has sent its first byte.
    pub(super) fn speaks(&self) {
        if let Some(places) = self.0.places.upgrade() {
            places.lock().strangers.speaks(self.0.number, self.0.source);
        }
    }

    /// The handshake is done.
    pub(super) fn is_up(&self) {
        self.0.is_up.store(true, Ordering::Relaxed);
    }
}

/// A connection's place. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place(pub(super) Standing);

impl Drop for Place {
    fn drop(&mut self) {
        let Some(places) = self.0.0.places.upgrade() else { return };
        places.lock().remove(&self.0.0);
        places.freed.notify_one();
    }
}

/// Strangers, oldest first: numbers grow with time.
#[derive(Debug, Default)]
struct Strangers {
    silent: BTreeSet<u64>,
    speaking: BTreeSet<u64>,
    sources: BTreeMap<IpAddr, Source>,
}

/// Those of one source.
#[derive(Debug, Default)]
struct Source {
    silent: BTreeSet<u64>,
    speaking: BTreeSet<u64>,
}

impl Strangers {
    fn len(&self) -> usize {
        self.silent.len() + self.speaking.len()
    }

    fn of(&self, source: IpAddr) -> usize {
        self.sources.get(&source).map_or(0, |of| of.silent.len() + of.speaking.len())
    }

    fn add(&mut self, number: u64, source: IpAddr) {
        self.silent.insert(number);
        self.sources.entry(source).or_default().silent.insert(number);
    }

    fn speaks(&mut self, number: u64, source: IpAddr) {
        if self.silent.remove(&number) {
            self.speaking.insert(number);
            let of = self.sources.entry(source).or_default();
            of.silent.remove(&number);
            of.speaking.insert(number);
        }
    }

    fn remove(&mut self, number: u64, source: IpAddr) {
        self.silent.remove(&number);
        self.speaking.remove(&number);
        if let Some(of) = self.sources.get_mut(&source) {
            of.silent.remove(&number);
            of.speaking.remove(&number);
            if of.silent.is_empty() && of.speaking.is_empty() {
                self.sources.remove(&source);
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: BTreeMap<u64, Arc<Connection>>,
    strangers: Strangers,
}

impl State {
    fn remove(&mut self, connection: &Connection) {
        self.open.remove(&connection.number);
        self.strangers.remove(connection.number, connection.source);
    }

    /// Which of a source's strangers, or of all, makes room next, and in how long it may be closed. `None`: there are none.
    fn next_to_go(&self, source: Option<IpAddr>, now: Instant) -> Option<(u64, Duration)> {
        let (silent, speaking) = match source {
            None => (&self.strangers.silent, &self.strangers.speaking),
            Some(source) => {
                let of = self.strangers.sources.get(&source)?;
                (&of.silent, &of.speaking)
            }
        };
        let of = |oldest: &BTreeSet<u64>, left_alone: Duration| {
            let number = *oldest.first()?;
            let age = now.saturating_duration_since(self.open.get(&number)?.since);
            Some((number, left_alone.saturating_sub(age)))
        };
        let (silent, speaking) = (of(silent, SILENT_TIME), of(speaking, FAIR_TIME));
        silent.into_iter().chain(speaking).min_by_key(|(_, wait)| *wait)
    }

    /// Closes one of a source's strangers, or of all, if it may be closed now.
    fn evict(&mut self, source: Option<IpAddr>, now: Instant) -> bool {
        let Some((number, Duration::ZERO)) = self.next_to_go(source, now) else { return false };
        let Some(connection) = self.open.get(&number).map(Arc::clone) else { return false };
        self.remove(&connection);
        connection.close();
        true
    }
}

/// Whether another connection may be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is a place, or one that can be had.
    Yes,
    /// One can be had in so long.
    In(Duration),
    /// All places are those of peers that are known.
    No,
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    limits: AcceptLimits,
    state: Mutex<State>,
    freed: Notify,
}

impl Places {
    pub(super) fn new(limits: AcceptLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default(), freed: Notify::new() })
    }

    /// Whether another connection may be accepted.
    pub(super) fn room(&self, now: Instant) -> Room {
        let state = self.lock();
        if !self.is_full(&state) {
            return Room::Yes;
        }
        match state.next_to_go(None, now) {
            Some((_, Duration::ZERO)) => Room::Yes,
            Some((_, wait)) => Room::In(wait),
            None => Room::No,
        }
    }

    fn is_full(&self, state: &State) -> bool {
        state.open.len() >= self.limits.connections_max.max(1)
            || state.strangers.len() >= self.limits.strangers_max.max(1)
    }

    /// Gives a connection that was accepted its place, for which another one may have to go. `None`: there is none for it,
    /// and it is to be closed.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr, now: Instant) -> Option<Place> {
        let source = source_of(peer.ip());
        let mut state = self.lock();
        let has_share = state.strangers.of(source) < self.limits.strangers_per_source_max.max(1);
        if !has_share && !state.evict(Some(source), now) {
            return None;
        }
        if self.is_full(&state) && !state.evict(None, now) {
            return None;
        }
        state.next += 1;
        let connection = Arc::new(Connection {
            number: state.next,
            source,
            since: now,
            is_up: AtomicBool::new(false),
            is_vouched: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            dismissed_us: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            last_call_us: AtomicU64::new(0),
            waker: Mutex::default(),
            kept: OnceLock::new(),
            places: Arc::downgrade(self),
        });
        state.strangers.add(connection.number, source);
        state.open.insert(connection.number, Arc::clone(&connection));
        Some(Place(Standing(connection)))
    }

    /// Closes every connection whose time is over.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let is_over = |connection: &&Arc<Connection>| connection.is_over(&self.limits, now);
        let over: Vec<_> = state.open.values().filter(is_over).map(Arc::clone).collect();
        for connection in over {
            state.remove(&connection);
            connection.close();
        }
    }

    /// Closes some stranger, if that is fair: the system has no descriptor left.
    pub(super) fn give_up_one(&self, now: Instant) -> bool {
        self.lock().evict(None, now)
    }

    /// Waits until a place may have become free.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one source: whoever has an IPv6 address has all of its network.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections_max: usize, strangers_max: usize, strangers_per_source_max: usize) -> Arc<Places> {
        let limits = AcceptLimits {
            connections_max,
            strangers_max,
            strangers_per_source_max,
            ..AcceptLimits::default()
        };
        Places::new(limits)
    }

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7))
    }

    fn is_closed(place: &Place) -> bool {
        place.0.0.is_closed.load(Ordering::Relaxed)
    }

    #[test]
    fn a_silent_stranger_makes_room_and_one_that_speaks_has_its_fair_time() {
        let (places, now) = (places(10, 2, 2), Instant::now());
        let speaking = places.take(peer(1), now).unwrap();
        speaking.0.speaks();
        let silent = places.take(peer(2), now).unwrap();
        assert_eq!(places.room(now), Room::In(SILENT_TIME));
        assert!(places.take(peer(3), now).is_none(), "the first bytes of both may be under way");
        let now = now + SILENT_TIME;
        assert_eq!(places.room(now), Room::Yes);
        assert!(!is_closed(&silent), "nobody has come who needs its place");
        let third = places.take(peer(3), now).unwrap();
        assert!(is_closed(&silent) && !is_closed(&speaking));
        third.0.speaks();
        assert_eq!(places.room(now), Room::In(FAIR_TIME - SILENT_TIME), "both speak and are young");
        let now = now + FAIR_TIME - SILENT_TIME;
        let _fourth = places.take(peer(4), now).unwrap();
        assert!(is_closed(&speaking) && !is_closed(&third), "the oldest goes");
    }

    #[test]
    fn a_source_that_fills_its_share_pushes_out_its_own_alone() {
        let (places, now) = (places(10, 8, 2), Instant::now());
        let other = places.take(peer(9), now).unwrap();
        let first = places.take(peer(1), now).unwrap();
        let now = now + SILENT_TIME;
        let second = places.take(peer(1), now).unwrap();
        let third = places.take(peer(1), now).unwrap();
        assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&third) && !is_closed(&other));
        second.0.speaks();
        third.0.speaks();
        assert!(
            places.take(peer(1), now + SILENT_TIME).is_none(),
            "its own are in the middle of their handshakes"
        );
        assert!(places.take(peer(2), now).is_some());
    }

    #[test]
    fn whoever_is_vouched_for_is_no_stranger_and_keeps_its_place() {
        let (places, now) = (places(2, 2, 2), Instant::now());
        let known = places.take(peer(1), now).unwrap();
        known.0.vouch();
        let stranger = places.take(peer(1), now).unwrap();
        let now = now + FAIR_TIME;
        let second = places.take(peer(1), now).unwrap();
        assert!(is_closed(&stranger) && !is_closed(&known));
        second.0.vouch();
        assert_eq!(places.room(now), Room::No, "all places belong to peers that are known");
        assert!(places.take(peer(1), now).is_none());
        drop(known);
        assert_eq!(places.room(now), Room::Yes);
        drop(second);
        let state = places.lock();
        assert!(state.open.is_empty() && state.strangers.sources.is_empty() && state.strangers.len() == 0);
    }

    #[test]
    fn time_ends_for_slow_handshakes_for_strangers_and_for_idle_connections() {
        let (places, now) = (places(10, 10, 10), Instant::now());
        let limits = AcceptLimits::default();
        let later = |span: Duration| now + span + Duration::from_millis(1);
        let [slow, up, idle, busy] = [1, 2, 3, 4].map(|n| places.take(peer(n), now).unwrap());
        for one in [&up, &idle, &busy] {
            one.0.is_up();
        }
        idle.0.vouch();
        busy.0.vouch();
        let call = busy.0.call();
        places.sweep(later(limits.handshake_deadline));
        assert!(is_closed(&slow) && !is_closed(&up));
        places.sweep(later(limits.stranger_time_max));
        assert!(is_closed(&up) && !is_closed(&idle));
        places.sweep(later(limits.idle_max + Duration::from_secs(1)));
        assert!(is_closed(&idle) && !is_closed(&busy));
        drop(call);
        places.sweep(later(limits.idle_max * 2));
        assert!(is_closed(&busy));
    }

    #[test]
    fn a_dismissed_connection_is_closed_a_moment_later() {
        let (places, now) = (places(10, 10, 10), Instant::now());
        let place = places.take(peer(1), now).unwrap();
        place.0.vouch();
        place.0.dismiss();
        places.sweep(now);
        assert!(!is_closed(&place), "its last answer gets out");
        places.sweep(now + DISMISSED_TIME * 2);
        assert!(is_closed(&place));
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let of = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
