//! The only place where a daemon reads a clock: the wall clock, and the time since boot.
//!
//! The cores never come here: they are given `now` as an argument. The two clocks have two types, so that a
//! lease cannot be counted on the wall clock, which an operator may set back, by accident.
//!
//! Invariant: `since_boot` goes on while the machine is suspended. A virtual machine that is paused for a
//! minute has lost its lease when it wakes; a clock that stood still meanwhile would not tell it so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The wall clock, in microseconds since the Unix epoch. Total: a clock outside what `i64` microseconds can
/// hold (the years -290,000 to 294,000) gives the nearest bound.
#[must_use]
pub fn wall_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, std::ops::Neg::neg),
    }
}

/// The time since this machine booted, suspended time included. Never goes back, and means nothing on any
/// other machine or after a reboot.
#[must_use]
pub fn since_boot() -> Duration {
    // The clock is part of every Linux since 2.6.39; should a sandbox filter the call all the same, the plain
    // monotonic clock is the nearest thing, and zero (which ends no lease early) the last resort.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC))
        .map(Duration::from)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_is_in_microseconds_of_this_century() {
        let year_2020_us = 1_577_836_800_000_000;
        let year_2100_us = 4_102_444_800_000_000;
        assert!((year_2020_us..year_2100_us).contains(&wall_us()));
    }

    #[test]
    fn time_since_boot_never_goes_back() {
        let mut last = since_boot();
        assert!(last > Duration::ZERO);
        for _ in 0..1000 {
            let now = since_boot();
            assert!(now >= last);
            last = now;
        }
    }
}
