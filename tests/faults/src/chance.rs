//! Choices from a seed: the same seed makes the same choices, though not the same moments, which belong to the machine.
//!
//! A small generator of our own (splitmix64), because nothing here needs more, and a story must replay by one number.

use std::time::Duration;

/// A stream of choices.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of a seed for one use of it: streams of other names do not follow from one another.
    #[must_use]
    pub fn of(seed: u64, name: &str) -> Self {
        let mut chance = Self(name.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte))));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// An index into something of `count` things; 0 when there are none.
    pub fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(u64::try_from(count).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// One of several. `None` when there are none.
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        things.get(self.index(things.len()))
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A span between two, in milliseconds.
    pub fn span(&mut self, from: Duration, to: Duration) -> Duration {
        let range = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
        from + Duration::from_millis(self.below(range.saturating_add(1)))
    }
}

/// Spreads the bits of a number over all of it.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_and_name_choose_the_same_and_others_do_not() {
        let draw = |seed, name| {
            let mut chance = Chance::of(seed, name);
            (0..20).map(|_| chance.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, "load"), draw(7, "load"));
        assert_ne!(draw(7, "load"), draw(8, "load"));
        assert_ne!(draw(7, "load"), draw(7, "faults"));
    }

    #[test]
    fn spans_and_indices_keep_their_bounds() {
        let mut chance = Chance::of(1, "bounds");
        let (from, to) = (Duration::from_millis(5), Duration::from_millis(8));
        assert!((0..100).all(|_| (from..=to).contains(&chance.span(from, to))));
        assert!((0..100).all(|_| chance.index(3) < 3));
        assert_eq!(chance.one_of::<u8>(&[]), None);
    }
}
