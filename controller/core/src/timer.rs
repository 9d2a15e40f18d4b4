//! What the core waits for: deadlines, each with its reason.
//!
//! A deadline is a wish to look again, not a fact: when it passes, the rule that owns it checks whether its condition
//! really holds (a lease may have been renewed meanwhile). So nothing here is ever cancelled, and nothing here is durable:
//! loading derives every deadline from the rows.

use muster_model::{AccountName, JobId, NodeId, PoolId, RequestId, TaskId, Timestamp, TokenId};
use std::collections::BTreeSet;

/// Why the core wants to look again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// A node's lease, with its margin, may have ended.
    Lease(AccountName, NodeId),
    /// A task may be tried again.
    Retry(AccountName, JobId, TaskId),
    /// A job's wall clock may have run out.
    JobWallClock(AccountName, JobId),
    /// A task of a job may have lived as long as a task may.
    TaskLives(AccountName, JobId),
    /// A node may have been relieved of its tasks for as long as they were given to end by themselves.
    Drain(AccountName, NodeId),
    /// A node's restart may have taken too long.
    Restart(AccountName, NodeId),
    /// A node that was taken out of use may be tried again, or may have stood its trial.
    Probation(AccountName, NodeId),
    /// A resize may have taken too long.
    Resize(AccountName, PoolId),
    /// A join token may have expired.
    Token(AccountName, TokenId),
    /// A request's replay window may have passed.
    Request(AccountName, RequestId),
}

impl Deadline {
    /// The account whose rule looks again.
    #[must_use]
    pub const fn account(&self) -> &AccountName {
        match self {
            Self::Lease(account, _)
            | Self::Retry(account, _, _)
            | Self::JobWallClock(account, _)
            | Self::TaskLives(account, _)
            | Self::Drain(account, _)
            | Self::Restart(account, _)
            | Self::Probation(account, _)
            | Self::Resize(account, _)
            | Self::Token(account, _)
            | Self::Request(account, _) => account,
        }
    }
}

/// All deadlines, in order of time.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Timestamp, Deadline)>);

impl Deadlines {
    pub(crate) const fn new() -> Self {
        Self(BTreeSet::new())
    }

    pub(crate) fn add(&mut self, at: Timestamp, deadline: Deadline) {
        self.0.insert((at, deadline));
    }

    pub(crate) fn next(&self) -> Option<(Timestamp, &Deadline)> {
        self.0.first().map(|(at, deadline)| (*at, deadline))
    }

    /// Takes out the earliest deadline if its time has come.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Deadline> {
        if self.next()?.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, deadline)| deadline)
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Timestamp, Deadline)> {
        self.0.iter()
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn holds(&self, at: Timestamp, deadline: &Deadline) -> bool {
        self.0.contains(&(at, deadline.clone()))
    }
}
