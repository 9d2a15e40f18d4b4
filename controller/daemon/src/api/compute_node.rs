//! ComputeNodeService: the machines of a pool as clients see them, switched on and off, restarted, and taken out by name.
//!
//! How machines become nodes is `session`'s business, what the rules are is the core's. What a node uses at the moment
//! comes from the board, which tasks it runs from the live core: neither is in the store.

use super::context::{Api, answer, checked};
use super::list::{ListRequest, next_page_token, query};
use super::read_mask::ReadMask;
use super::{lookup, view};
use crate::auth::Permit;
use muster_controller_core::input::{Command, NodeKey};
use muster_controller_core::record::NodeRow;
use muster_controller_core::reject::Reject;
use muster_model::spec::PoolSpec;
use muster_model::{AccountName, NodeId, PoolId};
use muster_proto::convert::{NodeDisabling, NodeRemoval, NodeRestart, NodeTarget, node_id, pool_id};
use muster_proto::wire;
use muster_proto::wire::compute_node_service_server::ComputeNodeService;
use tonic::{Request, Response, Status};

/// The most tasks that are named of a node.
const RECENT_TASKS_MAX: usize = 10;

/// The service.
pub(super) struct ComputeNodes(pub(super) Api);

impl ComputeNodes {
    /// A node without its tasks.
    fn message(&self, account: &AccountName, pool: &PoolSpec, row: &NodeRow) -> wire::ComputeNode {
        let key = NodeKey { account: account.clone(), node: row.id.clone() };
        view::node(row, pool, self.0.parts.board.node(&key).as_ref())
    }

    /// A node with the tasks that it runs.
    async fn whole(
        &self,
        account: &AccountName,
        pool: &PoolId,
        node: &NodeId,
    ) -> Result<wire::ComputeNode, Status> {
        let (of, id) = (account.clone(), node.clone());
        let running = self.0.query(move |core| core.tasks_on_node(&of, &id)).await?;
        let (pool, row) = lookup::node(&self.0, account, pool, node).await?;
        let mut message = self.message(account, &pool.spec, &row);
        let running = running.iter().filter_map(|(attempt, started)| Some((attempt, (*started)?)));
        let recent = running.take(RECENT_TASKS_MAX);
        message.recent_tasks = recent.map(|(attempt, started)| view::recent_task(attempt, started)).collect();
        Ok(message)
    }

    async fn get(&self, permit: Permit, request: wire::GetNodeRequest) -> Result<wire::ComputeNode, Status> {
        let mask = ReadMask::of(request.read_mask, "ComputeNode")?;
        let (pool, node) = checked(|c| pool_id(c, &request.pool_id).zip(node_id(c, &request.node_id)))?;
        Ok(mask.apply(self.whole(permit.account(), &pool, &node).await?))
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
            let Some(pool) = reader.pool(&account, &id)? else { return Ok(None) };
            Ok(Some((pool, reader.nodes(&account, &id, &query)?)))
        };
        let (pool, page) = self.0.read_one(read, || Reject::PoolNotFound(pool.clone())).await?;
        let message = |row| mask.apply(self.message(permit.account(), &pool.spec, row));
        Ok(wire::ListNodesResponse {
            next_page_token: next_page_token(&page),
            nodes: page.items.iter().map(message).collect(),
        })
    }

    async fn remove(
        &self,
        permit: Permit,
        request: wire::RemoveNodesRequest,
    ) -> Result<wire::RemoveNodesResponse, Status> {
        let NodeRemoval { pool, nodes, option, timeout, if_match, request_id } =
            NodeRemoval::try_from(request)?;
        let command = Command::RemoveNodes { pool, nodes, option, timeout, if_match };
        self.0.submit(permit.account(), request_id, command).await?;
        Ok(wire::RemoveNodesResponse {})
    }

    /// Carries out a command on one node, and answers the node as it is then.
    async fn change(
        &self,
        permit: &Permit,
        target: NodeTarget,
        command: impl FnOnce(PoolId, NodeId, Option<u64>) -> Command,
    ) -> Result<wire::ComputeNode, Status> {
        let NodeTarget { pool, node, if_match, request_id } = target;
        let command = command(pool.clone(), node.clone(), if_match);
        self.0.submit(permit.account(), request_id, command).await?;
        self.whole(permit.account(), &pool, &node).await
    }

    async fn disable(
        &self,
        permit: Permit,
        request: wire::DisableNodeSchedulingRequest,
    ) -> Result<wire::ComputeNode, Status> {
        let NodeDisabling { target, option, deadline } = NodeDisabling::try_from(request)?;
        let command =
            |pool, node, if_match| Command::DisableScheduling { pool, node, option, deadline, if_match };
        self.change(&permit, target, command).await
    }

    async fn enable(
        &self,
        permit: Permit,
        request: wire::EnableNodeSchedulingRequest,
    ) -> Result<wire::ComputeNode, Status> {
        let command = |pool, node, if_match| Command::EnableScheduling { pool, node, if_match };
        self.change(&permit, NodeTarget::try_from(request)?, command).await
    }

    async fn restart(&self, permit: Permit, restart: NodeRestart) -> Result<wire::ComputeNode, Status> {
        let NodeRestart { target, option, reimage } = restart;
        let command = |pool, node, if_match| Command::RestartNode { pool, node, option, reimage, if_match };
        self.change(&permit, target, command).await
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
        answer(request, async |permit, body| self.disable(permit, body).await).await
    }

    async fn enable_node_scheduling(
        &self,
        request: Request<wire::EnableNodeSchedulingRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        answer(request, async |permit, body| self.enable(permit, body).await).await
    }

    async fn reboot_node(
        &self,
        request: Request<wire::RebootNodeRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        answer(request, async |permit, body: wire::RebootNodeRequest| {
            self.restart(permit, body.try_into()?).await
        })
        .await
    }

    async fn reimage_node(
        &self,
        request: Request<wire::ReimageNodeRequest>,
    ) -> Result<Response<wire::ComputeNode>, Status> {
        answer(request, async |permit, body: wire::ReimageNodeRequest| {
            self.restart(permit, body.try_into()?).await
        })
        .await
    }
}
