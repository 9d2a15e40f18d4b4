//! System calls about processes that have no safe wrapper: wait4, pidfds, signals, descriptors.
//!
//! Each is one function with a safe signature; no policy lives here. How processes are made is in `birth.rs`.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::dup2_stdin;

/// A child that has ended and is reaped.
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// As wait(2) gives it.
    pub(crate) status: i32,
    pub(crate) usage: libc::rusage,
}

/// Reaps one ended child, whichever it is; `Ok(None)` if children are left and none has ended,
/// [`Errno::ECHILD`] if there is none at all.
pub(crate) fn reap_any() -> Result<Option<Reaped>, Errno> {
    wait_for_any(libc::WNOHANG)
}

/// The same, and waits until one has ended.
pub(crate) fn wait_any() -> Result<Option<Reaped>, Errno> {
    wait_for_any(0)
}

fn wait_for_any(flags: libc::c_int) -> Result<Option<Reaped>, Errno> {
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain numbers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals of the types that wait4(2) fills.
        let pid = unsafe { libc::wait4(-1, &raw mut status, flags | libc::__WALL, &raw mut usage) };
        match Errno::result(pid) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some(Reaped { pid, status, usage })),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Blocks every signal that can be blocked.
pub(crate) fn block_signals() {
    // SAFETY: a full set is made by sigfillset before it is read.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// Waits until a child ends, which must be a blocked signal, or the time is over.
pub(crate) fn await_child(milliseconds: u32) {
    let time = libc::timespec {
        tv_sec: (milliseconds / 1_000).into(),
        tv_nsec: (milliseconds % 1_000 * 1_000_000).into(),
    };
    // SAFETY: the set is made by sigemptyset before it is read, and both pointers are to live locals. Why the
    // wait ended does not matter: the caller looks.
    unsafe {
        let mut children: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut children);
        libc::sigaddset(&raw mut children, libc::SIGCHLD);
        libc::sigtimedwait(&raw const children, std::ptr::null_mut(), &raw const time);
    }
}

/// Marks every descriptor from a number on to be closed by exec, whatever its opener thought.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor but one, which it gives under another number.
///
/// The caller must drop nothing that holds a descriptor afterwards.
pub(crate) fn hold_only(held: BorrowedFd<'_>) -> Result<BorrowedFd<'static>, Errno> {
    let moved = dup2_stdin(held);
    let first = if moved.is_ok() { 1 } else { 0 };
    close_range(first, 0)?;
    moved?;
    // SAFETY: it was just made, and nothing closes it: this process opens nothing before it and drops nothing.
    Ok(unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) })
}

fn close_range(first: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: takes three integers. Whoever closes at once uses no descriptor by value afterwards.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    Errno::result(result).map(drop)
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
