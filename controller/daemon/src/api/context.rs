//! What every handler works with: the engine, the store's reader, the relay, content, the clock; and the way in.
//!
//! Only `answer` and `stream` take a request apart, and both take the gate's proof out of it first: a handler is a
//! function of (proof, message) and has no other way to be called.

use super::refused;
use super::stream_owner::Streams;
use crate::auth::{Clock, JobPermit, Permit, Unproved};
use crate::blobs::Blobs;
use crate::board::Board;
use crate::engine::EngineHandle;
use crate::refusal;
use crate::relay::Relay;
use muster_controller_core::Core;
use muster_controller_core::input::{Command, Input};
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::{AccountName, Digest, RequestId, Timestamp};
use muster_proto::convert::{self, Checker, Problem};
use muster_store::{Reader, StoreError};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The parts of the process that the API stands on.
pub struct Parts {
    /// The only writer.
    pub engine: EngineHandle,
    /// Reads of files on nodes.
    pub relay: Relay,
    /// What nodes use at the moment.
    pub board: Board,
    /// Content of the file store.
    pub blobs: Blobs,
    /// The controller's clock.
    pub clock: Clock,
    /// SHA-256 of the CA's certificate: part of every join token.
    pub ca_fingerprint: Digest,
}

/// What handlers work with. Clones are the same.
#[derive(Clone)]
pub struct Api {
    pub(super) parts: Arc<Parts>,
    /// Who adds to which stream of tasks.
    pub(super) streams: Arc<Streams>,
}

impl Api {
    /// An API on these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), streams: Arc::default() }
    }

    /// The time now.
    pub(super) fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// Carries a command out; answers when it is durable.
    pub(super) async fn submit(
        &self,
        account: &AccountName,
        request_id: Option<RequestId>,
        command: Command,
    ) -> Result<Reply, Status> {
        let input = Input::Client { account: account.clone(), request_id, command };
        self.parts.engine.submit(input).await.map_err(|error| refused::of_submit(&error))
    }

    /// Asks the live core something small.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.parts.engine.query(ask).await.map_err(|error| refused::of_submit(&error))
    }

    /// Reads the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Status> {
        self.parts.engine.read(read).await.map_err(|error| refused::of_read(&error))
    }

    /// Reads one thing of the store that must be there; `missing` says so when it is not.
    pub(super) async fn read_one<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<Option<T>, StoreError> + Send + 'static,
        missing: impl FnOnce() -> Reject,
    ) -> Result<T, Status> {
        self.read(read).await?.ok_or_else(|| refused::of_reject(&missing()))
    }
}

/// A proof that the gate leaves with a request.
pub(super) trait Proof: Sized {
    /// Takes it out.
    fn of(extensions: &http::Extensions) -> Result<Self, Unproved>;
}

impl Proof for Permit {
    fn of(extensions: &http::Extensions) -> Result<Self, Unproved> {
        Self::of(extensions)
    }
}

impl Proof for JobPermit {
    fn of(extensions: &http::Extensions) -> Result<Self, Unproved> {
        Self::of(extensions)
    }
}

fn prove<P: Proof, Q>(request: &Request<Q>) -> Result<P, Status> {
    P::of(request.extensions()).map_err(|error| refusal::internal(&error, "authorising this call"))
}

/// Runs a handler on a request.
pub(super) async fn answer<P: Proof, Q, R>(
    request: Request<Q>,
    handle: impl AsyncFnOnce(P, Q) -> Result<R, Status>,
) -> Result<Response<R>, Status> {
    let proof = prove(&request)?;
    handle(proof, request.into_inner()).await.map(Response::new)
}

/// A field that must be set.
pub(super) fn required<T>(field: &str, value: Option<T>, hint: &'static str) -> Result<T, Status> {
    value.ok_or_else(|| convert::status_field(field, Problem::Missing { hint }))
}

/// Checks parts of a request that have no conversion of their own; `look` notes what is wrong.
pub(super) fn checked<T>(look: impl FnOnce(&mut Checker) -> Option<T>) -> Result<T, Status> {
    let mut checker = Checker::new();
    let value = look(&mut checker);
    Ok(checker.finish(value)?)
}

/// Random bytes that nobody can foresee: for keys and secrets.
pub(super) fn draw<const N: usize>() -> Result<[u8; N], Status> {
    let mut bytes = [0; N];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match provider.secure_random.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(refusal::internal(&NoRandomness, "drawing random bytes")),
    }
}

/// The system's source of randomness failed.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
struct NoRandomness;
