//! The lease: until when the node may run attempts, counted from the moment at which it *asked*.
//!
//! The controller counts from the moment at which it answers, so the agent's lease always ends first. Heartbeats ask for it to
//! go on at a third of its length. One that has no answer after another third means that the controller does not answer on
//! this session: the last third is for a new one. What happens then, and at the lease's end, is decided in `agent`.

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
    /// How long an answer may take.
    patience: Duration,
    next_sequence: u64,
    due: Monotonic,
    asked: BTreeMap<u64, Monotonic>,
    /// Since when an answer is missing.
    unanswered: Option<Monotonic>,
}

impl Heartbeats {
    /// The heartbeats of a session that begins now, with a lease of `ttl` from when it was asked for.
    #[must_use]
    pub fn begin(ttl: Duration, wanted: Option<Duration>, asked: Monotonic, now: Monotonic) -> Self {
        let mut heartbeats = Self {
            interval: ttl,
            patience: ttl,
            next_sequence: 1,
            due: now,
            asked: BTreeMap::new(),
            unanswered: None,
        };
        heartbeats.set_interval(ttl, wanted);
        heartbeats.due = asked.after(heartbeats.interval).max(now);
        heartbeats
    }

    fn set_interval(&mut self, ttl: Duration, wanted: Option<Duration>) {
        let third = ttl / 3;
        self.interval = wanted.unwrap_or(third).min(third).max(INTERVAL_MIN);
        self.patience = third.max(INTERVAL_MIN);
    }

    /// When the controller has been silent for too long; `None` while every heartbeat is answered.
    #[must_use]
    pub fn silent_at(&self) -> Option<Monotonic> {
        Some(self.unanswered?.after(self.patience))
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
        self.unanswered.get_or_insert(now);
        while self.asked.len() > ASKED_MAX {
            self.asked.pop_first();
        }
        sequence
    }

    /// Takes an answer: until when the lease lasts by it, or `None` for one that was not asked for (any more).
    pub fn granted(&mut self, sequence: u64, ttl: Duration) -> Option<Monotonic> {
        let asked = self.asked.remove(&sequence)?;
        self.asked = self.asked.split_off(&sequence);
        self.unanswered = self.asked.values().next().copied();
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
        let mut heartbeats = Heartbeats::begin(TTL, None, at(0), at(0));
        assert_eq!(heartbeats.due(), at(10));
        let sequence = heartbeats.ask(at(10));
        assert_eq!(heartbeats.granted(sequence, TTL), Some(at(40)));
        assert_eq!(heartbeats.granted(sequence, TTL), None);
    }

    #[test]
    fn an_answer_makes_earlier_questions_moot() {
        let mut heartbeats = Heartbeats::begin(TTL, None, at(0), at(0));
        let first = heartbeats.ask(at(10));
        let second = heartbeats.ask(at(20));
        assert_eq!(heartbeats.granted(second, TTL), Some(at(50)));
        assert_eq!(heartbeats.granted(first, TTL), None);
        assert_eq!(heartbeats.granted(99, TTL), None);
    }

    #[test]
    fn the_interval_is_never_above_a_third_of_the_lease() {
        let heartbeats = Heartbeats::begin(TTL, Some(Duration::from_secs(25)), at(0), at(0));
        assert_eq!(heartbeats.due(), at(10));
        let begun = |ttl, wanted, now| Heartbeats::begin(ttl, wanted, at(0), now).due();
        assert_eq!(begun(TTL, Some(Duration::from_secs(2)), at(0)), at(2));
        assert_eq!(begun(Duration::ZERO, None, at(0)), at(0).after(INTERVAL_MIN));
        assert_eq!(begun(TTL, None, at(4)), at(10), "counted from the asking");
        assert_eq!(
            begun(TTL, None, at(17)),
            at(17),
            "a Welcome that came late is followed by a heartbeat at once"
        );
    }

    #[test]
    fn a_controller_that_does_not_answer_is_given_up_a_third_of_the_lease_before_its_end() {
        for wanted in [None, Some(Duration::from_millis(50))] {
            let mut heartbeats = Heartbeats::begin(TTL, wanted, at(0), at(0));
            assert_eq!(heartbeats.silent_at(), None);
            let first = heartbeats.ask(at(10));
            assert_eq!(heartbeats.silent_at(), Some(at(20)));
            for _ in 0..ASKED_MAX {
                heartbeats.ask(at(12));
            }
            assert_eq!(heartbeats.silent_at(), Some(at(20)), "asking again does not answer");
            assert_eq!(heartbeats.granted(first, TTL), None, "so old a question is forgotten");
            let last = heartbeats.ask(at(13));
            let next = heartbeats.ask(at(14));
            assert_eq!(heartbeats.granted(last, TTL), Some(at(43)));
            assert_eq!(heartbeats.silent_at(), Some(at(24)), "the next one is awaited since then");
            assert_eq!(heartbeats.granted(next, TTL), Some(at(44)));
            assert_eq!(heartbeats.silent_at(), None);
        }
    }
}
