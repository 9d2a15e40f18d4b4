//! A recount of the whole graph, for tests and the simulation.
//!
//! A second graph is built from the same waiters and the facts as they are; it must be equal, and its lists as long. Adding
//! counts from the facts, changes move counts by differences: two ways that must lead to one place.

use super::facts::Facts;
use super::graph::Graph;
use std::sync::Arc;

impl Graph {
    /// Recounts everything.
    ///
    /// # Panics
    /// If a figure differs; the message shows both graphs or names the list.
    pub(crate) fn check(&self, facts: &impl Facts) {
        let mut fresh = Self::default();
        for (task, outcome) in facts.plain_tasks("") {
            fresh.task_added(task, facts);
            if let Some(outcome) = outcome {
                fresh.task_ended(task, outcome, facts);
            }
        }
        for (waiter, entry) in &self.waiters {
            fresh.add(waiter.clone(), Arc::clone(&entry.needs), facts);
        }
        assert!(*self == fresh, "the dependencies as kept:\n{self:#?}\nas recounted:\n{fresh:#?}");
        assert_eq!(format!("{self:?}"), format!("{fresh:?}"), "equal graphs print alike");
        assert_eq!(self.sizes(), fresh.sizes(), "the lists of the dependencies are as long");
    }

    /// How long each list is, by name.
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize)> {
        let sweeps = || self.lists.sweeps.values();
        let mut sizes = self.kept();
        sizes.extend([
            ("ids", self.lists.ids.len()),
            ("ranges", self.lists.ranges.iter().count()),
            ("patterns", self.lists.globs.iter().count()),
            ("sweeps", self.lists.sweeps.len()),
            ("ranges of sweeps", sweeps().map(|lists| lists.spans.iter().count()).sum()),
            ("counts of sweeps", sweeps().map(|lists| lists.counts.len()).sum()),
            ("ids of members", sweeps().map(|lists| lists.names.len()).sum()),
            ("patterns of sweeps", sweeps().map(|lists| lists.matched.len()).sum()),
        ]);
        sizes
    }
}
