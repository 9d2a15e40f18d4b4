//! The custodian: all attempts of this node, and everything that is done to them on request, in time, and at
//! their end.
//!
//! `custodian` accepts requests and keeps the books, `launching` takes an attempt from request to running
//! program, `limiting` changes its limit while it runs, `measuring` tells what it uses, `ending` goes from the first reason to end it to its record, `leasing`
//! ends all at once, `recovery` brings back what an earlier
//! supervisor held. What is to be sent is put into an outbox; nothing here knows a connection beyond its
//! number.
//!
//! Invariant: an exit event is in the outbox only after its record is in the attempt's journal, and the
//! record stays until acknowledged.

mod ending;
mod launching;
mod leasing;
mod limiting;
mod measuring;
mod recovery;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use muster_supervisor::journal::encode_gone;
use muster_supervisor::{
    AttemptKey, Capabilities, Containment, EndedBy, ExitRecord, Message, Refusal, Reply, Request, Separation,
};

use crate::cgroup::Groups;
use crate::expiry::Expiry;
use crate::log;
use crate::reap;
use crate::slots::{PLACES_MAX, Slots};
use crate::spawn::Launcher;
use crate::state_dir::StateDir;
use crate::task::{Stage, Task};
use crate::watch::Watch;
use leasing::KeepersLease;

/// Most attempts that are held, ended ones included: each has an exit slot, and their records fit in a few
/// megabytes.
pub(crate) const TASKS_MAX: u32 = PLACES_MAX;

/// Something to be sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// To one connection.
    To(u64, Message),
    /// To all that subscribed.
    Event(ExitRecord),
}

/// What the custodian stands on.
pub(crate) struct Ground {
    pub(crate) state: StateDir,
    pub(crate) boot_id: String,
    pub(crate) launcher: Launcher,
    pub(crate) watch: Rc<Watch>,
    pub(crate) expiry: Expiry,
    pub(crate) slots: Slots,
    /// How tasks can be separated.
    pub(crate) separation: Separation,
    /// Why not better.
    pub(crate) notes: Vec<String>,
}

/// All attempts of this node.
pub(crate) struct Custodian {
    ground: Ground,
    groups: Option<Groups>,
    notes: Vec<String>,
    tasks: BTreeMap<u64, Task>,
    by_key: HashMap<AttemptKey, u64>,
    /// Keepers that are our children.
    by_pid: HashMap<i32, u64>,
    /// When which attempt needs a look.
    queue: BTreeSet<(u64, u64)>,
    last_number: u64,
    outbox: Vec<Outgoing>,
    stopping: Option<Stop>,
    keepers_lease: KeepersLease,
}

/// A wish to exit.
#[derive(Debug, Clone, Copy)]
struct Stop {
    /// Whom to tell.
    asker: Option<(u64, u64)>,
    kill_tasks: bool,
}

impl Custodian {
    /// Carries out a request of a connection.
    pub(crate) fn request(&mut self, client: u64, id: u64, request: Request) {
        let result = match request {
            Request::Start(spec) => match self.start(client, id, spec) {
                // It is answered when the program executes.
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            Request::Kill { key, reason, grace_ms } => self.kill(&key, reason, grace_ms),
            Request::List => Ok(Reply::Tasks(self.held().map(Task::status).collect())),
            Request::Acknowledge { keys } => {
                self.acknowledge(&keys);
                Ok(Reply::Acknowledged)
            }
            Request::Shutdown { kill_tasks } => {
                self.stop(Some((client, id)), kill_tasks);
                return;
            }
            Request::Lease { until_us } => {
                self.lease(until_us);
                Ok(Reply::Leased)
            }
            Request::Limit { key, wall_clock_ms } => self.limit(&key, wall_clock_ms),
            Request::Usage { keys } => Ok(self.usages(&keys)),
            Request::Probe => Ok(Reply::Capabilities(self.capabilities())),
            // The connection itself answers these.
            Request::Hello { .. } | Request::Subscribe => return,
        };
        self.reply(client, id, result);
    }

    fn reply(&mut self, client: u64, id: u64, result: Result<Reply, Refusal>) {
        self.outbox.push(Outgoing::To(client, Message::Reply { id, result }));
    }

    /// What is to be sent, oldest first.
    pub(crate) fn take_outbox(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outbox)
    }

