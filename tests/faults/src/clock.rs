//! The one clock that everything is compared by: microseconds since the machine booted, the same for every process of it.
//!
//! `CLOCK_BOOTTIME` goes on while the machine sleeps and no setting of the wall clock moves it.

use nix::time::{ClockId, clock_gettime};

/// Now, in microseconds since boot.
#[must_use]
pub fn boottime_us() -> u64 {
    // The kernel has had this clock since 2.6.39; 0 would show at once, as everything would seem to be one moment.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(std::time::Duration::ZERO, Into::into);
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
