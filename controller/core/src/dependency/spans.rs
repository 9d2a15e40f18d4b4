//! Ranges of numbers and who asks for them: finds those over one number, or over any of a run, without looking at the rest.
//!
//! A range is cut into blocks whose lengths are powers of two and whose starts are multiples of them, at most 128 and few
//! for a small one. A number lies in one block of each length, so a question looks up one block of each length in use.
//!
//! Invariant: `blocks` are exactly the blocks of `starts`, and `levels` counts them by length.

use super::work::step;
use std::collections::{BTreeMap, BTreeSet};

/// The name of a demand inside the graph. It says nothing about the order of anything.
pub(super) type Key = u64;

/// Ranges of numbers, each with who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    /// Exponent of the block's length, its start divided by the length, who asks, the last number of the whole range.
    blocks: BTreeSet<(u32, u64, Key, u64)>,
    /// First and last number, who asks.
    starts: BTreeSet<(u64, u64, Key)>,
    /// How many blocks there are of each length.
    levels: BTreeMap<u32, usize>,
}

impl Spans {
    /// Puts `first..=last` in. The ranges of one who asks must not overlap.
    pub(super) fn insert(&mut self, first: u64, last: u64, key: Key) {
        if first > last || !self.starts.insert((first, last, key)) {
            return;
        }
        for (level, place) in blocks(first, last) {
            self.blocks.insert((level, place, key, last));
            *self.levels.entry(level).or_default() += 1;
        }
    }

    /// Takes out what `insert` put in.
    pub(super) fn remove(&mut self, first: u64, last: u64, key: Key) {
        if !self.starts.remove(&(first, last, key)) {
            return;
        }
        for (level, place) in blocks(first, last) {
            self.blocks.remove(&(level, place, key, last));
            if let Some(count) = self.levels.get_mut(&level) {
                *count -= 1;
                if *count == 0 {
                    self.levels.remove(&level);
                }
            }
        }
    }

    /// Those who ask for `number`, each with the last number of its range.
    pub(super) fn at(&self, number: u64) -> impl Iterator<Item = (Key, u64)> + '_ {
        self.levels.keys().flat_map(move |level| {
            step();
            let place = number.checked_shr(*level).unwrap_or(0);
            let block = (*level, place, Key::MIN, 0)..=(*level, place, Key::MAX, u64::MAX);
            self.blocks.range(block).map(|(_, _, key, last)| (*key, *last))
        })
    }

    /// Every part of `first..=last` that somebody asks for: who, and the first and last number of the part.
    pub(super) fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = (Key, u64, u64)> + '_ {
        let over = self.at(first).map(move |(key, end)| (key, first, end.min(last)));
        let behind = first.checked_add(1).filter(|next| *next <= last);
        let starting = behind.map(|next| self.starts.range((next, 0, Key::MIN)..=(last, u64::MAX, Key::MAX)));
        over.chain(
            starting.into_iter().flatten().map(move |(start, end, key)| (*key, *start, (*end).min(last))),
        )
    }

    /// Every range and who asks, by first number.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u64, u64)> + '_ {
        self.starts.iter().map(|(first, last, key)| (*key, *first, *last))
    }
}

/// The blocks of a range, from its start: exponent of the length, and start divided by the length.
fn blocks(first: u64, last: u64) -> impl Iterator<Item = (u32, u64)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let at = next?;
        let rest = last.checked_sub(at)?;
        let aligned = if at == 0 { u64::BITS } else { at.trailing_zeros() };
        let fits = rest.checked_add(1).map_or(u64::BITS, u64::ilog2);
        let level = aligned.min(fits);
        // A block of the whole of u64 has no next one; any other length is a power of two that fits.
        next = 1_u64.checked_shl(level).and_then(|length| at.checked_add(length));
        Some((level, at.checked_shr(level).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_is_cut_into_aligned_powers_of_two() {
        assert!(blocks(0, u64::MAX).eq([(64, 0)]));
        assert!(blocks(5, 5).eq([(0, 5)]));
        assert!(blocks(1, 8).eq([(0, 1), (1, 1), (2, 1), (0, 8)]));
        assert!(blocks(u64::MAX - 1, u64::MAX).eq([(1, u64::MAX >> 1)]));
        assert_eq!(blocks(1, u64::MAX - 1).count(), 126);
    }

    proptest! {
        #[test]
        fn questions_are_answered_as_by_looking_at_every_range(
            ranges in prop::collection::btree_map(0_u64..12, (0_u64..40, 0_u64..20), 0..12),
            gone in prop::collection::btree_set(0_u64..12, 0..6),
            (first, length) in (0_u64..60, 0_u64..20),
        ) {
            let mut spans = Spans::default();
            for (key, (start, more)) in &ranges {
                spans.insert(*start, start + more, *key);
            }
            for key in &gone {
                if let Some((start, more)) = ranges.get(key) {
                    spans.remove(*start, start + more, *key);
                }
            }
            let left: Vec<_> = ranges.iter().filter(|(key, _)| !gone.contains(key)).collect();
            let mut at: Vec<_> = spans.at(first).collect();
            at.sort_unstable();
            let plain = left.iter().filter(|(_, (start, more))| (*start..=start + more).contains(&first));
            prop_assert_eq!(at, plain.map(|(key, (start, more))| (**key, start + more)).collect::<Vec<_>>());
            let last = first + length;
            let mut over: Vec<_> = spans.overlapping(first, last).collect();
            over.sort_unstable();
            let plain = left.iter().map(|(key, (start, more))| (**key, first.max(*start), last.min(start + more)));
            prop_assert_eq!(over, plain.filter(|(_, from, to)| from <= to).collect::<Vec<_>>());
            prop_assert_eq!(spans.iter().count(), left.len());
            prop_assert_eq!(spans.blocks.is_empty() && spans.levels.is_empty(), left.is_empty());
        }
    }
}
