//! A deadline for calls that answer once: such a call ends with DEADLINE_EXCEEDED, whatever it waits for.
//!
//! Calls whose request is a stream are left alone: an upload takes as long as it takes, and each has bounds of its own
//! between two messages. A call whose *answer* is a stream is bound up to the beginning of that answer.

use http::{Request, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tower::{Layer, Service};

/// How long such a call may take: longer than every wait inside (inbox, node's answer, commit) together.
const CALL_MAX: Duration = Duration::from_secs(60);

/// The calls whose request is a stream.
const STREAMED_REQUESTS: [&str; 5] = [
    "/muster.v1.FileService/PutFile",
    "/muster.v1.TaskService/StreamCreateTasks",
    "/muster.v1.NodeService/Session",
    "/muster.v1.NodeService/UploadFile",
    "/muster.v1.NodeService/ServeFile",
];

/// Puts the deadline on services.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService { inner }
    }
}

/// A service with the deadline.
#[derive(Debug, Clone)]
pub(super) struct DeadlineService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_streamed = STREAMED_REQUESTS.contains(&request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            if is_streamed {
                return answer.await;
            }
            tokio::time::timeout(CALL_MAX, answer).await.unwrap_or_else(|_| {
                let words = format!("the controller did not answer within {CALL_MAX:?}: ask whether it was done, then try again");
                Ok(tonic::Status::deadline_exceeded(words).into_http())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::service_fn;

    async fn never(_: Request<()>) -> Result<Response<Body>, Infallible> {
        std::future::pending().await
    }

    async fn call(path: &str) -> Option<String> {
        let mut service = DeadlineLayer.layer(service_fn(never));
        let request = Request::builder().uri(format!("https://localhost{path}")).body(()).unwrap();
        let answer = tokio::time::timeout(CALL_MAX * 10, service.call(request)).await.ok()?;
        Some(answer.unwrap().headers()["grpc-status"].to_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_answers_ends_and_an_upload_does_not() {
        assert_eq!(call("/muster.v1.PoolService/GetPool").await.as_deref(), Some("4"));
        assert_eq!(call("/muster.v1.FileService/PutFile").await, None);
    }

    #[test]
    fn the_list_is_that_of_the_protocol() {
        use prost::Message as _;
        let set = prost_types::FileDescriptorSet::decode(muster_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut streamed: Vec<String> = set
            .file
            .iter()
            .filter(|file| file.package() == "muster.v1")
            .flat_map(|file| &file.service)
            .flat_map(|service| service.method.iter().map(move |method| (service, method)))
            .filter(|(_, method)| method.client_streaming())
            .map(|(service, method)| format!("/muster.v1.{}/{}", service.name(), method.name()))
            .collect();
        streamed.sort();
        let mut listed = STREAMED_REQUESTS.map(str::to_owned).to_vec();
        listed.sort();
        assert_eq!(streamed, listed);
    }
}
