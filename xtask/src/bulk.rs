//! The part of `cargo xtask bench` that fills a queue: a sweep of a million tasks, and a million tasks from a file.
//!
//! Nothing runs: the job's pool does not exist, so that time and memory are those of taking tasks in. The floor of the file
//! is this machine writing the same bytes durably in as many pieces.

use crate::cluster::Cluster;
use crate::run::{check, say, target};
use anyhow::Context;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Tasks in one piece of a stream, as the client cuts it.
const PIECE: u32 = 1000;

/// Measures both.
pub(crate) fn measure(cluster: &Cluster, tasks: u32) -> anyhow::Result<()> {
    sweep(cluster, tasks)?;
    file(cluster, tasks)
}

fn sweep(cluster: &Cluster, tasks: u32) -> anyhow::Result<()> {
    cluster.run(&["job", "create", "sweep", "--pool", "nowhere"])?;
    let before = cluster.memory("muster-controller")?;
    let range = format!("1-{tasks}");
    let start = Instant::now();
    cluster.run(&["task", "add", "sweep", "--sweep", &range, "--", "render", "--frame", "{i}"])?;
    let took = start.elapsed();
    let more = cluster.memory("muster-controller")?.saturating_sub(before);
    let page =
        time_of(cluster, &["task", "list", "sweep", "--filter", "state = 'active'", "--limit", "100"])?;
    say(&format!(
        "a sweep of {tasks} tasks: accepted in {} ms, {} KiB more in the controller; a page of its tasks in {} ms",
        took.as_millis(),
        more / 1024,
        page.as_millis(),
    ));
    Ok(())
}

fn file(cluster: &Cluster, tasks: u32) -> anyhow::Result<()> {
    let path = target().join("bench/million.jsonl");
    let mut text = String::new();
    for task in 0..tasks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, r#"{{"id":"task-{task:07}","command_line":"render --frame {task}"}}"#);
    }
    std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    let floor = floor(&text, tasks.div_ceil(PIECE))?;
    cluster.run(&["job", "create", "million", "--pool", "nowhere"])?;
    let before = cluster.memory("muster-controller")?;
    let took = time_of(cluster, &["task", "add", "million", "--file", &path.to_string_lossy()])?;
    let more = cluster.memory("muster-controller")?.saturating_sub(before);
    say(&format!(
        "{tasks} tasks from a file: {:.1} s, {} bytes more in the controller for each; floor (the same bytes written durably): {:.1} s",
        took.as_secs_f64(),
        more / u64::from(tasks.max(1)),
        floor.as_secs_f64(),
    ));
    Ok(())
}

fn time_of(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    check(cluster.muster(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(start.elapsed())
}

/// How long this machine takes to write the text so that each piece is on disk before the next.
fn floor(text: &str, pieces: u32) -> anyhow::Result<Duration> {
    let path = target().join("bench/floor");
    let mut out = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let piece = text.len().div_ceil(usize::try_from(pieces.max(1)).context("a number of pieces")?);
    let start = Instant::now();
    for part in text.as_bytes().chunks(piece.max(1)) {
        out.write_all(part)?;
        out.sync_data()?;
    }
    Ok(start.elapsed())
}
