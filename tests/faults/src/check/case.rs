//! All that there is of one task: what was asked of it and answered, how it is recorded, and its lives.
//!
//! What was asked of its sweep or its job was asked of it too.

use crate::deed::Deed;
use crate::ledger::Life;
use crate::record::{Kept, Record, Seen};
use crate::told::{Act, Answer, Entry};
use std::collections::BTreeMap;

/// A task with everything about it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The job.
    pub job: String,
    /// The task.
    pub task: String,
    /// What it is to do. `None` when nobody asked for it.
    pub deed: Option<Deed>,
    /// The calls that were to create it, itself or its sweep, in order.
    pub creations: Vec<&'a Entry>,
    /// The other calls on it, its sweep and its job, in order.
    pub calls: Vec<&'a Entry>,
    /// How it is recorded; `None` when it is not there.
    pub kept: Option<&'a Kept>,
    /// Its lives, in the order of their beginnings.
    pub lives: Vec<&'a Life>,
}

impl Case<'_> {
    /// Whether it was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.creations.iter().any(|entry| entry.answer == Answer::Done)
    }

    /// Calls of a kind that may have had an effect: done, or nobody knows.
    pub fn effective(&self, act: &Act) -> impl Iterator<Item = &Entry> {
        let may = |entry: &&&Entry| match entry.answer {
            Answer::Done | Answer::Unknown(_) => true,
            Answer::Seen(_) | Answer::Gone | Answer::Refused(_) => false,
        };
        let act = act.clone();
        self.calls.iter().filter(move |entry| entry.act == act).filter(may).copied()
    }

    /// How often it may have been asked to run once more.
    #[must_use]
    pub fn reactivations(&self) -> usize {
        self.effective(&Act::Reactivate).count()
    }

    /// How it was read, in order, and at last as it is recorded: with the times of asking and answering.
    #[must_use]
    pub fn readings(&self) -> Vec<(u64, u64, &Seen)> {
        let read = self.calls.iter().filter_map(|entry| match &entry.answer {
            Answer::Seen(seen) => Some((entry.asked_us, entry.answered_us, seen.as_ref())),
            Answer::Done | Answer::Gone | Answer::Refused(_) | Answer::Unknown(_) => None,
        });
        let last = self.kept.map(|kept| (u64::MAX, u64::MAX, &kept.seen));
        read.chain(last).collect()
    }

    /// The lives of an attempt.
    pub fn lives_of(&self, attempt: u32) -> impl Iterator<Item = &Life> {
        self.lives.iter().filter(move |life| life.attempt == attempt).copied()
    }
}

/// Puts the cases together.
pub(super) fn cases<'a>(told: &'a [Entry], record: &'a Record, lives: &'a [Life]) -> Vec<Case<'a>> {
    let mut cases: BTreeMap<(String, String), Case<'a>> = BTreeMap::new();
    let case = |job: &str, task: &str| Case {
        job: job.to_owned(),
        task: task.to_owned(),
        deed: None,
        creations: Vec::new(),
        calls: Vec::new(),
        kept: None,
        lives: Vec::new(),
    };
    let key = |job: &str, task: &str| (job.to_owned(), task.to_owned());
    for entry in told {
        let Some(task) = entry.task.as_deref() else { continue };
        let (deed, tasks) = match &entry.act {
            Act::CreateTask(deed) => (*deed, vec![task.to_owned()]),
            Act::CreateSweep(deed, count) => {
                (*deed, (1..=*count).map(|number| format!("{task}-{number}")).collect())
            }
            Act::CreateJob
            | Act::Terminate
            | Act::Delete
            | Act::Reactivate
            | Act::Disable
            | Act::Requeue
            | Act::Enable
            | Act::Read => continue,
        };
        for task in tasks {
            let case = cases.entry(key(&entry.job, &task)).or_insert_with(|| case(&entry.job, &task));
            case.deed = Some(deed);
            case.creations.push(entry);
        }
    }
    for (job, kept) in &record.jobs {
        for (task, kept) in &kept.tasks {
            cases.entry(key(job, task)).or_insert_with(|| case(job, task)).kept = Some(kept);
        }
    }
    for life in lives {
        let key = key(&life.job, &life.task);
        cases.entry(key).or_insert_with(|| case(&life.job, &life.task)).lives.push(life);
    }
    for case in cases.values_mut() {
        let sweep = case.task.rsplit_once('-').map(|(sweep, _)| sweep);
        case.calls = told
            .iter()
            .filter(|entry| entry.job == case.job && entry.act != Act::CreateJob)
            .filter(|entry| !matches!(entry.act, Act::CreateTask(_) | Act::CreateSweep(..)))
            .filter(|entry| match entry.task.as_deref() {
                None => true,
                Some(task) => task == case.task || Some(task) == sweep,
            })
            .collect();
    }
    cases.into_values().collect()
}
