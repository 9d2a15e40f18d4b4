//! Small files and directories of a cgroup hierarchy, reached through the descriptor of our own root group.
//!
//! Nothing here knows what a file means. Paths are relative to that descriptor, so that moving or unmounting
//! what lies above cannot redirect a write; the path that is kept beside it is for messages.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{Pid, UnlinkatFlags, read, unlinkat, write};

use muster_supervisor::Refusal;

/// Deepest nesting of groups that a task may have left behind; one that makes more is cleaned a little later
/// by a reboot.
const NESTING_MAX: usize = 16;

/// A control group operation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupError {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) errno: Errno,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path.display(), self.errno.desc())
    }
}

impl std::error::Error for GroupError {}

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Self {
        Self::Group { operation: error.operation.to_owned(), path: error.path, errno: error.errno as i32 }
    }
}

/// A directory of a hierarchy, by descriptor and by name.
#[derive(Debug)]
pub(crate) struct GroupDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl GroupDir {
    /// Opens an existing group.
    pub(crate) fn open(path: &Path) -> Result<Self, GroupError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(AT_FDCWD, path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: path.to_owned() }),
            Err(errno) => Err(GroupError { operation: "open the group", path: path.to_owned(), errno }),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn failed(&self, operation: &'static str, name: &str) -> impl FnOnce(Errno) -> GroupError {
        let path = self.path.join(name);
        move |errno| GroupError { operation, path, errno }
    }

    /// Makes a group below this one.
    pub(crate) fn make(&self, name: &str) -> Result<(), GroupError> {
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755)).map_err(self.failed("make the group", name))
    }

    /// Opens a directory below this one.
    pub(crate) fn open_group(&self, name: &str) -> Result<OwnedFd, GroupError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.fd, name, flags, Mode::empty()).map_err(self.failed("open the group", name))
    }

    /// Opens a file below this directory.
    pub(crate) fn open_file(&self, file: &str, flags: OFlag) -> Result<OwnedFd, GroupError> {
        openat(&self.fd, file, flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(self.failed("open", file))
    }

    /// Writes a value into a file.
    pub(crate) fn set(&self, file: &str, value: &str) -> Result<(), GroupError> {
        let fd = self.open_file(file, OFlag::O_WRONLY)?;
        write(&fd, value.as_bytes()).map(drop).map_err(self.failed("write to", file))
    }

    /// Writes a value into a file that not every kernel has.
    pub(crate) fn set_if_there(&self, file: &str, value: &str) -> Result<(), GroupError> {
        match self.set(file, value) {
            Err(GroupError { errno: Errno::ENOENT, .. }) => Ok(()),
            result => result,
        }
    }

    /// The text of a file, or nothing if it cannot be read.
    pub(crate) fn get(&self, file: &str) -> Option<String> {
        let fd = self.open_file(file, OFlag::O_RDONLY).ok()?;
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match read(&fd, &mut buffer) {
                Ok(0) => return String::from_utf8(text).ok(),
                Ok(length) => text.extend_from_slice(&buffer[..length]),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// The number in a file.
    pub(crate) fn get_number(&self, file: &str) -> Option<u64> {
        self.get(file)?.trim().parse().ok()
    }

    /// The number behind a word in a file of `word number` lines.
    pub(crate) fn get_keyed(&self, file: &str, word: &str) -> Option<u64> {
        keyed(&self.get(file)?, word)
    }

    /// Names of the groups directly below a group (`""` for this one).
    pub(crate) fn groups_below(&self, group: &str) -> Vec<String> {
        let at = if group.is_empty() { "." } else { group };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(mut directory) = Dir::openat(&self.fd, at, flags, Mode::empty()) else {
            return Vec::new();
        };
        let names = directory.iter().flatten().filter(|entry| entry.file_type() == Some(Type::Directory));
        names
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect()
    }

    /// Whether there may be groups below a group: a directory without any has two links. This spares the listing
    /// of a directory for all tasks but those that make groups themselves.
    fn has_groups_below(&self, group: &str) -> bool {
        let at = if group.is_empty() { "." } else { group };
        !fstatat(&self.fd, at, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|found| found.st_nlink == 2)
    }

    /// Process ids in a group and all groups below it.
    pub(crate) fn members(&self, group: &str) -> Vec<i32> {
        let mut found = Vec::new();
        self.each_group(group, &mut |group| {
            let text = self.get(&format!("{group}/cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
        });
        found
    }

    /// Visits a group and all below it, deepest first.
    pub(crate) fn each_group(&self, group: &str, visit: &mut dyn FnMut(&str)) {
        self.walk(group, 0, visit);
    }

    fn walk(&self, group: &str, depth: usize, visit: &mut dyn FnMut(&str)) {
        if depth < NESTING_MAX && self.has_groups_below(group) {
            for name in self.groups_below(group) {
                self.walk(&format!("{group}/{name}"), depth + 1, visit);
            }
        }
        visit(group);
    }

    /// Sends a signal to each process of a group.
    pub(crate) fn signal(&self, group: &str, signal: Signal) {
        for pid in self.members(group) {
            // A process that is gone by now needs no signal.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Removes a group. `false` if it still has processes.
    pub(crate) fn remove(&self, group: &str) -> Result<bool, GroupError> {
        match unlinkat(&self.fd, group, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => {
                // Deepest first, so that groups which the task made for itself go before their parent.
                let mut busy = false;
                self.each_group(group, &mut |group| {
                    let result = unlinkat(&self.fd, group, UnlinkatFlags::RemoveDir);
                    busy = !matches!(result, Ok(()) | Err(Errno::ENOENT));
                });
                Ok(!busy)
            }
            Err(errno) => Err(self.failed("remove the group", group)(errno)),
        }
    }
}

/// The number behind a word in text of `word number` lines.
pub(crate) fn keyed(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}
