//! How processes are made: a copy of this one, or one that borrows its memory until it executes a program.
//!
//! A copy costs its page tables and, bit by bit, every page that either side writes. The keeper is one, for it
//! stays. The task's process needs nothing of its own before exec, so it runs in the keeper's memory while the
//! keeper is stopped, as after vfork(2): a third less for a start.
//!
//! Invariant: the calling process has one thread, so no lock is ever held by somebody who is not in the copy.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use crate::sys::exit_now;

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
const CLONE_NEWPID: u64 = 0x2000_0000;

/// Bytes between the caller's frame and the top of the stack of a process that borrows its memory.
const STACK_GAP_BYTES: usize = 64 << 10;
/// Bytes of that stack: several times what comes before an exec.
const STACK_BYTES: usize = 256 << 10;

/// Where a new process begins its life.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Birth<'a> {
    /// As the first process of a process namespace of its own.
    pub(crate) process_namespace: bool,
    /// In this cgroup v2 directory.
    pub(crate) group: Option<BorrowedFd<'a>>,
}

/// Clones this process.
///
/// The child gets its own copy of memory (no `CLONE_VM`): the supervisor is a few hundred pages, so the copy
/// is cheap, and what the child does before exec cannot harm its parent. No pidfd is asked for: the parent of
/// a process may use its id safely until it reaps it, and a descriptor for each task would bound their
/// number.
///
/// The caller must be the only thread of its process: the child then holds no lock that some other thread had
/// taken.
pub(crate) fn clone_process(birth: Birth<'_>) -> Result<Cloned, Errno> {
    clone_with(&mut arguments(birth))
}

fn clone_with(args: &mut CloneArgs) -> Result<Cloned, Errno> {
    // SAFETY: the arguments live through the call and their size is given. With neither CLONE_VM nor a stack
    // the child continues here on a copy of all memory, as after fork(2). The child uses no libc state that
    // fork handlers would have to repair: it makes system calls and executes or exits.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut *args, size_of::<CloneArgs>()) };
    match Errno::result(result)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?)),
    }
}

/// Runs a function in a new process that borrows this one's memory, and comes back once it has executed a
/// program or ended. It exits with the code if the function comes back.
///
/// What the function changes in memory is changed for the caller, too. What it does to itself (descriptors,
/// user, namespaces, limits) is its own.
pub(crate) fn run_in_borrowed_memory<F: FnMut()>(
    birth: Birth<'_>,
    mut run: F,
    code: i32,
) -> Result<i32, Errno> {
    let mut task = Borrower { run: &mut run, code };
    start(arguments(birth), &mut task)
}

/// What a process that borrows memory is to do.
struct Borrower<'a, F> {
    run: &'a mut F,
    code: i32,
}

/// Where it begins. A panic cannot leave a function of this kind; it ends the process.
extern "C" fn begin<F: FnMut()>(task: &mut Borrower<'_, F>) -> ! {
    (task.run)();
    exit_now(task.code)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn start<F: FnMut()>(mut args: CloneArgs, task: &mut Borrower<'_, F>) -> Result<i32, Errno> {
    let here = std::ptr::from_ref(&args).expose_provenance();
    let top = (here - STACK_GAP_BYTES) / 16 * 16;
    args.flags |= u64::from((libc::CLONE_VM | libc::CLONE_VFORK).cast_unsigned());
    args.stack = u64::try_from(top - STACK_BYTES).map_err(|_| Errno::EOVERFLOW)?;
    args.stack_size = u64::try_from(STACK_BYTES).map_err(|_| Errno::EOVERFLOW)?;
    let entry: extern "C" fn(&mut Borrower<'_, F>) -> ! = begin::<F>;
    let result: i64;
    // SAFETY: the arguments live through the call and their size is given. The new process runs `begin` on a part
    // of our stack that is far below every frame in use, and that the kernel maps as it is touched; it never
    // returns to this frame, and we do not run before it has left our memory. It uses no libc state that would
    // have to be repaired: it makes system calls and executes or exits.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw mut args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") std::ptr::from_mut(task),
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            inlateout("x0") &raw mut args => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") std::ptr::from_mut(task),
            in("x21") entry,
        );
    }
    match i32::try_from(result).map_err(|_| Errno::EOVERFLOW)? {
        pid if pid > 0 => Ok(pid),
        negative => Err(Errno::from_raw(-negative)),
    }
}

/// Elsewhere a copy does the same at a higher price.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn start<F: FnMut()>(mut args: CloneArgs, task: &mut Borrower<'_, F>) -> Result<i32, Errno> {
    match clone_with(&mut args)? {
        Cloned::Child => begin(task),
        Cloned::Parent(pid) => Ok(pid),
    }
}

fn arguments(birth: Birth<'_>) -> CloneArgs {
    let mut args = CloneArgs {
        flags: CLONE_CLEAR_SIGHAND,
        exit_signal: u64::try_from(libc::SIGCHLD).unwrap_or_default(),
        ..CloneArgs::default()
    };
    if birth.process_namespace {
        args.flags |= CLONE_NEWPID;
    }
    if let Some(group) = birth.group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(group.as_raw_fd()).unwrap_or_default();
    }
    args
}
