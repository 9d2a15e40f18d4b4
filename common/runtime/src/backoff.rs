//! How long to wait before trying again: exponential growth with full jitter and a cap.
//!
//! Full jitter (each wait is uniform between zero and the current bound) spreads a thousand nodes that lost
//! the same controller evenly over the bound, where a fixed or half-jittered wait lets them return in waves.
//!
//! It never sleeps and reads no clock. `next` is pure, given the random number; `next_delay` draws the number
//! from a generator seeded once for each `Backoff`.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The state of one series of retries.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// A series whose first wait is at most `base`, each further bound twice the last, and no wait longer than
    /// `cap`. Seeded by the process's own randomness: two nodes do not wait alike.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        // The standard library seeds each hasher state from the system's randomness. Jitter needs no more than
        // that, and so the crate needs no generator of its own.
        Self::seeded(base, cap, RandomState::new().hash_one(0_u8))
    }

    /// The same with a given seed: equal seeds give equal waits from `next_delay`.
    #[must_use]
    pub fn seeded(base: Duration, cap: Duration, seed: u64) -> Self {
        Self { base, cap, attempt: 0, seed }
    }

    /// How many waits were taken since the start or the last `reset`.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The longest that the next wait may be: `min(cap, base * 2^attempt)`.
    #[must_use]
    pub fn bound(&self) -> Duration {
        2_u32
            .checked_pow(self.attempt)
            .and_then(|times| self.base.checked_mul(times))
            .map_or(self.cap, |grown| grown.min(self.cap))
    }

    /// The next wait: `rand`, taken as uniform over all `u64`, is scaled to zero up to `bound`.
    pub fn next(&mut self, rand: u64) -> Duration {
        let bound_ns = self.bound().as_nanos();
        self.attempt = self.attempt.saturating_add(1);
        // Duration::MAX is below 2^94 ns, so the product with the upper 32 bits of `rand` stays below 2^126.
        let wait_ns = (bound_ns * u128::from(rand >> 32)) >> 32;
        // `wait_ns` is at most `bound_ns`, which came from a Duration.
        Duration::from_nanos_u128(wait_ns)
    }

    /// The next wait, drawn from this series' own generator.
    pub fn next_delay(&mut self) -> Duration {
        let rand = self.draw();
        self.next(rand)
    }

    /// Starts again at `base`: call it when a try succeeded.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// One step of SplitMix64, a small generator with a full period that is good enough to spread retries.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(10);

    #[test]
    fn bound_doubles_up_to_the_cap_and_stays_there() {
        let mut backoff = Backoff::seeded(BASE, CAP, 1);
        let mut bounds_ms = Vec::new();
        for _ in 0..9 {
            bounds_ms.push(backoff.bound().as_millis());
            backoff.next(0);
        }
        assert_eq!(bounds_ms, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn wait_spans_zero_to_bound() {
        let mut backoff = Backoff::seeded(BASE, CAP, 1);
        assert_eq!(backoff.next(0), Duration::ZERO);
        let bound = backoff.bound();
        let longest = backoff.next(u64::MAX);
        assert!(longest <= bound && longest > bound.mul_f64(0.999));
        assert_eq!(backoff.next(1 << 63), Duration::from_millis(200));
    }

    #[test]
    fn no_number_of_tries_and_no_length_overflows() {
        let mut backoff = Backoff::seeded(Duration::MAX, Duration::MAX, 1);
        backoff.attempt = u32::MAX;
        assert!(backoff.next(u64::MAX) <= Duration::MAX);
        assert_eq!(backoff.attempt(), u32::MAX);
    }

    #[test]
    fn reset_starts_again_at_the_base() {
        let mut backoff = Backoff::seeded(BASE, CAP, 1);
        for _ in 0..5 {
            backoff.next_delay();
        }
        assert_eq!(backoff.attempt(), 5);
        backoff.reset();
        assert_eq!((backoff.attempt(), backoff.bound()), (0, BASE));
    }

    #[test]
    fn seeds_decide_the_waits_and_fresh_series_differ() {
        let waits = |mut backoff: Backoff| (0..8).map(|_| backoff.next_delay()).collect::<Vec<_>>();
        assert_eq!(waits(Backoff::seeded(BASE, CAP, 7)), waits(Backoff::seeded(BASE, CAP, 7)));
        assert_ne!(waits(Backoff::seeded(BASE, CAP, 7)), waits(Backoff::seeded(BASE, CAP, 8)));
        assert_ne!(waits(Backoff::new(BASE, CAP)), waits(Backoff::new(BASE, CAP)));
    }
}
