//! PoolService: pools and their size. Join tokens are in `pool_token`, the stream in `pool_watch`.
//!
//! A pool's message carries the count of its nodes, which is no part of its row: every answer reads both in one go.

use super::context::{Api, answer, checked, required};
use super::feed::Watch;
use super::list::{ListRequest, fitting_page, next_page_token, query};
use super::read_mask::ReadMask;
use super::{lookup, view};
use crate::auth::Permit;
use muster_controller_core::input::Command;
use muster_controller_core::record::PoolRow;
use muster_model::spec::PoolSpec;
use muster_model::state::NodeState;
use muster_model::{AccountName, PoolId, RequestId};
use muster_proto::convert::{PoolResize, PoolUpdate, etag, pool_id, request_id};
use muster_proto::wire::pool_service_server::PoolService;
use muster_proto::wire::{self, PoolState};
use muster_store::query::Query;
use muster_store::{Reader, StoreError};
use std::collections::BTreeMap;
use tonic::{Request, Response, Status};

/// The service.
pub(super) struct Pools(pub(super) Api);

/// A pool by id with the conditions of a mutation.
pub(super) struct PoolTarget {
    pub(super) pool: PoolId,
    pub(super) if_match: Option<u64>,
    pub(super) request_id: Option<RequestId>,
}

impl PoolTarget {
    fn of(id: &str, given_etag: &str, given_request: &str) -> Result<Self, Status> {
        checked(|c| {
            let if_match = etag(c, given_etag);
            let request_id = request_id(c, given_request);
            pool_id(c, id).map(|pool| Self { pool, if_match, request_id })
        })
    }
}

/// How many nodes of a pool are in each state.
pub(super) fn count_nodes(
    reader: &dyn Reader,
    account: &AccountName,
    pool: &PoolId,
) -> Result<BTreeMap<NodeState, u32>, StoreError> {
    let mut counts = BTreeMap::new();
    let mut query = Query { page_size: muster_model::limits::PAGE_SIZE_MAX, ..Query::default() };
    loop {
        let page = reader.nodes(account, pool, &query)?;
        for node in &page.items {
            *counts.entry(node.state).or_insert(0_u32) += 1;
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(counts),
        }
    }
}

/// A pool as a message, with the count of its nodes.
pub(super) fn message(reader: &dyn Reader, row: &PoolRow) -> Result<wire::Pool, StoreError> {
    let nodes = count_nodes(reader, &row.account, &row.spec.id)?.values().sum();
    Ok(view::pool(row, nodes))
}

impl Pools {
    async fn message(&self, account: &AccountName, pool: &PoolId) -> Result<wire::Pool, Status> {
        self.found(account, pool).await?.ok_or_else(|| lookup::no_pool(pool))
    }

    async fn found(&self, account: &AccountName, pool: &PoolId) -> Result<Option<wire::Pool>, Status> {
        let (account, pool) = (account.clone(), pool.clone());
        let read = move |reader: &dyn Reader| {
            let row = reader.pool(&account, &pool)?;
            row.map(|row| message(reader, &row)).transpose()
        };
        self.0.read(read).await
    }

    async fn create(&self, permit: Permit, request: wire::CreatePoolRequest) -> Result<wire::Pool, Status> {
        let request_id = checked(|c| Some(request_id(c, &request.request_id)))?;
        let spec = PoolSpec::try_from(required("pool", request.pool, "describe the pool")?)?;
        let pool = spec.id.clone();
        self.0.submit(permit.account(), request_id, Command::CreatePool(spec)).await?;
        self.message(permit.account(), &pool).await
    }

    async fn get(&self, permit: Permit, request: wire::GetPoolRequest) -> Result<wire::Pool, Status> {
        let mask = ReadMask::of(request.read_mask, "Pool")?;
        let pool = checked(|c| pool_id(c, &request.pool_id))?;
        Ok(mask.apply(self.message(permit.account(), &pool).await?))
    }

