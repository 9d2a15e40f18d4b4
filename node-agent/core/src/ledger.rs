//! What the agent must not forget, made of records alone: the one way in is [`Ledger::apply`].
//!
//! Live decisions and the replay of a journal go through the same function, so a restarted agent knows what the old one
//! knew. Sessions, heartbeats under way and what the supervisor said are not here: they are learned anew.
//!
//! Invariant: the occupancy is the sum over the attempts that have begun; the two queues hold exactly those that have not.

use crate::attempt::{Attempt, State};
use crate::input::{Assignment, KillReason, NodeSettings};
use crate::record::Record;
use crate::report::{NUMBERS_SKIPPED_AFTER_BOOT, NumberedReport, Outbox, Report};
use crate::retention::{Kept, Retained};
use crate::start_task::StartTask;
use crate::subject::Subject;
use crate::time::Monotonic;
use muster_model::state::OnLeaseExpiry;
use muster_model::{AttemptId, Cause, FailureInfo, TaskKey};
use std::collections::{BTreeMap, BTreeSet};

/// Runs of the start task that are left out when records were lost: far more than a boot sees.
const RUNS_SKIPPED: u64 = 1 << 20;

/// The agent's durable state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    settings: Option<NodeSettings>,
    lease_until: Option<Monotonic>,
    start_task: Option<StartTask>,
    attempts: BTreeMap<AttemptId, Attempt>,
    queue: BTreeMap<u64, AttemptId>,
    slotless_queue: BTreeMap<u64, AttemptId>,
    slots_used: u32,
    slotless_used: u32,
    gpus_used: BTreeSet<u32>,
    preparations: BTreeMap<TaskKey, usize>,
    next_order: u64,
    next_run: u64,
    outbox: Outbox,
    retained: Retained,
}

/// How full the node is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Slots that are taken.
    pub slots: u32,
    /// Attempts under way that take none.
    pub slotless: u32,
    /// GPUs that are somebody's.
    pub gpus: BTreeSet<u32>,
    /// Attempts that wait for slots.
    pub waiting: usize,
    /// Attempts that wait and take none.
    pub slotless_waiting: usize,
    /// Job preparations that tasks of the node need, and how many do.
    pub preparations: BTreeMap<TaskKey, usize>,
}

/// Whether an attempt waits for nothing but its turn among those like it: a job preparation or release.
const fn is_slotless(assignment: &Assignment) -> bool {
    assignment.slots == 0 && assignment.gpus == 0
}

/// The job preparation that an attempt needs.
fn preparation_of(attempt: &Attempt) -> Option<TaskKey> {
    let task = attempt.assignment.preparation.clone()?;
    Some(TaskKey { job: attempt.id().job.clone(), task }).filter(|key| key.task != attempt.id().task)
}

impl Ledger {
    /// The state that a journal tells. With `rebooted`, what was true of the last boot only is left out: the lease
    /// and the start task; what ran under that lease is to end, and numbers skip what may not have reached the disk. For the
    /// same reason an attempt that by the journal had not been started yet may have been: it is left out, so that the
    /// controller, which finds it missing after a boot, decides what may be repeated.
    #[must_use]
    pub fn replay(records: impl IntoIterator<Item = Record>, rebooted: bool) -> Self {
        let mut ledger = Self::default();
        for record in records {
            ledger.apply(&record);
        }
        if rebooted {
            ledger.lease_until = None;
            ledger.start_task = None;
            let unstarted = ledger.attempts.iter().filter(|(_, attempt)| !attempt.state.has_started());
            let unstarted: Vec<AttemptId> = unstarted.map(|(id, _)| id.clone()).collect();
            unstarted.iter().for_each(|id| ledger.remove(id));
            if ledger.settings.as_ref().is_none_or(|settings| settings.on_lease_expiry == OnLeaseExpiry::Kill)
            {
                let begun = ledger.attempts.values_mut().filter(|attempt| attempt.state.takes_slots());
                begun.for_each(|attempt| attempt.kill = attempt.kill.max(Some(KillReason::LeaseEnded)));
            }
            ledger.skip_numbers();
            ledger.skip_runs();
        }
        ledger
    }