    /// Attempts that are not let go of, in the order of their start.
    fn held(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| !matches!(task.stage, Stage::Ended { acknowledged: true, .. }))
    }

    /// Records that wait for their acknowledgement.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &ExitRecord> {
        self.tasks.values().filter_map(Task::unacknowledged)
    }

    /// Begins to end the supervisor.
    pub(crate) fn stop(&mut self, asker: Option<(u64, u64)>, kill_tasks: bool) {
        self.stopping = Some(Stop { asker, kill_tasks });
        if kill_tasks {
            for number in self.numbers(Task::is_live) {
                self.end(number, EndedBy::Shutdown, 0);
            }
        }
    }

    /// Whether the supervisor may exit; puts the answer to whoever asked into the outbox.
    pub(crate) fn may_exit(&mut self) -> bool {
        let Some(stop) = self.stopping else { return false };
        let unfinished = |task: &Task| match &task.stage {
            Stage::Launching(_) => true,
            Stage::Running { .. } | Stage::Sweeping(_) => stop.kill_tasks,
            Stage::Ended { .. } => false,
        };
        if self.tasks.values().any(unfinished) {
            return false;
        }
        if let Some((client, id)) = stop.asker {
            self.reply(client, id, Ok(Reply::Stopping));
        }
        true
    }

    /// Removes what is of use to this supervisor only.
    pub(crate) fn close(&self) {
        self.ground.state.unbind();
        if let Some(groups) = &self.groups {
            groups.dismantle();
        }
    }

    /// Our part of the answer to a greeting.
    pub(crate) fn boot_id(&self) -> &str {
        &self.ground.boot_id
    }

    fn capabilities(&self) -> Capabilities {
        let has = self.groups.as_ref().map(Groups::controllers).unwrap_or_default();
        Capabilities {
            memory: has.memory,
            cpu: has.cpu,
            pids: has.pids,
            cpu_time: self.groups.as_ref().is_some_and(Groups::counts_cpu_time),
            io: has.io || reap::counts_bytes(),
            cgroup_version: self.groups.as_ref().map_or(0, Groups::version),
            containment: self.groups.as_ref().map_or(Containment::ProcessTree, Groups::containment),
            late_exit_status: true,
            separation: self.ground.separation,
            notes: self.notes.clone(),
        }
    }

    /// Logs what the node can do.
    pub(crate) fn announce(&self) {
        let can = self.capabilities();
        let fields: [log::Field<'_>; 6] = [
            ("memory", &can.memory),
            ("cpu", &can.cpu),
            ("pids", &can.pids),
            ("containment", &format!("{:?}", can.containment)),
            ("separation", &format!("{:?}", can.separation)),
            ("attempts", &self.tasks.len()),
        ];
        log::info("in custody", &fields);
        for note in &self.notes {
            log::warn("reduced capability", &[("reason", note)]);
        }
    }

    /// Lets go of those attempts that have ended.
    fn acknowledge(&mut self, keys: &[AttemptKey]) {
        let mut gone = Vec::new();
        for key in keys {
            let Some(number) = self.by_key.get(key).copied() else { continue };
            let Some(task) = self.tasks.get_mut(&number) else { continue };
            let Stage::Ended { leftovers, acknowledged, .. } = &mut task.stage else { continue };
            *acknowledged = true;
            let leftovers = *leftovers;
            gone.push(key.clone());
            self.by_key.remove(key);
            if !leftovers {
                self.forget(number);
            }
        }
        if !gone.is_empty() {
            self.record_gone(&gone);
        }
    }

    /// Records that attempts are no longer held; rewrites the journal if little of it is about those that are.
    fn record_gone(&mut self, keys: &[AttemptKey]) {
        if let Err(errno) = self.ground.state.append(&encode_gone(keys)) {
            // The next supervisor tells their ends once more, which is harmless.
            log::warn("cannot record that attempts are gone", &[("error", &errno)]);
        }
        if !self.ground.state.may_want_rewrite() {
            return;
        }
        let documents = self.held().flat_map(|task| task.documents.iter().copied()).collect::<Vec<_>>();
        if let Err(errno) = self.ground.state.rewrite_if_shorter(&documents) {
            log::warn("cannot rewrite the journal", &[("error", &errno)]);
        }
    }

    /// The next time at which an attempt needs a look.
    pub(crate) fn next_look(&self) -> Option<u64> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Looks at every attempt whose time has come.
    pub(crate) fn look(&mut self, now: u64) {
        while let Some((at, number)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.queue.remove(&(at, number));
            if let Some(task) = self.tasks.get_mut(&number) {
                task.due.queued = None;
            }
            self.look_at(number, now);
        }
    }

    /// Puts an attempt into the queue where its earliest deadline belongs.
    fn queue(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let next = task.due.next();
        if task.due.queued == next {
            return;
        }
        if let Some(old) = std::mem::replace(&mut task.due.queued, next) {
            self.queue.remove(&(old, number));
        }
        if let Some(next) = next {
            self.queue.insert((next, number));
        }
    }

    /// Forgets an attempt altogether.
    fn forget(&mut self, number: u64) {
        let Some(task) = self.tasks.remove(&number) else { return };
        if let Some(slot) = task.slot {
            self.ground.slots.release(slot.number);
        }
        if let Some(queued) = task.due.queued {
            self.queue.remove(&(queued, number));
        }
        if self.by_key.get(&task.key) == Some(&number) {
            self.by_key.remove(&task.key);
        }
    }

    fn numbers(&self, which: impl Fn(&Task) -> bool) -> Vec<u64> {
        self.tasks.iter().filter(|(_, task)| which(task)).map(|(number, _)| *number).collect()
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
