//! Promises about jobs: they are not lost, and they count their tasks right.
//!
//! Goes in: the told-log and the record; the ledger knows tasks only. What is wrong with a task is said of the task (`task_rules.rs`).

use super::violation::Violation;
use crate::record::{Record, State};
use crate::told::{Act, Answer, Entry};
use muster_proto::wire::JobState;
use std::collections::BTreeSet;

/// What is wrong with jobs.
pub(super) fn check(told: &[Entry], record: &Record) -> Vec<Violation> {
    let jobs: BTreeSet<&str> = told.iter().map(|entry| entry.job.as_str()).collect();
    let mut found = Vec::new();
    for job in jobs {
        let of_job = |act: Act| {
            told.iter().filter(move |entry| entry.job == job && entry.task.is_none() && entry.act == act)
        };
        let is_done = |act: Act| of_job(act).any(|entry| entry.answer == Answer::Done);
        let is_deleted =
            of_job(Act::Delete).any(|entry| matches!(entry.answer, Answer::Done | Answer::Unknown(_)));
        let mut violation = |promise: &'static str, what: String| {
            found.push(Violation { promise, job: job.to_owned(), task: None, what });
        };
        match record.jobs.get(job) {
            None if is_done(Act::CreateJob) && !is_deleted => {
                violation("what is acknowledged is not lost", "the job is not there".to_owned());
            }
            Some(kept) if is_done(Act::Delete) => {
                violation("what is deleted stays deleted", format!("the job is {:?}", kept.state));
            }
            Some(kept) if is_done(Act::Terminate) && kept.state != JobState::Completed => {
                violation(
                    "what is acknowledged is not lost",
                    format!("it was terminated and is {:?}", kept.state),
                );
            }
            Some(_) | None => {}
        }
        let refused = of_job(Act::CreateJob)
            .find(|entry| matches!(&entry.answer, Answer::Refused(words) if words.contains("AlreadyExists")));
        if let Some(entry) = refused {
            violation("a repeated request gets its first answer", entry.to_string());
        }
    }
    found.extend(record.jobs.iter().filter_map(|(job, kept)| {
        let tasks = || kept.tasks.values().map(|task| &task.seen);
        let count = |success| {
            tasks().filter(|seen| seen.is_success == Some(success) && seen.state == State::Completed).count()
        };
        let open = tasks().filter(|seen| seen.state != State::Completed).count();
        let recount = [count(true), count(false), open].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let (succeeded, failed, rest) = kept.counts;
        (recount != [succeeded, failed, rest]).then(|| Violation {
            promise: "counts are right",
            job: job.clone(),
            task: None,
            what: format!(
                "it counts {succeeded} succeeded, {failed} failed, {rest} open; its list has {recount:?}"
            ),
        })
    }));
    found
}
