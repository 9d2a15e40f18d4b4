//! A few hundred seeds of the simulation in every test run.
//!
//! A failing seed prints its story and replays exactly; `cargo xtask simulate` runs many more of them.

use muster_sim::simulate;

/// Enough for every kind of fault to meet every phase, few enough for seconds.
const SEEDS: u64 = 200;

#[test]
fn no_seed_breaks_a_promise() {
    let mut starts = 0;
    for seed in 0..SEEDS {
        let story = simulate(seed);
        starts += story.starts;
        if let Some(failure) = story.failure {
            panic!("seed {seed} after {} events and {} faults: {failure}", story.events, story.faults);
        }
    }
    assert!(starts > 0, "the simulation starts nothing");
}

#[test]
fn a_seed_replays_exactly() {
    let (first, second) = (simulate(7), simulate(7));
    assert_eq!((first.events, first.starts, first.faults), (second.events, second.starts, second.faults));
}
