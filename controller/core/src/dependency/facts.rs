//! What the graph and the job say to each other: who waits, how tasks end, and the questions that the graph asks.
//!
//! The graph keeps no copy of the tasks; it asks the job through `Facts` and is told of every change after it has been
//! made. Members of sweeps are tasks here, whether or not the job keeps a record of their own for them.
//!
//! Values and words only: what follows from them is in `demand` and `change`.

use muster_model::spec::{SweepShape, split_member};
use muster_model::state::DependencyCondition;
use muster_model::{SweepId, TaskId};
use std::fmt;

/// Who waits: a task, or a sweep, whose members share their template's dependencies. A member that the job has made a task
/// of its own may wait as a task, beside its sweep or instead of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiter {
    /// A task.
    Task(TaskId),
    /// The members of a sweep.
    Sweep(SweepId),
}

impl fmt::Display for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => f.pad(task.as_str()),
            Self::Sweep(sweep) => f.pad(sweep.as_str()),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// It did not succeed.
    pub(crate) failed: bool,
    /// Its exit conditions satisfy its dependents; without these, it succeeded.
    pub(crate) satisfies: bool,
}

/// Where a waiter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Nothing is missing.
    pub(crate) met: bool,
    /// Something is missing that cannot come as things are: without reactivating or adding tasks.
    pub(crate) hopeless: bool,
}

impl Standing {
    /// Of one who waits for nothing.
    pub(super) const FREE: Self = Self { met: true, hopeless: false };
}

/// What the graph asks of the job. Members of sweeps count as tasks whether or not they have a task of their own.
pub(crate) trait Facts {
    /// `None`: no such task; `Some(None)`: it has not ended. Answers for members by any spelling of their number.
    fn outcome(&self, task: &TaskId) -> Option<Option<Outcome>>;
    /// Every task that is no member of a sweep and whose id begins with `prefix` (compared as ids compare), by id.
    fn plain_tasks<'a>(
        &'a self,
        prefix: &'a str,
    ) -> Box<dyn Iterator<Item = (&'a TaskId, Option<Outcome>)> + 'a>;
    /// Every sweep.
    fn sweeps<'a>(&'a self) -> Box<dyn Iterator<Item = (&'a SweepId, SweepShape)> + 'a>;
    /// How the members of a sweep are numbered; `None`: no such sweep.
    fn shape(&self, sweep: &SweepId) -> Option<SweepShape>;
    /// The existing members with indices in `first..=last`, as runs of equal outcome in order: first, last, outcome.
    fn members(
        &self,
        sweep: &SweepId,
        first: u64,
        last: u64,
        each: &mut dyn FnMut(u64, u64, Option<Outcome>),
    );
}

/// A task that is a member of a sweep.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) sweep: SweepId,
    pub(super) shape: SweepShape,
    pub(super) index: u64,
}

impl Member {
    /// `None` unless the id is a member's very id, with its leading zeros: `frame-5` beside `frame-005` is another task.
    pub(super) fn of(task: &TaskId, facts: &impl Facts) -> Option<Self> {
        let (sweep, number) = split_member(task)?;
        let shape = facts.shape(&sweep)?;
        let index = shape.index(number)?;
        let digits = task.as_str().len() - sweep.as_str().len() - 1;
        (u32::try_from(digits) == Ok(width_of(shape))).then_some(Self { sweep, shape, index })
    }

    pub(super) fn number(&self) -> u64 {
        self.shape.number(self.index)
    }
}

/// How many digits the numbers of members have in their ids.
pub(super) fn width_of(shape: SweepShape) -> u32 {
    shape.last().checked_ilog10().unwrap_or(0) + 1
}

/// Where a task is in its life, as far as others may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// There is no such task.
    Absent,
    /// It has not ended.
    Open,
    /// It has ended.
    Ended(Outcome),
}

impl Status {
    pub(super) fn of(outcome: Option<Option<Outcome>>) -> Self {
        outcome.map_or(Self::Absent, Self::existing)
    }

    pub(super) fn existing(outcome: Option<Outcome>) -> Self {
        outcome.map_or(Self::Open, Self::Ended)
    }

    pub(super) fn verdict(self, condition: DependencyCondition) -> Verdict {
        match self {
            Self::Absent | Self::Open => Verdict::Waiting,
            Self::Ended(outcome) if meets(outcome, condition) => Verdict::Met,
            Self::Ended(_) => Verdict::Lost,
        }
    }
}

/// What one named task means to one demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may still meet the condition.
    Waiting,
    /// It has met it.
    Met,
    /// It has ended in another way.
    Lost,
}

/// Whether an end meets a condition.
pub(super) const fn meets(outcome: Outcome, condition: DependencyCondition) -> bool {
    match condition {
        DependencyCondition::Satisfied => outcome.satisfies,
        DependencyCondition::Failed => outcome.failed,
        DependencyCondition::Completed => true,
    }
}

/// How many tasks there are, and what has become of them. The rest is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) total: u64,
    pub(super) met: u64,
    pub(super) lost: u64,
}

impl Count {
    /// Of `tasks` tasks with one verdict.
    pub(super) fn of(verdict: Verdict, tasks: u64) -> Self {
        match verdict {
            Verdict::Waiting => Self { total: tasks, met: 0, lost: 0 },
            Verdict::Met => Self { total: tasks, met: tasks, lost: 0 },
            Verdict::Lost => Self { total: tasks, met: 0, lost: tasks },
        }
    }

    /// Of `tasks` tasks that count only if they exist.
    pub(super) fn of_existing(status: Status, condition: DependencyCondition, tasks: u64) -> Self {
        match status {
            Status::Absent => Self::default(),
            Status::Open | Status::Ended(_) => Self::of(status.verdict(condition), tasks),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.met = self.met.saturating_add(other.met);
        self.lost = self.lost.saturating_add(other.lost);
    }

    pub(super) fn take(&mut self, other: Self) {
        self.total = self.total.saturating_sub(other.total);
        self.met = self.met.saturating_sub(other.met);
        self.lost = self.lost.saturating_sub(other.lost);
    }

    /// Puts `after` in the place of `before`. Adds first, so that nothing saturates on the way.
    pub(super) fn replace(&mut self, before: Self, after: Self) {
        self.add(after);
        self.take(before);
    }
}
