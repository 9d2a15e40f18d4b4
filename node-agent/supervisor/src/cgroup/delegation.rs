//! Which group of v2 is ours to divide, and how it is made ready.
//!
//! systemd marks the group of a unit with `Delegate=` by an extended attribute; what is below is left alone by it.
//! Only a group with that mark is divided, or one that is the top of a cgroup namespace: everything in it is ours,
//! the agent included. The kernel gives controllers to groups below only while a group has no processes of its own,
//! so those step aside into a leaf.
//!
//! Invariant: no process is moved that was not in a group delegated to us, but our own.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::files::{GroupDir, GroupError};
use super::mounts::Mount;

/// The marks that systemd sets: the second since it exists, the first for those without privileges since 251.
const MARKS: [&CStr; 2] = [c"user.delegate", c"trusted.delegate"];
/// Names that systemd gives to groups of units: such a group below a delegated one is another manager's.
const UNIT_SUFFIXES: [&str; 3] = ["service", "scope", "slice"];
/// Rounds of moving processes out of a group that fork meanwhile.
const GATHER_ROUNDS: usize = 16;

/// Whether a group bears a mark.
#[allow(unsafe_code)]
pub(super) fn is_marked(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    MARKS.iter().any(|mark| {
        let mut value = [0_u8; 2];
        // SAFETY: both strings are null-terminated, and the length is that of the buffer.
        let length =
            unsafe { libc::getxattr(path.as_ptr(), mark.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        length == 1 && value[0] == b'1'
    })
}

/// The group that is delegated to us: our own, or the one above it if we are in a leaf of it. `marked` tells whether a
/// group bears a mark.
pub(super) fn domain(mount: &Mount, marked: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    if marked(&mount.own) {
        return Some(mount.own.clone());
    }
    let is_unit = mount.own.extension().is_some_and(|end| UNIT_SUFFIXES.iter().any(|suffix| end == *suffix));
    let above =
        mount.own.parent().filter(|above| !is_unit && *above != mount.at && above.starts_with(&mount.at))?;
    marked(above).then(|| above.to_owned())
}

/// Whether everything in a group is ours: it is marked, or it is the top of what a cgroup namespace shows. (The top of
/// the real hierarchy has no type.)
fn is_ours(group: &GroupDir, mount: &Mount) -> bool {
    is_marked(group.path()) || (group.path() == mount.at && group.get("cgroup.type").is_some())
}

/// Gives a controller to the groups below one. A group with processes has them step aside into `leaf` first, if all of
/// them are ours to move.
///
/// The kernel itself refuses only some controllers while there are processes; given one of the others (cpu, pids) it
/// would turn the group into one of threads, in which nothing below can have processes of its own.
pub(super) fn enable(
    group: &GroupDir,
    controller: &str,
    leaf: &str,
    mount: &Mount,
) -> Result<(), GroupError> {
    const FILE: &str = "cgroup.subtree_control";
    let enabled = group.get(FILE).unwrap_or_default();
    if enabled.split_whitespace().any(|name| name == controller) {
        return Ok(());
    }
    // The top of the real hierarchy has no type, and processes are allowed there.
    let at_top = group.get("cgroup.type").is_none();
    for _ in 0..GATHER_ROUNDS {
        let members = if at_top { String::new() } else { group.get("cgroup.procs").unwrap_or_default() };
        if members.is_empty() {
            match group.set(FILE, &format!("+{controller}")) {
                // Some process was forked into it meanwhile.
                Err(GroupError { errno: Errno::EBUSY, .. }) => {}
                result => return result,
            }
        } else if !step_aside(group, &members, leaf, mount)? {
            break;
        }
    }
    Err(GroupError {
        operation: "divide, for it has processes of others,",
        path: group.path().to_owned(),
        errno: Errno::EBUSY,
    })
}

/// Moves the processes of a group into a leaf of it; `false` if they are not all ours to move.
fn step_aside(group: &GroupDir, members: &str, leaf: &str, mount: &Mount) -> Result<bool, GroupError> {
    let own = std::process::id().to_string();
    let alone = members.lines().all(|pid| pid == own);
    // One of another process namespace is shown as 0, which would mean us.
    if members.lines().any(|pid| pid == "0") || !(alone || is_ours(group, mount)) {
        return Ok(false);
    }
    for pid in members.lines() {
        match enter(group, leaf, pid) {
            // It has ended.
            Ok(()) | Err(GroupError { errno: Errno::ESRCH, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Moves a process (`0` is this one) into a leaf of a group, which is made if it is missing.
pub(super) fn enter(group: &GroupDir, leaf: &str, pid: &str) -> Result<(), GroupError> {
    match group.make(leaf) {
        Ok(()) | Err(GroupError { errno: Errno::EEXIST, .. }) => {}
        Err(error) => return Err(error),
    }
    group.set(&format!("{leaf}/cgroup.procs"), pid)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::hierarchy::{Controllers, Version};
    use super::*;

    fn mount(at: &Path, own: &Path) -> Mount {
        Mount {
            version: Version::V2,
            controllers: Controllers::default(),
            at: at.to_owned(),
            own: own.to_owned(),
        }
    }

    fn domain_of(own: &str, marked: &str) -> Option<PathBuf> {
        domain(&mount(Path::new("/c"), Path::new(own)), &|path| path == Path::new(marked))
    }

    #[test]
    fn our_own_group_or_the_one_of_our_leaf_is_the_domain() {
        let service = "/c/system.slice/agent.service";
        for own in
            [service, "/c/system.slice/agent.service/main", "/c/system.slice/agent.service/supervisor-1"]
        {
            assert_eq!(domain_of(own, service), Some(service.into()), "{own}");
        }
        assert_eq!(domain_of(service, "/nowhere"), None);
    }

    #[test]
    fn what_is_delegated_to_another_manager_above_us_is_not_ours() {
        let user = "/c/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(domain_of(&format!("{user}/app.slice/run.scope"), user), None);
        assert_eq!(domain_of(&format!("{user}/init.scope"), user), None);
        assert_eq!(domain_of("/c/leaf", "/c"), None);
    }

    #[test]
    fn groups_without_a_mark_are_not_taken_for_delegated() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_marked(dir.path()));
        assert!(!is_marked(Path::new("/no/such/group")));
    }

    /// An ordinary directory with the files of a group that has these processes.
    fn group_of(members: &str) -> (tempfile::TempDir, GroupDir) {
        let dir = tempfile::tempdir().unwrap();
        let files =
            [("cgroup.procs", members), ("cgroup.type", "domain\n"), ("cgroup.subtree_control", "pids\n")];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let group = GroupDir::open(dir.path()).unwrap();
        (dir, group)
    }

    #[test]
    fn a_group_with_processes_of_others_is_not_divided_nor_are_they_moved() {
        let elsewhere = mount(Path::new("/c"), Path::new("/c/x"));
        for members in ["1\n2\n", "0\n"] {
            let (dir, group) = group_of(members);
            assert_eq!(enable(&group, "cpu", "leaf", &elsewhere).unwrap_err().errno, Errno::EBUSY);
            assert!(!dir.path().join("leaf").exists());
            // What is enabled already is accepted as it is.
            assert_eq!(enable(&group, "pids", "leaf", &elsewhere), Ok(()));
        }
    }

    #[test]
    fn where_all_is_ours_processes_are_moved_before_any_controller_is_given() {
        let (dir, group) = group_of("1\n2\n");
        let top = mount(dir.path(), dir.path());
        // An ordinary directory has no cgroup.procs in its leaf, so the move itself fails, but it is tried.
        assert_eq!(enable(&group, "cpu", "leaf", &top).unwrap_err().errno, Errno::ENOENT);
        assert!(dir.path().join("leaf").exists());
        let (dir, group) = group_of("");
        let (own, top) = (dir.path().join("own"), dir.path());
        assert_eq!(enable(&group, "cpu", "leaf", &mount(top, &own)), Ok(()));
        assert!(fs::read_to_string(top.join("cgroup.subtree_control")).unwrap().starts_with("+cpu"));
    }
}
