//! What an earlier supervisor left: running tasks are taken over, ended ones reported, interrupted ones
//! cleaned up.
//!
//! A task is found again by its journal, its boot, and the start time of its keeper; its groups by the layout that
//! was kept, wherever this supervisor itself was started. Tasks of an earlier boot are lost. Keepers that are no
//! longer our children are waited for by pidfd, and how their tasks ended stands in their exit slots, also when
//! that was while no supervisor ran. What nobody told is recorded as lost, never guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;

use nix::sys::epoll::EpollFlags;

use muster_supervisor::journal::{Attempt, Started};
use muster_supervisor::{ExitRecord, LostReason, Outcome};

use super::ending::own_pid;
use super::leasing::KeepersLease;
use super::{Custodian, Ground};
use crate::cgroup::{Found, Groups, RootSetting, detect, reopen};
use crate::log;
use crate::processes;
use crate::slots::Slot;
use crate::state_dir::{Layout, StateDirError};
use crate::sys::pidfd_open;
use crate::task::{Due, MainEnd, Stage, Sweep, Task};
use crate::watch::Token;

/// The keeper of an attempt that is taken over, or the main process of one without a keeper.
enum Main {
    /// It is our child: this process executed another build of the supervisor over itself.
    Child,
    /// It is another's child by now.
    Foreign(OwnedFd),
    /// It is over.
    Gone,
}

impl Custodian {
    /// Takes custody of all that is in the state directory.
    pub(crate) fn recover(mut ground: Ground, setting: &RootSetting) -> Result<Self, StateDirError> {
        let journal = ground.state.open_journal()?;
        let live = |attempt: &Attempt| attempt.exit.is_none() && attempt.accepted.boot_id == ground.boot_id;
        let running = journal.attempts.values().any(live);
        let found = find_groups(&ground, setting, running);
        let notes = [found.notes, std::mem::take(&mut ground.notes)].concat();
        let mut custodian = Self {
            ground,
            groups: found.groups,
            notes,
            tasks: BTreeMap::new(),
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            queue: BTreeSet::new(),
            last_number: 0,
            outbox: Vec::new(),
            stopping: None,
            keepers_lease: KeepersLease::Untold,
        };
        for attempt in journal.attempts.into_values() {
            custodian.take_over(attempt);
        }
        custodian.remove_orphans();
        custodian.recover_lease();
        Ok(custodian)
    }

    fn take_over(&mut self, attempt: Attempt) {
        let number = self.next_number();
        let same_boot = attempt.accepted.boot_id == self.ground.boot_id;
        let main = match attempt.started.filter(|_| same_boot) {
            Some(started) => find_main(&started),
            None => Main::Gone,
        };
        let mut task = self.recovered(&attempt, &main, same_boot);
        let Attempt { accepted, ending, exit, .. } = attempt;
        if let Some(record) = exit {
            self.hold_ended(number, task, record, same_boot);
            return;
        }
        self.by_key.insert(accepted.key.clone(), number);
        match main {
            Main::Gone => {
                task.due.sweep = Some(0);
                log_end(&task);
                self.tasks.insert(number, task);
                self.queue(number);
                return;
            }
            Main::Child => {
                self.by_pid.insert(task.pid, number);
                task.stage = Stage::Running { pidfd: None };
            }
            Main::Foreign(pidfd) => {
                let watched = self.ground.watch.add(&pidfd, Token::Process(number), EpollFlags::EPOLLIN);
                if let Err(errno) = watched {
                    log::error("cannot watch a running attempt", &[("key", &task.key), ("error", &errno)]);
                }
                task.stage = Stage::Running { pidfd: Some(pidfd) };
            }
        }
        task.due.kill = ending.as_ref().map(|ending| ending.kill_at_us);
        task.limit_wall_clock(accepted.wall_clock_ms.filter(|_| ending.is_none()));
        log::info("taken over", &[("key", &task.key), ("pid", &task.shown_pid())]);
        self.tasks.insert(number, task);
        if accepted.memory_bytes.is_some() {
            self.watch_memory(number);
            // It may have run out of memory while nobody watched.
            self.look_at_memory(number, 0);
        }
        self.queue(number);
    }

