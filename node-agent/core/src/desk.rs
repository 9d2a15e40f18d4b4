//! Where one input is worked on: the ledger, the time, and what has been decided so far.
//!
//! The rules of this crate write through here and nowhere else: [`Desk::record`] changes the ledger and the journal
//! together, so they cannot differ, and [`Desk::into_effects`] puts the records before all other effects.

use crate::effect::{AgentMessage, Effect};
use crate::input::SessionId;
use crate::ledger::Ledger;
use crate::record::Record;
use crate::report::{NumberedReport, Report};
use crate::time::Now;

/// One input's work.
pub(crate) struct Desk<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) now: Now,
    records: Vec<Record>,
    effects: Vec<Effect>,
    reports: Vec<NumberedReport>,
}

impl<'a> Desk<'a> {
    pub(crate) const fn new(ledger: &'a mut Ledger, now: Now) -> Self {
        Self { ledger, now, records: Vec::new(), effects: Vec::new(), reports: Vec::new() }
    }

    /// Makes a change of the ledger, and a record of it.
    pub(crate) fn record(&mut self, record: Record) {
        self.ledger.apply(&record);
        self.records.push(record);
    }

    /// Makes a report: kept in the ledger, and said if there is a session.
    pub(crate) fn report(&mut self, report: Report) {
        let numbered = self.ledger.number(report);
        self.record(Record::Reported(numbered.clone()));
        self.reports.push(numbered);
    }

    pub(crate) fn act(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn act_all(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.effects.extend(effects);
    }

    /// Says everything that waits, at the beginning of a session; what is new is among it.
    pub(crate) fn send_waiting(&mut self) {
        self.reports = self.ledger.outbox().waiting().collect();
    }

    /// Records first, then what is to be done, then the reports if somebody listens.
    pub(crate) fn into_effects(self, listener: Option<SessionId>) -> Vec<Effect> {
        let mut effects: Vec<_> = self.records.into_iter().map(Effect::Append).collect();
        effects.extend(self.effects);
        if let (Some(session), false) = (listener, self.reports.is_empty()) {
            effects.push(Effect::Send { session, message: AgentMessage::Reports(self.reports) });
        }
        effects
    }
}
