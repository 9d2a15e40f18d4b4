//! Runs seeds of the simulation and prints what came of them: `simulate FIRST COUNT [all]`.
//!
//! `cargo xtask simulate` is the way to call it. A failing seed prints its story and ends the run with code 1; the same
//! seed always tells the same story. With `all` the run goes on, and each failing seed is one line.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

#[expect(clippy::print_stdout, reason = "this program's purpose is to tell")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (range, all) = match arguments.as_slice() {
        [first, count] => ((first.parse::<u64>(), count.parse::<u64>()), false),
        [first, count, all] if all == "all" => ((first.parse(), count.parse()), true),
        _ => return usage(),
    };
    let (Ok(first), Ok(count)) = range else { return usage() };
    let begin = Instant::now();
    let mut seen = BTreeMap::new();
    let (mut events, mut starts, mut faults, mut tasks, mut failed) = (0, 0, 0, 0, 0_u64);
    for seed in first..first.saturating_add(count) {
        let story = if all { muster_sim::glance(seed) } else { muster_sim::simulate(seed) };
        events += story.events;
        starts += u64::from(story.starts);
        faults += u64::from(story.faults);
        tasks += story.tasks;
        for (what, often) in story.seen {
            *seen.entry(what).or_insert(0_u64) += u64::from(often);
        }
        if let Some(failure) = story.failure {
            println!(
                "seed {seed} failed after {} events and {} faults: {failure}",
                story.events, story.faults
            );
            failed += 1;
            if !all {
                println!("replay it with: cargo xtask simulate --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    for (what, often) in seen {
        println!("{often:>9} times {what}");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{count} seeds from {first}: {failed} broke a promise; {tasks} tasks, {events} events, {starts} starts, {faults} faults in {seconds:.1} s"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "this program's purpose is to tell")]
fn usage() -> ExitCode {
    println!("usage: simulate FIRST_SEED COUNT [all]");
    ExitCode::from(2)
}
