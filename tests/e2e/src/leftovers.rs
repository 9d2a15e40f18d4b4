//! What a cluster leaves behind: processes that live in its folder, the control groups of its supervisors, and mounts.
//!
//! A process belongs to a folder when the folder stands in its command line, or it works in it, or it is in a group of one of the
//! folder's supervisors. Groups are read from the `layout` files that supervisors keep. Everything is ended by process id, and
//! looked for again until nothing is left, because a task may start children while it is being ended.

use crate::wait::{SOON, wait_until, when};
use anyhow::Context;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How deep below a cluster's folder a supervisor's state folder may lie.
const DEPTH_MAX: u8 = 6;

/// How long an ended process may still be seen: far longer than an exit takes, far shorter than a process that stays.
const VANISHING: Duration = Duration::from_secs(3);

/// What is there.
#[derive(Debug, Default, Clone)]
pub struct Leftovers {
    /// Processes with their command lines.
    pub processes: BTreeMap<i32, String>,
    /// Control groups, parents before children.
    pub groups: BTreeSet<PathBuf>,
    /// File systems that daemons mounted, parents before children.
    pub mounts: BTreeSet<PathBuf>,
}

impl Leftovers {
    /// Looks at everything that belongs to `folder`, which must be a canonical path.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let mut groups = BTreeSet::new();
        for root in supervisor_groups(folder, DEPTH_MAX) {
            collect_groups(&root, &mut groups);
        }
        let mut processes = processes_of(folder);
        for id in groups.iter().flat_map(|group| members(group)) {
            processes.entry(id).or_insert_with(|| command_line(id));
        }
        Self { processes, groups, mounts: mounts_below(folder) }
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.groups.is_empty() && self.mounts.is_empty()
    }

    /// One line for each.
    #[must_use]
    pub fn words(&self) -> String {
        let processes = self.processes.iter().map(|(id, words)| format!("process {id}: {words}"));
        let groups = self.groups.iter().map(|group| format!("group {}", group.display()));
        let mounts = self.mounts.iter().map(|mount| format!("mount {}", mount.display()));
        processes.chain(groups).chain(mounts).collect::<Vec<_>>().join("\n  ")
    }
}

/// Requires that nothing of `folder` is there, or only what is about to go: a process that has said its last word still
/// takes a moment to vanish.
///
/// # Errors
/// With what is there after a while.
pub fn none_left(folder: &Path) -> anyhow::Result<()> {
    let gone = wait_until(VANISHING, "everything to be gone", || Ok(when(Leftovers::of(folder).is_empty())));
    gone.with_context(|| format!("left behind:\n  {}", Leftovers::of(folder).words()))
}

/// Ends every process of `folder` and removes its groups.
///
/// # Errors
/// With what is left, when something resists.
pub fn remove_all(folder: &Path) -> anyhow::Result<()> {
    // The layout files may go away with their folder; the groups stay known.
    let first = Leftovers::of(folder);
    wait_until(SOON, "the end of what a cluster left behind", || {
        let mut now = Leftovers::of(folder);
        now.groups.extend(first.groups.iter().filter(|group| group.exists()).cloned());
        for id in now.processes.keys() {
            // It may have ended meanwhile, which is as good.
            let _ = kill(Pid::from_raw(*id), Signal::SIGKILL);
        }
        for group in now.groups.iter().rev() {
            // A frozen group cannot die; a busy one is tried again.
            let _ = fs::write(group.join("freezer.state"), "THAWED");
            let _ = fs::remove_dir(group);
            let parent = group.parent().filter(|parent| is_ours(parent, folder));
            let _ = parent.map(fs::remove_dir);
        }
        for mount in now.mounts.iter().rev() {
            // Detaching always succeeds; one that is gone already is as good.
            let _ = umount2(mount, MntFlags::MNT_DETACH);
        }
        let gone = now.groups.iter().all(|group| !group.exists());
        Ok(when(now.processes.is_empty() && gone && mounts_below(folder).is_empty()))
    })
    .with_context(|| format!("left behind:\n  {}", Leftovers::of(folder).words()))
}

