//! The two clocks that the agent is told: one for spans, one for people.
//!
//! Leases and deadlines count on [`Monotonic`], the time since the machine booted, sleep included (CLOCK_BOOTTIME): it goes
//! on through a restart of the agent, so a lease that was kept in the journal ends when it should. Wall time is only
//! written into records and reports.

use muster_model::Timestamp;
use std::fmt;
use std::time::Duration;

/// A point in time as the span since the machine booted. Comparable only within one boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// A point from the span since the boot.
    #[must_use]
    pub const fn since_boot(span: Duration) -> Self {
        Self(span)
    }

    /// The span since the boot.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// This point plus a span; saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The span from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot+{:?}", self.0)
    }
}

/// The moment at which an input is handled, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For spans and deadlines.
    pub monotonic: Monotonic,
    /// For records and reports.
    pub wall: Timestamp,
}

impl Now {
    /// When a wall time will come, on the clock that deadlines use; now if it is past.
    #[must_use]
    pub fn monotonic_at(&self, wall: Timestamp) -> Monotonic {
        self.monotonic.after(wall.since(self.wall))
    }
}
