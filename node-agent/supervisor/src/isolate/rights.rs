//! What a task gives up for good: capabilities and system calls.
//!
//! The bounding set goes while the process may still change it, the rest once it is its user; filters come
//! last before exec, for they may refuse anything else.
//!
//! Invariant: after both halves no set-user-id program and no file capability can give anything back.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use nix::unistd::geteuid;

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits in two halves.
const VERSION_3: u32 = 0x2008_0522;
/// The sets have so many bits, so the loop over them ends also if the kernel never says that it is through.
const CAPABILITY_BITS: libc::c_int = 64;

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Empties the bounding set: what a program that is executed could get at most.
pub(crate) fn drop_bounding_set() -> Result<(), Errno> {
    for capability in 0..CAPABILITY_BITS {
        // SAFETY: takes integers only.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match Errno::result(result) {
            Ok(_) => {}
            // This kernel has no more capabilities.
            Err(Errno::EINVAL) if capability > 0 => break,
            // Only root may; another user has nothing that no_new_privs would not withhold.
            Err(Errno::EPERM) if !geteuid().is_root() => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Empties the other sets: what the calling process has, and would hand on.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: the header and the two halves live through the call, in the form of the version that it names.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const none) };
    // The ambient set holds only what is both permitted and inheritable, so it is empty, too.
    Errno::result(result).map(drop)
}

/// Installs filters of system calls, in their order; the error comes with the number of the filter.
pub(crate) fn install_filters(filters: &[Vec<libc::sock_filter>]) -> Result<(), (usize, Errno)> {
    for (number, filter) in filters.iter().enumerate() {
        let program = libc::sock_fprog {
            // A checked filter has at most 4096 instructions.
            len: u16::try_from(filter.len()).map_err(|_| (number, Errno::EINVAL))?,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the program and its instructions live through the call, which reads them only.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_u32, &raw const program)
        };
        Errno::result(result).map_err(|errno| (number, errno))?;
    }
    Ok(())
}
