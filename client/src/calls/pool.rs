//! Calls on pools.
//!
//! Goes in: ids and the API's messages. Comes out: pools as the controller has them. Waiting for nodes is in
//! `nodes_ready/`, watching pools in `watch.rs`, join tokens in `token.rs`.

use muster_proto::wire;

use super::pages::{Pages, Selection};
use crate::client::Client;
use crate::error::CallError;
use crate::identifier::request_id;

impl Client {
    /// Creates a pool.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn create_pool(&self, pool: wire::Pool) -> Result<wire::Pool, CallError> {
        let request = wire::CreatePoolRequest { pool: Some(pool), request_id: request_id() };
        self.unary(request, |request| async { self.pools().create_pool(request).await }).await
    }

    /// Answers one pool.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn get_pool(&self, pool: &str) -> Result<wire::Pool, CallError> {
        let request = wire::GetPoolRequest { pool_id: pool.to_owned(), read_mask: None };
        self.unary(request, |request| async { self.pools().get_pool(request).await }).await
    }

    /// Lists pools.
    #[must_use]
    pub fn list_pools(&self, selection: &Selection) -> Pages<wire::Pool> {
        let (client, selected) = (self.clone(), selection.clone());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let Selection { filter, order_by, read_mask, limit: _ } = selected.clone();
            let request = wire::ListPoolsRequest { page_size, page_token, filter, order_by, read_mask };
            Box::pin(async move {
                let call = |request| async { client.pools().list_pools(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.pools, page.next_page_token))
            }) as _
        };
        Pages::new(selection.limit, Box::new(fetch))
    }

    /// Sets how many nodes a pool should have. `option` says what becomes of the tasks of nodes that leave.
    ///
    /// # Errors
    /// As [`CallError`] says; FAILED_PRECONDITION while another resize runs.
    pub async fn resize_pool(
        &self,
        pool: &str,
        nodes: u32,
        option: wire::NodeDeallocationOption,
    ) -> Result<wire::Pool, CallError> {
        let request = wire::ResizePoolRequest {
            pool_id: pool.to_owned(),
            target_dedicated_nodes: Some(nodes),
            node_deallocation_option: option.into(),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.pools().resize_pool(request).await }).await
    }

    /// Deletes a pool; its nodes leave.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn delete_pool(&self, pool: &str) -> Result<wire::Pool, CallError> {
        let request = wire::DeletePoolRequest {
            pool_id: pool.to_owned(),
            request_id: request_id(),
            ..Default::default()
        };
        self.unary(request, |request| async { self.pools().delete_pool(request).await }).await
    }

    /// Counts the nodes of one pool by state, or of all pools for an empty id.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn pool_node_counts(&self, pool: &str) -> Result<Vec<wire::PoolNodeCounts>, CallError> {
        let (client, pool_id) = (self.clone(), pool.to_owned());
        let fetch = move |page_token: String, page_size: i32| {
            let client = client.clone();
            let request = wire::ListPoolNodeCountsRequest { pool_id: pool_id.clone(), page_size, page_token };
            Box::pin(async move {
                let call = |request| async { client.pools().list_pool_node_counts(request).await };
                let page = client.unary(request, call).await?;
                Ok((page.pool_node_counts, page.next_page_token))
            }) as _
        };
        Pages::new(None, Box::new(fetch)).all().await
    }
}
