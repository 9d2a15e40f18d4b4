//! How every call is made: with a fresh token, within a deadline, tried again where that is safe, its errors translated.
//!
//! Unary calls are tried again here. Streams are opened here, once; whoever reads one knows how to go on after a break
//! (`watch.rs`, `logs.rs`, `transfer/`).

use std::future::Future;
use std::time::Duration;

use muster_proto::wire::account_service_client::AccountServiceClient;
use muster_proto::wire::compute_node_service_client::ComputeNodeServiceClient;
use muster_proto::wire::file_service_client::FileServiceClient;
use muster_proto::wire::job_service_client::JobServiceClient;
use muster_proto::wire::pool_service_client::PoolServiceClient;
use muster_proto::wire::task_service_client::TaskServiceClient;
use muster_proto::wire::version_service_client::VersionServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::client::Client;
use crate::error::CallError;
use crate::retry::Retries;

/// The largest answer that is read: a page of 1000 tasks with long command lines fits, a runaway answer does not fill
/// the memory.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

macro_rules! service {
    ($($(#[$doc:meta])* $name:ident: $client:ident;)+) => {
        impl Client {
            $($(#[$doc])* pub(crate) fn $name(&self) -> $client<Channel> {
                $client::new(self.inner.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
            })+
        }
    };
}

service! {
    /// Calls on accounts.
    accounts: AccountServiceClient;
    /// Calls on the version.
    versions: VersionServiceClient;
    /// Calls on pools.
    pools: PoolServiceClient;
    /// Calls on nodes.
    nodes: ComputeNodeServiceClient;
    /// Calls on jobs.
    jobs: JobServiceClient;
    /// Calls on tasks.
    tasks: TaskServiceClient;
    /// Calls on files.
    files: FileServiceClient;
}

impl Client {
    /// Makes a unary call, again and again within the retry policy's bounds. `request` is cloned for each try, so that
    /// a mutation keeps its request id.
    pub(crate) async fn unary<Q, A, F>(
        &self,
        request: Q,
        call: impl Fn(Request<Q>) -> F,
    ) -> Result<A, CallError>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut retries = Retries::new(self.inner.retry);
        let mut waited = Duration::ZERO;
        loop {
            let request = self.signed(request.clone(), Some(self.inner.retry.call_limit))?;
            let status = match call(request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let Some(wait) = retries.after(&status) else {
                return Err(CallError::from_status(status, &self.inner.endpoint, retries.attempts()));
            };
            self.wait(&status, wait, waited).await;
            waited += wait;
        }
    }

    /// Opens a stream of answers, once.
    pub(crate) async fn stream<Q, A, F>(
        &self,
        request: Q,
        call: impl FnOnce(Request<Q>) -> F,
    ) -> Result<Streaming<A>, Interrupted>
    where
        F: Future<Output = Result<Response<Streaming<A>>, Status>>,
    {
        let request = self.signed(request, None).map_err(Interrupted::Ours)?;
        call(request).await.map(Response::into_inner).map_err(|status| Interrupted::Status(Box::new(status)))
    }

    /// A request with a token, and with a deadline that the controller is told of.
    pub(crate) fn signed<Q>(&self, message: Q, limit: Option<Duration>) -> Result<Request<Q>, CallError> {
        let mut request = Request::new(message);
        let token = self.inner.credentials.authorization()?;
        request.metadata_mut().insert("authorization", token);
        if let Some(limit) = limit {
            request.set_timeout(limit);
        }
        Ok(request)
    }

    /// The error of a status that ends a stream.
    pub(crate) fn failed(&self, status: Status, attempts: u32) -> CallError {
        CallError::from_status(status, &self.inner.endpoint, attempts)
    }
}

/// Why a stream could not be opened or went no further.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The controller or the connection ended it; it may be worth opening again.
    Status(Box<Status>),
    /// It failed before anything was sent.
    Ours(CallError),
}
