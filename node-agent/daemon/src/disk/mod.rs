//! Bounds the size of task directories, with `stdout.txt`, `wd` and all, by the best means that the node has.
//!
//! `disks` is the one door: which directory is bounded, how, and how full it is. `means` is what each can do, as a trait: `quota`,
//! `btrfs`, `image`, `memory`, `watch`; `choose` tries out which of them the node has. `monitor` looks at what runs about once a second
//! and tells the core of what is full. `record` is kept on disk, so that nothing stays behind of an agent that was killed.
//! A hard means lets a write fail (ENOSPC, EDQUOT); one that watches ends the attempt a moment later.
//!
//! Privileged work is done by the distribution's own programs (`mke2fs`, `mount`, `chattr`, `setquota`, `xfs_quota`, `btrfs`): the
//! calls behind them need code that the compiler cannot check, which has no place in this program, and only limited attempts
//! need them, once. How full a directory is, which is asked every second, is read by plain system calls.

mod btrfs;
mod choose;
mod disks;
mod error;
mod image;
mod look;
mod means;
mod memory;
mod monitor;
mod mounts;
#[cfg(test)]
mod proof;
mod quota;
mod record;
mod tool;
mod walk;
mod watch;

pub(crate) use choose::Choice;
pub(crate) use disks::{Disks, Holding};
pub(crate) use error::DiskError;
pub(crate) use monitor::monitor;
pub(crate) use walk::{ENTRIES_MAX, size_of};
