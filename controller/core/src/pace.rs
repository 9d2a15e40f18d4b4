//! How long the tasks of a job take: what decides how far ahead a node is supplied.
//!
//! A moving mean of measured durations. It is a guess that only tunes dispatch; it is not durable, and a loaded core
//! starts without one (and so without dispatching ahead).

use std::time::Duration;

/// The weight of a new measurement is one in `2^WEIGHT_SHIFT`: about eight tasks until a change is believed.
const WEIGHT_SHIFT: u32 = 3;

/// A moving mean of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pace {
    mean_micros: Option<u64>,
}

impl Pace {
    pub(crate) fn note(&mut self, span: Duration) {
        let new = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
        self.mean_micros = Some(match self.mean_micros {
            None => new,
            Some(mean) => mean - (mean >> WEIGHT_SHIFT) + (new >> WEIGHT_SHIFT),
        });
    }

    /// How many tasks of this kind are `work` together, at most `max`; none before the first measurement.
    pub(crate) fn tasks_in(&self, work: Duration, max: u32) -> u32 {
        let work = u64::try_from(work.as_micros()).unwrap_or(u64::MAX);
        self.mean_micros.map_or(0, |mean| u32::try_from(work / mean.max(1)).unwrap_or(u32::MAX).min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_sent_ahead_and_long_ones_are_not() {
        let mut pace = Pace::default();
        let work = Duration::from_millis(100);
        assert_eq!(pace.tasks_in(work, 16), 0);
        pace.note(Duration::from_millis(2));
        assert_eq!(pace.tasks_in(work, 16), 16);
        for _ in 0..40 {
            pace.note(Duration::from_secs(1));
        }
        assert_eq!(pace.tasks_in(work, 16), 0);
    }
}
