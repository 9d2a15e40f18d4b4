//! Calls on the nodes of a pool.
//!
//! Goes in: a pool and nodes of it. Comes out: nodes as the controller sees them. How many there should be is the
//! pool's matter (`pool.rs`).

use muster_proto::wire;

use super::pages::{Pages, Selection};
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

    /// Takes nodes out of their pool and lowers its target by as many.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION while the pool resizes.
    pub async fn remove_nodes(&self, pool: &str, nodes: Vec<String>) -> Result<(), CallError> {
        let request = wire::RemoveNodesRequest {
            pool_id: pool.to_owned(),
            node_ids: nodes,
            request_id: request_id(),
            ..Default::default()
        };
        let call = |request| async { self.nodes().remove_nodes(request).await };
        self.unary(request, call).await.map(|_: wire::RemoveNodesResponse| ())
    }
}
