//! Patterns by the text before their first wildcard: finds those that an id may match without looking at the rest.
//!
//! A pattern that begins with a wildcard has an empty prefix and is looked at for every id. Whether a pattern does match
//! is for the caller to ask.
//!
//! Invariant: prefixes are in lower case, and no list is empty.

use super::spans::Key;
use super::work::step;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Where a pattern is: the demand, and its place among the demand's patterns.
pub(super) type Place = (Key, usize);

/// Patterns by prefix.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes {
    lists: BTreeMap<Box<str>, BTreeSet<Place>>,
}

impl Prefixes {
    /// Puts a pattern in, by its prefix in lower case.
    pub(super) fn insert(&mut self, prefix: &str, place: Place) {
        match self.lists.get_mut(prefix) {
            Some(list) => {
                list.insert(place);
            }
            None => {
                self.lists.insert(prefix.into(), BTreeSet::from([place]));
            }
        }
    }

    /// Takes a pattern out.
    pub(super) fn remove(&mut self, prefix: &str, place: Place) {
        if let Some(list) = self.lists.get_mut(prefix) {
            list.remove(&place);
            if list.is_empty() {
                self.lists.remove(prefix);
            }
        }
    }

    /// Whether there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Every pattern.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        self.lists.values().flatten().copied()
    }

    /// Patterns whose prefix `text` begins with, longest prefix first. `text` is in lower case and ASCII.
    pub(super) fn of(&self, text: String) -> impl Iterator<Item = Place> + '_ {
        let mut bound = (!self.lists.is_empty()).then_some(text.len());
        let lists = std::iter::from_fn(move || {
            // The largest prefix up to the bound either begins the text or shows how much of it any other can share.
            while let Some(length) = bound {
                step();
                let upto = (Bound::Unbounded, Bound::Included(&text[..length]));
                let (prefix, list) = self.lists.range::<str, _>(upto).next_back()?;
                let common = prefix.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
                if common == prefix.len() {
                    bound = common.checked_sub(1);
                    return Some(list);
                }
                bound = Some(common);
            }
            None
        });
        lists.flatten().copied()
    }

    /// Patterns whose prefix is `text` and more. `text` is in lower case.
    pub(super) fn under(&self, text: String) -> impl Iterator<Item = Place> + '_ {
        let from = self.lists.range::<str, _>((Bound::Excluded(text.as_str()), Bound::Unbounded));
        from.take_while(move |(prefix, _)| prefix.starts_with(&text)).flat_map(|(_, list)| list).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefixes_are_found_as_by_looking_at_each(
            prefixes in prop::collection::vec("[ab-]{0,4}", 0..12),
            gone in 0_usize..12,
            text in "[ab-]{0,6}",
        ) {
            let mut lists = Prefixes::default();
            for (key, prefix) in (0_u64..).zip(&prefixes) {
                lists.insert(prefix, (key, 0));
            }
            if let Some(prefix) = prefixes.get(gone) {
                lists.remove(prefix, (gone as u64, 0));
            }
            let left = || (0_u64..).zip(&prefixes).filter(|(key, _)| *key != gone as u64);
            let mut of: Vec<_> = lists.of(text.clone()).map(|(key, _)| key).collect();
            of.sort_unstable();
            let plain = left().filter(|(_, prefix)| text.starts_with(prefix.as_str()));
            prop_assert_eq!(of, plain.map(|(key, _)| key).collect::<Vec<_>>());
            let mut under: Vec<_> = lists.under(text.clone()).map(|(key, _)| key).collect();
            under.sort_unstable();
            let plain = left().filter(|(_, prefix)| prefix.starts_with(&text) && **prefix != text);
            prop_assert_eq!(under, plain.map(|(key, _)| key).collect::<Vec<_>>());
            prop_assert_eq!(lists.is_empty(), left().count() == 0);
        }
    }
}
