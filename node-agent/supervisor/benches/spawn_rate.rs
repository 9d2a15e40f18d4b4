//! How many `/bin/true` a second the supervisor runs, beside the floor of plain posix_spawn in the same run; and what
//! it costs to ask for the usage of attempts that run, and for their keepers to hold the lease.
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use muster_supervisor::request::USAGE_KEYS_MAX;
use muster_supervisor::{AttemptKey, Limits, Message, Reply, Request};

use harness::{Connection, World, key, spec};

/// Attempts in flight: enough to keep two processors busy.
const WINDOW: usize = 4;
/// Seconds of the lease: more than anything here takes.
const LEASE_SECONDS: u64 = 3_600;
/// Seconds of a lease of which keepers see the end again and again, how often it is renewed (three times each), and
/// the seconds that nodes have.
const HELD_SECONDS: u64 = 3;
const RENEWALS: usize = 12;
const LEASE_USUAL_SECONDS: f64 = 30.0;
/// Attempts that are asked for their usage.
const ASKED: usize = 200;
/// How often each is asked.
const ROUNDS: usize = 20;
/// What a thousand attempts that are asked every so many seconds cost of one processor.
const SAMPLE_SECONDS: f64 = 30.0;

/// Attempts that were started in all.
static STARTED: AtomicUsize = AtomicUsize::new(0);

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
    hold();
}

/// Has sleeping attempts outlive one lease after the other, and says what that cost their keepers.
#[allow(clippy::cast_precision_loss)]
fn hold() {
    let world = World::begin(true, false, &[]);
    let mut agent = world.subscribe();
    lease_for(&mut agent, HELD_SECONDS);
    let start = |number| {
        let task = spec(&format!("held-{number}"), &["sleep", "1000"]);
        harness::parent_of(agent.start(&task).unwrap())
    };
    let keepers: Vec<_> = (0..ASKED).map(start).collect();
    let sum = |of: fn(u32) -> f64| keepers.iter().map(|keeper| of(keeper.unsigned_abs())).sum::<f64>();
    let renew = |agent: &mut Connection| {
        let renewed = lease_for(agent, HELD_SECONDS) - HELD_SECONDS * 1_000_000 * 2 / 3;
        harness::until("the next renewal is due", || boottime_us() > renewed);
    };
    // The first look, which comes sooner, is not counted.
    renew(&mut agent);
    renew(&mut agent);
    let (used, woken) = (sum(cpu_seconds), sum(wakes));
    (0..RENEWALS).for_each(|_| renew(&mut agent));
    let each = (sum(cpu_seconds) - used) / (sum(wakes) - woken);
    println!(
        "{:8.1} µs  of a processor for a keeper in each lease: 1,000 and a lease of {LEASE_USUAL_SECONDS} s are {:.3} %",
        each * 1e6,
        each * 1_000.0 / LEASE_USUAL_SECONDS * 100.0
    );
}

/// Asks for the usage of sleeping attempts, and says what that cost the supervisor.
#[allow(clippy::cast_precision_loss)]
fn sample(limits: &Limits) {
    let world = World::begin(true, false, &[]);
    let mut agent = world.subscribe();
    lease(&mut agent);
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

/// How often a process has waited.
fn wakes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.rsplit('\t').next().unwrap().parse().unwrap()
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

/// Gives the node a lease, as every agent has one: what follows from it is part of each start.
fn lease(agent: &mut Connection) {
    lease_for(agent, LEASE_SECONDS);
}

/// One of so many seconds; gives its end.
fn lease_for(agent: &mut Connection, seconds: u64) -> u64 {
    let until_us = seconds * 1_000_000 + boottime_us();
    assert_eq!(agent.call(&Request::Lease { until_us: Some(until_us) }), Ok(Reply::Leased));
    until_us
}

/// Microseconds since boot.
fn boottime_us() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000).unwrap()
}

fn supervised(world: &World, count: usize, limits: &Limits, files: bool) -> f64 {
    let mut agent = world.subscribe();
    lease(&mut agent);
    let directory = tempfile::tempdir_in(world.path("")).unwrap().keep();
    let start = |agent: &mut Connection, first: usize, number: usize| {
        let mut task = spec(&format!("bench-{}", first + number), &["/bin/true"]);
        task.limits = limits.clone();
        if files {
            task.stdout = Some(directory.join(format!("{number}.out")));
            task.stderr = Some(directory.join(format!("{number}.err")));
        }
        agent.post(&Request::Start(Box::new(task)));
    };
    // No key is used twice: the last acknowledgements of the round before may still be on their way.
    let first = STARTED.fetch_add(count, Ordering::Relaxed);
    let begun = Instant::now();
    (0..WINDOW).for_each(|number| start(&mut agent, first, number));
    let (mut next, mut ended, mut codes) = (WINDOW, 0, BTreeMap::new());
    while ended < count {
        match agent.receive().unwrap() {
            Message::Exited(record) => {
                ended += 1;
                *codes.entry(format!("{:?}", record.outcome)).or_insert(0) += 1;
                if next < count {
                    start(&mut agent, first, next);
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
