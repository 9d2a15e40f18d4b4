//! From the first reason to end an attempt, or its own end, to its record.
//!
//! Signals go to every process of the attempt. When the main process is over, what it left is swept: its
//! usage read, the rest killed, the groups removed, again until nothing is left. Then the record is written,
//! then pushed.

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::signal::Signal;

use muster_supervisor::journal::Ending;
use muster_supervisor::record::Usage;
use muster_supervisor::{AttemptKey, EndedBy, LostReason, Refusal, Reply};

use super::{Custodian, Outgoing};
use crate::clock::monotonic_us;
use crate::log;
use crate::processes;
use crate::reap::{self, Late};
use crate::task::{MainEnd, Stage, Sweep, Task, is_due};
use crate::watch::Token;

/// Pause until the count of OOM kills is read again: the kernel announces the lack before it kills.
const MEMORY_LOOK_US: u64 = 10_000;
/// Looks at that count for each announcement: a second's worth, then the lack was made good by something else.
const MEMORY_LOOKS: u32 = 100;
/// How long a foreign parent may take to reap an ended process before its status counts as unknown.
const UNREAPED_US: u64 = 2_000_000;

/// A decision to end an attempt.
struct Decision {
    /// Its document for the journal.
    document: Vec<u8>,
    /// Whether its grace is over.
    at_once: bool,
    /// Whether there was no reason before.
    first: bool,
}

impl Custodian {
    /// Ends an attempt on request.
    pub(super) fn kill(&mut self, key: &AttemptKey, reason: String, grace_ms: u64) -> Result<Reply, Refusal> {
        let number = *self.by_key.get(key).ok_or_else(|| Refusal::UnknownKey { key: key.clone() })?;
        self.end(number, EndedBy::Requested { reason }, grace_ms);
        Ok(Reply::Killing)
    }

    /// Ends an attempt if it is live. A later reason does not replace the first, but may shorten its grace.
    pub(super) fn end(&mut self, number: u64, reason: EndedBy, grace_ms: u64) {
        let Some(decision) = self.decide(number, reason, grace_ms) else { return };
        self.record_ending(number, &decision.document);
        if decision.at_once {
            self.kill_now(number);
        } else if decision.first {
            self.signal(number, Signal::SIGTERM);
        }
        self.queue(number);
    }

    /// Ends all of these now, and records it when all are being killed: a disk that is slow or hangs holds up none of it. Who
    /// reads the journal without these records finds out why by the lease.
    pub(super) fn end_at_once(&mut self, numbers: &[u64], reason: &EndedBy) {
        let mut documents = Vec::with_capacity(numbers.len());
        for number in numbers {
            if let Some(decision) = self.decide(*number, reason.clone(), 0) {
                self.kill_now(*number);
                documents.push((*number, decision.document));
            }
        }
        for (number, document) in documents {
            self.record_ending(number, &document);
        }
    }

    /// Notes why and when a live attempt is to end.
    fn decide(&mut self, number: u64, reason: EndedBy, grace_ms: u64) -> Option<Decision> {
        let task = self.tasks.get_mut(&number).filter(|task| task.is_live())?;
        let now = monotonic_us();
        let asked = now.saturating_add(grace_ms.saturating_mul(1_000));
        let kill_at = task.due.kill.map_or(asked, |planned| planned.min(asked));
        let first = task.ended_by.is_none();
        let ended_by = task.ended_by.get_or_insert(reason).clone();
        task.due.wall_clock = None;
        task.due.kill = Some(kill_at);
        log::debug(
            "ending",
            &[("key", &task.key), ("reason", &format!("{ended_by:?}")), ("grace_ms", &grace_ms)],
        );
        let document = Ending { ended_by, kill_at_us: kill_at }.encode(&task.key);
        task.documents.extend_from_slice(&document);
        Some(Decision { document, at_once: kill_at <= now, first })
    }

    fn record_ending(&mut self, number: u64, document: &[u8]) {
        let Err(errno) = self.ground.state.append(document) else { return };
        if let Some(task) = self.tasks.get(&number) {
            // The decision stands; only a restart in the next moments would forget it.
            log::warn("cannot record an ending", &[("key", &task.key), ("error", &errno)]);
        }
    }

    /// Sends SIGKILL to all of an attempt, and plans to do so again until its main process is over.
    pub(super) fn kill_now(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.due.kill_again(monotonic_us());
        let again = task.due.kills > 1;
        let groups = self.groups.as_ref().filter(|_| task.grouped);
        if let Some(groups) = groups {
            groups.kill(&task.key);
        }
        if groups.is_none() || again {
            // A privileged task may have left its groups, and one that was just cloned joins them yet.
            processes::signal(&members(task), Signal::SIGKILL);
        }
        if again && let Some(slip) = task.slot.and_then(|slot| slot.read(self.ground.slots.file())) {
            // The keeper has told, and cannot end for something in its namespace that does not.
            self.main_over(number, MainEnd::told(&slip));
        }
        self.queue(number);
    }

