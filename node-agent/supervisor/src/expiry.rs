//! The dead man's switch: a timer that rings when tasks may no longer run.
//!
//! The timer counts `CLOCK_BOOTTIME`, so that a machine that was suspended finds at its resume that the time
//! is over. It rings once for each end that is set, and nothing wakes before. Whom it ends, and what is
//! refused afterwards, is the custodian's (`custodian/leasing.rs`).
//!
//! Invariant: whether the lease is over is read from the clock, never from whether the timer has rung.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{c_long, time_t};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clock::boottime_us;

const MICROS_PER_SECOND: u64 = 1_000_000;
const NANOS_PER_MICRO: u64 = 1_000;

/// The lease in force, and the timer that rings at its end.
#[derive(Debug)]
pub(crate) struct Expiry {
    until_us: Option<u64>,
    timer: TimerFd,
}

impl Expiry {
    /// With no lease in force.
    pub(crate) fn new() -> Result<Self, Errno> {
        let timer =
            TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self { until_us: None, timer })
    }

    /// Replaces the lease: until when tasks may run, in microseconds since boot; `None` for ever.
    pub(crate) fn set(&mut self, until_us: Option<u64>) -> Result<(), Errno> {
        self.until_us = until_us;
        match until_us {
            // A time that has passed rings at once; zero, however, would disarm.
            Some(until_us) => self
                .timer
                .set(Expiration::OneShot(time_spec(until_us.max(1))), TimerSetTimeFlags::TFD_TIMER_ABSTIME),
            None => self.timer.unset(),
        }
    }

    /// Takes note that the timer has rung, so that it is silent from here on.
    pub(crate) fn rang(&self) {
        let mut count = [0; 8];
        // How often is of no interest, and that it did not is the clock's to say.
        let _ = nix::unistd::read(&self.timer, &mut count);
    }

    /// Whether a lease was in force and has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.until_us.is_some_and(|until_us| until_us <= boottime_us())
    }
}

impl AsFd for Expiry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// A time too far for the kernel's type becomes the furthest.
fn time_spec(micros: u64) -> TimeSpec {
    let seconds = time_t::try_from(micros / MICROS_PER_SECOND).unwrap_or(time_t::MAX);
    let nanos = c_long::try_from(micros % MICROS_PER_SECOND * NANOS_PER_MICRO).unwrap_or(0);
    TimeSpec::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// Whether it rings within so many milliseconds.
    fn rings(expiry: &Expiry, within_ms: u16) -> bool {
        let mut timer = [PollFd::new(expiry.as_fd(), PollFlags::POLLIN)];
        poll(&mut timer, PollTimeout::from(within_ms)).unwrap() > 0
    }

    #[test]
    fn a_time_that_has_passed_rings_at_once_and_then_no_more() {
        for until_us in [0, 1, boottime_us()] {
            let mut expiry = Expiry::new().unwrap();
            expiry.set(Some(until_us)).unwrap();
            assert!(expiry.is_over() && rings(&expiry, 10_000), "{until_us}");
            expiry.rang();
            assert!(expiry.is_over() && !rings(&expiry, 0), "{until_us}");
        }
    }

    #[test]
    fn it_is_over_when_it_rings_and_not_before() {
        let mut expiry = Expiry::new().unwrap();
        let until_us = boottime_us() + 50_000;
        expiry.set(Some(until_us)).unwrap();
        assert!(!rings(&expiry, 0) || boottime_us() >= until_us);
        assert!(rings(&expiry, 10_000));
        assert!(expiry.is_over() && boottime_us() >= until_us);
    }

    #[test]
    fn a_later_end_or_none_silences_one_that_rang() {
        let mut expiry = Expiry::new().unwrap();
        for later in [None, Some(boottime_us() + 3_600_000_000), Some(u64::MAX)] {
            expiry.set(Some(1)).unwrap();
            assert!(rings(&expiry, 10_000));
            expiry.set(later).unwrap();
            assert!(!rings(&expiry, 0) && !expiry.is_over(), "{later:?}");
        }
    }
}
