//! Behind the gate: every call of an account or node counts against its owner's share.
//!
//! The gate has left its proof with the request; whose it is decides whose share it is. Here a connection's peer is
//! vouched for, too: it has made a call with a good token or certificate.

use super::body::{Rooms, counted, holding};
use super::calls::{Span, kind_of};
use super::owner::Owner;
use super::refused::TooMuch;
use super::share::{Counted, Share, Shares, StreamRoom};
use crate::auth::{JobPermit, NodePermit, Permit};
use crate::peer::Peer;
use http::{Extensions, Request, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Puts the turnstile before services.
#[derive(Debug, Clone)]
pub struct TurnstileLayer(Shares);

impl TurnstileLayer {
    /// A turnstile for these shares.
    #[must_use]
    pub const fn new(shares: Shares) -> Self {
        Self(shares)
    }
}

impl<S> Layer<S> for TurnstileLayer {
    type Service = Turnstile<S>;

    fn layer(&self, inner: S) -> Turnstile<S> {
        Turnstile { inner, shares: self.0.clone() }
    }
}

/// A service behind the turnstile.
#[derive(Debug, Clone)]
pub struct Turnstile<S> {
    inner: S,
    shares: Shares,
}

/// Whose call it is, by the proof that the gate left.
fn owner_of(extensions: &Extensions) -> Option<Owner> {
    if let Ok(permit) = Permit::of(extensions) {
        return Some(Owner::Account(permit.account().clone()));
    }
    if let Ok(permit) = JobPermit::of(extensions) {
        return Some(Owner::Account(permit.owner().clone()));
    }
    let permit = NodePermit::of(extensions).ok()?;
    let node = permit.node().ok()?;
    Some(Owner::Node(node.account.clone(), node.node.clone()))
}

impl<S> Turnstile<S> {
    /// Lets a call in, or says what there is too much of.
    fn admit(&self, request: &Request<Body>) -> Result<Option<(Arc<Share>, Counted)>, TooMuch> {
        let Some(owner) = owner_of(request.extensions()) else { return Ok(None) };
        let share = self.shares.of(owner);
        let counted = share.begin(kind_of(request.uri().path()))?;
        if let Some(peer) = request.extensions().get::<Peer>()
            && !peer.standing.is_vouched()
        {
            peer.standing.vouch_keeping(share.connect()?);
        }
        Ok(Some((share, counted)))
    }
}

impl<S> Service<Request<Body>> for Turnstile<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (share, counted_call) = match self.admit(&request) {
            Ok(None) => return Box::pin(self.inner.call(request)),
            Ok(Some(admitted)) => admitted,
            Err(much) => {
                tracing::debug!(path = request.uri().path(), %much, "call refused at the turnstile");
                return Box::pin(std::future::ready(Ok(Status::from(much).into_http())));
            }
        };
        let rooms = Rooms::default();
        let request = match kind_of(request.uri().path()).span {
            Span::Stream => request,
            Span::Once => {
                let rooms = Rooms::clone(&rooms);
                request.map(|body| counted(body, share, Some(rooms)))
            }
            Span::Upload => {
                request.extensions_mut().insert(StreamRoom(Arc::clone(&share)));
                request.map(|body| counted(body, share, None))
            }
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let held = (counted_call, rooms);
            answer.await.map(|response| response.map(|body| holding(body, held)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;
    use crate::auth::testing::{NOW_SECONDS, account, lookup, now, sign};
    use crate::auth::{Door, Gate, GateLayer};
    use muster_proto::convert::retry_delay_of;
    use serde_json::json;
    use std::time::Duration;
    use tonic::Code;
    use tower::service_fn;

    async fn fine(_: Request<Body>) -> Result<Response<Body>, Infallible> {
        Ok(Response::new(Body::empty()))
    }

    #[tokio::test]
    async fn calls_beyond_an_accounts_pace_are_refused_with_the_time_to_come_back() {
        let limits = Limits { reads_per_second: 1, burst: Duration::from_secs(2), ..Limits::default() };
        let gate =
            Gate::new(lookup([account("studio", false, 1), account("other1", false, 3)]), Arc::new(now));
        let turnstile = TurnstileLayer::new(Shares::new(limits)).layer(service_fn(fine));
        let mut service = GateLayer::new(gate, Door::Clients).layer(turnstile);
        let mut call = |seed: u8, name: &str, path: &str| {
            let token = sign(seed, &json!({"sub": name, "exp": NOW_SECONDS + 60}));
            let request = Request::builder().uri(format!("https://localhost/muster.v1.{path}"));
            let request = request.header("authorization", format!("Bearer {token}"));
            service.call(request.body(Body::empty()).unwrap())
        };
        for _ in 0..2 {
            assert!(
                !call(1, "studio", "PoolService/GetPool")
                    .await
                    .unwrap()
                    .headers()
                    .contains_key("grpc-status")
            );
        }
        let refused = call(1, "studio", "PoolService/GetPool").await.unwrap();
        let status = Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let wait = retry_delay_of(&status).unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        for (seed, name, path) in
            [(1, "studio", "PoolService/DeletePool"), (3, "other1", "PoolService/GetPool")]
        {
            let answer = call(seed, name, path).await.unwrap();
            assert!(!answer.headers().contains_key("grpc-status"), "{name} {path}");
        }
    }
}
