//! The six calls of `NodeService`, and what they share.
//!
//! Each handler takes its node from the gate's permit and from nowhere else, and leads to the file of its subject.

use super::granted::Granted;
use super::join::RecentJoins;
use super::uploaded::Uploaded;
use super::{content, join, serve_file, stream};
use crate::auth::{NodeIdentity, NodePermit};
use crate::blobs::Blobs;
use crate::ca::Authority;
use crate::engine::EngineHandle;
use crate::peer::Peer;
use crate::refusal;
use crate::relay::Relay;
use futures_util::stream::BoxStream;
use muster_controller_core::input::NodeKey;
use muster_model::Timestamp;
use muster_proto::version::NODE_MESSAGE_BYTES_MAX;
use muster_proto::wire;
use muster_runtime::clock;
use muster_runtime::shutdown::Shutdown;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};
use wire::node_service_server::{NodeService, NodeServiceServer};

/// What an operator may set about sessions.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The lease that the core grants: told to agents in the Welcome.
    pub lease_ttl: Duration,
    /// How long a node's certificate lasts.
    pub node_certificate_life: Duration,
    /// The URL of the client API, for `AZ_BATCH_ACCOUNT_URL`.
    pub account_url: String,
    /// How many attempts a node may hold beyond its slots, for each slot: the core's setting.
    pub ahead_per_slot_max: u32,
}

/// What all sessions share.
#[derive(Debug)]
pub struct SessionContext {
    /// The engine.
    pub engine: EngineHandle,
    /// Reads of files on nodes.
    pub relay: Relay,
    /// Content.
    pub blobs: Blobs,
    /// Signs nodes' certificates.
    pub authority: Arc<Authority>,
    /// Settings.
    pub settings: SessionSettings,
    /// The order to stop.
    pub shutdown: Shutdown,
    pub(super) granted: Granted,
    pub(super) uploaded: Uploaded,
    pub(super) started: Timestamp,
    pub(super) recent_joins: RecentJoins,
}

impl SessionContext {
    /// A context without sessions.
    #[must_use]
    pub fn new(
        engine: EngineHandle,
        relay: Relay,
        blobs: Blobs,
        authority: Arc<Authority>,
        settings: SessionSettings,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            engine,
            relay,
            blobs,
            authority,
            settings,
            shutdown,
            granted: Granted::default(),
            uploaded: Uploaded::default(),
            started: Timestamp::from_micros(clock::wall_us()),
            recent_joins: RecentJoins::default(),
        }
    }
}

/// The service for nodes.
#[derive(Debug, Clone)]
pub struct NodeSessions {
    context: Arc<SessionContext>,
}

impl NodeSessions {
    /// The service, ready for the node listener.
    #[must_use]
    pub fn service(context: SessionContext) -> NodeServiceServer<Self> {
        NodeServiceServer::new(Self { context: Arc::new(context) })
            .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(NODE_MESSAGE_BYTES_MAX)
    }
}

/// The node that the gate let in.
fn node_of<T>(request: &Request<T>) -> Result<NodeIdentity, Status> {
    let proof = NodePermit::of(request.extensions()).and_then(|permit| permit.node().cloned());
    proof.map_err(|error| refusal::internal(&error, "admitting a node"))
}

/// The node's name in the words of the core.
pub(super) fn key_of(identity: &NodeIdentity) -> NodeKey {
    NodeKey { account: identity.account.clone(), node: identity.node.clone() }
}

/// The address that the peer calls from.
fn peer_of<T>(request: &Request<T>) -> Option<IpAddr> {
    Some(request.extensions().get::<Peer>()?.address.ip())
}

#[tonic::async_trait]
impl NodeService for NodeSessions {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let peer = peer_of(&request);
        join::join(&self.context, request.into_inner(), peer).await.map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let node = node_of(&request)?;
        join::renew(&self.context, &node, &request.into_inner()).await.map(Response::new)
    }

    type SessionStream = BoxStream<'static, Result<wire::ControllerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (node, peer) = (node_of(&request)?, peer_of(&request));
        stream::open(Arc::clone(&self.context), node, peer, request.into_inner()).await.map(Response::new)
    }

    type FetchFileStream = BoxStream<'static, Result<wire::FetchFileResponse, Status>>;

    async fn fetch_file(
        &self,
        request: Request<wire::FetchFileRequest>,
    ) -> Result<Response<Self::FetchFileStream>, Status> {
        let node = node_of(&request)?;
        content::fetch(&self.context, &node, request.into_inner()).await.map(Response::new)
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<wire::UploadFileRequest>>,
    ) -> Result<Response<wire::UploadFileResponse>, Status> {
        let node = node_of(&request)?;
        content::upload(&self.context, &node, request.into_inner()).await.map(Response::new)
    }

    async fn serve_file(
        &self,
        request: Request<Streaming<wire::ServeFileRequest>>,
    ) -> Result<Response<wire::ServeFileResponse>, Status> {
        let node = node_of(&request)?;
        serve_file::serve(&self.context, &key_of(&node), request.into_inner()).await.map(Response::new)
    }
}
