//! A sweep as the core knows it: how its members are numbered and what has become of them.
//!
//! A member is pending (nothing has happened to it), or ended in bulk without having been placed, or it is a task of its
//! own (`Job::tasks`). A member that has succeeded is a task no more: nothing can happen to it but its removal, so the core
//! keeps one index of it. Members move in `members`; what clients may do with a sweep is in `sweep_command`.
//!
//! Invariant: every member is in exactly one of pending, ended, succeeded and the job's tasks, or was deleted.

use crate::class::Class;
use crate::counts::TaskCounts;
use crate::record::{EndedMembers, SweepRow, SweepStateRow};
use crate::task::{Member, MemberSeed, Phase, Task, Traits};
use muster_model::spec::{DependsOn, RetryLimit, SweepShape, TaskSpec};
use muster_model::state::ExecutionResult;
use muster_model::{AccountName, IndexSet, JobId, SweepId, TaskId, Timestamp};
use std::sync::Arc;

/// A sweep.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) id: SweepId,
    pub(crate) shape: SweepShape,
    /// The place of its first member in the order of creation.
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) class: Arc<Class>,
    pub(crate) retry_limit: Option<RetryLimit>,
    pub(crate) depends_on: Option<Arc<DependsOn>>,
    pub(crate) traits: Option<Arc<Traits>>,
    pub(crate) pending: IndexSet,
    pub(crate) ended: Vec<EndedMembers>,
    /// Members that have succeeded as tasks of their own. Not in the sweep's row: their own rows say so.
    pub(crate) succeeded: IndexSet,
    pub(crate) deleting: bool,
    pub(crate) modified: Timestamp,
    pub(crate) revision: u64,
    pub(crate) counts: TaskCounts,
    /// Under which sequence number it stands in the ready list, if it does.
    pub(crate) queued: Option<u64>,
}

/// What has become of a member that is no task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate<'a> {
    Pending,
    Ended(&'a EndedMembers),
    Succeeded,
}

impl Fate<'_> {
    /// The phase that it would have as a task.
    pub(crate) const fn phase(&self) -> Phase {
        match self {
            Self::Pending => Phase::Waiting,
            Self::Ended(group) => Phase::Completed(group.result),
            Self::Succeeded => Phase::Completed(ExecutionResult::Success),
        }
    }

    /// The etag that the store answers for it; `None` where only the member's own row knows.
    pub(crate) const fn revision(&self) -> Option<u64> {
        match self {
            Self::Pending => Some(1),
            Self::Ended(_) => Some(2),
            Self::Succeeded => None,
        }
    }
}

impl Sweep {
    pub(crate) fn new(row: &SweepRow, class: Arc<Class>) -> Self {
        let template: &TaskSpec = &row.spec.template;
        let shape = row.spec.shape();
        Self {
            id: row.spec.id.clone(),
            shape,
            sequence: row.sequence,
            created: row.created,
            class,
            retry_limit: template.constraints.max_task_retry_count,
            depends_on: (!template.depends_on.is_empty()).then(|| Arc::new(template.depends_on.clone())),
            traits: Traits::of(template),
            pending: IndexSet::below(shape.count),
            ended: Vec::new(),
            succeeded: IndexSet::default(),
            deleting: false,
            modified: row.created,
            revision: 1,
            counts: TaskCounts::default(),
            queued: None,
        }
    }

    /// Puts the sweep where its row says that it is.
    pub(crate) fn restore(&mut self, row: SweepStateRow) {
        self.pending = row.pending;
        self.ended = row.ended;
        self.deleting = row.deleting;
        self.modified = row.modified;
        self.revision = row.revision;
    }

    /// Counts the members that are no tasks; for a sweep that was just made or restored.
    pub(crate) fn count_untouched(&mut self) {
        let slots = self.class.needs.slots;
        self.counts.add(Phase::Waiting, self.pending.len(), slots);
        for group in &self.ended {
            self.counts.add(Phase::Completed(group.result), group.members.len(), slots);
        }
        self.counts.add(Phase::Completed(ExecutionResult::Success), self.succeeded.len(), slots);
    }

    pub(crate) fn row(&self, account: &AccountName, job: &JobId) -> SweepStateRow {
        SweepStateRow {
            account: account.clone(),
            job: job.clone(),
            sweep: self.id.clone(),
            pending: self.pending.clone(),
            ended: self.ended.clone(),
            deleting: self.deleting,
            modified: self.modified,
            revision: self.revision,
        }
    }

    /// What has become of a member that is no task; `None` if it is one, or was deleted.
    pub(crate) fn fate(&self, index: u64) -> Option<Fate<'_>> {
        if self.pending.contains(index) {
            return Some(Fate::Pending);
        }
        if self.succeeded.contains(index) {
            return Some(Fate::Succeeded);
        }
        self.ended.iter().find(|group| group.members.contains(index)).map(Fate::Ended)
    }

    pub(crate) fn task_id(&self, index: u64) -> TaskId {
        self.shape.task_id(&self.id, index)
    }

    /// A member as a task that nothing has happened to.
    pub(crate) fn task(&self, index: u64) -> Task {
        Task::of_sweep(MemberSeed {
            id: self.task_id(index),
            sequence: self.sequence + index,
            created: self.created,
            class: Arc::clone(&self.class),
            retry_limit: self.retry_limit,
            depends_on: self.depends_on.clone(),
            traits: self.traits.clone(),
            member: Member { sweep: self.id.clone(), index },
        })
    }

    /// Under which number it belongs in the ready list, were it ready.
    pub(crate) fn place_in_line(&self) -> Option<u64> {
        self.pending.first().map(|index| self.sequence + index)
    }

    /// The first and the last index that `numbers` mean; `None` if no member has such a number.
    pub(crate) fn indices(&self, numbers: Option<(u64, u64)>) -> Option<(u64, u64)> {
        match numbers {
            None => Some((0, self.shape.count.saturating_sub(1))),
            Some((first, last)) => self.shape.indices(first, last),
        }
    }
}
