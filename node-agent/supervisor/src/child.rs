//! What a task's process does between clone and exec: joins its groups, drops what it must not have, executes.
//!
//! It runs in its keeper's memory, a copy of the supervisor's, and makes system calls only: everything that needs
//! memory was prepared beforehand in a [`Plan`]. The order matters: output files are opened while still root, in the
//! node's view and with `RESOLVE_NO_SYMLINKS`; then its own view is made, where the working directory and the
//! program are found; limits are raised while still allowed; the working directory is entered as the task's
//! user; what it may never get back (no_new_privs, Landlock, filters of system calls) comes last but exec.
//!
//! Invariant: any failure reports its step, entry and errno; nothing is skipped.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, OpenHow, ResolveFlag, fcntl, openat2};
use nix::libc;
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchdir, fchown, setsid, write};

use muster_supervisor::LaunchStep;

use crate::isolate::{
    Failure, Prepared, drop_bounding_set, drop_capabilities, enter, install_filters, rules,
};
use crate::sys::close_on_exec_from;

/// Exit code of a process that could not execute the program, as a shell's.
pub(crate) const NOT_EXECUTED: i32 = 127;

/// Whom to become.
pub(crate) struct Identity {
    pub(crate) uid: libc::uid_t,
    pub(crate) gid: libc::gid_t,
    pub(crate) groups: Vec<libc::gid_t>,
}

/// Everything that the child needs, with all memory allocated beforehand.
pub(crate) struct Plan<'a> {
    /// `cgroup.procs` files of the v1 groups to join.
    pub(crate) joins: &'a [OwnedFd],
    /// `/dev/null`, open for reading and writing.
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) stdout: Option<CString>,
    pub(crate) stderr: Option<CString>,
    pub(crate) cwd: CString,
    pub(crate) identity: Option<Identity>,
    pub(crate) umask: u32,
    pub(crate) core_bytes: rlim_t,
    pub(crate) open_files: Option<rlim_t>,
    /// Text for `/proc/self/oom_score_adj`, if it must change.
    pub(crate) oom_score_adj: Option<String>,
    pub(crate) isolation: Prepared,
    /// The paths to try to execute, in order.
    pub(crate) programs: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Our end of the connection to the supervisor.
    pub(crate) report: OwnedFd,
}

/// Null-terminated pointers to a row of strings, as execve(2) takes them.
pub(crate) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Runs the plan; only a failure comes back, once it is reported, or silently that it may not begin any more.
pub(crate) fn run(
    plan: &mut Plan<'_>,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    may_begin: &dyn Fn() -> bool,
) {
    let failure = match prepare(plan) {
        Ok(()) if !may_begin() => return,
        Ok(()) => execute(&plan.programs, argv, env),
        Err(failure) => failure,
    };
    report(&plan.report, failure);
}

/// Bytes of the report of a failure: the step's code, a zero, then the entry and the errno, the lowest byte
/// first.
pub(crate) const REPORT_BYTES: usize = 8;

/// Tells the supervisor of a failure.
pub(crate) fn report(report: &OwnedFd, failure: Failure) {
    let mut message = [0; REPORT_BYTES];
    message[0] = failure.step.code();
    message[2..4].copy_from_slice(&failure.item.to_le_bytes());
    // ERRNO-less failures are reported as UnknownErrno, whose number is 0.
    message[4..].copy_from_slice(&(failure.errno as i32).to_le_bytes());
    // Eight bytes are taken whole; if the supervisor is gone there is nobody to tell.
    let _ = write(report, &message);
}

fn prepare(plan: &mut Plan<'_>) -> Result<(), Failure> {
    for join in plan.joins {
        write(join, b"0").map_err(at(LaunchStep::JoinGroup))?;
    }
    setsid().map_err(at(LaunchStep::Session))?;
    // While /proc is the node's.
    set_oom_score(plan).map_err(at(LaunchStep::Resources))?;
    umask(Mode::empty());
    let stdout = open_output(plan, plan.stdout.as_deref(), LaunchStep::Stdout, LaunchStep::StdoutUnsafe)?;
    let stderr = open_output(plan, plan.stderr.as_deref(), LaunchStep::Stderr, LaunchStep::StderrUnsafe)?;
    enter(&mut plan.isolation)?;
    let cwd = openat2(
        AT_FDCWD,
        plan.cwd.as_c_str(),
        OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(NO_LINKS),
    )
    .map_err(at(LaunchStep::WorkingDirectory))?;
    let ruleset = plan.isolation.landlock.as_ref().map(rules).transpose()?;

    let descriptors = at(LaunchStep::Descriptors);
    dup2_stdin(plan.null).map_err(descriptors)?;
    dup2_stdout(stdout.as_ref().map_or(plan.null, AsFd::as_fd)).map_err(descriptors)?;
    dup2_stderr(stderr.as_ref().map_or(plan.null, AsFd::as_fd)).map_err(descriptors)?;
    close_on_exec_from(3).map_err(descriptors)?;
    // Once everything is open.
    limit(plan).map_err(at(LaunchStep::Resources))?;

    if plan.isolation.drop_capabilities {
        drop_bounding_set().map_err(at(LaunchStep::Capabilities))?;
    }
    if let Some(identity) = &plan.identity {
        become_user(identity).map_err(at(LaunchStep::User))?;
    }
    // The memory is the keeper's until exec: nobody who is the same user may look into it or change it.
    set_dumpable(false).map_err(at(LaunchStep::User))?;
    if plan.isolation.drop_capabilities {
        drop_capabilities().map_err(at(LaunchStep::Capabilities))?;
    }
    umask(Mode::from_bits_truncate(plan.umask));
    fchdir(&cwd).map_err(at(LaunchStep::WorkingDirectory))?;
    reset_signals();
    set_no_new_privs().map_err(at(LaunchStep::NoNewPrivileges))?;
    if let Some(ruleset) = &ruleset {
        ruleset.restrict().map_err(at(LaunchStep::Landlock))?;
    }
    install_filters(&plan.isolation.filters)
        .map_err(|(filter, errno)| Failure::at(LaunchStep::Seccomp, filter)(errno))
}

