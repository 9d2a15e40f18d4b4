//! A few hundred seeds of the simulation in every test run.
//!
//! A failing seed tells the shortest story that still fails, and replays exactly; `cargo xtask simulate` runs many more of
//! them. That nothing is broken is worth something only if it was tried, so what must have happened is counted.

use muster_sim::simulate;
use std::collections::BTreeMap;

/// Enough for every kind of fault to meet every phase, few enough for seconds.
const SEEDS: u64 = 200;

/// What so many seeds must have come by.
const MUST_BE_SEEN: &[&str] = &[
    "a boot ends a process",
    "a failed task ends its job",
    "a failed task is reactivated",
    "a hopeless task fails",
    "a hopeless task is skipped",
    "a job ends with its last task",
    "a job has all tasks on nodes that it may have",
    "a job with tasks moves to another pool",
    "a lease ends a process",
    "a manager has its node alone",
    "a manager takes its job along",
    "a member is named without its zeros",
    "a node is drained",
    "a node is restarted on request",
    "a node is taken out of use",
    "a node is unwell",
    "a node is well again",
    "a node leaves its pool",
    "a node stands its trial",
    "a node waits for its tasks to end",
    "a release runs",
    "a restart on request fails",
    "a start task fails for good",
    "a start task is run again and succeeds",
    "a task goes back to waiting on request",
    "a task has GPUs",
    "a task is placed with more memory",
    "a task runs again",
    "a task runs where its job was prepared",
    "a task's dependencies are met",
    "a trial fails",
    "a wall clock ends a job",
    "a wall clock ends a process",
    "a wish ends a process",
    "the time that tasks had to end is up",
    "the wall clock of a running task changes",
];

#[test]
fn no_seed_breaks_a_promise() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut refused = 0;
    for seed in 0..SEEDS {
        let story = simulate(seed);
        refused += story.refused;
        for (what, often) in story.seen {
            *seen.entry(what).or_default() += often;
        }
        if let Some(failure) = story.failure {
            panic!("seed {seed} after {} events and {} faults: {failure}", story.events, story.faults);
        }
    }
    let unseen: Vec<_> = MUST_BE_SEEN.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(unseen.is_empty() && refused > 0, "the simulation never comes by {unseen:?}");
}

#[test]
fn a_seed_replays_exactly() {
    let (first, second) = (simulate(7), simulate(7));
    assert_eq!((first.events, first.starts, first.seen), (second.events, second.starts, second.seen));
}
