//! The cgroup v2 hierarchy: with controllers where they are delegated to us, else only to keep track of
//! processes.
//!
//! A task is cloned straight into its group. The kernel kills a group as one (`cgroup.kill`, since 5.14;
//! before that its members are killed round by round), and `memory.oom.group` makes running out of memory end
//! all of it, with or without a supervisor.
//!
//! Files of recent kernels are optional: without `memory.peak` (before 5.19) a task that ran against its limit has
//! the limit for its peak and any other has that of its largest process; without `pids.peak` (before 6.6) there is
//! none of processes.

use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;

use muster_supervisor::record::Usage;
use muster_supervisor::spec::Limits;

use super::files::{GroupDir, GroupError, keyed};
use super::hierarchy::{Controllers, Door, Hierarchy, Place, Version, read_processes};

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

    fn peak_memory(&self, group: &str, events: Option<&str>) -> Option<u64> {
        self.root.get_number(&format!("{group}/memory.peak")).or_else(|| {
            // The count of how often usage was held at the limit.
            events.and_then(|text| keyed(text, "max")).filter(|held| *held > 0)?;
            self.root.get_number(&format!("{group}/memory.max"))
        })
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

    fn oom_kills(&self, group: &str) -> Option<u64> {
        // Counts what happened in the groups below, too.
        self.controllers.memory.then(|| self.root.get_keyed(&format!("{group}/memory.events"), "oom_kill"))?
    }

    fn read_usage(&self, group: &str, usage: &mut Usage) {
        let file = |name: &str| self.root.get(&format!("{group}/{name}"));
        if self.controllers.memory {
            let events = file("memory.events");
            usage.peak_memory_bytes = self.peak_memory(group, events.as_deref());
            usage.oom_kills = events.as_deref().and_then(|text| keyed(text, "oom_kill"));
        }
        if self.controllers.pids {
            read_processes(&self.root, group, usage);
        }
        if self.controllers.io {
            let (read, written) = io_bytes(&file("io.stat").unwrap_or_default());
            usage.read_bytes = Some(read);
            usage.written_bytes = Some(written);
        }
        // Every v2 group counts CPU time, with or without the controller.
        if let Some(text) = file("cpu.stat") {
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

/// Bytes read and written on all devices, from the text of `io.stat`: a line for each device.
fn io_bytes(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let values = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(name));
        values.filter_map(|value| value.parse::<u64>().ok()).fold(0_u64, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ALL: Controllers =
        Controllers { memory: true, cpu: true, cpuacct: false, pids: true, freezer: false, io: true };

    /// A directory with the files of a group, as far as `limit` and `read_usage` are concerned.
    fn group(files: &[(&str, &str)]) -> (tempfile::TempDir, V2) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("task-x")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join("task-x").join(name), text).unwrap();
        }
        let v2 = V2::new(GroupDir::open(dir.path()).unwrap(), ALL);
        (dir, v2)
    }

    fn written(dir: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(dir.path().join("task-x").join(file)).unwrap()
    }

    fn usage(v2: &V2) -> Usage {
        let mut usage = Usage::default();
        v2.read_usage("task-x", &mut usage);
        usage
    }

    #[test]
    fn every_limit_goes_to_its_file_and_memory_ends_the_whole_group() {
        let names =
            ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cpu.weight"];
        let (dir, v2) = group(&names.map(|name| (name, "")));
        let limits = Limits {
            memory_bytes: Some(1 << 30),
            cpu_millis: Some(1_500),
            cpu_weight: Some(300),
            pids_max: Some(64),
            ..Limits::default()
        };
        v2.limit("task-x", &limits).unwrap();
        assert_eq!(
            names.map(|name| written(&dir, name)),
            ["1073741824", "0", "1", "64", "150000 100000", "300"]
        );
    }

    #[test]
    fn without_swap_or_oom_group_the_rest_is_limited_but_a_missing_limit_is_an_error() {
        let limits = Limits { memory_bytes: Some(1 << 30), ..Limits::default() };
        let (dir, v2) = group(&[("memory.max", "max")]);
        v2.limit("task-x", &limits).unwrap();
        assert!(written(&dir, "memory.max").starts_with("1073741824"));
        let (_dir, v2) = group(&[]);
        assert_eq!(v2.limit("task-x", &limits).unwrap_err().errno, nix::errno::Errno::ENOENT);
    }

    #[test]
    fn usage_is_read_from_the_files_of_the_group() {
        let (_dir, v2) = group(&[
            ("memory.peak", "4096\n"),
            ("memory.max", "8192\n"),
            ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n"),
            ("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n"),
            ("pids.peak", "9\n"),
            ("pids.events", "max 5\n"),
            (
                "io.stat",
                "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n254:16 rbytes=5 wbytes=7 rios=1 wios=1\n253:0 \n",
            ),
        ]);
        let wanted = Usage {
            user_cpu_us: Some(20),
            system_cpu_us: Some(10),
            peak_memory_bytes: Some(4096),
            read_bytes: Some(15),
            written_bytes: Some(27),
            oom_kills: Some(2),
            peak_processes: Some(9),
            refused_processes: Some(5),
        };
        assert_eq!(usage(&v2), wanted);
    }

    #[test]
    fn an_older_kernel_has_the_limit_for_the_peak_of_a_task_that_ran_against_it() {
        let files = |max| [("memory.max", "8192\n"), ("memory.events", max), ("pids.events", "max 0\n")];
        let (_dir, v2) = group(&files("max 3\noom_kill 0\n"));
        assert_eq!(usage(&v2).peak_memory_bytes, Some(8192));
        let (_dir, v2) = group(&files("max 0\noom_kill 0\n"));
        let found = usage(&v2);
        assert_eq!((found.peak_memory_bytes, found.peak_processes), (None, None));
        assert_eq!((found.oom_kills, found.refused_processes), (Some(0), Some(0)));
    }

    #[test]
    fn a_text_that_is_not_io_stat_counts_nothing() {
        assert_eq!(io_bytes(""), (0, 0));
        assert_eq!(io_bytes("8:0 rbytes=x wbytes=\nrbytes=-1 wbytes=3"), (0, 3));
        assert_eq!(io_bytes("rbytes=18446744073709551615 rbytes=9"), (u64::MAX, 0));
    }
}
