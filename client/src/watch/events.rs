//! A stream of events that is opened again after every break and goes on after the last event that was read.
//!
//! Each event has a revision, the controller's count of changes; a stream that is opened with it answers what changed
//! since. A controller that no longer knows that refuses with REVISION_TOO_OLD: then the stream starts anew with the present
//! state, so nothing is lost that still matters. States between two looks may be skipped.

use futures_util::future::BoxFuture;
use muster_proto::convert::reason_of;
use muster_proto::wire;
use tonic::{Status, Streaming};

use super::reopen::Reopen;
use crate::call::Interrupted;
use crate::client::Client;
use crate::error::CallError;

/// An event that says after which change it was told.
pub(super) trait Revised {
    /// The controller's count of changes. 0 is none.
    fn revision(&self) -> u64;
}

macro_rules! revised {
    ($($event:ident)+) => { $(impl Revised for wire::$event { fn revision(&self) -> u64 { self.revision } })+ };
}

revised! { WatchTaskResponse WatchTasksResponse WatchJobResponse }

impl Revised for wire::WatchPoolsResponse {
    /// Pools are few: a snapshot after each break costs less than the question what changed.
    fn revision(&self) -> u64 {
        0
    }
}

/// Opens a watch: from a revision on, or from the present state.
pub(super) type Open<A> =
    Box<dyn Fn(Client, Option<u64>) -> BoxFuture<'static, Result<Streaming<A>, Interrupted>> + Send + Sync>;

/// A stream of events, until its reader has seen enough.
pub(super) struct Events<A> {
    client: Client,
    open: Open<A>,
    stream: Option<Streaming<A>>,
    revision: Option<u64>,
    is_anew: bool,
    reopen: Reopen,
}

impl<A: Revised> Events<A> {
    pub(super) fn new(client: &Client, open: Open<A>) -> Self {
        let reopen = Reopen::new(client);
        Self { client: client.clone(), open, stream: None, revision: None, is_anew: true, reopen }
    }

    /// The next event. The flag says whether it is the first one of a stream that starts with the present state.
    pub(super) async fn next(&mut self) -> Result<(A, bool), CallError> {
        loop {
            let broken = match &mut self.stream {
                None => match (self.open)(self.client.clone(), self.revision).await {
                    Ok(stream) => {
                        self.is_anew = self.revision.is_none();
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(broken) => broken,
                },
                Some(stream) => match stream.message().await {
                    Ok(Some(event)) => {
                        self.reopen.worked();
                        self.revision = Some(event.revision()).filter(|&revision| revision > 0);
                        return Ok((event, std::mem::take(&mut self.is_anew)));
                    }
                    // A controller that stops ends its streams in good order; the reader has not seen the end yet.
                    Ok(None) => {
                        Interrupted::Status(Box::new(Status::unavailable("the controller ended the watch")))
                    }
                    Err(status) => Interrupted::Status(Box::new(status)),
                },
            };
            self.stream = None;
            if self.revision.is_some() && is_too_old(&broken) {
                self.revision = None;
                continue;
            }
            self.reopen.wait(&self.client, broken).await?;
        }
    }
}

/// Whether the controller no longer knows what changed since our revision.
fn is_too_old(broken: &Interrupted) -> bool {
    match broken {
        Interrupted::Status(status) => reason_of(status) == Some(wire::ErrorReason::RevisionTooOld),
        Interrupted::Ours(_) => false,
    }
}
