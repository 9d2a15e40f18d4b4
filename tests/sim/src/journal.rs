//! The journal of an agent: what of it survives the agent, and what survives the machine.
//!
//! Records of a step are safe once they are written, which a slow disk delays and a full one puts off; then the effects of
//! the step are carried out, in the order of all steps. What dies with the agent is what was not safe. A boot also loses any
//! part of what was written since the agent last started.

use muster_agent_core::{Effect, Record};
use std::collections::VecDeque;

/// So many steps may be done and not yet written in a journal that is written too late (a fault that is planted).
const LAG: usize = 3;

/// One step of the agent whose records are not safe yet.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
}

/// The journal.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    safe: Vec<Record>,
    /// So much of it survives a boot.
    synced: usize,
    /// How long it was before each of the last steps, the oldest first.
    lately: VecDeque<usize>,
    waiting: VecDeque<Turn>,
}

impl Journal {
    /// One that holds just this, synced.
    pub(crate) fn of(safe: Vec<Record>) -> Self {
        let length = safe.len();
        Self { safe, synced: length, ..Self::default() }
    }

    /// What an agent that starts finds.
    pub(crate) fn take(&mut self) -> Vec<Record> {
        std::mem::take(self).safe
    }

    /// Puts a step to those that wait.
    pub(crate) fn wait(&mut self, turn: Turn) {
        self.waiting.push_back(turn);
    }

    /// Whether steps wait to be written.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The first step that waits is safe: its effects.
    pub(crate) fn write(&mut self) -> Option<Vec<Effect>> {
        let Turn { mut records, effects } = self.waiting.pop_front()?;
        self.lately.push_back(self.safe.len());
        if self.lately.len() > LAG {
            self.lately.pop_front();
        }
        self.safe.append(&mut records);
        Some(effects)
    }

    /// The agent is dead. `forgets`: also what was written last (a fault that is planted).
    pub(crate) fn agent_dies(&mut self, forgets: bool) {
        self.waiting.clear();
        if let Some(length) = self.lately.front().filter(|_| forgets) {
            self.safe.truncate(*length);
        }
    }

    /// The machine is off: `more` of what was not synced survives, in thousandths.
    pub(crate) fn machine_dies(&mut self, more: usize) {
        let unsynced = self.safe.len().saturating_sub(self.synced);
        self.safe.truncate(self.synced + unsynced * more.min(1_000) / 1_000);
    }
}
