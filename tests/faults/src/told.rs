//! What clients were told: every call that changes something or reads a result, when it was asked and answered, and how.
//!
//! Goes in: calls as `load.rs` makes them. Comes out: the log that the checker holds against records and ledger. Of one
//! client the entries are in order; of several they overlap, as their times say.

use crate::deed::Deed;
use crate::record::Seen;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A new job.
    CreateJob,
    /// A new task that does this.
    CreateTask(Deed),
    /// A new sweep of so many members that do this.
    CreateSweep(Deed, u32),
    /// The end of a task, or without one of a job.
    Terminate,
    /// Deletion of a task, or without one of a job.
    Delete,
    /// A failed task once more.
    Reactivate,
    /// A job's pause, in which running tasks go on.
    Disable,
    /// A job's pause, in which running tasks are put back into the queue.
    Requeue,
    /// The end of a job's pause.
    Enable,
    /// How a task is.
    Read,
}

/// How it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is so.
    Seen(Box<Seen>),
    /// There is no such thing.
    Gone,
    /// It was refused, for good.
    Refused(String),
    /// No answer came for as long as the client had patience: it may be done or not.
    Unknown(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Seen(seen) => write!(f, "{seen}"),
            Self::Gone => f.write_str("not found"),
            Self::Refused(words) => write!(f, "refused: {words}"),
            Self::Unknown(words) => write!(f, "NO ANSWER: {words}"),
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which client.
    pub client: u32,
    /// When it was asked first, in microseconds since boot.
    pub asked_us: u64,
    /// When the answer was there.
    pub answered_us: u64,
    /// How often it was asked, each time with the same request id.
    pub tries: u32,
    /// The job.
    pub job: String,
    /// The task or sweep, if it is about one.
    pub task: Option<String>,
    /// What was asked.
    pub act: Act,
    /// How it was answered.
    pub answer: Answer,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: u64| format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000);
        let (asked, answered) = (seconds(self.asked_us), seconds(self.answered_us));
        let task = self.task.as_deref().unwrap_or("-");
        write!(
            f,
            "{asked} to {answered} client {} x{}: {}/{task} {:?}: {}",
            self.client, self.tries, self.job, self.act, self.answer
        )
    }
}

/// The log of all clients. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Entry>>>);

impl Told {
    /// Writes down a call.
    pub fn note(&self, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// All calls so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many calls satisfy a condition.
    #[must_use]
    pub fn count(&self, which: impl Fn(&Entry) -> bool) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|entry| which(entry)).count()
    }

    /// How many tasks were acknowledged, members of sweeps among them.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = entries.iter().filter(|entry| entry.answer == Answer::Done);
        done.map(|entry| match entry.act {
            Act::CreateTask(_) => 1,
            Act::CreateSweep(_, count) => u64::from(count),
            Act::CreateJob
            | Act::Terminate
            | Act::Delete
            | Act::Reactivate
            | Act::Disable
            | Act::Requeue
            | Act::Enable
            | Act::Read => 0,
        })
        .sum()
    }
}
