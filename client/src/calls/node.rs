//! Calls on the nodes of a pool.
//!
//! Goes in: a pool and nodes of it. Comes out: nodes as the controller sees them. How many there should be is the
//! pool's matter (`pool.rs`); waiting until a node is where it should be is in `nodes_ready/`.

use std::time::Duration;

use muster_proto::wire;

use super::pages::{Pages, Selection};
use super::span::span;
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

impl Client {
    /// Answers one node.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_node(&self, pool: &str, node: &str) -> Result<wire::ComputeNode, CallError> {
        let request =
            wire::GetNodeRequest { pool_id: pool.to_owned(), node_id: node.to_owned(), read_mask: None };
        self.unary(request, |request| async { self.nodes().get_node(request).await }).await
    }

    /// Lists the nodes of a pool.
    #[must_use]
    pub fn list_nodes(&self, pool: &str, selection: &Selection) -> Pages<wire::ComputeNode> {
        let (client, pool_id, selected) = (self.clone(), pool.to_owned(), selection.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let Selection { filter, order_by, read_mask, limit: _ } = selected.clone();
            let pool_id = pool_id.clone();
            let request =
                wire::ListNodesRequest { pool_id, page_size, page_token, filter, order_by, read_mask };
            Box::pin(async move {
                let call = |request| async { client.nodes().list_nodes(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.nodes, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Places no more tasks on a node. `option` says what becomes of those that it runs; `deadline`, which is only for
    /// TASK_COMPLETION and at most 30 days, after how long those that still run are ended and run again elsewhere.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when it takes none already.
    pub async fn disable_node_scheduling(
        &self,
        pool: &str,
        node: &str,
        option: wire::DisableSchedulingOption,
        deadline: Option<Duration>,
    ) -> Result<wire::ComputeNode, CallError> {
        let request = wire::DisableNodeSchedulingRequest {
            pool_id: pool.to_owned(),
            node_id: node.to_owned(),
            option: option.into(),
            deadline: deadline.map(span),
            request_id: request_id(),
            etag: String::new(),
        };
        self.unary(request, |request| async { self.nodes().disable_node_scheduling(request).await }).await
    }

    /// Places tasks on a node again. Breaks off a drain, and ends the pause of a probation.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when it takes tasks already.
    pub async fn enable_node_scheduling(
        &self,
        pool: &str,
        node: &str,
    ) -> Result<wire::ComputeNode, CallError> {
        let request = wire::EnableNodeSchedulingRequest {
            pool_id: pool.to_owned(),
            node_id: node.to_owned(),
            request_id: request_id(),
            etag: String::new(),
        };
        self.unary(request, |request| async { self.nodes().enable_node_scheduling(request).await }).await
    }

    /// Relieves a node of its tasks, then restarts it by the command that its operator configured.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when there is no such command.
    pub async fn reboot_node(
        &self,
        pool: &str,
        node: &str,
        option: wire::NodeDeallocationOption,
    ) -> Result<wire::ComputeNode, CallError> {
        let request = wire::RebootNodeRequest {
            pool_id: pool.to_owned(),
            node_id: node.to_owned(),
            option: option.into(),
            request_id: request_id(),
            etag: String::new(),
        };
        self.unary(request, |request| async { self.nodes().reboot_node(request).await }).await
    }

    /// Relieves a node of its tasks, then sets it up anew by the command that its operator configured.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION when there is no such command.
    pub async fn reimage_node(
        &self,
        pool: &str,
        node: &str,
        option: wire::NodeDeallocationOption,
    ) -> Result<wire::ComputeNode, CallError> {
        let request = wire::ReimageNodeRequest {
            pool_id: pool.to_owned(),
            node_id: node.to_owned(),
            option: option.into(),
            request_id: request_id(),
            etag: String::new(),
        };
        self.unary(request, |request| async { self.nodes().reimage_node(request).await }).await
    }

    /// Takes 1 to 100 nodes out of their pool and lowers its target by as many. `limit` is how long that may take, at
    /// least 5 minutes; `None` means the pool's own limit.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION while the pool resizes.
    pub async fn remove_nodes(
        &self,
        pool: &str,
        nodes: Vec<String>,
        option: wire::NodeDeallocationOption,
        limit: Option<Duration>,
    ) -> Result<(), CallError> {
        let request = wire::RemoveNodesRequest {
            pool_id: pool.to_owned(),
            node_ids: nodes,
            resize_timeout: limit.map(span),
            node_deallocation_option: option.into(),
            etag: String::new(),
            request_id: request_id(),
        };
        let call = |request| async { self.nodes().remove_nodes(request).await };
        self.unary(request, call).await.map(|_: wire::RemoveNodesResponse| ())
    }
}
