//! Landlock: which files a task may touch, whatever their permissions say.
//!
//! The rules are made as root, in the task's view, and put in force as the task's user after `no_new_privs`.
//! The kernel's interface grew by versions; rights that it does not know yet are left out of both the rules
//! and what is handled, so each kernel enforces all that it can.
//!
//! Invariant: everything that this kernel handles is refused unless a rule names it.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, openat2};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstat};

use muster_supervisor::LaunchStep;

use super::prepared::{ANYWHERE, Failure, LandlockPaths};

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;
/// Everything of the first version: the above, and removing and making each kind of file.
const ALL_V1: u64 = (1 << 13) - 1;
/// Linking and renaming between directories (version 2).
const REFER: u64 = 1 << 13;
/// Cutting files short (version 3).
const TRUNCATE: u64 = 1 << 14;
/// ioctl of devices (version 5).
const IOCTL_DEVICE: u64 = 1 << 15;
/// What can be allowed of something that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE;
/// Connecting to abstract sockets, and signals, of processes outside (version 6).
const SCOPES: u64 = 0b11;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// `struct landlock_ruleset_attr` of linux/landlock.h; older kernels take it as long as what they do not know
/// is zero.
#[repr(C)]
#[derive(Default)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// Rules that are made and not in force yet.
#[derive(Debug)]
pub(crate) struct Ruleset(OwnedFd);

/// The version of the kernel's interface; 0 without it.
pub(super) fn version() -> u32 {
    // SAFETY: asked for the version, the call takes neither a pointer nor a size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    Errno::result(result).ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// All rights that a version of the interface handles.
fn handled(version: u32) -> u64 {
    let since = |first, rights| if version >= first { rights } else { 0 };
    since(1, ALL_V1) | since(2, REFER) | since(3, TRUNCATE) | since(5, IOCTL_DEVICE)
}

/// Makes the rules for these paths; those that do not exist are passed over.
pub(crate) fn rules(paths: &LandlockPaths) -> Result<Ruleset, Failure> {
    let version = version();
    let all = handled(version);
    let ruleset = create(all, if version >= 6 { SCOPES } else { 0 });
    let ruleset = ruleset.map_err(Failure::at(LaunchStep::Landlock, 0))?;
    let read = paths.read.iter().map(|path| (path, EXECUTE | READ_FILE | READ_DIRECTORY));
    let write = paths.write.iter().map(|path| (path, all));
    for (item, (path, rights)) in read.chain(write).enumerate() {
        allow(&ruleset, path, rights).map_err(Failure::at(LaunchStep::Landlock, item))?;
    }
    Ok(ruleset)
}

fn create(handled_access_fs: u64, scoped: u64) -> Result<Ruleset, Errno> {
    let attributes = RulesetAttr { handled_access_fs, scoped, ..RulesetAttr::default() };
    // SAFETY: the struct lives through the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<RulesetAttr>(),
            0_u32,
        )
    };
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just given us this descriptor (close-on-exec), nobody else knows it.
    Ok(Ruleset(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn allow(ruleset: &Ruleset, path: &CString, rights: u64) -> Result<(), Errno> {
    // Links are followed: what a rule names is what is allowed, and a rule never writes anything.
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).mode(Mode::empty());
    let place = match openat2(ANYWHERE, path.as_c_str(), how) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        place => place?,
    };
    let directory = fstat(&place)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    add(ruleset, place.as_fd(), if directory { rights } else { rights & OF_FILES })
}

fn add(ruleset: &Ruleset, place: BorrowedFd<'_>, allowed_access: u64) -> Result<(), Errno> {
    let rule = PathBeneathAttr { allowed_access, parent_fd: place.as_raw_fd() };
    // SAFETY: the struct lives through the call and is of the type that this kind of rule takes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.0.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    Errno::result(result).map(drop)
}

impl Ruleset {
    /// Puts the rules in force for the calling process and all that it will start, for ever.
    pub(crate) fn restrict(&self) -> Result<(), Errno> {
        // SAFETY: takes two integers.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0_u32) };
        Errno::result(result).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_handles_what_it_knows() {
        assert_eq!(handled(0), 0);
        assert_eq!(handled(1), 0x1fff);
        assert_eq!(handled(2), 0x3fff);
        assert_eq!(handled(4), 0x7fff);
        assert_eq!(handled(9), 0xffff);
    }

    #[test]
    fn structs_are_as_long_as_the_kernels() {
        assert_eq!((size_of::<RulesetAttr>(), size_of::<PathBeneathAttr>()), (24, 12));
    }
}
