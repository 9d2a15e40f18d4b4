//! The time that the core is told: wall-clock microseconds that run like a monotonic clock.
//!
//! Leases are promises of real seconds, so a step of the wall clock (an administrator, a first synchronisation) must
//! not end them early. Engine time therefore starts at the wall clock, advances with the monotonic clock, and closes
//! any gap to the wall clock slowly: at most one part in `SLEW_PARTS`, forwards or backwards. It never goes back.
//!
//! Invariant: over any span of real time engine time advances by no more than 1 + 1/SLEW_PARTS of it, which the
//! lease margin (5 s on 30 s) covers many times over.

use muster_model::Timestamp;
use muster_runtime::clock;
use std::time::Duration;

/// One part in fifty, 2 %: a clock that was an hour wrong is right after two days; a lease of 30 s is 0.6 s shorter at
/// most, far less than its margin.
const SLEW_PARTS: u32 = 50;

/// The two clocks of a machine.
pub trait TimeSource: Send + 'static {
    /// The wall clock. May step either way.
    fn wall(&self) -> Timestamp;
    /// Time since some fixed moment. Never steps.
    fn monotonic(&self) -> Duration;
}

/// The clocks of this machine. Its monotonic clock goes on while the machine is suspended, as its nodes' clocks do.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemTimes;

impl TimeSource for SystemTimes {
    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(clock::wall_us())
    }

    fn monotonic(&self) -> Duration {
        clock::since_boot()
    }
}

/// Engine time. One owner reads it; every reading is at or after the one before.
#[derive(Debug)]
pub struct EngineClock<T> {
    source: T,
    /// Since the epoch, in nanoseconds: at microseconds a clock that is read often would lose time.
    now: Duration,
    read_at: Duration,
}

impl<T: TimeSource> EngineClock<T> {
    /// A clock that starts at the source's wall clock.
    pub fn new(source: T) -> Self {
        let (now, read_at) = (since_epoch(source.wall()), source.monotonic());
        Self { source, now, read_at }
    }

    /// The time now.
    pub fn now(&mut self) -> Timestamp {
        let read_at = self.source.monotonic();
        let passed = read_at.saturating_sub(self.read_at);
        let slew = passed / SLEW_PARTS;
        let straight = self.now.saturating_add(passed);
        let wall = since_epoch(self.source.wall());
        self.now = if wall > straight {
            straight.saturating_add(slew.min(wall - straight))
        } else {
            straight.saturating_sub(slew.min(straight - wall))
        };
        self.read_at = read_at;
        Timestamp::EPOCH.after(self.now)
    }
}

/// The time since the epoch; zero before it.
fn since_epoch(time: Timestamp) -> Duration {
    time.since(Timestamp::EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone)]
    struct Manual(Arc<Mutex<(i64, Duration)>>);

    impl Manual {
        fn advance(&self, wall_secs: i64, monotonic_secs: u64) {
            let mut times = self.0.lock().unwrap();
            times.0 += wall_secs * 1_000_000;
            times.1 += Duration::from_secs(monotonic_secs);
        }
    }

    impl TimeSource for Manual {
        fn wall(&self) -> Timestamp {
            Timestamp::from_micros(self.0.lock().unwrap().0)
        }
        fn monotonic(&self) -> Duration {
            self.0.lock().unwrap().1
        }
    }

    fn at_1000() -> (Manual, EngineClock<Manual>) {
        let times = Manual(Arc::new(Mutex::new((1_000_000_000, Duration::from_secs(5)))));
        (times.clone(), EngineClock::new(times))
    }

    #[test]
    fn follows_the_wall_clock_while_both_agree() {
        let (times, mut clock) = at_1000();
        times.advance(30, 30);
        assert_eq!(clock.now(), times.wall());
    }

    #[test]
    fn a_wall_clock_step_forwards_does_not_end_a_lease_early() {
        let (times, mut clock) = at_1000();
        let granted = clock.now();
        times.advance(3_600 + 30, 30);
        let passed = clock.now().since(granted);
        assert!(passed >= Duration::from_secs(30) && passed < Duration::from_secs(31), "{passed:?}");
    }

    #[test]
    fn a_wall_clock_step_backwards_neither_stops_nor_reverses_time() {
        let (times, mut clock) = at_1000();
        let before = clock.now();
        times.advance(-3_600, 0);
        assert_eq!(clock.now(), before);
        times.advance(100, 100);
        let passed = clock.now().since(before);
        assert_eq!(passed, Duration::from_secs(98));
    }

    #[test]
    fn a_clock_that_is_read_all_the_time_loses_nothing() {
        let (times, mut clock) = at_1000();
        let before = clock.now();
        for _ in 0..1_000_000 {
            times.0.lock().unwrap().1 += Duration::from_nanos(900);
            clock.now();
        }
        // The wall clock stands still meanwhile, which may slow it down by one part in fifty.
        let passed = clock.now().since(before);
        assert!(passed >= Duration::from_millis(882) && passed <= Duration::from_millis(900), "{passed:?}");
    }

    #[test]
    fn a_small_gap_is_closed_exactly() {
        let (times, mut clock) = at_1000();
        times.advance(101, 100);
        assert_eq!(clock.now(), times.wall());
        times.advance(99, 100);
        assert_eq!(clock.now(), times.wall());
    }
}