fn at(step: LaunchStep) -> impl Fn(Errno) -> Failure + Copy {
    Failure::at(step, 0)
}

const NO_LINKS: ResolveFlag = ResolveFlag::RESOLVE_NO_SYMLINKS.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// Opens a file for appended output. What is there already must be a regular file with one name: a FIFO or
/// device would block or misdirect the supervisor's root, and a second name could be that of a file
/// elsewhere.
fn open_output(
    plan: &Plan<'_>,
    path: Option<&CStr>,
    step: LaunchStep,
    unsafe_step: LaunchStep,
) -> Result<Option<OwnedFd>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let flags = OFlag::O_WRONLY
        | OFlag::O_CREAT
        | OFlag::O_APPEND
        | OFlag::O_NOFOLLOW
        | OFlag::O_NOCTTY
        | OFlag::O_NONBLOCK
        | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).mode(Mode::from_bits_truncate(0o640)).resolve(NO_LINKS);
    let file = openat2(AT_FDCWD, path, how).map_err(|errno| {
        // A symbolic link, a FIFO without reader: both are the second kind of wrong.
        let unsafe_kind = matches!(errno, Errno::ELOOP | Errno::ENXIO);
        at(if unsafe_kind { unsafe_step } else { step })(errno)
    })?;
    let status = fstat(&file).map_err(at(step))?;
    if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() || status.st_nlink != 1 {
        return Err(at(unsafe_step)(Errno::UnknownErrno));
    }
    if let Some(identity) = &plan.identity
        && (status.st_uid, status.st_gid) != (identity.uid, identity.gid)
    {
        fchown(&file, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))
            .map_err(at(step))?;
    }
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).map_err(at(step))?;
    Ok(Some(file))
}

fn limit(plan: &Plan<'_>) -> Result<(), Errno> {
    setrlimit(Resource::RLIMIT_CORE, plan.core_bytes, plan.core_bytes)?;
    if let Some(files) = plan.open_files {
        setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    }
    Ok(())
}

fn set_oom_score(plan: &Plan<'_>) -> Result<(), Errno> {
    if let Some(text) = &plan.oom_score_adj {
        let file =
            nix::fcntl::open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        write(&file, text.as_bytes())?;
    }
    Ok(())
}

/// Groups first, then the group, then the user: each step needs the privileges that the next one gives up.
fn become_user(identity: &Identity) -> Result<(), Errno> {
    let Identity { uid, gid, groups } = identity;
    // The system calls themselves: the C library's wrappers signal other threads, of which there are none here.
    // SAFETY: the pointer is to as many group ids as are announced, and they outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: takes three integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) })?;
    // SAFETY: takes three integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) })?;
    Ok(())
}

/// Gives the task the signal state of a fresh login. Handlers were cleared by the clone; the supervisor
/// ignores only SIGPIPE (and whatever its own starter ignored, which it undid at its start).
fn reset_signals() {
    // SAFETY: SIG_DFL installs no code; an empty set is made by sigemptyset before it is read.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Tries each path; comes back only if none could be executed.
fn execute(programs: &[CString], argv: &[*const libc::c_char], env: &[*const libc::c_char]) -> Failure {
    let mut failure = at(LaunchStep::ProgramNotFound)(Errno::ENOENT);
    for program in programs {
        // SAFETY: argv and env are null-terminated rows of pointers to strings that the plan owns, and the
        // plan outlives this.
        unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        let errno = Errno::last();
        if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            if exists(program) {
                return at(LaunchStep::InterpreterNotFound)(errno);
            }
        } else if errno == Errno::EACCES {
            // As a shell does: remember it, but a later directory may hold one that works.
            failure = at(LaunchStep::ProgramNotExecutable)(errno);
        } else if errno == Errno::ENOEXEC {
            return at(LaunchStep::ProgramNotExecutable)(errno);
        } else {
            return at(LaunchStep::Execute)(errno);
        }
    }
    failure
}

fn exists(path: &CStr) -> bool {
    // SAFETY: the string is null-terminated and outlives the call.
    unsafe { libc::faccessat(AT_FDCWD.as_raw_fd(), path.as_ptr(), libc::F_OK, 0) == 0 }
}
