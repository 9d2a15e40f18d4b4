//! Reading what the kernel says of an ended process: how it ended, what it used.
//!
//! Our own children are reaped whichever they are (keepers, and orphans that came to us as the subreaper). Of a
//! process without a keeper, which an earlier build started, recent kernels tell the status through a pidfd. What
//! is done with it is in `custodian/ending.rs`.

use std::os::fd::BorrowedFd;

use nix::libc;

use muster_supervisor::Outcome;
use muster_supervisor::record::Usage;

use crate::sys::{Reaped, pidfd_exit_status, reap_any};

/// Bytes of a block as rusage counts them.
const BLOCK_BYTES: u64 = 512;

/// What a wait status means.
pub(crate) fn outcome(status: i32) -> Outcome {
    let byte = |value: i32| u8::try_from(value & 0xff).unwrap_or(u8::MAX);
    if libc::WIFSIGNALED(status) {
        Outcome::Signaled { signal: byte(libc::WTERMSIG(status)), core_dumped: libc::WCOREDUMP(status) }
    } else {
        Outcome::Exited { code: byte(libc::WEXITSTATUS(status)) }
    }
}

/// What a process and the children that it waited for used.
pub(crate) fn usage(usage: &libc::rusage) -> Usage {
    let positive = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000)
            .saturating_add(positive(time.tv_usec))
    };
    Usage {
        user_cpu_us: Some(micros(usage.ru_utime)),
        system_cpu_us: Some(micros(usage.ru_stime)),
        peak_memory_bytes: Some(positive(usage.ru_maxrss).saturating_mul(1024)),
        read_bytes: Some(positive(usage.ru_inblock).saturating_mul(BLOCK_BYTES)),
        written_bytes: Some(positive(usage.ru_oublock).saturating_mul(BLOCK_BYTES)),
        ..Usage::default()
    }
}

/// Whether this kernel counts the bytes that a process reads and writes.
pub(crate) fn counts_bytes() -> bool {
    std::path::Path::new("/proc/self/io").exists()
}

/// Prefers what a group counted over what was known before, for it includes processes that nobody waited for; of the
/// bytes that were read and written, the larger.
pub(crate) fn merge(group: Usage, known: Usage) -> Usage {
    Usage {
        user_cpu_us: group.user_cpu_us.or(known.user_cpu_us),
        system_cpu_us: group.system_cpu_us.or(known.system_cpu_us),
        peak_memory_bytes: group.peak_memory_bytes.or(known.peak_memory_bytes),
        // A group counts what reached the disk so far, and not all that is written was by the end; rusage counts
        // what was written, but not by processes that nobody waited for.
        read_bytes: group.read_bytes.max(known.read_bytes),
        written_bytes: group.written_bytes.max(known.written_bytes),
        oom_kills: group.oom_kills.or(known.oom_kills),
        peak_processes: group.peak_processes.or(known.peak_processes),
        refused_processes: group.refused_processes.or(known.refused_processes),
    }
}

/// What a pidfd says of a process that is not our child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// It has ended so.
    Ended(Outcome),
    /// Its parent has not reaped it yet; the kernel may say more then.
    NotReaped,
    /// This kernel does not say.
    Untold,
}

/// Asks how a process that is not our child has ended.
pub(crate) fn late(pidfd: BorrowedFd<'_>) -> Late {
    match pidfd_exit_status(pidfd) {
        Ok(Some(status)) => Late::Ended(outcome(status)),
        Ok(None) => Late::NotReaped,
        Err(_) => Late::Untold,
    }
}

/// All children that have ended by now.
pub(crate) fn children() -> impl Iterator<Item = Reaped> {
    std::iter::from_fn(|| reap_any().ok().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_read() {
        assert_eq!(outcome(0), Outcome::Exited { code: 0 });
        assert_eq!(outcome(255 << 8), Outcome::Exited { code: 255 });
        assert_eq!(outcome(9), Outcome::Signaled { signal: 9, core_dumped: false });
        assert_eq!(outcome(11 | 0x80), Outcome::Signaled { signal: 11, core_dumped: true });
    }

    #[test]
    fn a_group_knows_better_than_rusage_and_gaps_are_filled() {
        let group = Usage { user_cpu_us: Some(9), oom_kills: Some(1), ..Usage::default() };
        let known = Usage { user_cpu_us: Some(2), read_bytes: Some(4), ..Usage::default() };
        let merged = merge(group, known);
        assert_eq!((merged.user_cpu_us, merged.read_bytes, merged.oom_kills), (Some(9), Some(4), Some(1)));
    }
}