    pub(super) fn signal(&mut self, number: u64, signal: Signal) {
        let Some(task) = self.tasks.get(&number) else { return };
        match self.groups.as_ref().filter(|_| task.grouped) {
            Some(groups) => groups.signal(&task.key, signal),
            None => processes::signal(&members(task), signal),
        }
    }

    /// Does what is due for one attempt.
    pub(super) fn look_at(&mut self, number: u64, now: u64) {
        let Some(task) = self.tasks.get(&number) else { return };
        let (due, grace_ms) = (task.due, task.grace_ms);
        if is_due(due.wall_clock, now) {
            self.end(number, EndedBy::WallClock, grace_ms);
        } else if is_due(due.kill, now) {
            self.kill_now(number);
        }
        if let Some((_, looks)) = due.memory.filter(|(at, _)| *at <= now) {
            self.look_at_memory(number, looks);
        }
        if is_due(due.unreaped, now) {
            self.main_over(number, MainEnd::lost(LostReason::EndedUnwatched));
        }
        if is_due(due.sweep, now) {
            self.sweep(number);
        }
        self.queue(number);
    }

    /// The kernel announced that an attempt is short of memory.
    pub(crate) fn memory_ready(&mut self, number: u64) {
        if let Some(event) = self.tasks.get(&number).and_then(|task| task.memory_watch.as_ref()) {
            let mut count = [0; 8];
            // Reading resets the event; its count is of no interest.
            let _ = nix::unistd::read(event, &mut count);
            self.look_at_memory(number, MEMORY_LOOKS);
        }
    }

    /// Ends an attempt of which the kernel killed a process for want of memory; looks so many times again if it did not yet.
    pub(super) fn look_at_memory(&mut self, number: u64, looks: u32) {
        let (Some(groups), Some(task)) = (&self.groups, self.tasks.get_mut(&number)) else { return };
        let killed = groups.oom_kills(&task.key).is_some_and(|kills| kills > 0);
        let again = looks.checked_sub(1).filter(|_| !killed);
        task.due.memory = again.map(|left| (monotonic_us() + MEMORY_LOOK_US, left));
        if killed {
            self.end(number, EndedBy::OutOfMemory, 0);
        }
        self.queue(number);
    }

    /// Ends the watch over an attempt's memory; removing its group would announce a lack, too.
    pub(super) fn unwatch_memory(&mut self, number: u64) {
        let Some(event) = self.tasks.get_mut(&number).and_then(|task| task.memory_watch.take()) else {
            return;
        };
        self.ground.watch.remove(&event);
    }

    /// Reaps all children that have ended: keepers of attempts, and orphans that came to us.
    pub(crate) fn reap(&mut self) {
        for reaped in reap::children() {
            let Some(number) = self.by_pid.remove(&reaped.pid) else { continue };
            self.launch_ready(number);
            let stage = self.tasks.get(&number).map(|task| &task.stage);
            if matches!(stage, Some(Stage::Launching(launching)) if launching.failure.is_some()) {
                self.launch_failed(number);
            } else {
                let found = || MainEnd::found(reap::outcome(reaped.status), reap::usage(&reaped.usage));
                let end = self.told(number).unwrap_or_else(found);
                self.main_over(number, end);
            }
        }
    }

    /// What the keeper of an attempt says of its end.
    pub(super) fn told(&self, number: u64) -> Option<MainEnd> {
        let slot = self.tasks.get(&number)?.slot?;
        slot.read(self.ground.slots.file()).map(|slip| MainEnd::told(&slip))
    }

    /// A process that is not our child has ended.
    pub(crate) fn process_ready(&mut self, number: u64, flags: EpollFlags) {
        if let Some(end) = self.told(number) {
            return self.main_over(number, end);
        }
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let Stage::Running { pidfd: Some(pidfd) } = &task.stage else { return };
        let mut late = reap::late(std::os::fd::AsFd::as_fd(pidfd));
        if !matches!(late, Late::Ended(_))
            && let Some(status) = processes::unreaped_status(task.pid, task.start_ticks)
        {
            // Until its parent reaps it, /proc says as much, on any kernel.
            late = Late::Ended(reap::outcome(status));
        }
        match late {
            Late::Ended(outcome) => self.main_over(number, MainEnd::found(outcome, Usage::default())),
            Late::NotReaped if !flags.contains(EpollFlags::EPOLLHUP) => {
                // It hangs up when it is reaped; until then it would only be readable all the time.
                let hang_up_only =
                    self.ground.watch.change(pidfd, Token::Process(number), EpollFlags::empty());
                let wait = if hang_up_only.is_ok() { UNREAPED_US } else { 0 };
                task.due.unreaped = Some(monotonic_us() + wait);
                self.queue(number);
            }
            Late::NotReaped | Late::Untold => {
                self.main_over(number, MainEnd::lost(LostReason::EndedUnwatched));
            }
        }
    }

