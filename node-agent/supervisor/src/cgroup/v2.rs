//! The cgroup v2 hierarchy: with controllers where they are delegated to us, else only to keep track of
//! processes.
//!
//! A task is cloned straight into its group. The kernel kills a group as one (`cgroup.kill`, since 5.14;
//! before that its members are killed round by round), and `memory.oom.group` makes running out of memory end
//! all of it.

use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;

use muster_supervisor::record::Usage;
use muster_supervisor::spec::Limits;

use super::files::{GroupDir, GroupError, keyed};
use super::hierarchy::{Controllers, Door, Hierarchy, Place, Version};

/// Period of CPU quotas in microseconds; the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

/// The v2 hierarchy.
#[derive(Debug)]
pub(crate) struct V2 {
    root: GroupDir,
    controllers: Controllers,
}

impl V2 {
    pub(crate) fn new(root: GroupDir, controllers: Controllers) -> Self {
        Self { root, controllers }
    }

    fn limit(&self, group: &str, limits: &Limits) -> Result<(), GroupError> {
        let set = |file: &str, value: &str| self.root.set(&format!("{group}/{file}"), value);
        if self.controllers.memory {
            self.root.set_if_there(&format!("{group}/memory.oom.group"), "1")?;
            if let Some(bytes) = limits.memory_bytes {
                set("memory.max", &bytes.to_string())?;
                self.root.set_if_there(&format!("{group}/memory.swap.max"), "0")?;
            }
        }
        if let (true, Some(count)) = (self.controllers.pids, limits.pids_max) {
            set("pids.max", &count.to_string())?;
        }
        if let (true, Some(millis)) = (self.controllers.cpu, limits.cpu_millis) {
            let quota = u64::from(millis) * CPU_PERIOD_US / 1_000;
            set("cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?;
        }
        if let (true, Some(weight)) = (self.controllers.cpu, limits.cpu_weight) {
            set("cpu.weight", &weight.to_string())?;
        }
        Ok(())
    }
}

impl Hierarchy for V2 {
    fn place(&self) -> Place {
        let path = self.root.path().to_owned();
        Place { version: Version::V2, controllers: self.controllers, path, tracks: true }
    }

    fn root(&self) -> &GroupDir {
        &self.root
    }

    fn create(&self, group: &str, limits: &Limits) -> Result<Option<Door>, GroupError> {
        self.root.make(group)?;
        self.limit(group, limits)?;
        Ok(Some(Door::CloneInto(self.root.open_group(group)?)))
    }

    fn oom_watch(&self, _group: &str) -> Option<OwnedFd> {
        // memory.oom.group has the kernel do it.
        None
    }

    fn read_usage(&self, group: &str, usage: &mut Usage) {
        let file = |name: &str| format!("{group}/{name}");
        if self.controllers.memory {
            usage.peak_memory_bytes = self.root.get_number(&file("memory.peak"));
            usage.oom_kills = self.root.get_keyed(&file("memory.events"), "oom_kill");
        }
        // Every v2 group counts CPU time, with or without the controller.
        if let Some(text) = self.root.get(&file("cpu.stat")) {
            usage.user_cpu_us = keyed(&text, "user_usec");
            usage.system_cpu_us = keyed(&text, "system_usec");
        }
    }

    fn kill(&self, group: &str) {
        if self.root.set(&format!("{group}/cgroup.kill"), "1").is_err() {
            self.root.signal(group, Signal::SIGKILL);
        }
    }
}
