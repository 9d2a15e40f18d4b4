//! Who asks for members of one sweep, by range, by id and by pattern, with what each of them has been told.
//!
//! The lists outlive the sweep: they may be there before it, and stay when it is deleted as long as somebody asks. Counts
//! are kept for each demand, so that a sweep that goes takes exactly its own part out of each sum.
//!
//! Invariant: a list that nobody is on is dropped with its sweep's entry in the graph (`is_empty`).

use super::demand::Demand;
use super::facts::{Count, Facts, Status, Verdict};
use super::pattern::Reach;
use super::spans::{Key, Spans};
use super::work::step;
use muster_model::SweepId;
use muster_model::spec::SweepShape;
use std::collections::BTreeMap;

/// Those who ask for members of one sweep.
#[derive(Debug, Clone, Default)]
pub(super) struct SweepLists {
    /// By range of member numbers; the whole sweep is one range.
    pub(super) spans: Spans,
    /// What each demand on `spans` counts of it; `None`: the sweep does not exist.
    pub(super) counts: BTreeMap<Key, Option<Count>>,
    /// By id: the member's number, who asks, and the id's place in the demand. With what it means to the demand.
    pub(super) names: BTreeMap<(u64, Key, usize), Verdict>,
    /// By pattern, for the patterns that the sweep's name does not rule out; none when the sweep does not exist.
    pub(super) matched: BTreeMap<Key, Matched>,
}

/// What the patterns of one demand match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Matched {
    /// By all together: a task that two of them match counts once.
    pub(super) count: Count,
    /// By each, whatever has become of them.
    pub(super) each: Box<[u64]>,
}

impl SweepLists {
    /// Whether nobody asks.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.names.is_empty() && self.matched.is_empty()
    }
}

/// Counts the members of a sweep that a demand names by range; `None` when there is no such sweep.
pub(super) fn count_ranges(
    demand: &Demand,
    sweep: &SweepId,
    ranges: &[(u64, u64)],
    facts: &impl Facts,
) -> Option<Count> {
    let shape = facts.shape(sweep)?;
    let mut count = Count::default();
    for (first, last) in ranges.iter().filter_map(|(first, last)| shape.indices(*first, *last)) {
        facts.members(sweep, first, last, &mut |first, last, outcome| {
            step();
            count.add(Count::of_existing(Status::existing(outcome), demand.condition, last - first + 1));
        });
    }
    Some(count)
}

/// The patterns of a demand held against one sweep.
pub(super) struct Reaches<'a> {
    together: Reach<'a>,
    /// By each alone; empty for one pattern, which is all of them.
    each: Vec<Reach<'a>>,
}

impl<'a> Reaches<'a> {
    /// `None` if the sweep's name rules all of them out.
    pub(super) fn new(demand: &'a Demand, sweep: &SweepId, shape: SweepShape) -> Option<Self> {
        let together = Reach::new(&demand.globs, sweep, shape);
        if matches!(together, Reach::None) {
            return None;
        }
        let alone = demand.globs.chunks(1).map(|glob| Reach::new(glob, sweep, shape));
        Some(Self { together, each: if demand.globs.len() > 1 { alone.collect() } else { Vec::new() } })
    }

    /// How many of the members with indices in `first..=last` all together match, and each alone.
    pub(super) fn count(&mut self, first: u64, last: u64) -> (u64, Box<[u64]>) {
        let together = self.together.count(first, last);
        let each: Box<[u64]> = self.each.iter_mut().map(|reach| reach.count(first, last)).collect();
        (together, if each.is_empty() { [together].into() } else { each })
    }

    /// Counts the existing members.
    pub(super) fn recount(&mut self, demand: &Demand, sweep: &SweepId, facts: &impl Facts) -> Matched {
        let mut matched = Matched { count: Count::default(), each: vec![0; demand.globs.len()].into() };
        let last = facts.shape(sweep).and_then(|shape| shape.count.checked_sub(1));
        if let Some(last) = last {
            facts.members(sweep, 0, last, &mut |first, last, outcome| {
                step();
                let (together, each) = self.count(first, last);
                let status = Status::existing(outcome);
                matched.count.add(Count::of_existing(status, demand.condition, together));
                add(&mut matched.each, &each);
            });
        }
        matched
    }
}

/// Adds figure by figure.
pub(super) fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

/// Takes away figure by figure.
pub(super) fn take(sums: &mut [u64], less: &[u64]) {
    for (sum, less) in sums.iter_mut().zip(less) {
        *sum = sum.saturating_sub(*less);
    }
}
