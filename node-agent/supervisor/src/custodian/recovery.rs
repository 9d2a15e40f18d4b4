//! What an earlier supervisor left: running tasks are taken over, ended ones reported, interrupted ones
//! cleaned up.
//!
//! A task is found again by its journal, its boot, and the start time of its main process; its groups by the
//! layout that was kept, wherever this supervisor itself was started. Tasks of an earlier boot are lost.
//! Processes that are no longer our children are waited for by pidfd, whose exit status recent kernels tell;
//! else it is recorded as lost, never guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;

use nix::sys::epoll::EpollFlags;

use muster_supervisor::journal::{Attempt, Started};
use muster_supervisor::record::Usage;
use muster_supervisor::{ExitRecord, LostReason, Outcome};

use super::ending::own_pid;
use super::{Custodian, Ground};
use crate::cgroup::{Found, Groups, RootSetting, detect, reopen};
use crate::clock::monotonic_us;
use crate::log;
use crate::processes;
use crate::state_dir::{Layout, StateDirError};
use crate::sys::pidfd_open;
use crate::task::{Due, Stage, Sweep, Task};
use crate::watch::Token;

/// The main process of an attempt that is taken over.
enum Main {
    /// It is our child: the supervisor replaced itself without changing its process.
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
        let mut custodian = Self {
            ground,
            groups: found.groups,
            notes: found.notes,
            tasks: BTreeMap::new(),
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            queue: BTreeSet::new(),
            last_number: 0,
            outbox: Vec::new(),
            stopping: None,
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
        let documents = encode(&attempt);
        let Attempt { accepted, started, ending, exit } = attempt;
        let key = accepted.key.clone();
        let same_boot = accepted.boot_id == self.ground.boot_id;
        let main =
            if same_boot { started.map_or(Main::Gone, |started| find_main(&started)) } else { Main::Gone };
        let reason = match (same_boot, started) {
            (false, _) => LostReason::Rebooted,
            (true, None) => LostReason::LaunchInterrupted,
            (true, Some(_)) => LostReason::EndedUnwatched,
        };
        let lost = Sweep {
            outcome: Outcome::Lost { reason },
            ended_at_us: crate::clock::wall_us(),
            usage: Usage::default(),
            since_us: monotonic_us(),
            rounds: 0,
        };
        let mut task = Task {
            key: key.clone(),
            stage: Stage::Sweeping(lost),
            // Groups of another boot are gone with it.
            grouped: accepted.grouped && same_boot,
            pid: started.map_or(0, |started| started.pid),
            foreign: !matches!(main, Main::Child),
            start_ticks: started.map_or(0, |started| started.start_ticks),
            started_at_us: started.map(|started| started.started_at_us),
            started_monotonic_us: started.map_or(0, |started| started.started_monotonic_us),
            grace_ms: accepted.grace_ms,
            memory_limited: accepted.memory_bytes.is_some(),
            ended_by: ending.as_ref().map(|ending| ending.ended_by.clone()),
            documents,
            memory_watch: None,
            due: Due::default(),
        };
        if let Some(record) = exit {
            self.hold_ended(number, task, record, same_boot);
            return;
        }
        let taken = matches!(main, Main::Child | Main::Foreign(_));
        if let Main::Child = main {
            self.by_pid.insert(task.pid, number);
            task.stage = Stage::Running { pidfd: None };
        } else if let Main::Foreign(pidfd) = main {
            match self.ground.watch.add(&pidfd, Token::Process(number), EpollFlags::EPOLLIN) {
                Ok(()) => {}
                Err(errno) => {
                    log::error("cannot watch a running attempt", &[("key", &key), ("error", &errno)])
                }
            }
            task.stage = Stage::Running { pidfd: Some(pidfd) };
        }
        self.by_key.insert(key.clone(), number);
        if taken {
            task.due.kill = ending.as_ref().map(|ending| ending.kill_at_us);
            task.limit_wall_clock(accepted.wall_clock_ms.filter(|_| ending.is_none()));
            self.tasks.insert(number, task);
            if accepted.memory_bytes.is_some() {
                self.watch_memory(number);
            }
            log::info("taken over", &[("key", &key), ("pid", &started.map_or(0, |started| started.pid))]);
        } else {
            task.due.sweep = Some(0);
            self.tasks.insert(number, task);
            log::warn("lost", &[("key", &key), ("reason", &format!("{reason:?}"))]);
        }
        self.queue(number);
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
        match reopen(&layout.places) {
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
