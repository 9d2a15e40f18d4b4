//! Telling what the node and its commands use: one round after another while a session is open.
//!
//! It asks and passes on; nothing waits for it, and what finds no room in the session is left out.

use super::turn::Driver;
use crate::custody::{Ask, Keyed};
use crate::workdir::Layout;
use muster_agent_core::Subject;
use muster_agent_core::attempt::State;
use muster_model::{AttemptId, Usage};
use muster_proto::convert::Metrics;
use muster_proto::wire;
use muster_supervisor::request::USAGE_KEYS_MAX;
use std::sync::{Arc, PoisonError};
use tokio::sync::mpsc;

impl Driver {
    /// Measures the node and asks the supervisor about all that runs.
    pub(super) fn measure(&mut self) {
        // The meter counts from round to round, also while nobody listens.
        let (stager, supervisor) = (Arc::clone(&self.parts.stager), self.parts.custody.supervisor());
        let meter = Arc::clone(&self.meter);
        let say = self.session.as_ref().map(|open| open.say.clone());
        // A round that still waits for the node's disk is worth the next one, too.
        let waits = Arc::strong_count(&self.meter) > 2;
        if waits {
            return;
        }
        self.hands.ask(move || {
            let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
            let node = meter.measure(stager.cache_bytes(), supervisor);
            if let Some(say) = say {
                tell(&say, &Metrics { node: Some(node), attempts: Vec::new() });
            }
        });
        if self.session.is_none() {
            return;
        }
        let runs = |state: &State| matches!(state, State::Running { .. });
        let attempts = self.agent.ledger().attempts().iter().filter(|(_, held)| runs(&held.state));
        let whom = attempts.map(|(attempt, held)| Keyed {
            subject: Subject::Attempt(attempt.clone()),
            incarnation: held.incarnation(),
        });
        let first = self.book.begin_round(whom.collect(), USAGE_KEYS_MAX);
        self.ask_usage(first);
    }

    /// Takes the answer to a question, and puts the next.
    pub(super) fn using(&mut self, usages: Vec<(Keyed, Usage)>) {
        let next = self.book.next_batch();
        self.ask_usage(next);
        if self.session.is_none() {
            return;
        }
        let (ledger, layout) = (self.agent.ledger(), &self.parts.layout);
        let known = usages.into_iter().filter_map(|(whose, usage)| {
            let Subject::Attempt(attempt) = whose.subject else { return None };
            let held = ledger.attempt(&attempt).filter(|held| held.incarnation() == whose.incarnation)?;
            let peak_disk_bytes = peak_disk_bytes(layout, &attempt);
            Some((attempt, Usage { staged_bytes: held.state.staged_bytes(), peak_disk_bytes, ..usage }))
        });
        let attempts = self.book.changed(known);
        if !attempts.is_empty() {
            self.tell_metrics(&Metrics { node: None, attempts });
        }
    }

    fn ask_usage(&self, whom: Option<Vec<Keyed>>) {
        if let Some(whom) = whom {
            self.parts.custody.ask(Ask::Usage(whom));
        }
    }

    fn tell_metrics(&self, metrics: &Metrics) {
        if let Some(open) = &self.session {
            tell(&open.say, metrics);
        }
    }
}

fn tell(say: &mpsc::Sender<wire::AgentMessage>, metrics: &Metrics) {
    let body = wire::agent_message::Body::Metrics(metrics.into());
    // Without room, what matters more goes first.
    let _full = say.try_send(wire::AgentMessage { body: Some(body) });
}

/// The most that was seen in the directory of an attempt with a disk limit; else 0.
fn peak_disk_bytes(layout: &Layout, attempt: &AttemptId) -> u64 {
    let path = layout.place_path(&Subject::Attempt(attempt.clone()));
    layout.disks().usage(&path).map_or(0, |usage| usage.peak_bytes)
}
