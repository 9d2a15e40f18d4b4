//! What the agent must not forget, made of records alone: the one way in is [`Ledger::apply`].
//!
//! Live decisions and the replay of a journal go through the same function, so a restarted agent knows what the old one
//! knew. Sessions, heartbeats under way and what the supervisor said are not here: they are learned anew.
//!
//! Invariant: `slots_used` is the sum over the attempts that have begun; `queue` holds exactly those that have not.

use crate::attempt::{Attempt, State};
use crate::input::{KillReason, NodeSettings};
use crate::record::Record;
use crate::report::{NUMBERS_SKIPPED_AFTER_BOOT, NumberedReport, Outbox, Report};
use crate::retention::Retained;
use crate::start_task::StartTask;
use crate::time::Monotonic;
use muster_model::AttemptId;
use muster_model::state::OnLeaseExpiry;
use std::collections::BTreeMap;

/// The agent's durable state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    settings: Option<NodeSettings>,
    lease_until: Option<Monotonic>,
    start_task: Option<StartTask>,
    attempts: BTreeMap<AttemptId, Attempt>,
    queue: BTreeMap<u64, AttemptId>,
    slots_used: u32,
    next_order: u64,
    next_run: u64,
    outbox: Outbox,
    retained: Retained,
}

impl Ledger {
    /// The state that a journal tells. With `rebooted`, what was true of the last boot only is left out: the lease
    /// and the start task; what had begun under that lease is to end, and numbers of reports skip what may not have
    /// reached the disk.
    #[must_use]
    pub fn replay(records: impl IntoIterator<Item = Record>, rebooted: bool) -> Self {
        let mut ledger = Self::default();
        for record in records {
            ledger.apply(&record);
        }
        if rebooted {
            ledger.lease_until = None;
            ledger.start_task = None;
            if ledger.settings.as_ref().is_none_or(|settings| settings.on_lease_expiry == OnLeaseExpiry::Kill)
            {
                let begun = ledger.attempts.values_mut().filter(|attempt| attempt.state.takes_slots());
                begun.for_each(|attempt| attempt.kill = attempt.kill.max(Some(KillReason::LeaseEnded)));
            }
            ledger.outbox.skip_to(ledger.outbox.next_number().saturating_add(NUMBERS_SKIPPED_AFTER_BOOT));
        }
        ledger
    }

