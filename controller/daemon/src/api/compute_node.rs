//! ComputeNodeService: the machines of a pool as clients see them, switched on and off and taken out by name.
//!
//! Restarting a machine and laying it anew are of a later version and say so. How machines become nodes is `session`'s
//! business, what the rules are is the core's.

use super::context::{Api, answer, check_etag, checked, not_in_this_version};
use super::list::{ListRequest, next_page_token, query};
use super::read_mask::ReadMask;
use super::{lookup, view};
use crate::auth::Permit;
use muster_controller_core::input::Command;
use muster_controller_core::reject::Reject;
use muster_proto::convert::{NodeRemoval, NodeTarget, node_id, pool_id};
use muster_proto::wire;
use muster_proto::wire::compute_node_service_server::ComputeNodeService;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct ComputeNodes(pub(super) Api);

impl ComputeNodes {
    async fn get(&self, permit: Permit, request: wire::GetNodeRequest) -> Result<wire::ComputeNode, Status> {
        let mask = ReadMask::of(request.read_mask, "ComputeNode")?;
        let (pool, node) = checked(|c| pool_id(c, &request.pool_id).zip(node_id(c, &request.node_id)))?;
        Ok(mask.apply(view::node(&lookup::node(&self.0, permit.account(), &pool, &node).await?)))
    }

    async fn list(
        &self,
        permit: Permit,
        request: wire::ListNodesRequest,
    ) -> Result<wire::ListNodesResponse, Status> {
        let mask = ReadMask::of(request.read_mask, "ComputeNode")?;
        let pool = checked(|c| pool_id(c, &request.pool_id))?;
        let query = query(ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            filter: &request.filter,
            order_by: &request.order_by,
        })?;
        let (account, id) = (permit.account().clone(), pool.clone());
        let read = move |reader: &dyn muster_store::Reader| {
            let has_pool = reader.pool(&account, &id)?.is_some();
            Ok(if has_pool { Some(reader.nodes(&account, &id, &query)?) } else { None })
        };
        let page = self.0.read_one(read, || Reject::PoolNotFound(pool.clone())).await?;
        Ok(wire::ListNodesResponse {
            next_page_token: next_page_token(&page),
            nodes: page.items.iter().map(|row| mask.apply(view::node(row))).collect(),
        })
    }

    async fn remove(
        &self,
        permit: Permit,
        request: wire::RemoveNodesRequest,
    ) -> Result<wire::RemoveNodesResponse, Status> {
        let NodeRemoval { pool, nodes, if_match, request_id } = NodeRemoval::try_from(request)?;
        if if_match.is_some() {
            let (account, id) = (permit.account().clone(), pool.clone());
            let missing = || Reject::PoolNotFound(pool.clone());
            let row = self.0.read_one(move |reader| reader.pool(&account, &id), missing).await?;
            check_etag(if_match, row.revision, || format!("pool '{pool}'"))?;
        }
        self.0.submit(permit.account(), request_id, Command::RemoveNodes { pool, nodes }).await?;
        Ok(wire::RemoveNodesResponse {})
    }

    async fn set_scheduling(
        &self,
        permit: Permit,
        target: NodeTarget,
        enabled: bool,
    ) -> Result<wire::ComputeNode, Status> {
        let NodeTarget { pool, node, if_match, request_id } = target;
        if if_match.is_some() {
            let row = lookup::node(&self.0, permit.account(), &pool, &node).await?;
            check_etag(if_match, row.revision, || format!("node '{node}'"))?;
        }
        let command = Command::SetScheduling { pool: pool.clone(), node: node.clone(), enabled };
        self.0.submit(permit.account(), request_id, command).await?;
        Ok(view::node(&lookup::node(&self.0, permit.account(), &pool, &node).await?))
    }
}

#[tonic::async_trait]
impl ComputeNodeService for ComputeNodes {
    async fn get_node(
        &self,
        request: Request<wire::GetNodeRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        answer(request, async |permit, body| self.get(permit, body).await).await
    }

    async fn list_nodes(
        &self,
        request: Request<wire::ListNodesRequest>,
    ) -> Result<Response<wire::ListNodesResponse>, Status> {
        answer(request, async |permit, body| self.list(permit, body).await).await
    }

    async fn remove_nodes(
        &self,
        request: Request<wire::RemoveNodesRequest>,
    ) -> Result<Response<wire::RemoveNodesResponse>, Status> {
        answer(request, async |permit, body| self.remove(permit, body).await).await
    }

    async fn disable_node_scheduling(
        &self,
        request: Request<wire::DisableNodeSchedulingRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        answer(request, async |permit, body: wire::DisableNodeSchedulingRequest| {
            self.set_scheduling(permit, NodeTarget::try_from(body)?, false).await
        })
        .await
    }

    async fn enable_node_scheduling(
        &self,
        request: Request<wire::EnableNodeSchedulingRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        answer(request, async |permit, body: wire::EnableNodeSchedulingRequest| {
            self.set_scheduling(permit, NodeTarget::try_from(body)?, true).await
        })
        .await
    }

    async fn reboot_node(
        &self,
        request: Request<wire::RebootNodeRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        let instead = "restart the machine itself; its agent joins the same node again";
        answer(request, async |_: Permit, _| not_in_this_version("RebootNode", instead)).await
    }

    async fn reimage_node(
        &self,
        request: Request<wire::ReimageNodeRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        let instead = "take the node out with RemoveNodes and let the machine join anew";
        answer(request, async |_: Permit, _| not_in_this_version("ReimageNode", instead)).await
    }
}
