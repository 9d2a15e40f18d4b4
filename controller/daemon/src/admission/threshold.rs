//! Before the gate: calls of those who have not shown who they are, bounded by where they come from.
//!
//! Two kinds cost something without a proof: calls that need none (health, joining), and calls that the gate turns
//! away. Both count against one bucket for each source. A source whose bucket is empty is told when to come back; a
//! connection on which nothing but refusals came is closed with that. Calls with a good token never meet this, whatever
//! else comes from their address.

use super::body::{holding, limited};
use super::bucket::{Bucket, Pace};
use super::calls::is_open;
use super::refused::TooMuch;
use super::share::{Counted, Shares};
use crate::peer::Peer;
use http::{Request, Response};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Bytes of a request that needs no proof: a join with its signing request is a tenth of it.
const OPEN_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Such calls under way at one time, of all: joins wait for a commit, health watches stay open.
const OPEN_CALLS_MAX: usize = 1024;

/// Such calls of one connection.
const OPEN_CALLS_PER_CONNECTION_MAX: usize = 16;

/// For how long a source may save up calls.
const BURST: Duration = Duration::from_secs(10);

/// Sources that are remembered; when there are more, those of full buckets are forgotten, and the rest share one.
const SOURCES_MAX: usize = 65_536;

/// Puts the threshold before services.
#[derive(Debug, Clone)]
pub struct ThresholdLayer(Arc<Strangers>);

impl ThresholdLayer {
    /// A threshold with the limits of these shares.
    #[must_use]
    pub fn new(shares: &Shares) -> Self {
        let per_second = shares.limits().stranger_calls_per_second;
        Self(Arc::new(Strangers {
            per_second,
            started: Instant::now(),
            sources: Mutex::default(),
            others: Mutex::default(),
            open_calls: Arc::default(),
        }))
    }
}

impl<S> Layer<S> for ThresholdLayer {
    type Service = Threshold<S>;

    fn layer(&self, inner: S) -> Threshold<S> {
        Threshold { inner, strangers: Arc::clone(&self.0) }
    }
}

/// What strangers have done so far.
#[derive(Debug)]
struct Strangers {
    per_second: u32,
    started: Instant,
    sources: Mutex<BTreeMap<IpAddr, Bucket>>,
    /// The bucket of all sources for which there is no room.
    others: Mutex<Bucket>,
    open_calls: Arc<AtomicUsize>,
}

impl Strangers {
    /// One more call of a source without a proof.
    fn take(&self, source: IpAddr) -> Result<(), TooMuch> {
        self.take_at(source, self.started.elapsed())
    }

    fn take_at(&self, source: IpAddr, now: Duration) -> Result<(), TooMuch> {
        let pace = Pace::new(self.per_second, BURST);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, bucket| !bucket.is_full(now));
        }
        let taken = if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            self.others.lock().unwrap_or_else(PoisonError::into_inner).take(pace, now)
        } else {
            sources.entry(source).or_default().take(pace, now)
        };
        taken.map_err(|wait| TooMuch::StrangerRate { per_second: self.per_second, wait })
    }

    /// A call that needs no proof begins.
    fn begin(&self, peer: Option<&Peer>) -> Result<Counted, TooMuch> {
        if let Some(peer) = peer {
            if !peer.standing.is_vouched() && peer.standing.calls() > OPEN_CALLS_PER_CONNECTION_MAX {
                return Err(TooMuch::Strangers { max: OPEN_CALLS_PER_CONNECTION_MAX });
            }
            self.take(peer.address.ip().to_canonical())?;
        }
        Counted::take(&self.open_calls, OPEN_CALLS_MAX).ok_or(TooMuch::Strangers { max: OPEN_CALLS_MAX })
    }

    /// The gate has turned a call away: the status to answer instead, if its source has had too many of them.
    fn turned_away(&self, peer: &Peer) -> Option<Status> {
        let much = self.take(peer.address.ip().to_canonical()).err()?;
        if !peer.standing.is_vouched() {
            peer.standing.dismiss();
        }
        Some(much.into())
    }
}

/// A service behind the threshold.
#[derive(Debug, Clone)]
pub struct Threshold<S> {
    inner: S,
    strangers: Arc<Strangers>,
}

/// Whether an answer says that the caller has not shown who it is.
fn is_unauthenticated(response: &Response<Body>) -> bool {
    let status = response.headers().get("grpc-status");
    status.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unauthenticated)
}

impl<S> Service<Request<Body>> for Threshold<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned();
        let call = peer.as_ref().map(|peer| peer.standing.call());
        let (request, open) = if is_open(request.uri().path()) {
            match self.strangers.begin(peer.as_ref()) {
                Ok(open) => (request.map(|body| limited(body, OPEN_REQUEST_BYTES_MAX)), Some(open)),
                Err(much) => return Box::pin(std::future::ready(Ok(Status::from(much).into_http()))),
            }
        } else {
            (request, None)
        };
        let answer = self.inner.call(request);
        let strangers = Arc::clone(&self.strangers);
        Box::pin(async move {
            let response = answer.await?;
            if let Some(peer) = peer.filter(|_| is_unauthenticated(&response))
                && let Some(status) = strangers.turned_away(&peer)
            {
                return Ok(status.into_http());
            }
            Ok(response.map(|body| holding(body, (call, open))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;

    fn strangers(stranger_calls_per_second: u32) -> Arc<Strangers> {
        let limits = Limits { stranger_calls_per_second, ..Limits::default() };
        ThresholdLayer::new(&Shares::new(limits)).0
    }

    #[test]
    fn every_source_has_its_own_bucket_and_their_number_is_bounded() {
        let strangers = strangers(1);
        let source = |n: u32| IpAddr::from(n.to_be_bytes());
        let many = |source| (0..20).filter(|_| strangers.take_at(source, BURST).is_ok()).count();
        assert_eq!((many(source(1)), many(source(2))), (10, 10));
        for number in 0..u32::try_from(SOURCES_MAX + 100).unwrap() {
            let _ = strangers.take_at(source(number), BURST);
        }
        assert!(strangers.sources.lock().unwrap().len() <= SOURCES_MAX);
        assert_eq!(many(source(u32::MAX)), 0, "all further ones share one");
        assert!(strangers.take_at(source(u32::MAX), BURST * 9).is_ok(), "those that are quiet are forgotten");
    }

    #[test]
    fn open_calls_are_bounded() {
        let strangers = strangers(1_000_000);
        let held: Vec<_> = (0..2 * OPEN_CALLS_MAX).map_while(|_| strangers.begin(None).ok()).collect();
        assert_eq!(held.len(), OPEN_CALLS_MAX);
        drop(held);
        assert!(strangers.begin(None).is_ok());
    }
}
