//! WatchPools: the pools that are there, a marker, then every change. Providers of nodes learn their targets here.
//!
//! The stream keeps its own picture of the account's pools and nodes, taken from the store after subscribing and
//! carried on by the committed records: a change costs no read. After missed batches the picture is taken anew, and
//! the client is told the differences.

use super::context::Api;
use super::list;
use super::view;
use super::watch::{Change, Changes, End, Feed, Watch, open as open_stream, refuse_resume};
use crate::auth::Permit;
use muster_controller_core::record::{PoolRow, Record};
use muster_model::limits::PAGE_SIZE_MAX;
use muster_model::{AccountName, NodeId, PoolId};
use muster_proto::wire::watch_pools_response::Event;
use muster_proto::wire::{self, SnapshotComplete, WatchPoolsResponse};
use muster_store::query::{Filter, PoolProperty, Query};
use muster_store::{Reader, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;

/// Opens the stream.
pub(super) fn open(
    api: &Api,
    permit: Permit,
    request: wire::WatchPoolsRequest,
) -> Result<Watch<WatchPoolsResponse>, Status> {
    refuse_resume(request.resume_revision)?;
    let filter = list::filter(&request.filter)?;
    let changes = Changes::of(&api.parts.engine);
    let watcher = Watcher {
        api: api.clone(),
        account: permit.account().clone(),
        filter,
        picture: Picture::default(),
        shown: BTreeMap::new(),
        revision: 0,
    };
    Ok(open_stream(|feed| watcher.run(changes, feed)))
}

/// The pools of an account and where each node belongs.
#[derive(Debug, Default)]
struct Picture {
    pools: BTreeMap<PoolId, PoolRow>,
    nodes: BTreeMap<NodeId, PoolId>,
}

impl Picture {
    fn take(reader: &dyn Reader, account: &AccountName) -> Result<Self, StoreError> {
        let mut picture = Self::default();
        let mut query = Query { page_size: PAGE_SIZE_MAX, ..Query::default() };
        loop {
            let page = reader.pools(account, &query)?;
            for row in page.items {
                picture.take_nodes(reader, account, &row.spec.id)?;
                picture.pools.insert(row.spec.id.clone(), row);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(picture),
            }
        }
    }

    fn take_nodes(
        &mut self,
        reader: &dyn Reader,
        account: &AccountName,
        pool: &PoolId,
    ) -> Result<(), StoreError> {
        let mut query = Query { page_size: PAGE_SIZE_MAX, ..Query::default() };
        loop {
            let page = reader.nodes(account, pool, &query)?;
            self.nodes.extend(page.items.into_iter().map(|row| (row.id, pool.clone())));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Carries the picture on by one record; answers the pool that has changed.
    fn apply(&mut self, account: &AccountName, record: &Record) -> Option<PoolId> {
        match record {
            Record::Pool(row) if row.account == *account => {
                let is_old = self
                    .pools
                    .get(&row.spec.id)
                    .is_some_and(|known| known.created == row.created && known.revision >= row.revision);
                if is_old {
                    return None;
                }
                self.pools.insert(row.spec.id.clone(), (**row).clone());
                Some(row.spec.id.clone())
            }
            Record::PoolGone(of, pool) if of == account => self.pools.remove(pool).map(|row| row.spec.id),
            Record::Node(row) if row.account == *account && !self.nodes.contains_key(&row.id) => {
                self.nodes.insert(row.id.clone(), row.pool.clone());
                Some(row.pool.clone())
            }
            Record::NodeGone(of, node) if of == account => self.nodes.remove(node),
            Record::Pool(_)
            | Record::PoolGone(..)
            | Record::Node(_)
            | Record::NodeGone(..)
            | Record::Account(_)
            | Record::Token(_)
            | Record::TokenGone(..)
            | Record::Job(_)
            | Record::JobGone(..)
            | Record::TaskSpec(_)
            | Record::TaskState(_)
            | Record::TaskGone(..)
            | Record::Attempt(_)
            | Record::File(_)
            | Record::FileGone(..)
            | Record::ContainerGone(..)
            | Record::Request(_)
            | Record::RequestGone(..) => None,
        }
    }

    fn message(&self, pool: &PoolId) -> Option<(&PoolRow, wire::Pool)> {
        let row = self.pools.get(pool)?;
        let nodes = self.nodes.values().filter(|of| *of == pool).count();
        Some((row, view::pool(row, u32::try_from(nodes).unwrap_or(u32::MAX))))
    }
}

struct Watcher {
    api: Api,
    account: AccountName,
    filter: Option<Filter<PoolProperty>>,
    picture: Picture,
    /// What the client was told last of each pool that it knows of.
    shown: BTreeMap<PoolId, wire::Pool>,
    revision: u64,
}

impl Watcher {
    async fn run(mut self, mut changes: Changes, feed: Feed<WatchPoolsResponse>) -> Result<(), End> {
        self.take_picture(&feed).await?;
        self.send(&feed, Event::SnapshotComplete(SnapshotComplete {})).await?;
        loop {
            match changes.next().await? {
                Change::Missed => self.take_picture(&feed).await?,
                Change::Batch(batch) => {
                    self.revision = batch.revision;
                    let apply = |record| self.picture.apply(&self.account, record);
                    let changed: BTreeSet<PoolId> = batch.records.iter().filter_map(apply).collect();
                    for pool in changed {
                        self.show(&feed, &pool).await?;
                    }
                }
            }
        }
    }

    async fn take_picture(&mut self, feed: &Feed<WatchPoolsResponse>) -> Result<(), End> {
        let account = self.account.clone();
        self.picture = self.api.read(move |reader| Picture::take(reader, &account)).await?;
        let known: BTreeSet<PoolId> = self.picture.pools.keys().chain(self.shown.keys()).cloned().collect();
        for pool in known {
            self.show(feed, &pool).await?;
        }
        Ok(())
    }

    /// Tells the client of a pool, if there is something to tell.
    async fn show(&mut self, feed: &Feed<WatchPoolsResponse>, pool: &PoolId) -> Result<(), End> {
        let message = self.picture.message(pool).and_then(|(row, message)| {
            self.filter.as_ref().is_none_or(|filter| filter.matches(row)).then_some(message)
        });
        let event = match (message, self.shown.get(pool)) {
            (None, None) => return Ok(()),
            (Some(message), Some(shown)) if message == *shown => return Ok(()),
            (Some(message), _) => {
                self.shown.insert(pool.clone(), message.clone());
                Event::Pool(message)
            }
            (None, Some(shown)) => {
                let gone = Event::DeletedPoolId(shown.id.clone());
                self.shown.remove(pool);
                gone
            }
        };
        self.send(feed, event).await
    }

    async fn send(&self, feed: &Feed<WatchPoolsResponse>, event: Event) -> Result<(), End> {
        feed.send(WatchPoolsResponse { event: Some(event), revision: self.revision }).await
    }
}