    /// The main process of an attempt is over.
    pub(super) fn main_over(&mut self, number: u64, end: MainEnd) {
        self.unwatch_memory(number);
        let Some(task) = self.tasks.get_mut(&number).filter(|task| task.is_live()) else { return };
        match &task.stage {
            Stage::Running { pidfd: Some(pidfd) } => self.ground.watch.remove(pidfd),
            Stage::Launching(launching) => self.ground.watch.remove(&launching.launch.report),
            Stage::Running { pidfd: None } | Stage::Sweeping(_) | Stage::Ended { .. } => {}
        }
        task.note_reason(&end);
        task.stage = Stage::Sweeping(Sweep::begin(end));
        task.due.main_is_over();
        self.sweep(number);
    }

    /// One round of removing what an attempt left behind.
    fn sweep(&mut self, number: u64) {
        let gone = self.remove_remains(number);
        let now = monotonic_us();
        let Some(task) = self.tasks.get_mut(&number) else { return };
        match &mut task.stage {
            Stage::Sweeping(sweep) if gone || sweep.is_overdue(now) => {
                let sweep = *sweep;
                self.ended(number, &sweep, !gone);
            }
            Stage::Sweeping(sweep) => {
                sweep.rounds += 1;
                task.due.sweep = Some(sweep.next(now));
            }
            Stage::Ended { acknowledged: true, .. } if gone => return self.forget(number),
            Stage::Ended { leftovers, .. } if gone => {
                *leftovers = false;
                task.due.sweep = None;
            }
            Stage::Ended { .. } => task.due.sweep_leftovers(now),
            Stage::Launching(_) | Stage::Running { .. } => {}
        }
        self.queue(number);
    }

    /// Reads the usage, then removes the groups; kills what is in them if they cannot be removed. `true` once
    /// nothing is left.
    fn remove_remains(&mut self, number: u64) -> bool {
        let Some(task) = self.tasks.get(&number) else { return true };
        let Some(groups) = self.groups.as_ref().filter(|_| task.grouped) else {
            return self.kill_tree(number);
        };
        let key = task.key.clone();
        let used = groups.usage(&key);
        let removed = groups.remove(&key);
        if removed != Ok(true) {
            groups.kill(&key);
        }
        if let Some(Task { stage: Stage::Sweeping(sweep), .. }) = self.tasks.get_mut(&number) {
            sweep.usage = reap::merge(used, sweep.usage);
        }
        match removed {
            Ok(gone) => gone,
            Err(error) => {
                log::warn("a group cannot be removed", &[("key", &key), ("error", &error)]);
                false
            }
        }
    }

    /// The same without groups.
    fn kill_tree(&self, number: u64) -> bool {
        let Some(task) = self.tasks.get(&number) else { return true };
        let known = |pid: i32| self.by_pid.contains_key(&pid);
        if !task.foreign && !processes::have_strays(&known) {
            return true;
        }
        let mut left = members(task);
        let others = self.tasks.iter().any(|(other, task)| *other != number && !task.is_ended());
        if !others {
            left.extend(processes::strays(own_pid(), &known));
        }
        processes::signal(&left, Signal::SIGKILL);
        left.is_empty()
    }

    /// Nothing is left of an attempt: its record is written, then pushed.
    fn ended(&mut self, number: u64, sweep: &Sweep, leftovers: bool) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let record = task.record(sweep, leftovers);
        let document = record.encode();
        task.documents.extend_from_slice(&document);
        if let Err(errno) = self.ground.state.append(&document) {
            // Kept in memory and pushed all the same: the agent's journal may have room where this directory
            // has none.
            log::error("cannot write an exit record", &[("key", &task.key), ("error", &Errno::desc(errno))]);
        }
        if leftovers {
            log::warn("processes stay behind that cannot be killed", &[("key", &task.key)]);
        }
        log::debug(
            "ended",
            &[("key", &task.key), ("outcome", &format!("{:?} {:?}", record.outcome, record.ended_by))],
        );
        task.due = crate::task::Due { queued: task.due.queued, ..Default::default() };
        if leftovers {
            task.due.sweep_leftovers(monotonic_us());
        }
        task.stage = Stage::Ended { record: Box::new(record.clone()), leftovers, acknowledged: false };
        self.queue(number);
        self.outbox.push(Outgoing::Event(record));
    }
}

/// The processes of an attempt by their descent, without its keeper.
fn members(task: &Task) -> Vec<i32> {
    match task.slot {
        Some(_) => processes::kept(task.pid, task.start_ticks),
        None => processes::tree(task.pid, task.start_ticks),
    }
}

/// Our process id; it fits, for the kernel's are 22 bits wide.
pub(super) fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}
