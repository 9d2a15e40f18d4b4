//! One mounted cgroup v1 hierarchy with the controllers that are bound to it.
//!
//! On v1 every controller may have a hierarchy of its own, so a task has one group in each that it needs; a
//! hierarchy in which it asks for nothing is left out, for each group costs a start 45 to 110 µs here (memory most).
//! Groups are not used again: page cache that a task left would count for the next one, and the counts of refused
//! processes and killed ones cannot be reset.
//!
//! Out of memory: v1 kills one process, not the group, so the supervisor watches `memory.oom_control` and
//! kills the rest.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;

use muster_supervisor::record::Usage;
use muster_supervisor::spec::Limits;

use super::files::{GroupDir, GroupError};
use super::hierarchy::{Controllers, Door, Hierarchy, Place, Version, read_processes};

/// The kernel's smallest and largest `cpu.shares`.
const SHARES_RANGE: (u32, u32) = (2, 262_144);
/// `cpu.shares` of a group of the default weight 100.
const SHARES_DEFAULT: u32 = 1024;

/// A v1 hierarchy.
#[derive(Debug)]
pub(crate) struct V1 {
    root: GroupDir,
    controllers: Controllers,
    /// Whether every task has a group here, also one that asks for nothing that is here.
    tracks: bool,
}

impl V1 {
    pub(crate) fn new(root: GroupDir, controllers: Controllers, tracks: bool) -> Self {
        Self { root, controllers, tracks }
    }

    fn wanted(&self, limits: &Limits) -> bool {
        let has = self.controllers;
        // Memory always, for the peak and for recognising a lack of it that no limit of the task's own
        // brought about.
        self.tracks
            || has.memory
            || has.cpuacct
            || has.cpu && (limits.cpu_millis.is_some() || limits.cpu_weight.is_some())
            || has.pids && limits.pids_max.is_some()
    }

    fn limit(&self, group: &str, limits: &Limits) -> Result<(), GroupError> {
        let set = |file: &str, value: u64| self.root.set(&format!("{group}/{file}"), &value.to_string());
        if let (true, Some(bytes)) = (self.controllers.memory, limits.memory_bytes) {
            set("memory.limit_in_bytes", bytes)?;
            // Without swap accounting the file is absent, and then there is no swap to count or none that is
            // limited.
            self.root.set_if_there(&format!("{group}/memory.memsw.limit_in_bytes"), &bytes.to_string())?;
        }
        if let (true, Some(count)) = (self.controllers.pids, limits.pids_max) {
            set("pids.max", count.into())?;
        }
        if let (true, Some(millis)) = (self.controllers.cpu, limits.cpu_millis) {
            // The kernel's default period is 100 ms, of which one thousandth of a processor is 100 µs.
            set("cpu.cfs_quota_us", u64::from(millis) * 100)?;
        }
        if let (true, Some(weight)) = (self.controllers.cpu, limits.cpu_weight) {
            set("cpu.shares", shares(weight).into())?;
        }
        Ok(())
    }
}

/// `cpu.shares` for a weight: 100 is the kernel's default on both versions.
fn shares(weight: u32) -> u32 {
    (weight.saturating_mul(SHARES_DEFAULT) / 100).clamp(SHARES_RANGE.0, SHARES_RANGE.1)
}

impl Hierarchy for V1 {
    fn place(&self) -> Place {
        Place {
            version: Version::V1,
            controllers: self.controllers,
            path: self.root.path().to_owned(),
            tracks: self.tracks,
        }
    }

    fn root(&self) -> &GroupDir {
        &self.root
    }

    fn create(&self, group: &str, limits: &Limits) -> Result<Option<Door>, GroupError> {
        if !self.wanted(limits) {
            if !self.controllers.cpu {
                return Ok(None);
            }
            // All tasks together weigh as much as the node's own group: hundreds that are busy must not keep the
            // agent from its heartbeats. (On v2 the tree itself does that.)
            return Ok(Some(Door::Join(self.root.open_file("cgroup.procs", OFlag::O_WRONLY)?)));
        }
        self.root.make(group)?;
        self.limit(group, limits)?;
        Ok(Some(Door::Join(self.root.open_file(&format!("{group}/cgroup.procs"), OFlag::O_WRONLY)?)))
    }

    fn oom_watch(&self, group: &str) -> Option<OwnedFd> {
        if !self.controllers.memory {
            return None;
        }
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
        let control = self.root.open_file(&format!("{group}/memory.oom_control"), OFlag::O_RDONLY).ok()?;
        let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        self.root.set(&format!("{group}/cgroup.event_control"), &registration).ok()?;
        Some(event.into())
    }

    fn oom_kills(&self, group: &str) -> Option<u64> {
        if !self.controllers.memory {
            return None;
        }
        // The kernel counts where the victim was, which may be a group that a privileged task made below ours.
        let mut sum = None;
        self.root.each_group(group, &mut |group| {
            let here = self.root.get_keyed(&format!("{group}/memory.oom_control"), "oom_kill");
            sum = here.map(|kills| kills.saturating_add(sum.unwrap_or(0))).or(sum);
        });
        sum
    }

    fn read_usage(&self, group: &str, usage: &mut Usage) {
        let file = |name: &str| format!("{group}/{name}");
        if self.controllers.memory {
            usage.peak_memory_bytes = self.root.get_number(&file("memory.max_usage_in_bytes"));
            usage.oom_kills = self.oom_kills(group);
        }
        if self.controllers.pids {
            read_processes(&self.root, group, usage);
        }
        if self.controllers.cpuacct && usage.user_cpu_us.is_none() {
            let micros = |name| self.root.get_number(&file(name)).map(|nanos| nanos / 1_000);
            usage.user_cpu_us = micros("cpuacct.usage_user");
            usage.system_cpu_us = micros("cpuacct.usage_sys");
        }
    }

    /// Freezes where there is a freezer, so that nothing can fork while its members are killed one by one. A
    /// member that escaped a freeze in progress is met in the next round.
    fn kill(&self, group: &str) {
        if self.controllers.freezer {
            // Without a freeze the rounds still converge, only later.
            let _ = self.root.set(&format!("{group}/freezer.state"), "FROZEN");
        }
        self.root.signal(group, Signal::SIGKILL);
        if self.controllers.freezer {
            // Below it, too: a privileged task may have frozen groups of its own, and v1 kills nothing frozen.
            self.root.each_group(group, &mut |group| {
                let _ = self.root.set(&format!("{group}/freezer.state"), "THAWED");
            });
        }
    }
}

/// Controllers named in the options of a v1 mount.
pub(crate) fn controllers(super_options: &[u8]) -> Controllers {
    let mut found = Controllers::default();
    for option in super_options.split(|byte| *byte == b',') {
        found.add(std::ffi::OsStr::from_bytes(option).to_str().unwrap_or_default());
    }
    // A name that means a controller on v2 alone.
    found.io = false;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_shares_within_the_kernels_range() {
        assert_eq!([1, 50, 100, 400, 10_000].map(shares), [10, 512, 1_024, 4_096, 102_400]);
        assert_eq!(shares(u32::MAX), SHARES_RANGE.1.min(u32::MAX / 100));
        assert_eq!(shares(0), SHARES_RANGE.0);
    }
}
