//! Many seeds, on several threads: what was seen of all of them, and the lowest seed at which something went wrong.
//!
//! Seeds are handed out in their order and each is a world of its own, so how many threads there are changes nothing but the
//! time: what is stopped at is the same seed.

use crate::story::{Story, glance};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Failing seeds after which no more are run: by then it is no accident.
pub const FAILURES_MAX: usize = 10;

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Totals {
    /// Runs.
    pub seeds: u64,
    /// Events that were handled.
    pub events: u64,
    /// Processes that were started.
    pub starts: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Wishes of clients that were refused.
    pub refused: u64,
    /// Tasks that there were at the ends.
    pub tasks: u64,
    /// What was seen to happen, and how often.
    pub seen: BTreeMap<&'static str, u64>,
    /// The seeds that broke a promise, and what was seen.
    pub failed: BTreeMap<u64, String>,
}

impl Totals {
    fn add(&mut self, story: Story) {
        self.seeds += 1;
        self.events += story.events;
        self.starts += u64::from(story.starts);
        self.faults += u64::from(story.faults);
        self.refused += u64::from(story.refused);
        self.tasks += story.tasks as u64;
        for (what, often) in story.seen {
            *self.seen.entry(what).or_default() += u64::from(often);
        }
        if let Some(failure) = story.failure {
            self.failed.insert(story.seed, format!("{}: {}", failure.promise, failure.seen));
        }
    }
}

/// Runs `count` seeds from `first`, fewer if too many fail; `progress` is told how many are done.
pub fn run(first: u64, count: u64, threads: usize, progress: &mut (dyn FnMut(u64) + Send)) -> Totals {
    let mut totals = Totals::default();
    each(first, count, threads, glance, |_, story| {
        totals.add(story);
        progress(totals.seeds);
        totals.failed.len() < FAILURES_MAX
    });
    totals
}

/// Does something for each of `count` seeds from `first`, and has what came of it taken, one at a time but in any order. Once
/// `take` answers false nothing is begun any more that comes after that seed; whatever comes before it still is taken.
pub(crate) fn each<T>(
    first: u64,
    count: u64,
    threads: usize,
    run: impl Fn(u64) -> T + Sync,
    take: impl FnMut(u64, T) -> bool + Send,
) {
    let (next, end) = (AtomicU64::new(first), AtomicU64::new(first.saturating_add(count)));
    let take = Mutex::new(take);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end.load(Ordering::Relaxed) {
            return;
        }
        let done = run(seed);
        let mut take = take.lock().unwrap_or_else(PoisonError::into_inner);
        if !take(seed, done) {
            end.fetch_min(seed + 1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_seed_is_found_by_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let mut found = BTreeMap::new();
            let mut runs = 0;
            each(
                0,
                1_000,
                threads,
                |seed| seed % 100 >= 42,
                |seed, hit| {
                    runs += 1;
                    if hit {
                        found.insert(seed, ());
                    }
                    !hit
                },
            );
            assert_eq!(found.keys().next(), Some(&42), "{threads} threads");
            assert!(runs < 100, "{runs} runs on {threads} threads");
        }
    }
}
