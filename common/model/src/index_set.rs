//! A set of indices kept as runs: a million neighbours cost what one costs.
//!
//! The members of a sweep that share a fate are such a set (waiting, cancelled, succeeded). It costs memory and time by
//! its runs, never by its members.
//!
//! Invariant: runs are disjoint, do not touch, and `len` is the sum of their lengths.

use std::collections::BTreeMap;
use std::fmt;

/// Indices from 0, as runs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IndexSet {
    /// First to last of each run, both in it.
    runs: BTreeMap<u64, u64>,
    len: u64,
}

impl IndexSet {
    /// All indices below `count`.
    #[must_use]
    pub fn below(count: u64) -> Self {
        let mut set = Self::default();
        if let Some(last) = count.checked_sub(1) {
            set.insert(0, last);
        }
        set
    }

    /// How many indices are in it.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The smallest index in it.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.runs.keys().next().copied()
    }

    /// Whether `index` is in it.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        self.run_at(index).is_some()
    }

    /// The run that holds `index`.
    fn run_at(&self, index: u64) -> Option<(u64, u64)> {
        let (first, last) = self.runs.range(..=index).next_back()?;
        (*last >= index).then_some((*first, *last))
    }

    /// The runs in order: first and last index of each.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(first, last)| (*first, *last))
    }

    /// The parts of the runs that lie within `first..=last`, in order.
    pub fn runs_within(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let from = self.run_at(first).map_or(first, |(start, _)| start);
        let runs = if from <= last { Some(self.runs.range(from..=last)) } else { None };
        runs.into_iter().flatten().map(move |(start, end)| ((*start).max(first), (*end).min(last)))
    }

    /// How many indices within `first..=last` are in it.
    #[must_use]
    pub fn count_within(&self, first: u64, last: u64) -> u64 {
        self.runs_within(first, last).map(|(start, end)| end - start + 1).sum()
    }

    /// The smallest index in it that is at least `from`.
    #[must_use]
    pub fn next_from(&self, from: u64) -> Option<u64> {
        if self.contains(from) {
            return Some(from);
        }
        self.runs.range(from..).next().map(|(first, _)| *first)
    }

    /// The largest index in it that is at most `to`.
    #[must_use]
    pub fn next_back_from(&self, to: u64) -> Option<u64> {
        self.runs.range(..=to).next_back().map(|(_, last)| (*last).min(to))
    }

    /// All indices in order. O(members): only for what touches each of them anyway.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.runs().flat_map(|(first, last)| first..=last)
    }

    /// Puts `first..=last` in; nothing if `first` is above `last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        self.remove(first, last);
        let (mut start, mut end) = (first, last);
        if let Some((before, _)) = first.checked_sub(1).and_then(|index| self.run_at(index)) {
            start = before;
            self.runs.remove(&before);
        }
        if let Some((next, after)) = last.checked_add(1).and_then(|index| self.run_at(index)) {
            end = after;
            self.runs.remove(&next);
        }
        self.runs.insert(start, end);
        self.len += last - first + 1;
    }

    /// Takes `first..=last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        let touched: Vec<(u64, u64)> = match self.run_at(first) {
            Some((start, _)) => self.runs.range(start..=last.max(start)).map(|(a, b)| (*a, *b)).collect(),
            None if first <= last => self.runs.range(first..=last).map(|(a, b)| (*a, *b)).collect(),
            None => Vec::new(),
        };
        for (start, end) in touched {
            self.runs.remove(&start);
            if start < first {
                self.runs.insert(start, first - 1);
            }
            if end > last {
                self.runs.insert(last + 1, end);
            }
            self.len -= end.min(last) - start.max(first) + 1;
        }
    }

    /// Puts every index of `other` in.
    pub fn extend(&mut self, other: &Self) {
        for (first, last) in other.runs() {
            self.insert(first, last);
        }
    }

    /// What of it lies within `first..=last`.
    #[must_use]
    pub fn within(&self, first: u64, last: u64) -> Self {
        let mut part = Self::default();
        for (start, end) in self.runs_within(first, last) {
            part.insert(start, end);
        }
        part
    }
}

/// As `0-4, 7`.
impl fmt::Debug for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.runs().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A small generator, so that this crate needs no other for one test.
    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    #[test]
    fn it_holds_what_a_plain_set_holds_after_any_history() {
        let mut seed = 7;
        for _ in 0..200 {
            let (mut runs, mut plain) = (IndexSet::default(), BTreeSet::new());
            for _ in 0..60 {
                let first = next(&mut seed) % 40;
                let last = first + next(&mut seed) % 10;
                if next(&mut seed).is_multiple_of(2) {
                    runs.insert(first, last);
                    plain.extend(first..=last);
                } else {
                    runs.remove(first, last);
                    plain.retain(|index| *index < first || *index > last);
                }
                assert!(runs.iter().eq(plain.iter().copied()), "{runs:?} is not {plain:?}");
                assert_eq!(runs.len(), plain.len() as u64);
                assert_eq!(runs.count_within(first, last), plain.range(first..=last).count() as u64);
                assert_eq!(runs.next_from(first), plain.range(first..).next().copied());
                assert_eq!(runs.next_back_from(last), plain.range(..=last).next_back().copied());
                let apart =
                    runs.runs().zip(runs.runs().skip(1)).all(|((_, end), (start, _))| end + 1 < start);
                assert!(apart, "runs touch: {runs:?}");
            }
        }
    }

    #[test]
    fn a_million_neighbours_are_one_run() {
        let mut set = IndexSet::below(1_000_000);
        assert_eq!((set.len(), set.runs().count()), (1_000_000, 1));
        set.remove(500_000, 500_000);
        assert_eq!(format!("{set:?}"), "0-499999, 500001-999999");
        assert!(IndexSet::below(0).is_empty());
    }
}
