//! System calls that have no safe wrapper: clone3, wait4, pidfds.
//!
//! Each is one function with a safe signature; no policy lives here.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Which side of a clone returned.
pub(crate) enum Cloned {
    /// The parent, with the child's process id.
    Parent(i32),
    /// The child.
    Child,
}

/// `struct clone_args` of linux/sched.h, in its form since Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Clones this process, straight into a cgroup v2 directory if one is given.
///
/// The child gets its own copy of memory (no `CLONE_VM`): the supervisor is a few hundred pages, so the copy
/// is cheap, and what the child does before exec cannot harm its parent. No pidfd is asked for: the parent of
/// a process may use its id safely until it reaps it, and a descriptor for each task would bound their
/// number.
///
/// The caller must be the only thread of its process: the child then holds no lock that some other thread had
/// taken.
pub(crate) fn clone_process(group: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut args = CloneArgs {
        flags: CLONE_CLEAR_SIGHAND,
        exit_signal: u64::try_from(libc::SIGCHLD).unwrap_or_default(),
        ..CloneArgs::default()
    };
    if let Some(group) = group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(group.as_raw_fd()).unwrap_or_default();
    }
    // SAFETY: the arguments live through the call and their size is given. With neither CLONE_VM nor a stack
    // the child continues here on a copy of all memory, as after fork(2). The child uses no libc state that
    // fork handlers would have to repair: it makes system calls and executes or exits.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match Errno::result(result)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?)),
    }
}

/// A child that has ended and is reaped.
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// As wait(2) gives it.
    pub(crate) status: i32,
    pub(crate) usage: libc::rusage,
}

/// Reaps one ended child, whichever it is; `None` if there is none.
pub(crate) fn reap_any() -> Option<Reaped> {
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain numbers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals of the types that wait4(2) fills.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG | libc::__WALL, &raw mut usage) };
        match Errno::result(pid) {
            Ok(0) => return None,
            Ok(pid) => return Some(Reaped { pid, status, usage }),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Opens a pidfd.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just given us this descriptor (close-on-exec), nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `struct pidfd_info` of linux/pidfd.h in its first form (Linux 6.13).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// The request that fills it; its number holds the struct's size.
const PIDFD_GET_INFO: libc::Ioctl = libc::_IOWR::<PidfdInfo>(0xFF, 11);

/// The wait status of a process that has ended and was reaped by its parent, whoever that is (Linux 6.15 and
/// later).
///
/// `None` if the kernel does not say, or not yet.
pub(crate) fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most as many bytes as the request's number announces, which is the size of
    // the struct.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    Errno::result(result)?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Ends a child at once, without running any handler.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Gives signals that our starter ignored (as `nohup` does) their default meaning again, for tasks would
/// inherit it. SIGPIPE stays ignored: a log or a peer that is gone must not end the custody.
pub(crate) fn undo_ignored_signals() {
    for signal in (1..=64).filter(|signal| ![libc::SIGPIPE, libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: sigaction is plain data, for which all zeroes is a value; with no new action given only the
        // old one is written, to a live local.
        let ignored = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        };
        if ignored {
            // SAFETY: SIG_DFL installs no code.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}
