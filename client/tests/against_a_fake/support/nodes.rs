//! The compute node service of the fake controller.
//!
//! A test says what the looks at a node show, one after the other; the last one stays. Of the operations it keeps what they
//! asked for.

use muster_proto::convert::status;
use muster_proto::wire;
use muster_proto::wire::compute_node_service_server::ComputeNodeService;
use tonic::{Code, Request, Response, Status};

use super::Fake;

#[derive(Default)]
pub(crate) struct Nodes {
    /// What looks show; `None`: the node is gone.
    pub looks: Vec<Option<wire::ComputeNode>>,
    /// How many looks there were.
    pub looked: usize,
    pub disabled: Vec<wire::DisableNodeSchedulingRequest>,
    pub rebooted: Vec<wire::RebootNodeRequest>,
    pub removed: Vec<wire::RemoveNodesRequest>,
}

type Answer<T> = Result<Response<T>, Status>;

fn none<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the fake"))
}

#[tonic::async_trait]
impl ComputeNodeService for Fake {
    async fn get_node(&self, request: Request<wire::GetNodeRequest>) -> Answer<wire::ComputeNode> {
        self.admit(&request)?;
        let nodes = &mut self.world().nodes;
        nodes.looked += 1;
        let look = if nodes.looks.len() > 1 { nodes.looks.remove(0) } else { nodes.looks[0].clone() };
        let gone = || status(Code::NotFound, wire::ErrorReason::NodeNotFound, "no node");
        look.map(Response::new).ok_or_else(gone)
    }

    async fn list_nodes(&self, _: Request<wire::ListNodesRequest>) -> Answer<wire::ListNodesResponse> {
        none()
    }

    async fn remove_nodes(
        &self,
        request: Request<wire::RemoveNodesRequest>,
    ) -> Answer<wire::RemoveNodesResponse> {
        self.admit(&request)?;
        self.world().nodes.removed.push(request.into_inner());
        Ok(Response::new(wire::RemoveNodesResponse {}))
    }

    async fn disable_node_scheduling(
        &self,
        request: Request<wire::DisableNodeSchedulingRequest>,
    ) -> Answer<wire::ComputeNode> {
        self.admit(&request)?;
        self.world().nodes.disabled.push(request.into_inner());
        Ok(Response::new(wire::ComputeNode::default()))
    }

    async fn enable_node_scheduling(
        &self,
        _: Request<wire::EnableNodeSchedulingRequest>,
    ) -> Answer<wire::ComputeNode> {
        none()
    }

    async fn reboot_node(&self, request: Request<wire::RebootNodeRequest>) -> Answer<wire::ComputeNode> {
        self.admit(&request)?;
        self.world().nodes.rebooted.push(request.into_inner());
        Ok(Response::new(wire::ComputeNode::default()))
    }

    async fn reimage_node(&self, _: Request<wire::ReimageNodeRequest>) -> Answer<wire::ComputeNode> {
        none()
    }
}
