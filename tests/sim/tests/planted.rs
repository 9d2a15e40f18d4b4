//! The net has no hole where a fault is known: each fault that can be planted is found, and for what it breaks.
//!
//! Built and run by a step of its own of `cargo xtask test`, because here the cores have the faults in them. A story is told
//! twice, byte for byte the same, and the command that it names tells it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use muster_sim::planted::Planted;
use muster_sim::{hunt, simulate_planted};

/// Seeds are run on two threads, as many as the smallest machine has.
const THREADS: usize = 2;

#[test]
fn every_planted_fault_is_found_for_what_it_breaks() {
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        let name = planted.name();
        match hunt(planted, 0, THREADS) {
            None => missed.push(format!("{name} is not found within {} seeds", planted.within())),
            Some(found) if !found.is_right(planted) => {
                missed.push(format!(
                    "{name} is found by seed {} for something else: {:?}",
                    found.seed, found.failure
                ));
            }
            Some(_) => {}
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_story_is_short_and_told_the_same_way_each_time() {
    let planted = Planted::NoKillAtLeaseEnd;
    let found = hunt(planted, 0, THREADS).unwrap();
    let told = || simulate_planted(found.seed, planted).failure.unwrap();
    let first = told();
    assert_eq!(first.promise, found.failure.promise);
    let tale = first.tale.clone().unwrap();
    let command = format!("cargo xtask simulate --seed {} --planted {}", found.seed, planted.name());
    assert!(tale.ends_with(&command), "{tale}");
    assert!(tale.lines().count() < 70, "{tale}");
    assert_eq!(told(), first);
}
