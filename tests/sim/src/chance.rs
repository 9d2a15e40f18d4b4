//! The one source of randomness: a counter mixed by a fixed function, so that a seed replays exactly anywhere.
//!
//! The mixing is SplitMix64 (Steele, Lea, Flood 2014). It is no cryptography and need not be.

use muster_model::Timestamp;

/// A stream of numbers from a seed.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of one thing. It does not depend on what else happens, so a story that loses a part keeps the rest.
    pub(crate) fn of(seed: u64, name: &str) -> Self {
        Self::new(name.bytes().fold(seed, |sum, byte| Self::new(sum ^ u64::from(byte)).next()))
    }

    /// The stream of one thing at one moment. What is drawn there does not depend on what was drawn before, so a story that
    /// loses a part keeps all that goes on elsewhere as it was.
    pub(crate) fn at(seed: u64, name: &str, moment: Timestamp) -> Self {
        Self::new(Self::of(seed, name).next() ^ moment.as_micros().unsigned_abs())
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number below `end`, which is neither 0 nor above 256.
    pub(crate) fn byte_below(&mut self, end: u64) -> u8 {
        u8::try_from(self.below(end)).unwrap_or(u8::MAX)
    }

    /// True once in `n` times.
    pub(crate) const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    /// `some` once in `n` times.
    pub(crate) fn maybe<T>(&mut self, n: u64, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(n).then(|| some(self))
    }
}
