//! The working paper of one step: what the rules write to while they decide.
//!
//! Rules never send or store; they push records, effects and deadlines here, and mark pools in which a placement may
//! have become possible. A rule that refuses must do so before its first push.

use crate::effect::{Effect, NodeMessage};
use crate::input::{NodeKey, SessionId};
use crate::record::Record;
use crate::settings::Settings;
use crate::timer::Deadline;
use muster_model::{AccountName, JobId, NodeId, PoolId, SweepId, Timestamp};
use std::collections::BTreeSet;

/// One step under way, for one account.
pub(crate) struct Turn<'a> {
    pub(crate) account: AccountName,
    pub(crate) now: Timestamp,
    pub(crate) settings: &'a Settings,
    /// The next number for whatever needs an order of creation.
    pub(crate) sequence: &'a mut u64,
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) deadlines: Vec<(Timestamp, Deadline)>,
    /// Pools in which something may be placed now.
    pub(crate) dirty: BTreeSet<PoolId>,
    /// Sweeps whose state has changed: each is recorded once, at the end of the step.
    pub(crate) sweeps: BTreeSet<(JobId, SweepId)>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(
        account: AccountName,
        now: Timestamp,
        settings: &'a Settings,
        sequence: &'a mut u64,
    ) -> Self {
        Self {
            account,
            now,
            settings,
            sequence,
            records: Vec::new(),
            effects: Vec::new(),
            deadlines: Vec::new(),
            dirty: BTreeSet::new(),
            sweeps: BTreeSet::new(),
        }
    }

    /// A number that no earlier creation has.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.next_sequences(1)
    }

    /// The first of `count` numbers that no earlier creation has.
    pub(crate) fn next_sequences(&mut self, count: u64) -> u64 {
        let first = *self.sequence + 1;
        *self.sequence = self.sequence.saturating_add(count);
        first
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    pub(crate) fn wake(&mut self, at: Timestamp, deadline: Deadline) {
        self.deadlines.push((at, deadline));
    }

    pub(crate) fn tell(&mut self, node: &NodeId, session: SessionId, message: NodeMessage) {
        let node = NodeKey { account: self.account.clone(), node: node.clone() };
        self.effects.push(Effect::ToNode { node, session, message });
    }
}
