//! All pools of the account, watched for as long as one looks.
//!
//! Invariant: the first event is a snapshot, and after every break the next one is a snapshot again, so a pool that went
//! away meanwhile is missed by nobody.

use std::collections::BTreeMap;

use muster_proto::wire;
use muster_proto::wire::watch_pools_response::Event;

use super::events::Events;
use crate::client::Client;
use crate::error::CallError;

/// What happened to the pools of the account.
#[derive(Debug, Clone)]
pub enum PoolEvent {
    /// All pools that there are: at first, and after every break.
    Snapshot(BTreeMap<String, wire::Pool>),
    /// A pool is new or has changed.
    Changed(Box<wire::Pool>),
    /// A pool is gone.
    Deleted(String),
}

/// All pools of the account, now and after every change, for as long as one looks.
pub struct PoolWatch {
    events: Events<wire::WatchPoolsResponse>,
    snapshot: Option<BTreeMap<String, wire::Pool>>,
}

impl PoolWatch {
    /// The next event.
    ///
    /// # Errors
    /// As [`CallError`] says.
    pub async fn next(&mut self) -> Result<PoolEvent, CallError> {
        loop {
            let (event, is_first) = self.events.next().await?;
            if is_first {
                self.snapshot = Some(BTreeMap::new());
            }
            match (event.event, &mut self.snapshot) {
                (Some(Event::Pool(pool)), Some(snapshot)) => {
                    snapshot.insert(pool.id.clone(), pool);
                }
                (Some(Event::DeletedPoolId(pool)), Some(snapshot)) => {
                    snapshot.remove(&pool);
                }
                (Some(Event::SnapshotComplete(_)), snapshot) => {
                    return Ok(PoolEvent::Snapshot(snapshot.take().unwrap_or_default()));
                }
                (Some(Event::Pool(pool)), None) => return Ok(PoolEvent::Changed(Box::new(pool))),
                (Some(Event::DeletedPoolId(pool)), None) => return Ok(PoolEvent::Deleted(pool)),
                (None, _) => {}
            }
        }
    }
}

impl Client {
    /// Watches the pools of the account.
    #[must_use]
    pub fn watch_pools(&self) -> PoolWatch {
        let open = move |client: Client, resume_revision| {
            let request = wire::WatchPoolsRequest { resume_revision, ..Default::default() };
            Box::pin(async move {
                client.stream(request, |request| async { client.pools().watch_pools(request).await }).await
            }) as _
        };
        PoolWatch { events: Events::new(self, Box::new(open)), snapshot: None }
    }
}
