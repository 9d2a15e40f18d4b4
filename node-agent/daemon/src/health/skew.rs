//! How far the node's clock is from the controller's.
//!
//! The controller tells its clock in every Welcome. From there on it is counted with the time since the machine booted, which nobody
//! sets: so that the node's clock was set wrong, or right again, is seen without asking.

use std::time::Duration;

/// Skew that began ends with so many tenths of the most that is allowed.
const WELL_TENTHS: u32 = 8;

/// The controller's clock at a moment of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// What it said, in microseconds since the epoch.
    server_us: i64,
    /// When, as the time since the boot: half way between question and answer.
    at: Duration,
    /// How far off that may be.
    uncertain: Duration,
}

/// How the node's clock stands to the controller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    /// How far they are apart at least.
    pub(super) by: Duration,
    /// The node's clock, in microseconds since the epoch.
    pub(super) node_us: i64,
    /// The controller's at the same moment.
    pub(super) server_us: i64,
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Anchor {
    /// What the controller said in an answer, and when was asked and heard, since the boot.
    pub(crate) fn new(server_us: i64, asked: Duration, heard: Duration) -> Self {
        let half = heard.saturating_sub(asked) / 2;
        Self { server_us, at: asked.saturating_add(half), uncertain: half }
    }

    /// How the clocks stand to each other at a moment of the node.
    pub(super) fn skew(&self, node_us: i64, since_boot: Duration) -> Skew {
        let server_us = self.server_us.saturating_add(micros(since_boot.saturating_sub(self.at)));
        let apart = Duration::from_micros(node_us.abs_diff(server_us));
        Skew { by: apart.saturating_sub(self.uncertain), node_us, server_us }
    }
}

impl Skew {
    /// Whether it is too much, given whether it was before.
    pub(super) fn is_too_much(&self, most: Duration, was: bool) -> bool {
        let well = most.saturating_mul(WELL_TENTHS) / 10;
        self.by > if was { well } else { most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn half_the_round_trip_is_the_controller_s_and_as_much_is_uncertain() {
        let anchor = Anchor::new(1_000 * SECOND_US, seconds(50), seconds(54));
        let skew = anchor.skew(1_000 * SECOND_US, seconds(52));
        assert_eq!((skew.by, skew.server_us), (Duration::ZERO, 1_000 * SECOND_US));
        assert_eq!(anchor.skew(1_012 * SECOND_US, seconds(54)).by, seconds(8));
    }

    #[test]
    fn a_clock_that_is_set_is_seen_without_asking_in_both_directions() {
        let anchor = Anchor::new(1_000 * SECOND_US, seconds(50), seconds(50));
        assert_eq!(anchor.skew(1_600 * SECOND_US, seconds(650)).by, Duration::ZERO);
        assert_eq!(anchor.skew(1_000 * SECOND_US, seconds(650)).by, seconds(600));
        assert_eq!(anchor.skew(2_000 * SECOND_US, seconds(650)).by, seconds(400));
        assert!(anchor.skew(i64::MIN, seconds(650)).by > seconds(1_000_000));
    }

    #[test]
    fn skew_begins_above_the_limit_and_ends_well_below() {
        let skew = |by| Skew { by: seconds(by), node_us: 0, server_us: 0 };
        let most = seconds(30);
        assert!(!skew(30).is_too_much(most, false) && skew(31).is_too_much(most, false));
        assert!(skew(25).is_too_much(most, true) && !skew(24).is_too_much(most, true));
    }
}
