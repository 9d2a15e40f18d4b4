//! Runs seeds of the simulation, then looks for each planted fault, and prints what came of it.
//!
//! `cargo xtask simulate` is the way to call it, and has the words for its options. A failing seed prints its story; the same
//! seed always tells the same story.

use muster_sim::planted::Planted;
use muster_sim::{Story, Totals, hunt, runner, simulate, simulate_planted};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often the line of progress is written.
const PROGRESS: Duration = Duration::from_millis(250);

/// Most bytes that are told of what was seen of a planted fault.
const SEEN_MAX: usize = 140;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    first: u64,
    seeds: u64,
    /// Only this one, with its story.
    seed: Option<u64>,
    planted: Vec<Planted>,
    threads: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(wanted) = wanted(&arguments) else {
        eprintln!(
            "usage: simulate [--first SEED] [--seeds N] [--seed SEED] [--planted NAME|all|none] [--threads N]\n\
             planted faults: {}",
            Planted::ALL.map(Planted::name).join(", ")
        );
        return ExitCode::from(2);
    };
    let kept = match wanted.seed {
        Some(seed) => one(seed, &wanted.planted),
        None => many(&wanted) & planted(&wanted),
    };
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wanted(arguments: &[String]) -> Option<Wanted> {
    let mut wanted =
        Wanted { first: 0, seeds: 1_000, seed: None, planted: Planted::ALL.to_vec(), threads: 2 };
    let mut named = false;
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { return None };
        match option.as_str() {
            "--first" => wanted.first = value.parse().ok()?,
            "--seeds" => wanted.seeds = value.parse().ok()?,
            "--seed" => wanted.seed = Some(value.parse().ok()?),
            "--threads" => wanted.threads = value.parse().ok()?,
            "--planted" => {
                named = true;
                wanted.planted = match value.as_str() {
                    "all" => Planted::ALL.to_vec(),
                    "none" => Vec::new(),
                    name => vec![Planted::named(name)?],
                }
            }
            _ => return None,
        }
    }
    if wanted.seed.is_some() && !named {
        wanted.planted.clear();
    }
    Some(wanted)
}

/// One seed, with its story: as it is, or with each of these faults.
fn one(seed: u64, planted: &[Planted]) -> bool {
    if planted.is_empty() {
        let story = simulate(seed);
        tell(&story);
        return story.failure.is_none();
    }
    for planted in planted {
        say(&format!("with the fault {} planted:", planted.name()));
        tell(&simulate_planted(seed, *planted));
    }
    true
}

fn tell(story: &Story) {
    let Story { seed, events, starts, faults, tasks, .. } = story;
    match &story.failure {
        None => say(&format!(
            "seed {seed} keeps every promise: {tasks} tasks, {events} events, {starts} starts, {faults} faults"
        )),
        Some(failure) => {
            say(&format!("seed {seed} breaks a promise: {}\n  {}", failure.promise, failure.seen));
            say(failure.tale.as_deref().unwrap_or_default());
        }
    }
}

/// Many seeds without a fault; the story of the lowest that fails.
fn many(wanted: &Wanted) -> bool {
    if wanted.seeds == 0 {
        return true;
    }
    let begin = Instant::now();
    let shows = std::io::stderr().is_terminal();
    let mut last = begin;
    let totals = runner::run(wanted.first, wanted.seeds, wanted.threads, &mut |done| {
        if shows && last.elapsed() >= PROGRESS {
            last = Instant::now();
            let rate = per_second(done, begin);
            let _ = write!(std::io::stderr(), "\r{done} of {} seeds, {rate:.1} a second ", wanted.seeds);
        }
    });
    if shows {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let rate = per_second(totals.seeds, begin);
    let Totals { seeds, events, starts, faults, refused, tasks, seen, failed } = totals;
    for (what, often) in seen {
        say(&format!("{often:>11} times {what}"));
    }
    say(&format!(
        "{seeds} seeds from {}: {} broke a promise; {tasks} tasks, {events} events, {starts} starts, {faults} faults, \
         {refused} refusals in {:.1} s, {rate:.1} seeds a second on {} threads",
        wanted.first,
        failed.len(),
        begin.elapsed().as_secs_f64(),
        wanted.threads,
    ));
    for (seed, seen) in &failed {
        say(&format!("seed {seed}: {}", seen.lines().next().unwrap_or_default()));
    }
    if let Some(seed) = failed.keys().next() {
        tell(&simulate(*seed));
    }
    failed.is_empty()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(done: u64, since: Instant) -> f64 {
    done as f64 / since.elapsed().as_secs_f64()
}

/// Each of the planted faults, and the lowest seed that finds it; of one alone the story too.
fn planted(wanted: &Wanted) -> bool {
    let Wanted { planted, first, threads, .. } = wanted;
    let mut all_found = true;
    if !planted.is_empty() {
        say(&format!("{:<24} {:>6} {:>6}  what broke", "planted fault", "seed", "seeds"));
    }
    for fault in planted {
        let name = fault.name();
        match hunt(*fault, *first, *threads) {
            None => {
                say(&format!(
                    "{name:<24} {:>6} {:>6}  nothing: the fault was not found",
                    "-",
                    fault.within()
                ));
                all_found = false;
            }
            Some(found) => {
                let (seed, promise) = (found.seed, found.failure.promise);
                say(&format!("{name:<24} {seed:>6} {:>6}  {promise}", seed - first + 1));
                say(&format!("{:39} {}", "", short(&found.failure.seen)));
                if !found.is_right(*fault) {
                    say(&format!("  which is none of what it breaks: {}", fault.breaks().join("; ")));
                    all_found = false;
                }
                if planted.len() == 1 {
                    tell(&simulate_planted(seed, *fault));
                }
            }
        }
    }
    if planted.len() > 1 {
        say("the story of one: cargo xtask simulate --seed SEED --planted FAULT");
    }
    all_found
}

/// The beginning of what was seen.
fn short(seen: &str) -> String {
    let line = seen.lines().next().unwrap_or_default();
    match line.char_indices().nth(SEEN_MAX) {
        Some((at, _)) => format!("{} ...", &line[..at]),
        None => line.to_owned(),
    }
}

#[expect(clippy::print_stdout, reason = "this program's purpose is to tell")]
fn say(words: &str) {
    println!("{words}");
}
