//! Which attempt has grown most since it was looked at last.
//!
//! Size says little about who fills a disk: a large directory may have been there for hours. Pure; `watch` measures, and decides
//! whether somebody has to go.

use muster_model::AttemptId;
use std::collections::BTreeMap;

/// What an attempt has to have grown at least before it is ended for it, in bytes: anything less does not fill a disk.
const GROWN_MIN: u64 = 1 << 20;

/// The sizes of the directories of live attempts without a limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Growth {
    sizes: BTreeMap<AttemptId, u64>,
}

impl Growth {
    /// Takes what they are now; answers the one that has grown most, with its size. One that was not looked at before has grown by
    /// all that it has.
    pub(super) fn look(&mut self, sizes: BTreeMap<AttemptId, u64>) -> Option<(AttemptId, u64)> {
        let grown = |attempt: &AttemptId, size: u64| {
            size.saturating_sub(self.sizes.get(attempt).copied().unwrap_or(0))
        };
        let most = sizes.iter().max_by_key(|(attempt, size)| grown(attempt, **size));
        let most = most.filter(|(attempt, size)| grown(attempt, **size) >= GROWN_MIN);
        let most = most.map(|(attempt, size)| (attempt.clone(), *size));
        self.sizes = sizes;
        most
    }

    /// Forgets what they were: the next look is the first again.
    pub(super) fn forget(&mut self) {
        self.sizes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_one_that_grew_most_counts_and_not_the_largest() {
        let id = |task: &str| AttemptId { job: "j".parse().unwrap(), task: task.parse().unwrap(), number: 1 };
        let sizes =
            |large: u64, small: u64| BTreeMap::from([(id("large"), large * MIB), (id("small"), small * MIB)]);
        let mut growth = Growth::default();
        assert_eq!(growth.look(sizes(900, 5)), Some((id("large"), 900 * MIB)));
        assert_eq!(growth.look(sizes(901, 50)), Some((id("small"), 50 * MIB)));
        assert_eq!(growth.look(sizes(901, 50)), None, "nobody grows: nobody is to blame");
        assert_eq!(growth.look(BTreeMap::new()), None);
        growth.forget();
        assert_eq!(growth.look(sizes(2, 1)), Some((id("large"), 2 * MIB)));
    }
}
