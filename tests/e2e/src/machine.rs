//! What this machine can do: whether a test that needs root or control groups can say anything here.
//!
//! A test that cannot run says so with the word "skipped" and what is missing; it does not pretend.

use std::path::Path;

/// What a test may need beyond the binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To be root: to run tasks as another user, to mount.
    Root,
    /// Writable control groups that can limit memory and processes.
    Cgroups,
}

/// Whether all `needs` are met; says what is missing if not.
#[must_use]
pub fn has(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<&str> = needs.iter().filter_map(|need| missing(*need)).collect();
    if !missing.is_empty() {
        eprintln!("skipped: {test}: this machine has no {}", missing.join(" and no "));
    }
    missing.is_empty()
}

/// What is missing, in words.
fn missing(need: Need) -> Option<&'static str> {
    let (met, words) = match need {
        Need::Root => (nix::unistd::geteuid().is_root(), "root (run the tests as root)"),
        Need::Cgroups => {
            (cgroups(), "writable control groups (run the tests as root on a machine with cgroups)")
        }
    };
    (!met).then_some(words)
}

/// v1 has a folder for each controller; v2 names its controllers in one file at its top.
fn cgroups() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let v1 =
        ["memory", "pids"].iter().all(|name| Path::new("/sys/fs/cgroup").join(name).join("tasks").exists());
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .is_ok_and(|names| names.contains("memory") && names.contains("pids"));
    root && (v1 || v2)
}

/// How many processors there are: what bounds the slots and the load that a test may ask for.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
