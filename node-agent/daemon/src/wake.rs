//! Waking up at a point of the clock that the core's deadlines are on.
//!
//! The runtime's own timers stand still while the machine sleeps; a lease does not. This is a timerfd on CLOCK_BOOTTIME, so a
//! machine that was suspended beyond its lease finds the deadline passed at once.

use muster_agent_core::Monotonic;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;

/// A timer for one deadline at a time.
#[derive(Debug)]
pub(crate) struct Wake {
    timer: TimerFd,
    /// The same timer, for waiting: the runtime's type for the reading end of a pipe waits for any descriptor.
    readable: Receiver,
    set_to: Option<Monotonic>,
}

impl Wake {
    /// A timer that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        let readable = Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, readable, set_to: None })
    }

    /// Sets the deadline; `None` is never.
    pub(crate) fn set(&mut self, at: Option<Monotonic>) -> io::Result<()> {
        if at == self.set_to {
            return Ok(());
        }
        match at {
            Some(at) => {
                // A deadline of zero would disarm the timer; it is in the past in any case.
                let at = TimeSpec::from_duration(at.as_duration().max(Duration::from_nanos(1)));
                self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        self.set_to = at;
        Ok(())
    }

    /// Waits for the deadline. Safe to drop.
    pub(crate) async fn passed(&mut self) -> io::Result<()> {
        loop {
            self.readable.readable().await?;
            match self.readable.try_read(&mut [0; 8]) {
                Ok(_) => {
                    self.set_to = None;
                    return Ok(());
                }
                // The deadline was moved meanwhile.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
