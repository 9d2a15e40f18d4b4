//! Clients that stop reading: they follow a task's output or watch a job, and are frozen in the middle of it for good.
//!
//! Their connections stay open and their buffers fill up. The controller may not keep for them what they do not take, and nobody
//! else may notice them.

use crate::round::{Scenario, Turn};
use crate::told::Act;
use anyhow::{Context, ensure};
use muster_e2e::daemon::Daemon;
use muster_e2e::user::script_task;
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::time::Duration;

/// Readers stop reading.
#[derive(Debug)]
pub struct Readers;

/// The job whose task talks all the time; it is not one of the load's.
const JOB: &str = "chatter";
/// Three megabytes a second: what ten readers do not take would be seen.
const CHATTER: &str = "while :; do yes 0123456789abcde | head -c 300000; sleep 0.1; done";
/// Frozen at one time. The oldest then dies, as a laptop that is closed for good does.
const FROZEN_MAX: usize = 10;
/// How much the controller may grow in a round, its own work included.
const GROWTH_BYTES_MAX: u64 = 192 * 1024 * 1024;
/// How long a reader reads before it is frozen.
const READING: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(900));

impl Scenario for Readers {
    fn name(&self) -> &'static str {
        "readers"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        turn.site.job(JOB, &[script_task("talk", CHATTER)])?;
        let id = turn.site.controller()?.id();
        let before = memory_bytes(id)?;
        let mut frozen: VecDeque<Daemon> = VecDeque::new();
        let mut most = before;
        while !turn.is_over() {
            let mut reader = start(turn)?;
            let reading = turn.chance.span(READING.0, READING.1);
            turn.pass_fully(reading);
            // What it watched may have come to its end, and it with it.
            if reader.is_running() && reader.signal(Signal::SIGSTOP).is_ok() {
                turn.dealt("reader frozen", "a reader stops reading");
                frozen.push_back(reader);
            }
            if frozen.len() > FROZEN_MAX {
                // Dropped is killed.
                frozen.pop_front();
            }
            most = most.max(memory_bytes(id)?);
        }
        let growth = most.saturating_sub(before);
        turn.noted(format!("the controller grew from {before} to {most} bytes"));
        drop(frozen);
        turn.site.ok(&["job", "delete", JOB])?;
        ensure!(
            growth < GROWTH_BYTES_MAX,
            "the controller grew by {growth} bytes under readers that do not read"
        );
        Ok(())
    }
}

/// A reader of the chatter, or a watcher of one of the load's jobs.
fn start(turn: &mut Turn<'_>) -> anyhow::Result<Daemon> {
    let entries = turn.load.told().entries();
    let jobs: Vec<&str> =
        entries.iter().filter(|entry| entry.act == Act::CreateJob).map(|entry| entry.job.as_str()).collect();
    let job = turn.chance.one_of(&jobs).copied();
    let mut command = match job.filter(|_| turn.chance.percent(50)) {
        Some(job) => turn.site.command(&["-o", "json", "job", "watch", job]),
        None => turn.site.command(&["task", "logs", "--follow", JOB, "talk"]),
    };
    Daemon::start(&mut command, &turn.site.logs().join("readers.log"))
}

/// The resident memory of a process.
///
/// # Errors
/// When there is no such process.
pub fn memory_bytes(id: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
