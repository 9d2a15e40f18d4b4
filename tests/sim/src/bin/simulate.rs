//! Runs seeds of the simulation and prints what came of them: `simulate FIRST COUNT`.
//!
//! `cargo xtask simulate` is the way to call it. A failing seed prints its story and ends the run with code 1; the same
//! seed always tells the same story.

use std::process::ExitCode;
use std::time::Instant;

#[expect(clippy::print_stdout, reason = "this program's purpose is to tell")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(Ok(first)), Some(Ok(count)), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        println!("usage: simulate FIRST_SEED COUNT");
        return ExitCode::from(2);
    };
    let begin = Instant::now();
    let (mut events, mut starts, mut faults) = (0, 0, 0);
    for seed in first..first.saturating_add(count) {
        let story = muster_sim::simulate(seed);
        events += story.events;
        starts += u64::from(story.starts);
        faults += u64::from(story.faults);
        if let Some(failure) = story.failure {
            println!(
                "seed {seed} failed after {} events and {} faults: {failure}",
                story.events, story.faults
            );
            println!("replay it with: cargo xtask simulate --seed {seed}");
            return ExitCode::FAILURE;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{count} seeds from {first}: every promise kept; {events} events, {starts} starts, {faults} faults in {seconds:.1} s"
    );
    ExitCode::SUCCESS
}