    async fn list(
        &self,
        permit: Permit,
        request: wire::ListPoolsRequest,
    ) -> Result<wire::ListPoolsResponse, Status> {
        let mask = ReadMask::of(request.read_mask, "Pool")?;
        let query = query(ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            filter: &request.filter,
            order_by: &request.order_by,
        })?;
        let account = permit.account().clone();
        let read = move |reader: &dyn Reader| {
            fitting_page(query, |query| {
                let page = reader.pools(&account, query)?;
                let pools = page.items.iter().map(|row| Ok(mask.apply(message(reader, row)?)));
                Ok((pools.collect::<Result<_, StoreError>>()?, next_page_token(&page)))
            })
        };
        let (pools, next_page_token) = self.0.read(read).await?;
        Ok(wire::ListPoolsResponse { pools, next_page_token })
    }

    async fn update(&self, permit: Permit, request: wire::UpdatePoolRequest) -> Result<wire::Pool, Status> {
        let PoolUpdate { pool, patch, if_match, request_id } = PoolUpdate::try_from(request)?;
        let command = Command::UpdatePool { pool: pool.clone(), patch, if_match };
        self.0.submit(permit.account(), request_id, command).await?;
        self.message(permit.account(), &pool).await
    }

    async fn resize(&self, permit: Permit, request: wire::ResizePoolRequest) -> Result<wire::Pool, Status> {
        let PoolResize { pool, target, timeout, option, if_match, request_id } =
            PoolResize::try_from(request)?;
        let command = Command::ResizePool { pool: pool.clone(), target, timeout, option, if_match };
        self.0.submit(permit.account(), request_id, command).await?;
        self.message(permit.account(), &pool).await
    }

    async fn stop_resize(
        &self,
        permit: Permit,
        request: wire::StopResizePoolRequest,
    ) -> Result<wire::Pool, Status> {
        let target = PoolTarget::of(&request.pool_id, &request.etag, &request.request_id)?;
        let command = Command::StopResize { pool: target.pool.clone(), if_match: target.if_match };
        self.0.submit(permit.account(), target.request_id, command).await?;
        self.message(permit.account(), &target.pool).await
    }

    /// A pool without nodes is gone at once; it is then answered as it last was.
    async fn delete(&self, permit: Permit, request: wire::DeletePoolRequest) -> Result<wire::Pool, Status> {
        let target = PoolTarget::of(&request.pool_id, &request.etag, &request.request_id)?;
        let before = self.found(permit.account(), &target.pool).await?;
        let command = Command::DeletePool { pool: target.pool.clone(), if_match: target.if_match };
        self.0.submit(permit.account(), target.request_id, command).await?;
        if let Some(leaving) = self.found(permit.account(), &target.pool).await? {
            return Ok(leaving);
        }
        let last = before.unwrap_or_else(|| wire::Pool { id: target.pool.to_string(), ..Default::default() });
        Ok(wire::Pool { state: PoolState::Deleting.into(), ..last })
    }

    async fn node_counts(
        &self,
        permit: Permit,
        request: wire::ListPoolNodeCountsRequest,
    ) -> Result<wire::ListPoolNodeCountsResponse, Status> {
        let only = match request.pool_id.as_str() {
            "" => None,
            id => Some(checked(|c| pool_id(c, id))?),
        };
        let list = ListRequest {
            page_size: request.page_size,
            page_token: &request.page_token,
            ..ListRequest::default()
        };
        let query = query(list)?;
        let (account, wanted) = (permit.account().clone(), only.clone());
        let read = move |reader: &dyn Reader| {
            let (rows, next) = match wanted {
                Some(pool) => (reader.pool(&account, &pool)?.into_iter().collect(), String::new()),
                None => {
                    let page = reader.pools(&account, &query)?;
                    let next = next_page_token(&page);
                    (page.items, next)
                }
            };
            let count = |row: &PoolRow| {
                let dedicated = view::node_counts(count_nodes(reader, &account, &row.spec.id)?);
                Ok(wire::PoolNodeCounts {
                    pool_id: row.spec.id.to_string(),
                    dedicated: Some(dedicated),
                    low_priority: Some(wire::NodeCounts::default()),
                })
            };
            let counts: Result<Vec<_>, StoreError> = rows.iter().map(count).collect();
            Ok((counts?, next))
        };
        let (pool_node_counts, next_page_token) = self.0.read(read).await?;
        match only {
            Some(pool) if pool_node_counts.is_empty() => Err(lookup::no_pool(&pool)),
            Some(_) | None => Ok(wire::ListPoolNodeCountsResponse { pool_node_counts, next_page_token }),
        }
    }
}