/// Ends every process that belongs to `folder`, and leaves groups and mounts alone.
///
/// # Errors
/// With what is left, when something resists.
pub(crate) fn end_processes(folder: &Path) -> anyhow::Result<()> {
    wait_until(SOON, "the end of all processes of a folder", || {
        let now = Leftovers::of(folder);
        for id in now.processes.keys() {
            // It may have ended meanwhile, which is as good.
            let _ = kill(Pid::from_raw(*id), Signal::SIGKILL);
        }
        Ok(when(now.processes.is_empty()))
    })
}

/// Processes by id whose command line or working folder lies in `folder`.
fn processes_of(folder: &Path) -> BTreeMap<i32, String> {
    let text = folder.to_string_lossy();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    let mut found = BTreeMap::new();
    for id in ids.filter(|id| *id != own) {
        let words = command_line(id);
        let works_there = fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if (words.contains(&*text) || works_there) && !is_zombie(id) {
            found.insert(id, words);
        }
    }
    found
}

/// What is mounted below `folder`, but for the disks that the tests themselves mount there.
fn mounts_below(folder: &Path) -> BTreeSet<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = table.lines().filter(|line| !line.contains(crate::tmpfs::SOURCE));
    let paths = below.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    paths.filter(|path| path.starts_with(folder)).collect()
}

fn command_line(id: i32) -> String {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// The name that a process gives itself, which tells a supervisor from the keepers of its tasks; at most 15 bytes.
pub(crate) fn own_name(id: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// A zombie has ended; its parent has only not looked yet.
fn is_zombie(id: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|id| *id > 0 && !is_zombie(*id)).collect()
}

/// The root groups that supervisors below `folder` noted in their layout files.
fn supervisor_groups(folder: &Path, depth: u8) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            found.extend(supervisor_groups(&path, depth - 1));
        } else if kind.is_file() && entry.file_name() == "layout" {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            found.extend(paths_in(&text).filter(|group| group.join("cgroup.procs").exists()));
        }
    }
    found
}

/// The absolute paths among the values of a supervisor's document (`name length:value` on each line).
fn paths_in(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines()
        .filter_map(|line| line.split_once(':').map(|(_, value)| value))
        .filter(|value| value.starts_with('/'))
        .map(PathBuf::from)
}

/// Whether a group was named after the folder, as a split cluster's agents are told to.
fn is_ours(group: &Path, folder: &Path) -> bool {
    group.file_name().is_some_and(|name| Some(name) == folder.file_name())
}

fn collect_groups(group: &Path, into: &mut BTreeSet<PathBuf>) {
    into.insert(group.to_path_buf());
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_groups(&entry.path(), into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn process_of_a_folder_is_found_and_ended_and_others_are_not() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (folder, other) = (folder.path().canonicalize().unwrap(), other.path().canonicalize().unwrap());
        let mut inside = Command::new("sleep").arg("600").current_dir(&folder).spawn().unwrap();
        let mut outside = Command::new("sleep").arg("600").current_dir(&other).spawn().unwrap();
        let found = wait_until(SOON, "the process", || {
            let found = Leftovers::of(&folder);
            Ok(when(!found.processes.is_empty()).map(|()| found))
        });
        // Reaped by a thread, because a process is gone only when its parent has looked.
        let reaped = std::thread::spawn(move || inside.wait());
        let removed = remove_all(&folder);
        let outside_runs = matches!(outside.try_wait(), Ok(None));
        outside.kill().unwrap();
        outside.wait().unwrap();
        assert_eq!(found.unwrap().processes.len(), 1);
        removed.unwrap();
        assert!(!reaped.join().unwrap().unwrap().success());
        assert!(outside_runs);
    }

    #[test]
    fn groups_are_read_from_a_layout() {
        let text =
            "muster-layout 1\nboot_id 4:abcd\nplace 60:muster-place 1\npath 13:/sys/fs/x y/z\nend 0:\n";
        assert_eq!(paths_in(text).collect::<Vec<_>>(), [PathBuf::from("/sys/fs/x y/z")]);
    }
}
