//! System calls about processes that have no safe wrapper: wait4, pidfds, signals, descriptors.
//!
//! Each is one function with a safe signature; no policy lives here. How processes are made is in `birth.rs`.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{dup2_stdin, dup2_stdout};

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
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain numbers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live locals of the types that wait4(2) fills.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG | libc::__WALL, &raw mut usage) };
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

/// Waits until a child ends, somebody else sends SIGCHLD, or an [`Alarm`] rings, all of which must be blocked signals;
/// or for so many milliseconds, without time spent suspended.
pub(crate) fn await_event(milliseconds: Option<u32>) {
    let time = milliseconds.map(|milliseconds| libc::timespec {
        tv_sec: (milliseconds / 1_000).into(),
        tv_nsec: (milliseconds % 1_000 * 1_000_000).into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the set is made by sigemptyset before it is read, and the time is a live local or none, which is for
    // ever. Why the wait ended does not matter: the caller looks.
    unsafe {
        let mut events: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut events);
        libc::sigaddset(&raw mut events, libc::SIGCHLD);
        libc::sigaddset(&raw mut events, libc::SIGALRM);
        libc::sigtimedwait(&raw const events, std::ptr::null_mut(), time);
    }
}

/// A timer of this process that counts time spent suspended, and sends SIGALRM.
///
/// A descriptor would cost three system calls more, for its making and to wait for it beside the children. The
/// system calls themselves are made, for the C library may allocate.
#[derive(Debug)]
pub(crate) struct Alarm(libc::c_int);

impl Alarm {
    /// Makes one that does not ring.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: sigevent is plain data, for which all zeroes is a value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGALRM;
        let mut id: libc::c_int = 0;
        // SAFETY: both pointers are to live locals of the types that timer_create(2) reads and fills; a signal that
        // is only ever waited for runs no code.
        let result = unsafe {
            libc::syscall(libc::SYS_timer_create, libc::CLOCK_BOOTTIME, &raw mut event, &raw mut id)
        };
        Errno::result(result).map(|_| Self(id))
    }

    /// Rings once at a time in microseconds of `CLOCK_BOOTTIME`, at once if it has passed, in place of the time that
    /// was set before.
    pub(crate) fn ring_at(&self, micros: u64) -> Result<(), Errno> {
        // A time too far for the kernel's type becomes the furthest; zero would disarm.
        let seconds = libc::time_t::try_from(micros / 1_000_000).unwrap_or(libc::time_t::MAX);
        let nanos = libc::c_long::try_from(micros.max(1) % 1_000_000 * 1_000).unwrap_or(0);
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let time = libc::itimerspec {
            it_interval: none,
            it_value: libc::timespec { tv_sec: seconds, tv_nsec: nanos },
        };
        let nowhere = std::ptr::null_mut::<libc::itimerspec>();
        // SAFETY: the id is of a timer of this process, the time a live local; the old time is not asked for.
        let result = unsafe {
            libc::syscall(libc::SYS_timer_settime, self.0, libc::TIMER_ABSTIME, &raw const time, nowhere)
        };
        Errno::result(result).map(drop)
    }
}

/// Marks every descriptor from a number on to be closed by exec, whatever its opener thought.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor but one or two, which it gives under other numbers.
///
/// Both must be above 2, as they are in a process whose standard streams are open. The caller must drop nothing that
/// holds a descriptor afterwards.
pub(crate) fn hold_only(
    first: BorrowedFd<'_>,
    second: Option<BorrowedFd<'_>>,
) -> Result<(BorrowedFd<'static>, Option<BorrowedFd<'static>>), Errno> {
    let moved = dup2_stdin(first).and_then(|()| second.map_or(Ok(()), dup2_stdout));
    let held = if moved.is_err() {
        0
    } else if second.is_none() {
        1
    } else {
        2
    };
    close_range(held, 0)?;
    moved?;
    // SAFETY: they were just made, and nothing closes them: this process opens nothing before them and drops nothing.
    let given = |number| unsafe { BorrowedFd::borrow_raw(number) };
    Ok((given(libc::STDIN_FILENO), second.map(|_| given(libc::STDOUT_FILENO))))
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

/// Has an empty file written in place for ever, where its file system would copy on each write and so could run out
/// of space (btrfs). Others do so anyhow, or cannot, and say that.
pub(crate) fn write_in_place(file: BorrowedFd<'_>) -> Result<(), Errno> {
    /// `FS_NOCOW_FL` of linux/fs.h.
    const NO_COPIES: libc::c_int = 0x0080_0000;
    // The requests' numbers speak of a long, the kernel reads and writes an int.
    let mut flags: libc::c_int = 0;
    // SAFETY: the kernel writes an int, a live local.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) };
    Errno::result(result)?;
    flags |= NO_COPIES;
    // SAFETY: the kernel reads an int, a live local.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
    Errno::result(result).map(drop)
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