    /// What is known of an attempt, as one whose main process is over.
    fn recovered(&mut self, attempt: &Attempt, main: &Main, same_boot: bool) -> Task {
        let Attempt { accepted, started, ending, .. } = attempt;
        let slot = accepted.slot.map(|slot| Slot::new(slot, &accepted.key, accepted.accepted_at_us));
        if let Some(slot) = slot {
            self.ground.slots.hold(slot.number);
        }
        let reason = match (same_boot, started) {
            (false, _) => LostReason::Rebooted,
            (true, None) => LostReason::LaunchInterrupted,
            (true, Some(_)) => LostReason::EndedUnwatched,
        };
        let told = slot.filter(|_| same_boot).and_then(|slot| slot.read(self.ground.slots.file()));
        let end = told.map_or_else(|| MainEnd::lost(reason), |slip| MainEnd::told(&slip));
        let pid = started.map_or(0, |started| started.pid);
        let kept = slot.is_some() && !matches!(main, Main::Gone);
        let mut task = Task {
            key: accepted.key.clone(),
            stage: Stage::Sweeping(Sweep::begin(end)),
            // Groups of another boot are gone with it.
            grouped: accepted.grouped && same_boot,
            pid,
            main_pid: kept.then(|| processes::main_of(pid)).flatten(),
            slot,
            foreign: !matches!(main, Main::Child),
            start_ticks: started.map_or(0, |started| started.start_ticks),
            started_at_us: started.map(|started| started.started_at_us),
            started_monotonic_us: started.map_or(0, |started| started.started_monotonic_us),
            grace_ms: accepted.grace_ms,
            memory_limited: accepted.memory_bytes.is_some(),
            leased: accepted.leased,
            ended_by: ending.as_ref().map(|ending| ending.ended_by.clone()),
            documents: encode(attempt),
            memory_watch: None,
            due: Due::default(),
        };
        task.note_reason(&end);
        task
    }

    /// Holds an attempt that ended before; what is left of it in its groups goes on being swept.
    fn hold_ended(&mut self, number: u64, mut task: Task, record: ExitRecord, same_boot: bool) {
        let leftovers = record.leftovers && same_boot;
        task.stage = Stage::Ended { record: Box::new(record), leftovers, acknowledged: false };
        if leftovers {
            task.due.sweep = Some(0);
        }
        self.by_key.insert(task.key.clone(), number);
        self.tasks.insert(number, task);
        self.queue(number);
    }

    /// Removes groups of ours that no journal knows: an earlier supervisor was ended between two steps.
    fn remove_orphans(&self) {
        let found = self.groups.as_ref().map(Groups::found).unwrap_or_default();
        for key in found.iter().filter(|key| !self.by_key.contains_key(key)) {
            log::warn("removing a group that no journal knows", &[("key", key)]);
            if let Some(groups) = &self.groups {
                groups.kill(key);
            }
            self.remove_groups(key);
        }
    }
}

/// Logs what is known of an attempt that is over.
fn log_end(task: &Task) {
    let Stage::Sweeping(Sweep { outcome, .. }) = &task.stage else { return };
    match outcome {
        Outcome::Lost { reason } => {
            log::warn("lost", &[("key", &task.key), ("reason", &format!("{reason:?}"))]);
        }
        Outcome::Exited { .. } | Outcome::Signaled { .. } => {
            log::info("ended while no supervisor ran", &[("key", &task.key)]);
        }
    }
}

/// The documents of an attempt as they are in the journal.
fn encode(attempt: &Attempt) -> Vec<u8> {
    let key = &attempt.accepted.key;
    let mut bytes = attempt.accepted.encode();
    bytes.extend(attempt.started.map(|started| started.encode(key)).unwrap_or_default());
    bytes.extend(attempt.ending.as_ref().map(|ending| ending.encode(key)).unwrap_or_default());
    bytes.extend(attempt.exit.as_ref().map(ExitRecord::encode).unwrap_or_default());
    bytes
}

/// The groups of running tasks stay where they were made; without any, they are made where this supervisor is.
fn find_groups(ground: &Ground, setting: &RootSetting, running: bool) -> Found {
    if running && let Some(layout) = ground.state.layout().filter(|layout| layout.boot_id == ground.boot_id) {
        match reopen(&layout.places, &ground.state.fingerprint()) {
            Ok(groups) => return Found { groups, notes: Vec::new() },
            Err(error) => {
                log::warn("the groups of running attempts are not where they were", &[("error", &error)])
            }
        }
    }
    let found = detect(setting, &ground.state.fingerprint());
    let places = found.groups.as_ref().map(Groups::places).unwrap_or_default();
    let layout = Layout { boot_id: ground.boot_id.clone(), places };
    if let Err(errno) = ground.state.set_layout(&layout) {
        log::warn("cannot record where the groups are", &[("error", &errno)]);
    }
    found
}

/// Finds the process that was started, not a later one of the same id: the pidfd is opened first, then its
/// start time compared.
fn find_main(started: &Started) -> Main {
    let Ok(pidfd) = pidfd_open(started.pid) else { return Main::Gone };
    match processes::look(started.pid).filter(|process| process.start_ticks == started.start_ticks) {
        Some(process) if process.parent == own_pid() => Main::Child,
        Some(_) => Main::Foreign(pidfd),
        None => Main::Gone,
    }
}
