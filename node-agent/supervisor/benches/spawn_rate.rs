//! How many `/bin/true` a second the supervisor runs, beside the floor of plain posix_spawn in the same run; and what
//! it costs to ask for the usage of attempts that run.
//!
//! Prints figures and never fails for slowness. `cargo bench -p muster-supervisor [-- COUNT]`

// In test code a panic is the way to fail; clippy sees that only inside the test functions themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/custody/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::time::Instant;

use muster_supervisor::request::USAGE_KEYS_MAX;
use muster_supervisor::{AttemptKey, Limits, Message, Reply, Request};

use harness::{Connection, World, key, spec};

/// Attempts in flight: enough to keep two processors busy.
const WINDOW: usize = 4;
/// Attempts that are asked for their usage.
const ASKED: usize = 200;
/// How often each is asked.
const ROUNDS: usize = 20;
/// What a thousand attempts that are asked every so many seconds cost of one processor.
const SAMPLE_SECONDS: f64 = 30.0;

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(4_000);
    report("posix_spawn and wait, nothing else", count, floor(count));
    // Kept to the end: files that were just deleted would make the creation of others slow.
    let mut worlds = Vec::new();
    for files in [false, true] {
        let words = if files { "two output files" } else { "no output files" };
        let world = World::begin(false, false, &[]);
        report(
            &format!("supervisor, no groups, {words}"),
            count,
            supervised(&world, count, &Limits::default(), files),
        );
        worlds.push(world);
        let world = World::begin(true, false, &[]);
        report(
            &format!("supervisor, groups, {words}"),
            count,
            supervised(&world, count, &Limits::default(), files),
        );
        let limits = Limits { memory_bytes: Some(256 << 20), pids_max: Some(100), ..Limits::default() };
        report(
            &format!("supervisor, memory and pids limits, {words}"),
            count,
            supervised(&world, count, &limits, files),
        );
        let limits = Limits { cpu_millis: Some(1_000), ..limits };
        report(
            &format!("supervisor, and a cpu limit, {words}"),
            count,
            supervised(&world, count, &limits, files),
        );
        worlds.push(world);
    }
    let limits = Limits { memory_bytes: Some(256 << 20), pids_max: Some(100), ..Limits::default() };
    sample(&limits);
}

/// Asks for the usage of sleeping attempts, and says what that cost the supervisor.
#[allow(clippy::cast_precision_loss)]
fn sample(limits: &Limits) {
    let world = World::begin(true, false, &[]);
    let mut agent = world.subscribe();
    let keys: Vec<AttemptKey> = (0..ASKED).map(|number| key(&format!("sleeper-{number}"))).collect();
    for name in &keys {
        let mut task = spec(name.as_str(), &["sleep", "1000"]);
        task.limits = limits.clone();
        agent.start(&task).unwrap();
    }
    let (begun, cpu) = (Instant::now(), cpu_seconds(world.pid()));
    for _ in 0..ROUNDS {
        for keys in keys.chunks(USAGE_KEYS_MAX) {
            match agent.call(&Request::Usage { keys: keys.to_vec() }) {
                Ok(Reply::Usages(usages)) => assert_eq!(usages.len(), keys.len()),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    let asked = (ASKED * ROUNDS) as f64;
    let each = (cpu_seconds(world.pid()) - cpu) / asked;
    println!(
        "{:8.1} µs  of a processor for the usage of an attempt ({:.1} µs until it is told): 1,000 every {SAMPLE_SECONDS} s \
         are {:.3} %",
        each * 1e6,
        begun.elapsed().as_secs_f64() / asked * 1e6,
        each * 1_000.0 / SAMPLE_SECONDS * 100.0
    );
}

/// What a process has used of the processors.
#[allow(clippy::cast_precision_loss)]
fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse::<u64>().unwrap() as f64 / 1e9
}

fn report(what: &str, count: usize, seconds: f64) {
    #[allow(clippy::cast_precision_loss)]
    let rate = count as f64 / seconds;
    println!("{rate:8.0}/s  {what}");
}

fn floor(count: usize) -> f64 {
    let begun = Instant::now();
    let (argv, env): ([&CStr; 1], [&CStr; 0]) = ([c"true"], []);
    let actions = nix::spawn::PosixSpawnFileActions::init().unwrap();
    let attributes = nix::spawn::PosixSpawnAttr::init().unwrap();
    let spawn = || nix::spawn::posix_spawn(c"/bin/true", &actions, &attributes, &argv, &env).unwrap();
    let mut running = WINDOW.min(count);
    for _ in 0..running {
        spawn();
    }
    let mut left = count - running;
    while running > 0 {
        nix::sys::wait::wait().unwrap();
        match left.checked_sub(1) {
            Some(rest) => {
                spawn();
                left = rest;
            }
            None => running -= 1,
        }
    }
    begun.elapsed().as_secs_f64()
}

fn supervised(world: &World, count: usize, limits: &Limits, files: bool) -> f64 {
    let mut agent = world.subscribe();
    let directory = tempfile::tempdir_in(world.path("")).unwrap().keep();
    let start = |agent: &mut Connection, number: usize| {
        let mut task = spec(&format!("bench-{number}"), &["/bin/true"]);
        task.limits = limits.clone();
        if files {
            task.stdout = Some(directory.join(format!("{number}.out")));
            task.stderr = Some(directory.join(format!("{number}.err")));
        }
        agent.post(&Request::Start(Box::new(task)));
    };
    let begun = Instant::now();
    (0..WINDOW).for_each(|number| start(&mut agent, number));
    let (mut next, mut ended, mut codes) = (WINDOW, 0, BTreeMap::new());
    while ended < count {
        match agent.receive().unwrap() {
            Message::Exited(record) => {
                ended += 1;
                *codes.entry(format!("{:?}", record.outcome)).or_insert(0) += 1;
                if next < count {
                    start(&mut agent, next);
                    next += 1;
                }
                agent.post(&Request::Acknowledge { keys: vec![key(record.key.as_str())] });
            }
            Message::Reply { result, .. } => drop(result.unwrap()),
        }
    }
    assert_eq!(codes.len(), 1, "{codes:?}");
    begun.elapsed().as_secs_f64()
}
