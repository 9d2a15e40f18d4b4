//! Finds out what this kernel lets us separate, by doing it in a short-lived child each.
//!
//! A container may forbid what the kernel has, and /proc would not say so; only trying tells. What does not
//! work is told in words, with the kernel's own reason.
//!
//! To be called once, before there are other children.

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use muster_supervisor::{Isolation, Landlock, MountStep, Separation, SeparationKind};

use super::prepared::{Failure, Prepared};
use super::{enter, install_filters, landlock, network, rules};
use crate::birth::{Birth, Cloned, clone_process};
use crate::sys::exit_now;

/// `BPF_RET | BPF_K` with `SECCOMP_RET_ALLOW`: the filter that allows everything.
const ALLOW_ALL: libc::sock_filter = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

/// What can be separated, and words for each thing that cannot.
pub(crate) fn probe() -> (Separation, Vec<String>) {
    let mut notes = Vec::new();
    let mut can = |kind: SeparationKind, tried: Result<(), Errno>| match tried {
        Ok(()) => true,
        Err(errno) => {
            notes.push(format!("tasks cannot be separated by {}: {}", kind.words(), errno.desc()));
            false
        }
    };
    let process_namespace = can(SeparationKind::ProcessNamespace, attempt(true, || Ok(())));
    let mount_namespace = can(SeparationKind::MountNamespace, try_mounts(process_namespace));
    let new = |flag| move || unshare(flag);
    let ipc_namespace = can(SeparationKind::IpcNamespace, attempt(false, new(CloneFlags::CLONE_NEWIPC)));
    let network = || unshare(CloneFlags::CLONE_NEWNET).and_then(|()| network::raise_loopback());
    let network_namespace = can(SeparationKind::NetworkNamespace, attempt(false, network));
    let filters = [vec![ALLOW_ALL]];
    let filter = || {
        set_no_new_privs()?;
        install_filters(&filters).map_err(|(_, errno)| errno)
    };
    let seccomp = can(SeparationKind::Seccomp, attempt(false, filter));
    let landlock = can(SeparationKind::Landlock, try_landlock());
    let landlock_abi = if landlock { landlock::version() } else { 0 };
    let separation = Separation {
        process_namespace,
        mount_namespace,
        ipc_namespace,
        network_namespace,
        seccomp,
        landlock_abi,
    };
    (separation, notes)
}

/// The steps that a sandbox is made of, in a namespace that is gone with its process.
fn try_mounts(process_namespace: bool) -> Result<(), Errno> {
    let devices = MountStep::Devices { extra: Vec::new(), shm_bytes: Some(1 << 20) };
    let tmpfs = MountStep::Tmpfs { at: "/proc".into(), mode: 0o755, size_bytes: Some(1 << 20) };
    let view = if process_namespace { MountStep::Proc } else { tmpfs };
    let isolation = Isolation {
        process_namespace,
        mounts: vec![MountStep::ReadOnly, view, devices],
        ..Isolation::default()
    };
    let mut prepared = Prepared::new(&isolation).map_err(|_| Errno::EINVAL)?;
    attempt(process_namespace, || enter(&mut prepared).map_err(errno_of))
}

fn try_landlock() -> Result<(), Errno> {
    let everything = Landlock { read: vec!["/".into()], write: Vec::new() };
    let isolation = Isolation { landlock: Some(everything), ..Isolation::default() };
    let prepared = Prepared::new(&isolation).map_err(|_| Errno::EINVAL)?;
    attempt(false, || {
        let ruleset = prepared.landlock.as_ref().ok_or(Errno::EINVAL).map(rules)?.map_err(errno_of)?;
        set_no_new_privs()?;
        ruleset.restrict()
    })
}

fn errno_of(failure: Failure) -> Errno {
    failure.errno
}

/// Tries something in a child, with a process namespace of its own if so asked.
fn attempt(process_namespace: bool, trial: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let pid = match clone_process(Birth { process_namespace, group: None })? {
        Cloned::Child => exit_now(trial().map_or_else(|errno| errno as i32, |()| 0)),
        Cloned::Parent(pid) => pid,
    };
    // Not WNOHANG: the child ends by itself at once.
    if let WaitStatus::Exited(_, code) = waitpid(Pid::from_raw(pid), None)? {
        return if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) };
    }
    // Something kills whoever tries.
    Err(Errno::EPERM)
}