#[tonic::async_trait]
impl PoolService for Pools {
    type WatchPoolsStream = Watch<wire::WatchPoolsResponse>;

    async fn create_pool(
        &self,
        request: Request<wire::CreatePoolRequest>,
    ) -> Result<Response<wire::Pool>, Status> {
        answer(request, async |permit, body| self.create(permit, body).await).await
    }

    async fn get_pool(&self, request: Request<wire::GetPoolRequest>) -> Result<Response<wire::Pool>, Status> {
        answer(request, async |permit, body| self.get(permit, body).await).await
    }

    async fn list_pools(
        &self,
        request: Request<wire::ListPoolsRequest>,
    ) -> Result<Response<wire::ListPoolsResponse>, Status> {
        answer(request, async |permit, body| self.list(permit, body).await).await
    }

    async fn update_pool(
        &self,
        request: Request<wire::UpdatePoolRequest>,
    ) -> Result<Response<wire::Pool>, Status> {
        answer(request, async |permit, body| self.update(permit, body).await).await
    }

    async fn delete_pool(
        &self,
        request: Request<wire::DeletePoolRequest>,
    ) -> Result<Response<wire::Pool>, Status> {
        answer(request, async |permit, body| self.delete(permit, body).await).await
    }

    async fn resize_pool(
        &self,
        request: Request<wire::ResizePoolRequest>,
    ) -> Result<Response<wire::Pool>, Status> {
        answer(request, async |permit, body| self.resize(permit, body).await).await
    }

    async fn stop_resize_pool(
        &self,
        request: Request<wire::StopResizePoolRequest>,
    ) -> Result<Response<wire::Pool>, Status> {
        answer(request, async |permit, body| self.stop_resize(permit, body).await).await
    }

    async fn watch_pools(
        &self,
        request: Request<wire::WatchPoolsRequest>,
    ) -> Result<Response<Self::WatchPoolsStream>, Status> {
        answer(request, async |permit, body| super::pool_watch::open(&self.0, permit, body)).await
    }

    async fn list_pool_node_counts(
        &self,
        request: Request<wire::ListPoolNodeCountsRequest>,
    ) -> Result<Response<wire::ListPoolNodeCountsResponse>, Status> {
        answer(request, async |permit, body| self.node_counts(permit, body).await).await
    }

    async fn create_join_token(
        &self,
        request: Request<wire::CreateJoinTokenRequest>,
    ) -> Result<Response<wire::CreateJoinTokenResponse>, Status> {
        answer(request, async |permit, body| super::pool_token::create(&self.0, permit, body).await).await
    }

    async fn list_join_tokens(
        &self,
        request: Request<wire::ListJoinTokensRequest>,
    ) -> Result<Response<wire::ListJoinTokensResponse>, Status> {
        answer(request, async |permit, body| super::pool_token::list(&self.0, permit, body).await).await
    }

    async fn revoke_join_token(
        &self,
        request: Request<wire::RevokeJoinTokenRequest>,
    ) -> Result<Response<wire::RevokeJoinTokenResponse>, Status> {
        answer(request, async |permit, body| super::pool_token::revoke(&self.0, permit, body).await).await
    }
}
