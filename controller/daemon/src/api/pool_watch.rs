//! WatchPools: the pools that are there, a marker, then every change. Providers of nodes learn their targets here.
//!
//! The stream keeps its own picture of the account's pools and nodes, taken from the store after subscribing. Changes say
//! which pools to read anew, and which nodes have come and gone. After missed batches the picture is taken anew, and the
//! client is told the differences; one that resumes is told of the pools that have changed since.

use super::context::Api;
use super::feed::{End, Feed, Watch, open as open_stream};
use super::list;
use super::view;
use super::watch::{next, subscribe};
use crate::auth::Permit;
use crate::engine::{Committed, PoolChange, Seen, Subscription};
use muster_controller_core::record::PoolRow;
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
    let filter = list::filter(&request.filter)?;
    let changes = subscribe(api, request.resume_revision)?;
    let watcher = Watcher {
        api: api.clone(),
        account: permit.account().clone(),
        filter,
        resumed: request.resume_revision.is_some(),
        picture: Picture::default(),
        shown: BTreeMap::new(),
        revision: changes.revision(),
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

    /// Notes nodes that have come or gone; answers the pools to read anew.
    fn apply(&mut self, account: &AccountName, batch: &Committed) -> BTreeSet<PoolId> {
        let own = batch.pools.iter().filter(|(of, _)| of == account);
        let changed = own.filter_map(|(_, change)| match change {
            PoolChange::Pool(pool) => Some(pool.clone()),
            PoolChange::Joined(node, pool) => {
                self.nodes.insert(node.clone(), pool.clone());
                Some(pool.clone())
            }
            PoolChange::Left(node) => self.nodes.remove(node),
        });
        changed.collect()
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
    /// The client has seen the pools as they were at the revision where the stream begins.
    resumed: bool,
    picture: Picture,
    /// What the client was told last of each pool that it knows of.
    shown: BTreeMap<PoolId, wire::Pool>,
    revision: u64,
}

impl Watcher {
    async fn run(mut self, mut changes: Subscription, feed: Feed<WatchPoolsResponse>) -> Result<(), End> {
        if self.resumed {
            self.resume(&mut changes, &feed).await?;
        } else {
            for pool in self.take_picture().await? {
                self.show(&feed, &pool).await?;
            }
            self.send(&feed, Event::SnapshotComplete(SnapshotComplete {})).await?;
        }
        loop {
            match next(&mut changes).await? {
                None => {
                    self.revision = changes.revision();
                    for pool in self.take_picture().await? {
                        self.show(&feed, &pool).await?;
                    }
                }
                Some(batches) => {
                    for batch in batches {
                        let changed = self.picture.apply(&self.account, &batch);
                        self.revision = batch.revision;
                        for pool in changed {
                            self.read(&pool).await?;
                            self.show(&feed, &pool).await?;
                        }
                    }
                }
            }
        }
    }

    /// Takes the picture anew; answers every pool that is there, or that the client knows of.
    async fn take_picture(&mut self) -> Result<BTreeSet<PoolId>, Status> {
        let account = self.account.clone();
        self.picture = self.api.read(move |reader| Picture::take(reader, &account)).await?;
        Ok(self.picture.pools.keys().chain(self.shown.keys()).cloned().collect())
    }

    /// Reads one pool anew.
    async fn read(&mut self, pool: &PoolId) -> Result<(), Status> {
        let (account, id) = (self.account.clone(), pool.clone());
        match self.api.read(move |reader| reader.pool(&account, &id)).await? {
            Some(row) => self.picture.pools.insert(pool.clone(), row),
            None => self.picture.pools.remove(pool),
        };
        Ok(())
    }

    /// Tells a client that resumes of the pools that have changed since it broke off. The others it knows as they are.
    async fn resume(
        &mut self,
        changes: &mut Subscription,
        feed: &Feed<WatchPoolsResponse>,
    ) -> Result<(), End> {
        let (mut named, mut all) = (BTreeSet::new(), false);
        match changes.take() {
            None => {}
            Some(Seen::Missed) => all = true,
            Some(Seen::Batches(batches)) => {
                let changes = batches.iter().flat_map(|batch| &batch.pools);
                for (_, change) in changes.filter(|(of, _)| *of == self.account) {
                    match change {
                        PoolChange::Pool(pool) | PoolChange::Joined(_, pool) => {
                            named.insert(pool.clone());
                        }
                        // Whose node it was is not known any more.
                        PoolChange::Left(_) => all = true,
                    }
                }
            }
        }
        self.revision = changes.revision();
        let mut pools = self.take_picture().await?;
        pools.extend(named.iter().cloned());
        for pool in pools {
            let event = match self.seen(&pool) {
                Some(message) => {
                    self.shown.insert(pool.clone(), message.clone());
                    Event::Pool(message)
                }
                None => Event::DeletedPoolId(pool.to_string()),
            };
            if all || named.contains(&pool) {
                self.send(feed, event).await?;
            }
        }
        Ok(())
    }

    /// The pool as the client is to see it, if it is to see it.
    fn seen(&self, pool: &PoolId) -> Option<wire::Pool> {
        let (row, message) = self.picture.message(pool)?;
        self.filter.as_ref().is_none_or(|filter| filter.matches(row)).then_some(message)
    }

    /// Tells the client of a pool, if there is something to tell.
    async fn show(&mut self, feed: &Feed<WatchPoolsResponse>, pool: &PoolId) -> Result<(), End> {
        let event = match (self.seen(pool), self.shown.get(pool)) {
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
