//! The lease: until when the node may run attempts, counted from the moment at which it *asked*.
//!
//! The controller counts from the moment at which it answers, so the agent's lease always ends first. Heartbeats ask for it to
//! go on at a third of its length, so that two may be lost. What happens at its end is decided in `agent`.

use crate::time::Monotonic;
use std::collections::BTreeMap;
use std::time::Duration;

/// Heartbeats that wait for their answer: with three in one lease, more than this many are never worth an answer.
pub const ASKED_MAX: usize = 16;
/// Shortest time between heartbeats, whatever the controller grants.
pub const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// The heartbeats of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeats {
    interval: Duration,
    next_sequence: u64,
    due: Monotonic,
    asked: BTreeMap<u64, Monotonic>,
}

impl Heartbeats {
    /// The heartbeats of a session that begins now with a lease of `ttl`.
    #[must_use]
    pub fn begin(ttl: Duration, wanted: Option<Duration>, now: Monotonic) -> Self {
        let mut heartbeats = Self { interval: ttl, next_sequence: 1, due: now, asked: BTreeMap::new() };
        heartbeats.set_interval(ttl, wanted);
        heartbeats.due = now.after(heartbeats.interval);
        heartbeats
    }

    fn set_interval(&mut self, ttl: Duration, wanted: Option<Duration>) {
        let third = ttl / 3;
        self.interval = wanted.unwrap_or(third).min(third).max(INTERVAL_MIN);
    }

    /// When the next one is to be sent.
    #[must_use]
    pub const fn due(&self) -> Monotonic {
        self.due
    }

    /// Asks: the number of the heartbeat to send.
    pub fn ask(&mut self, now: Monotonic) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.due = now.after(self.interval);
        self.asked.insert(sequence, now);
        while self.asked.len() > ASKED_MAX {
            self.asked.pop_first();
        }
        sequence
    }

    /// Takes an answer: until when the lease lasts by it, or `None` for one that was not asked for (any more).
    pub fn granted(&mut self, sequence: u64, ttl: Duration) -> Option<Monotonic> {
        let asked = self.asked.remove(&sequence)?;
        self.asked = self.asked.split_off(&sequence);
        self.set_interval(ttl, Some(self.interval));
        Some(asked.after(ttl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn the_lease_counts_from_the_asking_not_from_the_answer() {
        let mut heartbeats = Heartbeats::begin(TTL, None, at(0));
        assert_eq!(heartbeats.due(), at(10));
        let sequence = heartbeats.ask(at(10));
        assert_eq!(heartbeats.granted(sequence, TTL), Some(at(40)));
        assert_eq!(heartbeats.granted(sequence, TTL), None);
    }

    #[test]
    fn an_answer_makes_earlier_questions_moot() {
        let mut heartbeats = Heartbeats::begin(TTL, None, at(0));
        let first = heartbeats.ask(at(10));
        let second = heartbeats.ask(at(20));
        assert_eq!(heartbeats.granted(second, TTL), Some(at(50)));
        assert_eq!(heartbeats.granted(first, TTL), None);
        assert_eq!(heartbeats.granted(99, TTL), None);
    }

    #[test]
    fn the_interval_is_never_above_a_third_of_the_lease() {
        let heartbeats = Heartbeats::begin(TTL, Some(Duration::from_secs(25)), at(0));
        assert_eq!(heartbeats.due(), at(10));
        assert_eq!(Heartbeats::begin(TTL, Some(Duration::from_secs(2)), at(0)).due(), at(2));
        assert_eq!(Heartbeats::begin(Duration::ZERO, None, at(0)).due(), at(0).after(INTERVAL_MIN));
    }
}
