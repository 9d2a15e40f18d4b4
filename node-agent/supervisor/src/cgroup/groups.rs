//! The groups of one task in all hierarchies, handled as one.
//!
//! One hierarchy, the *keeper*, holds every member of every task and is the one that is killed by: v2 where
//! there is one, else the v1 freezer, else any. The others only limit and measure.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use muster_supervisor::record::Usage;
use muster_supervisor::spec::Limits;
use muster_supervisor::{AttemptKey, Containment, LimitKind};

use super::files::GroupError;
use super::hierarchy::{Controllers, Door, Hierarchy, Place, Version};

/// Begins the name of every task's group. No file of the kernel's begins so: a key alone could be named like
/// one.
const GROUP_PREFIX: &str = "task-";

/// What a new process needs to get into its groups.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// The v2 directory to be cloned into.
    pub(crate) into: Option<OwnedFd>,
    /// The v1 `cgroup.procs` files to write `0` into.
    pub(crate) joins: Vec<OwnedFd>,
}

/// All hierarchies in use; the first is the keeper.
#[derive(Debug)]
pub(crate) struct Groups {
    hierarchies: Vec<Box<dyn Hierarchy>>,
}

impl Groups {
    /// Takes hierarchies of which the first holds every task; `None` if there is none.
    pub(crate) fn new(hierarchies: Vec<Box<dyn Hierarchy>>) -> Option<Self> {
        (!hierarchies.is_empty()).then_some(Self { hierarchies })
    }

    /// Where the groups are.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.place()).collect()
    }

    /// All controllers of all hierarchies.
    pub(crate) fn controllers(&self) -> Controllers {
        let mut all = Controllers::default();
        for place in self.places() {
            place.controllers.names().into_iter().for_each(|name| all.add(name));
        }
        all
    }

    /// Whether CPU time is counted for whole groups.
    pub(crate) fn counts_cpu_time(&self) -> bool {
        self.places().iter().any(|place| place.version == Version::V2 || place.controllers.cpuacct)
    }

    /// The version whose controllers enforce limits: 1 also beside a v2 tree that only keeps track of processes.
    pub(crate) fn version(&self) -> u32 {
        let limits = |place: &Place| {
            let has = place.controllers;
            place.version == Version::V1 && (has.memory || has.cpu || has.pids)
        };
        if self.places().iter().any(limits) { 1 } else { 2 }
    }

    /// How a group is killed.
    pub(crate) fn containment(&self) -> Containment {
        let Some(keeper) = self.hierarchies.first() else { return Containment::ProcessTree };
        if keeper.root().open_file("cgroup.kill", OFlag::O_WRONLY).is_ok() {
            Containment::GroupKill
        } else if keeper.place().controllers.freezer {
            Containment::GroupFreeze
        } else {
            Containment::GroupSignal
        }
    }

    /// The first limit that cannot be enforced here.
    pub(crate) fn unenforceable(groups: Option<&Self>, limits: &Limits) -> Option<LimitKind> {
        let has = groups.map(Self::controllers).unwrap_or_default();
        let asked = [
            (limits.memory_bytes.is_some(), has.memory, LimitKind::Memory),
            (limits.cpu_millis.is_some() || limits.cpu_weight.is_some(), has.cpu, LimitKind::Cpu),
            (limits.pids_max.is_some(), has.pids, LimitKind::Pids),
        ];
        asked.into_iter().find_map(|(asked, here, limit)| (asked && !here).then_some(limit))
    }

    /// Makes a task's groups; on failure none is left.
    pub(crate) fn create(&self, key: &AttemptKey, limits: &Limits) -> Result<Doors, GroupError> {
        let group = group_name(key);
        let mut doors = Doors::default();
        for hierarchy in &self.hierarchies {
            match hierarchy.create(&group, limits) {
                Ok(Some(Door::CloneInto(directory))) => doors.into = Some(directory),
                Ok(Some(Door::Join(procs))) => doors.joins.push(procs),
                Ok(None) => {}
                Err(error) => {
                    // What was made is empty, so removing it works; the first error is the one to tell.
                    let _ = self.remove(key);
                    return Err(error);
                }
            }
        }
        Ok(doors)
    }

    /// The group that holds every process of a task: its hierarchy's root group, and its name below that.
    pub(crate) fn tracker(&self, key: &AttemptKey) -> Option<(BorrowedFd<'_>, String)> {
        let keeper = self.hierarchies.first()?;
        Some((keeper.root().fd(), group_name(key)))
    }

    /// A descriptor that becomes readable when the task is short of memory, where the kernel does not end all
    /// of it.
    pub(crate) fn oom_watch(&self, key: &AttemptKey) -> Option<OwnedFd> {
        self.hierarchies.iter().find_map(|hierarchy| hierarchy.oom_watch(&group_name(key)))
    }

    /// How often the kernel killed a process of the task for want of memory.
    pub(crate) fn oom_kills(&self, key: &AttemptKey) -> Option<u64> {
        self.hierarchies.iter().find_map(|hierarchy| hierarchy.oom_kills(&group_name(key)))
    }

    /// Its processes, those in groups that it made itself included; ours are among them.
    pub(crate) fn members(&self, key: &AttemptKey) -> Vec<i32> {
        self.hierarchies.first().map(|keeper| keeper.root().members(&group_name(key))).unwrap_or_default()
    }

    /// What the task has used so far.
    pub(crate) fn usage(&self, key: &AttemptKey) -> Usage {
        let mut usage = Usage::default();
        self.hierarchies.iter().for_each(|hierarchy| hierarchy.read_usage(&group_name(key), &mut usage));
        usage
    }

    /// Sends a signal to every process of the task.
    pub(crate) fn signal(&self, key: &AttemptKey, signal: Signal) {
        if let Some(keeper) = self.hierarchies.first() {
            keeper.root().signal(&group_name(key), signal);
        }
    }

    /// Kills every process of the task; to be repeated until [`Groups::remove`] succeeds.
    pub(crate) fn kill(&self, key: &AttemptKey) {
        let group = group_name(key);
        for (index, hierarchy) in self.hierarchies.iter().enumerate() {
            match index {
                0 => hierarchy.kill(&group),
                // A privileged task may have left the keeper; it is met where it stayed.
                _ => hierarchy.root().signal(&group, Signal::SIGKILL),
            }
        }
    }

    /// Removes the task's groups; `false` if processes are left in one.
    pub(crate) fn remove(&self, key: &AttemptKey) -> Result<bool, GroupError> {
        let group = group_name(key);
        let mut gone = true;
        for hierarchy in &self.hierarchies {
            gone &= hierarchy.root().remove(&group)?;
        }
        Ok(gone)
    }

    /// Keys of tasks that have a group in any hierarchy.
    pub(crate) fn found(&self) -> Vec<AttemptKey> {
        let names = self.hierarchies.iter().flat_map(|hierarchy| hierarchy.root().groups_below(""));
        let mut keys: Vec<_> =
            names.filter_map(|name| AttemptKey::new(name.strip_prefix(GROUP_PREFIX)?).ok()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Removes our root groups, those that are empty.
    pub(crate) fn dismantle(&self) {
        for place in self.places() {
            // Fails while tasks run on, and then the next supervisor uses it.
            let _ = std::fs::remove_dir(place.path);
        }
    }
}

fn group_name(key: &AttemptKey) -> String {
    format!("{GROUP_PREFIX}{key}")
}
