//! The six calls of `NodeService`.
//!
//! Each handler takes its node from the gate's permit and from nowhere else, and leads to the file of its subject.
//! What they share is in `context`.

use super::context::{SessionContext, key_of};
use super::{content, join, serve_file, stream};
use crate::auth::{NodeIdentity, NodePermit};
use crate::peer::Peer;
use crate::refusal;
use futures_util::stream::BoxStream;
use muster_proto::version::NODE_MESSAGE_BYTES_MAX;
use muster_proto::wire;
use std::net::IpAddr;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use wire::node_service_server::{NodeService, NodeServiceServer};

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
        let connection = request.extensions().get::<Peer>().map_or(0, |peer| peer.standing.number());
        let of = stream::Origin { connection, peer };
        stream::open(Arc::clone(&self.context), node, of, request.into_inner()).await.map(Response::new)
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
