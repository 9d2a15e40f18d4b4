//! Wall clocks that can be put off while a daemon runs.
//!
//! `dressed` gives a command a wall clock of its own, `WallClock::jump` sets it. The usual means, libfaketime, cannot be had here: it also
//! shifts absolute timers that count boot time (`timerfd_settime`), which no setting of a clock does, and so would put off the very
//! lease that must not care. A library of our own changes what reading the wall clock answers and nothing else.

mod wall_clock;

pub use wall_clock::{WallClock, compiler};