    /// The same for runs of the start task, which the supervisor may know.
    pub(crate) const fn skip_runs(&mut self) {
        self.next_run = self.next_run.saturating_add(RUNS_SKIPPED);
    }

    /// Leaves out so many numbers of reports that none is used twice, whatever the journal has lost.
    pub(crate) fn skip_numbers(&mut self) {
        self.outbox.skip_to(self.outbox.next_number().saturating_add(NUMBERS_SKIPPED_AFTER_BOOT));
    }

    /// Takes one change in. A record about something unknown changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Accepted(attempt) => self.insert(attempt.as_ref().clone()),
            Record::Moved { attempt, state } => self.move_to(attempt, state.clone()),
            Record::Equipped { attempt, gpus } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    for gpu in std::mem::replace(&mut attempt.gpus, gpus.clone()) {
                        self.gpus_used.remove(&gpu);
                    }
                    self.gpus_used.extend(gpus);
                }
            }
            Record::Amended { attempt, terms } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.amended = Some(*terms);
                }
            }
            Record::Killed { attempt, reason } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.kill = Some(*reason);
                }
            }
            Record::OverDisk { attempt, over } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.over_disk = Some(*over);
                }
            }
            Record::Disowned { attempt, disowned } => {
                if let Some(attempt) = self.attempts.get_mut(attempt) {
                    attempt.disowned = *disowned;
                }
            }
            Record::Ended { attempt, incarnation, keep_until } => {
                self.remove(attempt);
                self.retained.keep(attempt.clone(), Kept { until: *keep_until, incarnation: *incarnation });
            }
            Record::GivenBack(attempt) => self.remove(attempt),
            Record::Reported(report) => self.outbox.keep(report.clone()),
            Record::Acknowledged(number) => self.outbox.acknowledge(*number),
            Record::ReportDropped(attempt) => self.outbox.forget(attempt),
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
        let ended = |(attempt, kept): (&AttemptId, Kept)| Record::Ended {
            attempt: attempt.clone(),
            incarnation: kept.incarnation,
            keep_until: kept.until,
        };
        records.extend(self.retained.iter().map(ended));
        records
    }

    fn insert(&mut self, attempt: Attempt) {
        let id = attempt.assignment.attempt.clone();
        self.remove(&id);
        self.next_order = self.next_order.max(attempt.order.saturating_add(1));
        if attempt.state.takes_slots() {
            self.slots_used = self.slots_used.saturating_add(attempt.assignment.slots);
            self.slotless_used = self.slotless_used.saturating_add(is_slotless(&attempt.assignment).into());
        } else {
            self.line(&attempt).insert(attempt.order, id.clone());
        }
        self.gpus_used.extend(&attempt.gpus);
        if let Some(preparation) = preparation_of(&attempt) {
            *self.preparations.entry(preparation).or_default() += 1;
        }
        self.attempts.insert(id, attempt);
    }

    fn move_to(&mut self, id: &AttemptId, state: State) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        if !attempt.state.takes_slots() && state.takes_slots() {
            if is_slotless(&attempt.assignment) {
                self.slotless_queue.remove(&attempt.order);
                self.slotless_used = self.slotless_used.saturating_add(1);
            } else {
                self.queue.remove(&attempt.order);
                self.slots_used = self.slots_used.saturating_add(attempt.assignment.slots);
            }
        }
        attempt.state = state;
    }

    fn remove(&mut self, id: &AttemptId) {
        let Some(attempt) = self.attempts.remove(id) else { return };
        if attempt.state.takes_slots() {
            self.slots_used = self.slots_used.saturating_sub(attempt.assignment.slots);
            self.slotless_used = self.slotless_used.saturating_sub(is_slotless(&attempt.assignment).into());
        } else {
            self.line(&attempt).remove(&attempt.order);
        }
        for gpu in &attempt.gpus {
            self.gpus_used.remove(gpu);
        }
        if let Some(preparation) = preparation_of(&attempt) {
            let left = self.preparations.get(&preparation).map_or(0, |count| count.saturating_sub(1));
            match left {
                0 => self.preparations.remove(&preparation),
                left => self.preparations.insert(preparation, left),
            };
        }
    }

    /// The queue that an attempt stands in while it waits.
    const fn line(&mut self, attempt: &Attempt) -> &mut BTreeMap<u64, AttemptId> {
        if is_slotless(&attempt.assignment) { &mut self.slotless_queue } else { &mut self.queue }
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

    /// Whether a command may still be started when its turn has come. A start waits until its records are safe, which a slow
    /// or full disk can draw out for longer than a lease: an attempt that is being ended by then must not begin.
    ///
    /// # Errors
    /// Why not, as the outcome of the launch.
    pub fn may_launch(&self, subject: &Subject) -> Result<(), FailureInfo> {
        let Subject::Attempt(attempt) = subject else { return Ok(()) };
        let is_wanted = self.attempt(attempt).is_some_and(|held| held.kill.is_none() && !held.disowned);
        if is_wanted {
            return Ok(());
        }
        Err(FailureInfo::new(
            Cause::Internal,
            "the command was not started any more: its attempt had ended by then",
        ))
    }

    /// The attempt of this name, if it has not ended.
    #[must_use]
    pub fn attempt(&self, id: &AttemptId) -> Option<&Attempt> {
        self.attempts.get(id)
    }

    /// The attempts of a task that have not ended, by number.
    pub fn attempts_of<'a>(&'a self, task: &TaskKey) -> impl Iterator<Item = &'a Attempt> + use<'a> {
        let of = |number| AttemptId { job: task.job.clone(), task: task.task.clone(), number };
        self.attempts.range(of(0)..=of(u32::MAX)).map(|(_, attempt)| attempt)
    }

    /// The attempts that wait for slots or GPUs, in the order in which they were accepted.
    pub fn queue(&self) -> impl Iterator<Item = &Attempt> {
        self.queue.values().filter_map(|id| self.attempts.get(id))
    }

    /// The attempts that wait and take no slots, in the order in which they were accepted.
    pub fn slotless_queue(&self) -> impl Iterator<Item = &Attempt> {
        self.slotless_queue.values().filter_map(|id| self.attempts.get(id))
    }

    /// How many attempts stand in the queue that this one would join.
    #[must_use]
    pub fn queue_len(&self, assignment: &Assignment) -> usize {
        if is_slotless(assignment) { self.slotless_queue.len() } else { self.queue.len() }
    }

    /// How many slots are taken.
    #[must_use]
    pub const fn slots_used(&self) -> u32 {
        self.slots_used
    }

    /// How many attempts are under way that take no slots.
    #[must_use]
    pub const fn slotless_used(&self) -> u32 {
        self.slotless_used
    }

    /// The GPUs that are somebody's.
    #[must_use]
    pub const fn gpus_used(&self) -> &BTreeSet<u32> {
        &self.gpus_used
    }

    /// Whether this is an attempt of a job preparation that tasks of the node need.
    #[must_use]
    pub fn needs(&self, attempt: &AttemptId) -> bool {
        !self.preparations.is_empty() && self.preparations.contains_key(&attempt.task_key())
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

    /// How full the node is, by the counters.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            slots: self.slots_used,
            slotless: self.slotless_used,
            gpus: self.gpus_used.clone(),
            waiting: self.queue.len(),
            slotless_waiting: self.slotless_queue.len(),
            preparations: self.preparations.clone(),
        }
    }

    /// The same as a recount finds it.
    #[must_use]
    pub fn recount(&self) -> Occupancy {
        let mut found = Occupancy::default();
        for attempt in self.attempts.values() {
            let slotless = is_slotless(&attempt.assignment);
            match (attempt.state.takes_slots(), slotless) {
                (true, true) => found.slotless = found.slotless.saturating_add(1),
                (true, false) => found.slots = found.slots.saturating_add(attempt.assignment.slots),
                (false, true) => found.slotless_waiting += 1,
                (false, false) => found.waiting += 1,
            }
            found.gpus.extend(&attempt.gpus);
            if let Some(preparation) = preparation_of(attempt) {
                *found.preparations.entry(preparation).or_default() += 1;
            }
        }
        found
    }
}
