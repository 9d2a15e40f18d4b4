//! Looks for planted faults: seed after seed, until one breaks a promise.
//!
//! That it is found is worth something only if the same seed keeps every promise without the fault, and if the promise is
//! one that the fault breaks (`planted`): another promise is another fault, or the oracle's own.

use crate::planted::Planted;
use crate::runner;
use crate::story::{Failure, glance, glance_planted};
use std::collections::BTreeMap;

/// The lowest seed that finds a planted fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub failure: Failure,
}

impl Found {
    /// Whether what broke is what the fault breaks.
    #[must_use]
    pub fn is_right(&self, planted: Planted) -> bool {
        planted.breaks().contains(&self.failure.promise)
    }
}

/// Looks for a planted fault with seeds from `first`, as many as it may take.
#[must_use]
pub fn hunt(planted: Planted, first: u64, threads: usize) -> Option<Found> {
    let mut found = BTreeMap::new();
    let keeps_all_without = |seed| glance(seed).failure.is_none();
    let run = |seed| glance_planted(seed, planted).failure.filter(|_| keeps_all_without(seed));
    runner::each(first, planted.within(), threads, run, |seed, failure| {
        let is_missed = failure.is_none();
        found.extend(failure.map(|failure| (seed, failure)));
        is_missed
    });
    found.into_iter().next().map(|(seed, failure)| Found { seed, failure })
}
