//! When to measure: at even intervals, and never where nobody wants to.
//!
//! A round that comes late because the machine slept or was busy is not made up for.

use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// Rounds at this interval, the first after one of them: processor time is counted from the start.
pub(crate) fn rounds(interval: Duration) -> Interval {
    let mut rounds = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Waits for the next round; for ever without any. Safe to drop and to call again.
pub(crate) async fn next_round(rounds: &mut Option<Interval>) {
    match rounds {
        Some(rounds) => {
            rounds.tick().await;
        }
        None => std::future::pending().await,
    }
}
