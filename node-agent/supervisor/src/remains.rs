//! How a keeper ends all of its task: the processes that it started, and theirs, wherever they went.
//!
//! In a process namespace one signal reaches everything, and no fork gets past it. Else the task's group is killed, by
//! `cgroup.kill` or frozen while its members are, and the keeper's children are: orphans of the task become such.
//! Whoever is missed is met in the next round. The supervisor does the same from outside (`cgroup`, `processes`); here
//! nothing is allocated and no descriptor is held but that of the hierarchy.
//!
//! Invariant: nothing outside the task gets a signal: children are ours until we reap them, a group holds its task
//! alone, and all of a namespace is the task's only for the first process in it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpid, read, write};

use crate::clock::monotonic_us;
use crate::sys::{await_event, reap_any};

/// Bytes for a group's name and that of a file in it: the name is a key of 200 bytes and a few before it.
const PATH_BYTES: usize = 256;
/// Pause between two rounds, unless a child ends before; grows to [`PAUSE_MAX_MS`].
const PAUSE_MS: u32 = 20;
/// Longest: what is not gone after some rounds is stuck in the kernel.
const PAUSE_MAX_MS: u32 = 1_000;

/// The processes of a task, from where its keeper stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach<'a> {
    /// All others of the namespace whose first process we are.
    Namespace,
    /// Our children, and the members of a group where there are groups.
    Tree(Option<&'a Fence<'a>>),
}

/// The control group of a task in the hierarchy that keeps track of every process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fence<'a> {
    root: BorrowedFd<'a>,
    name: [u8; PATH_BYTES],
    length: usize,
}

impl<'a> Fence<'a> {
    /// The group of a name below our root group; `None` if the name is too long to be one.
    pub(crate) fn new(root: BorrowedFd<'a>, group: &str) -> Option<Self> {
        let mut name = [0; PATH_BYTES];
        name.get_mut(..group.len())?.copy_from_slice(group.as_bytes());
        Some(Self { root, name, length: group.len() })
    }

    /// The descriptor that it needs.
    pub(crate) fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// The same by another descriptor of the same directory.
    pub(crate) fn moved(self, root: BorrowedFd<'_>) -> Fence<'_> {
        Fence { root, name: self.name, length: self.length }
    }

    /// Kills every member; those that were missed are met by calling it again.
    fn kill(&self) {
        if self.set(b"/cgroup.kill\0", b"1") {
            return;
        }
        // Without a freezer the rounds still converge, only later.
        let frozen = self.set(b"/freezer.state\0", b"FROZEN");
        if let Some(members) = self.open(b"/cgroup.procs\0", OFlag::O_RDONLY) {
            kill_listed(&members);
        }
        if frozen {
            self.set(b"/freezer.state\0", b"THAWED");
        }
    }

    fn set(&self, file: &[u8], value: &[u8]) -> bool {
        self.open(file, OFlag::O_WRONLY).is_some_and(|file| write(&file, value).is_ok())
    }

    /// Opens a file of the group; the file's name begins with a slash and ends with a NUL.
    fn open(&self, file: &[u8], flags: OFlag) -> Option<OwnedFd> {
        let mut path = self.name;
        path.get_mut(self.length..self.length + file.len())?.copy_from_slice(file);
        let path = CStr::from_bytes_until_nul(&path).ok()?;
        openat(self.root.as_fd(), path, flags | OFlag::O_CLOEXEC, Mode::empty()).ok()
    }
}

impl Reach<'_> {
    /// Sends SIGKILL to all that is there.
    pub(crate) fn kill(&self) {
        match self {
            // Of any other process this would be the end of the whole node.
            Self::Namespace if getpid() == Pid::from_raw(1) => {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            }
            Self::Namespace => {}
            Self::Tree(fence) => {
                if let Some(fence) = fence {
                    fence.kill();
                }
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
                // A kernel without this file leaves to the supervisor what is in no group.
                if let Ok(children) = openat(AT_FDCWD, c"/proc/thread-self/children", flags, Mode::empty()) {
                    kill_listed(&children);
                }
            }
        }
    }

    /// Kills round by round until nothing is left, or for so many microseconds: whose parent is killed becomes our
    /// child. Where nothing is left to begin with, one system call says so.
    pub(crate) fn end(&self, for_us: Option<u64>) {
        let until = for_us.map(|for_us| monotonic_us().saturating_add(for_us));
        let mut pause = Pause::default();
        while have_children() {
            self.kill();
            if until.is_some_and(|until| until <= monotonic_us()) {
                return;
            }
            await_event(Some(pause.next()));
        }
    }
}

/// Pauses between rounds.
#[derive(Debug)]
pub(crate) struct Pause(u32);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE_MS)
    }
}

impl Pause {
    /// The next one, in milliseconds.
    pub(crate) fn next(&mut self) -> u32 {
        let next = self.0;
        self.0 = next.saturating_mul(2).min(PAUSE_MAX_MS);
        next
    }
}

/// Reaps what has ended; whether anything is left.
fn have_children() -> bool {
    loop {
        match reap_any() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Sends SIGKILL to processes whose numbers a file has, separated by blanks or ends of lines, none of them ours.
fn kill_listed(file: &OwnedFd) {
    let mut text = [0; 4096];
    // A number may be cut by the end of the buffer: its begin is kept over to the next part.
    let mut number = 0_i32;
    loop {
        let length = match read(file, &mut text) {
            Ok(0) => break,
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        for byte in &text[..length] {
            match byte {
                b'0'..=b'9' => number = number.saturating_mul(10).saturating_add((byte - b'0').into()),
                _ => kill_one(std::mem::take(&mut number)),
            }
        }
    }
    kill_one(number);
}

/// 0, -1 and 1 would be our own group, everything, and init; 0 also stands for a member of another namespace.
fn kill_one(number: i32) {
    if number > 1 {
        // A process that is gone by now needs no signal.
        let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
    }
}
