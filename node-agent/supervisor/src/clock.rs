//! The three clocks, and the boot they belong to.
//!
//! Deadlines use the monotonic clock in microseconds since boot, so that they stay meaningful across a
//! restart of the supervisor; records carry wall-clock microseconds since the epoch for people. The lease is
//! counted on the boot clock, which goes on while the machine is suspended, as the controller's does.

use std::fs;
use std::io;

use nix::time::{ClockId, clock_gettime};

/// Microseconds since boot, without time spent suspended.
pub(crate) fn monotonic_us() -> u64 {
    u64::try_from(read(ClockId::CLOCK_MONOTONIC)).unwrap_or(0)
}

/// Microseconds since boot, time spent suspended included.
pub(crate) fn boottime_us() -> u64 {
    u64::try_from(read(ClockId::CLOCK_BOOTTIME)).unwrap_or(0)
}

/// Microseconds since the epoch.
pub(crate) fn wall_us() -> i64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> i64 {
    // Linux has all three clocks always, so the error cannot occur; 0 would only make a deadline late.
    clock_gettime(clock)
        .map_or(0, |time| time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_nsec() / 1_000))
}

/// The identity of this boot of the kernel.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
