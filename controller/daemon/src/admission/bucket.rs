//! A pace: so many calls a second, with some saved up while nobody calls.
//!
//! The generic cell rate algorithm: one number says when the bucket is full again, and from it follows what is in it and
//! when the next call may come. Pure: the time is an argument.

use std::time::Duration;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Nanoseconds for each call.
    interval: u64,
    /// Nanoseconds that may be saved up: at least one call.
    burst: u64,
}

impl Pace {
    /// So many calls a second, at least one, and what comes together in `burst`, at least one call.
    pub(super) fn new(per_second: u32, burst: Duration) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.max(1));
        let burst = u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX).max(interval);
        Self { interval, burst }
    }
}

/// A bucket; full at first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// When it is full again, in nanoseconds.
    full_at: u64,
}

impl Bucket {
    /// Takes one call out, or says when there will be one.
    pub(super) fn take(&mut self, pace: Pace, now: Duration) -> Result<(), Duration> {
        let now = nanos(now);
        let full_at = self.full_at.max(now).saturating_add(pace.interval);
        let missing = full_at.saturating_sub(now).saturating_sub(pace.burst);
        if missing > 0 {
            return Err(Duration::from_nanos(missing));
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Whether nothing would be lost if it was forgotten.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= nanos(now)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_saved_up_comes_at_once_and_the_rest_at_its_pace() {
        let pace = Pace::new(10, SECOND);
        let mut bucket = Bucket::default();
        let now = SECOND * 100;
        let at_once = (0..100).filter(|_| bucket.take(pace, now).is_ok()).count();
        assert_eq!(at_once, 10);
        let wait = bucket.take(pace, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(bucket.take(pace, now + wait - Duration::from_millis(1)).is_err());
        assert!(bucket.take(pace, now + wait).is_ok(), "whoever comes when told to gets through");
        let later = (0..100).filter(|n| bucket.take(pace, now + wait + SECOND / 100 * *n).is_ok()).count();
        assert!((9..=10).contains(&later), "{later}");
        assert!(!bucket.is_full(now) && bucket.is_full(now + SECOND * 60));
    }

    #[test]
    fn a_bucket_without_a_burst_holds_one() {
        let pace = Pace::new(0, Duration::ZERO);
        let mut bucket = Bucket::default();
        assert!(bucket.take(pace, SECOND).is_ok());
        assert_eq!(bucket.take(pace, SECOND), Err(SECOND));
    }
}
