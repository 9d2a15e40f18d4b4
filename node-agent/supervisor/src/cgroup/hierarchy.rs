//! What the two versions of control groups have in common: the trait, and where a hierarchy is.
//!
//! A [`Place`] is written to disk, so that a supervisor started from elsewhere (another unit, another
//! session) finds the groups of running tasks where they were made.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use muster_supervisor::record::Usage;
use muster_supervisor::spec::Limits;

use super::files::{GroupDir, GroupError};

/// Which interface a hierarchy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The controllers of a hierarchy that matter to tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Controllers {
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
    pub(crate) cpuacct: bool,
    pub(crate) pids: bool,
    pub(crate) freezer: bool,
    /// v2 only: v1's `blkio` counts nothing on recent kernels, and never what is written through the page cache.
    pub(crate) io: bool,
}

impl Controllers {
    /// Adds a controller by its name; other names are passed over.
    pub(crate) fn add(&mut self, name: &str) {
        match name {
            "memory" => self.memory = true,
            "cpu" => self.cpu = true,
            "cpuacct" => self.cpuacct = true,
            "pids" => self.pids = true,
            "freezer" => self.freezer = true,
            "io" => self.io = true,
            _ => {}
        }
    }

    /// The controllers' names.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let all = [
            (self.memory, "memory"),
            (self.cpu, "cpu"),
            (self.cpuacct, "cpuacct"),
            (self.pids, "pids"),
            (self.freezer, "freezer"),
            (self.io, "io"),
        ];
        all.into_iter().filter_map(|(here, name)| here.then_some(name)).collect()
    }

    /// Reads names separated by blanks or commas.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        text.split([' ', ',', '\n']).for_each(|name| found.add(name));
        found
    }
}

/// A hierarchy in which tasks get groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) controllers: Controllers,
    /// Our root group: the parent of the groups of tasks.
    pub(crate) path: PathBuf,
    /// Every task has a group here.
    pub(crate) tracks: bool,
}

/// How a process gets into a group.
#[derive(Debug)]
pub(crate) enum Door {
    /// It is cloned into this directory (v2).
    CloneInto(OwnedFd),
    /// It writes `0` into this `cgroup.procs` (v1).
    Join(OwnedFd),
}

/// One hierarchy of control groups.
pub(crate) trait Hierarchy: std::fmt::Debug {
    /// Where it is and what it can do.
    fn place(&self) -> Place;

    /// Our root group.
    fn root(&self) -> &GroupDir;

    /// Makes a group with limits; `None` if nothing of what they ask for is in this hierarchy.
    fn create(&self, group: &str, limits: &Limits) -> Result<Option<Door>, GroupError>;

    /// A descriptor that becomes readable when a process of the group is about to be killed for want of memory;
    /// `None` where the kernel ends the whole group by itself.
    fn oom_watch(&self, group: &str) -> Option<OwnedFd>;

    /// How often the kernel killed a member for want of memory; `None` where that is not counted.
    fn oom_kills(&self, group: &str) -> Option<u64>;

    /// Fills in what this hierarchy measures.
    fn read_usage(&self, group: &str, usage: &mut Usage);

    /// Sends SIGKILL to all members; those that were missed are met by calling it again.
    fn kill(&self, group: &str);
}

/// Reads the counts of processes, whose files are the same in both versions.
pub(crate) fn read_processes(root: &GroupDir, group: &str, usage: &mut Usage) {
    usage.peak_processes = root.get_number(&format!("{group}/pids.peak"));
    usage.refused_processes = root.get_keyed(&format!("{group}/pids.events"), "max");
}
