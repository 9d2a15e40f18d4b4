//! What becomes of an attempt once a machine has it: how staging, the process and the upload go.
//!
//! Drawn from the attempt's name alone, so that the same attempt meets the same end whatever else is left out of a story.

use crate::chance::Chance;
use muster_agent_core::input::{Ended, EndedBy};
use muster_model::{AttemptId, Cause, FailureInfo};
use std::time::Duration;

/// How a process goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) lasts: Duration,
    pub(crate) ended: Ended,
    pub(crate) by: EndedBy,
}

fn is_of_job(attempt: &AttemptId) -> bool {
    matches!(attempt.task.as_str(), "prep" | "release")
}

/// Bytes fetched, or why not.
pub(crate) fn staging(seed: u64, attempt: &AttemptId) -> Result<u64, FailureInfo> {
    let mut chance = Chance::of(seed, &format!("staging {attempt}"));
    match chance.below(50) {
        0 => Err(FailureInfo::new(Cause::StagingNotFound, "drawn by lot")),
        1 | 2 => Err(FailureInfo::new(Cause::StagingNetwork, "drawn by lot")),
        _ => Ok(chance.below(1_000)),
    }
}

/// How the process runs; `limited`: it has a limit of memory that it may outgrow.
pub(crate) fn process(seed: u64, attempt: &AttemptId, limited: bool) -> Fate {
    let mut chance = Chance::of(seed, &format!("process {attempt}"));
    let chance = &mut chance;
    let most = match (is_of_job(attempt), attempt.task.as_str(), chance.below(24)) {
        (true, _, _) => 8_000,
        (false, "manager", _) => 60_000,
        (false, _, 0) => 900_000,
        // As long as leases and partitions are.
        (false, _, 1..=7) => 90_000,
        (false, _, _) => 3_000,
    };
    let lasts = Duration::from_millis(chance.below(most) + 1);
    if limited && chance.one_in(3) {
        return Fate { lasts, ended: Ended::Signaled(9), by: EndedBy::OutOfMemory };
    }
    let fails = chance.one_in(if is_of_job(attempt) { 8 } else { 4 });
    let code = if fails { i32::from(chance.byte_below(3)) + 1 } else { 0 };
    Fate { lasts, ended: Ended::Exited(code), by: EndedBy::Itself }
}

/// How a start task runs; once all is calm it succeeds.
pub(crate) fn start_task(seed: u64, machine: usize, run: u64, calm: bool) -> Fate {
    let mut chance = Chance::of(seed, &format!("start task {run} on {machine}"));
    let lasts = Duration::from_millis(chance.below(4_000) + 1);
    let code = if !calm && chance.one_in(2) { 1 } else { 0 };
    Fate { lasts, ended: Ended::Exited(code), by: EndedBy::Itself }
}

/// Why the outputs could not be stored, if they could not.
pub(crate) fn upload(seed: u64, attempt: &AttemptId) -> Option<FailureInfo> {
    let mut chance = Chance::of(seed, &format!("upload {attempt}"));
    (!is_of_job(attempt) && chance.one_in(30)).then(|| FailureInfo::new(Cause::UploadFailed, "drawn by lot"))
}
