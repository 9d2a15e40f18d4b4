//! Clients that stop reading in the middle of a stream: they cost the controller a bounded amount of memory and nobody else
//! anything, and what they read when they go on is whole.
//!
//! They are frozen, which nothing on their machine answers for: their connections stay open, their buffers fill up. A broken promise
//! would be a controller that keeps for them what they do not take.

use anyhow::{Context, ensure};
use muster_e2e::daemon::Daemon;
use muster_e2e::leftovers::Leftovers;
use muster_e2e::split::Split;
use muster_e2e::user::script_task;
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::{Cluster, wait_until};
use muster_faults::scenarios::readers::memory_bytes;
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Readers that follow a task's output, and what it writes for each of them.
const FOLLOWERS: usize = 6;
const OUTPUT_BYTES: u64 = 16 * 1024 * 1024;
/// Half of what the controller would hold if it kept everything for everybody.
const GROWTH_BYTES_MAX: u64 = OUTPUT_BYTES * 3;
/// Tasks that end while watchers of their job are frozen.
const TASKS: usize = 120;
/// How much longer than usual another client may wait: a machine that is busy with another test is slow too.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(10);

/// A `muster` command whose stdout goes to a file, so that only the network can hold it back.
fn reader(cluster: &Split, name: &str, words: &[&str]) -> anyhow::Result<(Daemon, PathBuf)> {
    let out = cluster.folder().join(format!("{name}.out"));
    let command = cluster.command(words);
    let script = "out=$1; shift; exec \"$@\" > \"$out\"";
    let mut wrapped = Command::new("/bin/sh");
    wrapped.args(["-c", script, "reader"]).arg(&out).arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let daemon = Daemon::start(&mut wrapped, &cluster.folder().join(format!("{name}.err")))?;
    Ok((daemon, out))
}

fn length(path: &PathBuf) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn readers_that_stop_reading_cost_little_memory_and_nobody_else_anything() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().slots(2).split()?;
    let gate = cluster.until_open("gate");
    let burst = cluster.until_open("burst");
    let script = format!("echo begin; {burst}; yes 0123456789abcde | head -c {OUTPUT_BYTES}; {gate}");
    cluster.job("talk", &[script_task("t", &script)])?;
    cluster.ok(&["job", "create", "many", "--pool", "default"])?;
    let mut readers = Vec::new();
    for number in 0..FOLLOWERS {
        readers.push(reader(
            &cluster,
            &format!("follow-{number}"),
            &["task", "logs", "--follow", "talk", "t"],
        )?);
    }
    let mut watchers = Vec::new();
    for number in 0..2 {
        watchers.push(reader(&cluster, &format!("watch-{number}"), &["-o", "json", "job", "watch", "many"])?);
    }
    for (_, out) in readers.iter().chain(&watchers) {
        wait_until(WORK, "the first words", || Ok(when(length(out) > 0)))?;
    }
    let id = cluster.controller()?.id();
    let before = memory_bytes(id)?;
    for (daemon, _) in readers.iter_mut().chain(&mut watchers) {
        daemon.signal(Signal::SIGSTOP)?;
    }
    cluster.open("burst")?;
    let stdout = cluster.agent_root(0).join("batch/workitems/talk/job-1/t/stdout.txt");
    wait_until(WORK, "the whole output", || Ok(when(length(&stdout) > OUTPUT_BYTES)))?;
    let tasks: Vec<_> = (0..TASKS).map(|number| script_task(&number.to_string(), "true")).collect();
    cluster.add_tasks("many", &tasks)?.ok()?;
    let mut most = 0;
    wait_until(WORK, "all tasks of a job whose watchers are frozen", || {
        most = most.max(memory_bytes(id)?);
        Ok(when(cluster.counts("many")?.completed == u64::try_from(TASKS)?))
    })?;
    let since = Instant::now();
    cluster.still_works()?;
    ensure!(since.elapsed() < OTHERS_WAIT_MAX, "another client waited for {:?}", since.elapsed());
    most = most.max(memory_bytes(id)?);
    let growth = most.saturating_sub(before);
    eprintln!("the controller grew from {before} to {most} bytes while {FOLLOWERS} followers were frozen");
    ensure!(growth < GROWTH_BYTES_MAX, "it grew by {growth} bytes: it keeps what they do not read");
    for (daemon, _) in readers.iter_mut().chain(&mut watchers) {
        daemon.signal(Signal::SIGCONT)?;
    }
    cluster.open("gate")?;
    for (mut daemon, out) in readers {
        let status = daemon.wait(WORK)?;
        ensure!(status.success(), "a follower that slept: {status}: {}", daemon.log());
        let text = fs::read(&out)?;
        assert_eq!(u64::try_from(text.len())?, OUTPUT_BYTES + 6, "nothing is missing and nothing twice");
        ensure!(text.starts_with(b"begin\n0123456789abcde\n"));
    }
    for (mut daemon, out) in watchers {
        let seen = wait_until(SOON, "the watcher to see the last task", || {
            let text = fs::read_to_string(&out)?;
            Ok(when(
                text.contains(&format!("\"completed\":{TASKS}"))
                    || text.contains(&format!("\"completed\": {TASKS}")),
            ))
        });
        ensure!(seen.is_ok() || !daemon.is_running(), "it neither goes on nor says that it cannot");
        seen.with_context(|| daemon.log())?;
    }
    ensure!(
        Leftovers::of(cluster.folder()).processes.contains_key(&i32::try_from(id)?),
        "one controller all along"
    );
    Ok(())
}
