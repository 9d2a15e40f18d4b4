//! The engine of the simulated controller: while one batch is committed, the next one is stepped.
//!
//! As in the real engine, what a step decided leaves in order and only once its batch is durable: records become readable,
//! effects and answers go out, refusals too. Only a lease goes on at once, past all that waits. A disk without room keeps
//! the batch that is under way until there is room; a crash loses what was stepped, and with a batch under way all of
//! it or none.

use crate::chance::Chance;
use muster_controller_core::effect::{Effect, NodeMessage};
use muster_controller_core::record::Record;
use muster_controller_core::reject::Reject;
use muster_controller_core::reply::Reply;
use muster_model::Timestamp;
use std::time::Duration;

/// Who waits for the outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Nobody,
    /// The call of a client.
    Call(u64),
    /// The first word of a session.
    Session(u64),
    /// A machine that joins.
    Join(usize),
}

/// What one input led to.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) asked: Asked,
    pub(crate) reply: Result<Reply, Reject>,
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
}

/// What one commit makes durable.
pub(crate) type Batch = Vec<Decided>;

/// All records of a batch.
pub(crate) fn records(batch: &Batch) -> Vec<Record> {
    batch.iter().flat_map(|step| &step.records).cloned().collect()
}

/// Takes the leases out of what a step wants said.
pub(crate) fn leases(effects: &mut Vec<Effect>) -> Vec<Effect> {
    let is_lease = |effect: &mut Effect| {
        let Effect::ToNode { message, .. } = effect;
        matches!(message, NodeMessage::Lease { .. })
    };
    effects.extract_if(.., is_lease).collect()
}

/// The batches, and the disk that they go to.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Begins anew at each event (`world`).
    pub(crate) chance: Chance,
    pub(crate) open: Batch,
    pub(crate) under_way: Option<Batch>,
    /// Until then commits take long.
    pub(crate) slow_until: Timestamp,
    /// Until then there is no room.
    pub(crate) full_until: Timestamp,
    /// The controller dies after so many more steps.
    pub(crate) dies_after: Option<u8>,
    /// The controller dies while the next batch that holds something is committed.
    pub(crate) dies_committing: bool,
}

/// How long a commit waits for room before it is tried again.
pub(crate) const AGAIN: Duration = Duration::from_millis(500);

impl Engine {
    /// Whether all that was stepped is durable and told.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.under_way.is_none()
    }

    pub(crate) fn of(seed: u64) -> Self {
        Self {
            chance: Chance::of(seed, "commits"),
            open: Vec::new(),
            under_way: None,
            slow_until: Timestamp::EPOCH,
            full_until: Timestamp::EPOCH,
            dies_after: None,
            dies_committing: false,
        }
    }

    /// Gives the open batch to the writer, if that is free: how long it will take.
    pub(crate) fn hand_over(&mut self, now: Timestamp) -> Option<Duration> {
        if self.under_way.is_some() || self.open.is_empty() {
            return None;
        }
        let batch = std::mem::take(&mut self.open);
        let holds_something = batch.iter().any(|step| !step.records.is_empty());
        self.under_way = Some(batch);
        let micros = match self.chance.below(if holds_something { 100 } else { 1 }) {
            _ if !holds_something => 0,
            _ if now < self.slow_until => self.chance.below(9_000_000),
            0 => self.chance.below(1_000_000),
            _ => self.chance.below(4_000),
        };
        Some(Duration::from_micros(micros + 20))
    }

    /// The controller is gone: the batch that was being committed, if that is durable all the same.
    pub(crate) fn crash(&mut self, now: Timestamp) -> Option<Batch> {
        let durable = self.chance.one_in(2) && now >= self.full_until;
        self.open.clear();
        (self.dies_after, self.dies_committing) = (None, false);
        self.under_way.take().filter(|_| durable)
    }

    /// Counts a step: whether the controller dies of it.
    pub(crate) const fn dies(&mut self) -> bool {
        match &mut self.dies_after {
            Some(0) => true,
            Some(steps) => {
                *steps -= 1;
                false
            }
            None => false,
        }
    }
}
