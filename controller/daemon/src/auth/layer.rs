//! The gate as a tower layer: stands before every service of a listener and runs before a request's body is read.
//!
//! A refused call is answered at once, with its body unread; an admitted one carries its proof in the request's
//! extensions. A proof that came with the request is impossible: extensions do not travel over the wire.

use super::gate::{Door, Gate};
use crate::peer::Peer;
use http::{Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer, Service};

/// Puts the gate before services.
#[derive(Clone)]
pub struct GateLayer {
    gate: Gate,
    door: Door,
}

impl GateLayer {
    /// The gate at one of the listeners.
    #[must_use]
    pub const fn new(gate: Gate, door: Door) -> Self {
        Self { gate, door }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = GateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GateService { inner, gate: self.gate.clone(), door: self.door }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub struct GateService<S> {
    inner: S,
    gate: Gate,
    door: Door,
}

impl<S: NamedService> NamedService for GateService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for GateService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let certificate = peer.and_then(|peer| peer.certificate.as_ref()).map(|leaf| leaf.as_ref());
        match self.gate.admit(self.door, request.uri().path(), request.headers(), certificate) {
            Ok(admission) => {
                admission.leave_in(request.extensions_mut());
                futures_util::future::Either::Right(self.inner.call(request))
            }
            Err(denied) => {
                tracing::debug!(path = request.uri().path(), %denied, "call refused at the gate");
                let response = tonic::Status::from(denied).into_http();
                futures_util::future::Either::Left(ready(Ok(response)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Permit;
    use super::super::testing::{NOW_SECONDS, account, lookup, now, sign};
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use tower::service_fn;

    /// Answers OK with the account of the permit, without reading any body.
    async fn echo(request: Request<()>) -> Result<Response<Body>, Infallible> {
        let mut response = Response::new(Body::default());
        if let Ok(permit) = Permit::of(request.extensions()) {
            response.headers_mut().insert("account", permit.account().as_str().parse().unwrap());
        }
        Ok(response)
    }

    async fn call(path: &str, token: Option<String>) -> Response<Body> {
        let gate = Gate::new(lookup([account("studio", false, 1)]), Arc::new(now));
        let mut service = GateLayer::new(gate, Door::Clients).layer(service_fn(echo));
        let mut request = Request::builder().uri(format!("https://localhost{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        service.call(request.body(()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn an_admitted_call_reaches_its_service_with_the_proof() {
        let token = sign(1, &json!({"sub": "studio", "exp": NOW_SECONDS + 60}));
        let response = call("/muster.v1.PoolService/GetPool", Some(token)).await;
        assert_eq!(response.headers()["account"], "studio");
    }

    #[tokio::test]
    async fn a_refused_call_never_reaches_its_service() {
        for (path, code) in [("/muster.v1.PoolService/GetPool", "16"), ("/muster.v1.PoolService/Nope", "12")]
        {
            let response = call(path, None).await;
            assert_eq!(response.headers()["grpc-status"], code);
            assert!(!response.headers().contains_key("account"));
        }
    }

    #[tokio::test]
    async fn an_open_call_passes_without_any_proof() {
        let response = call("/grpc.health.v1.Health/Check", None).await;
        assert!(
            !response.headers().contains_key("grpc-status") && !response.headers().contains_key("account")
        );
    }
}
