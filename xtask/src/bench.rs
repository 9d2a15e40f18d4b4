//! `cargo xtask bench`: what scheduling costs on this machine, beside a floor taken in the same run.
//!
//! Figures only; nothing here passes or fails. The floor is what the machine does without Muster: starting `/bin/true` from
//! as many threads as the node has slots.

use crate::bulk;
use crate::cluster::{Cluster, build};
use crate::monitoring;
use crate::run::{check, say, target};
use anyhow::{Context, ensure};
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Tasks of /bin/true that one node runs
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tasks: u32,
    /// Pairs of `muster run -- true` and `muster version`
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Tasks of the sweep and of the file that only fill the queue
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    queued: u32,
}

/// Slots of the one node, and threads of the floor.
const SLOTS: u32 = 2;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let binaries = build()?;
    let data = target().join("bench/cluster");
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot clear {}", data.display()))?;
    }
    let cluster = Cluster::start(&binaries, &data, &["--nodes", "1", "--slots", &SLOTS.to_string()])?;
    // The first run waits for the node; the pairs after it measure an idle cluster.
    cluster.run(&["run", "--pool", "default", "--", "true"])?;
    latency(&cluster, options.pairs)?;
    throughput(&cluster, options.tasks)?;
    bulk::measure(&cluster, options.queued)?;
    cluster.stop()?;
    monitoring::measure(&binaries)
}

fn latency(cluster: &Cluster, pairs: u32) -> anyhow::Result<()> {
    let (mut runs, mut versions) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        runs.push(time(&mut cluster.muster(&["run", "--pool", "default", "--", "true"]))?);
        versions.push(time(&mut cluster.muster(&["version"]))?);
    }
    let (run, version) = (median(runs), median(versions));
    say(&format!(
        "muster run -- true: {:.1} ms; muster version: {:.1} ms; the difference of the medians: {:.1} ms",
        millis(run),
        millis(version),
        millis(run.saturating_sub(version)),
    ));
    Ok(())
}

fn throughput(cluster: &Cluster, tasks: u32) -> anyhow::Result<()> {
    let file = target().join("bench/tasks.jsonl");
    let mut text = String::new();
    for task in 0..tasks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, r#"{{"id":"{task}","command_line":"/bin/true"}}"#);
    }
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let floor = floor(tasks)?;
    cluster.run(&["job", "create", "bench", "--pool", "default"])?;
    let start = Instant::now();
    check(
        cluster.muster(&["task", "add", "bench", "--file", &file.to_string_lossy()]).stdout(Stdio::null()),
    )?;
    let added = start.elapsed();
    check(cluster.muster(&["job", "wait", "bench"]).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let rate = |span: Duration| f64::from(tasks) / span.as_secs_f64();
    say(&format!(
        "{tasks} tasks of /bin/true on one node of {SLOTS} slots: {:.0} tasks/s ({:.2} s, of which {:.2} s adding); floor: {:.0} processes/s",
        rate(start.elapsed()),
        start.elapsed().as_secs_f64(),
        added.as_secs_f64(),
        rate(floor),
    ));
    Ok(())
}

/// How long this machine takes for the same processes without Muster.
fn floor(tasks: u32) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let threads: Vec<_> = (0..SLOTS)
        .map(|_| {
            std::thread::spawn(move || {
                (0..tasks / SLOTS).all(|_| Command::new("/bin/true").status().is_ok_and(|s| s.success()))
            })
        })
        .collect();
    let all = threads.into_iter().all(|thread| thread.join().unwrap_or(false));
    ensure!(all, "/bin/true failed in the floor measurement");
    Ok(start.elapsed())
}

fn time(command: &mut Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    check(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
    Ok(start.elapsed())
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or_default()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
