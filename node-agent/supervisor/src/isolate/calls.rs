//! System calls of the mount interface of Linux 5.2 to 5.12 that have no safe wrapper.
//!
//! Each is one function with a safe signature; no policy lives here. This interface works on descriptors
//! throughout: a mount is made apart, and attached to a place that was reached before, so no path is looked
//! up twice.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint, c_ulong};

const OPEN_TREE_CLONE: c_uint = 1;
const OPEN_TREE_CLOEXEC: c_uint = libc::O_CLOEXEC.cast_unsigned();
const RECURSIVE: c_uint = 0x8000;
const EMPTY_PATH: c_uint = 0x1000;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: c_uint = 0x40;
const FSOPEN_CLOEXEC: c_uint = 1;
const FSMOUNT_CLOEXEC: c_uint = 1;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;

/// Attributes of a mount (`MOUNT_ATTR_*` of linux/mount.h).
pub(super) const READ_ONLY: u32 = 0x1;
pub(super) const NO_SET_USER_ID: u32 = 0x2;
pub(super) const NO_DEVICES: u32 = 0x4;
pub(super) const NO_EXECUTE: u32 = 0x8;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn descriptor(result: c_long) -> Result<OwnedFd, Errno> {
    let fd = c_int::try_from(Errno::result(result)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just given us this descriptor (close-on-exec), nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Copies what is mounted at a place and below it, apart from the view.
pub(super) fn clone_tree(place: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | RECURSIVE | EMPTY_PATH;
    // SAFETY: the empty path is null-terminated and static; the rest are integers.
    descriptor(unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Attaches a mount that was made apart to a place of the view.
pub(super) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: both empty paths are null-terminated and static; the rest are integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    Errno::result(result).map(drop)
}

fn set_attributes(place: BorrowedFd<'_>, attributes: &mut MountAttr) -> Result<(), Errno> {
    // SAFETY: the empty path is null-terminated and static; the struct lives through the call and its size is
    // given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            place.as_raw_fd(),
            c"".as_ptr(),
            EMPTY_PATH | RECURSIVE,
            &raw mut *attributes,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Makes a mount and all below it read-only.
pub(super) fn set_read_only(place: BorrowedFd<'_>) -> Result<(), Errno> {
    set_attributes(place, &mut MountAttr { attr_set: READ_ONLY.into(), ..MountAttr::default() })
}

/// Ends the propagation of mounts from a mount and all below it to where it was copied from; not the reverse.
pub(super) fn set_slave(place: BorrowedFd<'_>) -> Result<(), Errno> {
    let propagation: c_ulong = libc::MS_SLAVE;
    set_attributes(place, &mut MountAttr { propagation, ..MountAttr::default() })
}

/// Makes a file system of a kind with options, mounted apart from the view.
pub(super) fn make(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is null-terminated and outlives the call.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    for (name, value) in options {
        // SAFETY: both strings are null-terminated and outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_SET_STRING,
                name.as_ptr(),
                value.as_ptr(),
                0,
            )
        };
        Errno::result(result)?;
    }
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither name nor value, so both are null.
    let result =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) };
    Errno::result(result)?;
    // SAFETY: takes three integers.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}
