//! The part of a round in which faults are dealt: what a scenario is given, and what it writes down.
//!
//! A scenario lets time pass here and nowhere else, and every fault is counted here, so that a round without faults shows.

use crate::chance::Chance;
use crate::clock::boottime_us;
use crate::load::Load;
use crate::site::Site;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A fault that was dealt, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealt {
    /// When, in microseconds since boot.
    pub at_us: u64,
    /// Which.
    pub what: String,
}

/// The part of a round in which faults are dealt.
#[derive(Debug)]
pub struct Turn<'a> {
    /// What is disturbed.
    pub site: &'a mut Site,
    /// What it works on.
    pub load: &'a Load,
    /// The choices.
    pub chance: Chance,
    /// When faults are to end.
    pub(super) until: Instant,
    pub(super) dealt: Vec<Dealt>,
    pub(super) faults: BTreeMap<&'static str, u32>,
}

impl Turn<'_> {
    /// Whether time is up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Lets a span pass, or what is left of the turn.
    pub fn pass(&self, span: Duration) {
        self.pass_fully(span.min(self.until.saturating_duration_since(Instant::now())));
    }

    /// Lets a whole span pass, also beyond the end of the turn: how long a fault lasts.
    pub fn pass_fully(&self, span: Duration) {
        let end = Instant::now() + span;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
    }

    /// Counts a fault and writes it down.
    pub fn dealt(&mut self, fault: &'static str, what: impl Into<String>) {
        *self.faults.entry(fault).or_default() += 1;
        self.noted(what);
    }

    /// Writes something down that is no fault: that one was taken back, that a process came up again.
    pub fn noted(&mut self, what: impl Into<String>) {
        self.dealt.push(Dealt { at_us: boottime_us(), what: what.into() });
    }
}
