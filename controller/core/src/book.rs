//! What a job knows of its tasks, as the dependency graph asks for it.
//!
//! Members of sweeps are tasks here whether or not they have become tasks of their own. Reads only.

use crate::dependency::{Facts, Outcome};
use crate::sweep::{Fate, Sweep};
use crate::task::{Phase, Task};
use muster_model::spec::{SweepShape, split_member};
use muster_model::state::ExecutionResult;
use muster_model::{SweepId, TaskId};
use std::collections::BTreeMap;

/// The tasks and sweeps of one job.
#[derive(Clone, Copy)]
pub(crate) struct Book<'a> {
    pub(crate) tasks: &'a BTreeMap<TaskId, Task>,
    pub(crate) sweeps: &'a BTreeMap<SweepId, Sweep>,
}

/// A task by its id.
pub(crate) enum Found<'a> {
    /// It is a task of its own.
    Task(&'a Task),
    /// It is a member of a sweep and no task.
    Member(&'a Sweep, u64, Fate<'a>),
}

impl Found<'_> {
    pub(crate) const fn phase(&self) -> Phase {
        match self {
            Self::Task(task) => task.phase,
            Self::Member(_, _, fate) => fate.phase(),
        }
    }

    pub(crate) fn revision(&self) -> Option<u64> {
        match self {
            Self::Task(task) => Some(task.revision()),
            Self::Member(_, _, fate) => fate.revision(),
        }
    }

    /// Its id, with the leading zeros that it has.
    pub(crate) fn id(&self) -> TaskId {
        match self {
            Self::Task(task) => task.id.clone(),
            Self::Member(sweep, index, _) => sweep.task_id(*index),
        }
    }
}

impl<'a> Book<'a> {
    /// The task of that name. A member's number may be written without its leading zeros.
    pub(crate) fn find(&self, id: &TaskId) -> Option<Found<'a>> {
        if let Some(task) = self.tasks.get(id) {
            return Some(Found::Task(task));
        }
        let (name, number) = split_member(id)?;
        let sweep = self.sweeps.get(&name)?;
        let index = sweep.shape.index(number)?;
        if let Some(fate) = sweep.fate(index) {
            return Some(Found::Member(sweep, index, fate));
        }
        let task = self.tasks.get(&sweep.task_id(index))?;
        task.member().is_some().then_some(Found::Task(task))
    }

    /// The tasks that are members of a sweep with indices in `first..=last`, in order.
    pub(crate) fn member_tasks(
        &self,
        sweep: &'a Sweep,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = (u64, &'a Task)> + use<'a> {
        let range = self.tasks.range(sweep.task_id(first)..=sweep.task_id(last.max(first)));
        range.filter_map(move |(_, task)| {
            let member = task.member()?;
            (member.sweep == sweep.id).then_some((member.index, task))
        })
    }
}

/// How a task ended, if it has.
pub(crate) fn outcome_of(task: &Task) -> Option<Outcome> {
    match task.phase {
        Phase::Waiting | Phase::Preparing | Phase::Assigned | Phase::Running => None,
        Phase::Completed(result) => {
            let said = task.progress_ref().and_then(|progress| progress.satisfies);
            Some(Outcome {
                failed: result == ExecutionResult::Failure,
                satisfies: said.unwrap_or(result == ExecutionResult::Success),
            })
        }
    }
}

/// How members ended that were ended together, or that are only remembered as succeeded.
pub(crate) const fn plain_outcome(result: ExecutionResult) -> Outcome {
    match result {
        ExecutionResult::Success => Outcome { failed: false, satisfies: true },
        ExecutionResult::Failure => Outcome { failed: true, satisfies: false },
    }
}

fn outcome_of_fate(fate: &Fate<'_>) -> Option<Outcome> {
    match fate {
        Fate::Pending => None,
        Fate::Ended(group) => Some(plain_outcome(group.result)),
        Fate::Succeeded => Some(plain_outcome(ExecutionResult::Success)),
    }
}

impl Book<'_> {
    /// A sweep that is there for others. One that is on its way out is not, from the first moment: nobody may draw
    /// conclusions from what of it is left.
    fn lasting(&self, sweep: &SweepId) -> Option<&Sweep> {
        self.sweeps.get(sweep).filter(|sweep| !sweep.deleting)
    }

    /// Whether others may wait for a task.
    pub(crate) fn is_lasting(&self, task: &Task) -> bool {
        task.member().is_none_or(|member| self.lasting(&member.sweep).is_some())
    }
}

impl Facts for Book<'_> {
    fn outcome(&self, task: &TaskId) -> Option<Option<Outcome>> {
        match self.find(task)? {
            Found::Task(task) => self.is_lasting(task).then(|| outcome_of(task)),
            Found::Member(_, _, fate) => Some(outcome_of_fate(&fate)),
        }
    }

    fn plain_tasks<'a>(
        &'a self,
        prefix: &'a str,
    ) -> Box<dyn Iterator<Item = (&'a TaskId, Option<Outcome>)> + 'a> {
        // An empty or overlong prefix is no task id; the first one of all then is the start.
        let from = TaskId::parse(prefix).ok();
        let range = match from {
            Some(from) => self.tasks.range(from..),
            None => self.tasks.range::<TaskId, _>(..),
        };
        let begins = move |id: &TaskId| {
            id.as_str().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let within = range.take_while(move |(id, _)| begins(id));
        Box::new(within.filter(|(_, task)| task.member().is_none()).map(|(id, task)| (id, outcome_of(task))))
    }

    fn sweeps<'a>(&'a self) -> Box<dyn Iterator<Item = (&'a SweepId, SweepShape)> + 'a> {
        let lasting = self.sweeps.iter().filter(|(_, sweep)| !sweep.deleting);
        Box::new(lasting.map(|(id, sweep)| (id, sweep.shape)))
    }

    fn shape(&self, sweep: &SweepId) -> Option<SweepShape> {
        self.lasting(sweep).map(|sweep| sweep.shape)
    }

    fn members(
        &self,
        sweep: &SweepId,
        first: u64,
        last: u64,
        each: &mut dyn FnMut(u64, u64, Option<Outcome>),
    ) {
        let Some(sweep) = self.lasting(sweep) else { return };
        let last = last.min(sweep.shape.count.saturating_sub(1));
        if first > last {
            return;
        }
        let mut runs: BTreeMap<u64, (u64, Option<Outcome>)> = BTreeMap::new();
        runs.extend(sweep.pending.runs_within(first, last).map(|(a, b)| (a, (b, None))));
        let succeeded = Some(plain_outcome(ExecutionResult::Success));
        runs.extend(sweep.succeeded.runs_within(first, last).map(|(a, b)| (a, (b, succeeded))));
        for group in &sweep.ended {
            let outcome = Some(plain_outcome(group.result));
            runs.extend(group.members.runs_within(first, last).map(|(a, b)| (a, (b, outcome))));
        }
        runs.extend(self.member_tasks(sweep, first, last).map(|(i, task)| (i, (i, outcome_of(task)))));
        for (start, (end, outcome)) in runs {
            each(start, end, outcome);
        }
    }
}