    /// Takes one change in. A record about something unknown changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Accepted(attempt) => self.insert(attempt.as_ref().clone()),
            Record::Moved { attempt, state } => self.move_to(attempt, state.clone()),
            Record::Killed { attempt, reason } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.kill = Some(*reason);
                }
            }
            Record::Ended { attempt, keep_until } => {
                self.remove(attempt);
                self.retained.keep(attempt.clone(), *keep_until);
            }
            Record::GivenBack(attempt) => self.remove(attempt),
            Record::Reported(report) => self.outbox.keep(report.clone()),
            Record::Acknowledged(number) => self.outbox.acknowledge(*number),
            Record::ReportDropped(attempt) => self.outbox.forget_finished(attempt),
            Record::NumbersFrom { report, run } => {
                self.outbox.skip_to(*report);
                self.next_run = self.next_run.max(*run);
            }
            Record::Settings(settings) => self.settings = Some(settings.clone()),
            Record::Lease(until) => self.lease_until = *until,
            Record::StartTask(start_task) => {
                self.next_run = self.next_run.max(start_task.run.saturating_add(1));
                self.start_task = Some(start_task.as_ref().clone());
            }
            Record::Removed(attempts) => attempts.iter().for_each(|attempt| self.retained.remove(attempt)),
        }
    }

    /// The shortest journal that tells this state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let numbers = Record::NumbersFrom { report: self.outbox.next_number(), run: self.next_run };
        let mut records = vec![numbers, Record::Lease(self.lease_until)];
        records.extend(self.settings.clone().map(Record::Settings));
        records.extend(self.start_task.clone().map(|task| Record::StartTask(Box::new(task))));
        records.extend(self.attempts.values().map(|attempt| Record::Accepted(Box::new(attempt.clone()))));
        records.extend(self.outbox.waiting().map(Record::Reported));
        let ended =
            |(attempt, keep_until): (&AttemptId, _)| Record::Ended { attempt: attempt.clone(), keep_until };
        records.extend(self.retained.iter().map(ended));
        records
    }

    fn insert(&mut self, attempt: Attempt) {
        self.remove(&attempt.assignment.attempt);
        self.next_order = self.next_order.max(attempt.order.saturating_add(1));
        if attempt.state.takes_slots() {
            self.slots_used = self.slots_used.saturating_add(attempt.assignment.slots);
        } else {
            self.queue.insert(attempt.order, attempt.assignment.attempt.clone());
        }
        self.attempts.insert(attempt.assignment.attempt.clone(), attempt);
    }

    fn move_to(&mut self, id: &AttemptId, state: State) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        if !attempt.state.takes_slots() && state.takes_slots() {
            self.queue.remove(&attempt.order);
            self.slots_used = self.slots_used.saturating_add(attempt.assignment.slots);
        }
        attempt.state = state;
    }

    fn remove(&mut self, id: &AttemptId) {
        let Some(attempt) = self.attempts.remove(id) else { return };
        if attempt.state.takes_slots() {
            self.slots_used = self.slots_used.saturating_sub(attempt.assignment.slots);
        } else {
            self.queue.remove(&attempt.order);
        }
    }

    /// The pool's settings, once they are known.
    #[must_use]
    pub const fn settings(&self) -> Option<&NodeSettings> {
        self.settings.as_ref()
    }

    /// Until when the lease lasts; `None` when there is none.
    #[must_use]
    pub const fn lease_until(&self) -> Option<Monotonic> {
        self.lease_until
    }

    /// The start task of this boot, once it has begun.
    #[must_use]
    pub const fn start_task(&self) -> Option<&StartTask> {
        self.start_task.as_ref()
    }

    /// The attempts that have not ended.
    #[must_use]
    pub const fn attempts(&self) -> &BTreeMap<AttemptId, Attempt> {
        &self.attempts
    }

    /// The attempt of this name, if it has not ended.
    #[must_use]
    pub fn attempt(&self, id: &AttemptId) -> Option<&Attempt> {
        self.attempts.get(id)
    }

    /// The attempts that have not begun, in the order in which they were accepted.
    pub fn queue(&self) -> impl Iterator<Item = &Attempt> {
        self.queue.values().filter_map(|id| self.attempts.get(id))
    }

    /// How many attempts have not begun.
    #[must_use]
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// How many slots are taken.
    #[must_use]
    pub const fn slots_used(&self) -> u32 {
        self.slots_used
    }

    /// The place in the order for the next attempt.
    #[must_use]
    pub const fn next_order(&self) -> u64 {
        self.next_order
    }

    /// A number for a run of the start task that none had before.
    #[must_use]
    pub const fn next_run(&self) -> u64 {
        self.next_run
    }

    /// The reports that wait.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The directories of ended attempts.
    #[must_use]
    pub const fn retained(&self) -> &Retained {
        &self.retained
    }

    /// A report with the next number.
    #[must_use]
    pub const fn number(&self, report: Report) -> NumberedReport {
        NumberedReport { number: self.outbox.next_number(), report }
    }

    /// Slots and queue as a recount finds them.
    #[must_use]
    pub fn recount(&self) -> (u32, usize) {
        let begun = self.attempts.values().filter(|attempt| attempt.state.takes_slots());
        let slots = begun.map(|attempt| attempt.assignment.slots).fold(0, u32::saturating_add);
        let waiting = self.attempts.values().filter(|attempt| !attempt.state.takes_slots()).count();
        (slots, waiting)
    }
}
