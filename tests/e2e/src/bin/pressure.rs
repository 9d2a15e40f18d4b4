//! `pressure`: a hundred thousand hostile connections against a controller with its defaults, and what honest ones notice.
//!
//! Figures only; nothing here passes or fails. One node works meanwhile. For each way to be idle the clients' listener is
//! flooded from 50 addresses of this machine; then it is told how many connections came and went, how much memory and how
//! many files the controller has, and how long honest calls took. The flood is made by processes of this program's own, so
//! that none needs more open files than a system gives anybody.

use anyhow::{Context, ensure};
use muster_e2e::Cluster;
use muster_e2e::pressure::{Flood, Idler, Target, open_files, resident_kib};
use muster_e2e::split::{Ready, Split};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Connections of each flood when nothing else is asked for.
const CONNECTIONS: usize = 100_000;

/// Connections of one process.
const CONNECTIONS_PER_PROCESS: usize = 15_000;

/// Addresses that they come from.
const SOURCES: u8 = 50;

/// How long each flood lasts.
const HOLD: Duration = Duration::from_secs(20);

/// Honest calls during a flood, at least.
const CALLS: usize = 20;

/// How a flooding process is told what it is.
const FLOOD: &str = "flood";

/// The ways to be idle, by their names between the processes.
const IDLERS: [(&str, Idler); 3] =
    [("silent", Idler::Silent), ("shaken", Idler::Shaken), ("half-call", Idler::HalfCall)];

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [FLOOD, endpoint, ca_cert, idler, count] => flood(endpoint, ca_cert, idler, count.parse()?),
        [] => press(CONNECTIONS),
        [count] => press(count.parse().context("the number of connections")?),
        others => anyhow::bail!("give the number of connections, and not {others:?}"),
    }
}

/// One flooding process: floods until its standard input ends, then says how many connections it opened and lost.
fn flood(endpoint: &str, ca_cert: &str, idler: &str, count: usize) -> anyhow::Result<()> {
    let idler = IDLERS.iter().find(|(name, _)| *name == idler).context("a way to be idle")?.1;
    let flood = Flood::start(&Target::new(endpoint, &std::fs::read(ca_cert)?)?, idler, count, SOURCES)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let (opened, closed) = flood.so_far();
    tell(&format!("{opened} {closed}"))
}

/// The processes of a flood.
struct Floods(Vec<Child>);

impl Floods {
    fn start(ready: &Ready, idler: &str, count: usize) -> anyhow::Result<Self> {
        let mut floods = Self(Vec::new());
        let mut left = count;
        while left > 0 {
            let part = left.min(CONNECTIONS_PER_PROCESS);
            left -= part;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(FLOOD).arg(&ready.endpoint).arg(&ready.ca_cert).arg(idler).arg(part.to_string());
            floods.0.push(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        }
        Ok(floods)
    }

    /// Ends them; how many connections they opened and lost.
    fn end(&mut self) -> anyhow::Result<(u64, u64)> {
        self.0.iter_mut().for_each(|process| drop(process.stdin.take()));
        let (mut opened, mut closed) = (0, 0);
        for process in &mut self.0 {
            let mut said = String::new();
            process.stdout.take().context("a flood without a voice")?.read_to_string(&mut said)?;
            ensure!(process.wait()?.success(), "a flooding process failed");
            let (of_opened, of_closed) = said.trim().split_once(' ').context("two numbers")?;
            opened += of_opened.parse::<u64>()?;
            closed += of_closed.parse::<u64>()?;
        }
        Ok((opened, closed))
    }
}

impl Drop for Floods {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn press(count: usize) -> anyhow::Result<()> {
    let mut cluster = Cluster::new().split()?;
    cluster.quiet();
    let ready = cluster.ready()?.clone();
    let process = cluster.controller()?.id();
    tell(&format!("at rest: {}", figures(&cluster, process)?))?;
    for ((name, _), count) in IDLERS.iter().zip([count, count / 10, count / 10]) {
        let mut floods = Floods::start(&ready, name, count)?;
        let started = Instant::now();
        let (mut memory, mut files) = (0, 0);
        let mut calls = Vec::new();
        while started.elapsed() < HOLD || calls.len() < CALLS {
            let call = Instant::now();
            cluster.ok(&["pool", "list"])?;
            calls.push(call.elapsed());
            memory = memory.max(resident_kib(process)?);
            files = files.max(open_files(process)?);
        }
        calls.sort_unstable();
        let elapsed = started.elapsed().as_secs_f64();
        let (opened, closed) = floods.end()?;
        tell(&format!(
            "{count} connections, {name}, {elapsed:.0} s: {opened} opened, {closed} turned away; the controller had at most {} MiB resident and {files} open files; {} honest calls, each a process and a connection of its own: median {:.0} ms, slowest {:.0} ms",
            memory / 1024,
            calls.len(),
            millis(calls[calls.len() / 2]),
            calls.last().copied().map_or(0.0, millis),
        ))?;
    }
    cluster.still_works()?;
    tell(&format!("afterwards: {}", figures(&cluster, process)?))?;
    let sessions = cluster.controller()?.log().matches("a node has connected").count();
    tell(&format!("the node has had {sessions} session(s)"))
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn figures(cluster: &Split, process: u32) -> anyhow::Result<String> {
    cluster.ok(&["pool", "list"])?;
    Ok(format!("{} MiB resident, {} open files", resident_kib(process)? / 1024, open_files(process)?))
}

fn tell(words: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{words}")?)
}
