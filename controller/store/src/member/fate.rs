//! What has become of members without rows: groups that share a state, and one member as a task.
//!
//! A member is pending, or ended with others before it was placed, or it has a row, or it was deleted; here are the first
//! two. The states agree with what the core makes of such a member when something happens to it.

use crate::expand::Template;
use crate::view::{TaskView, untouched};
use muster_controller_core::record::{EndedMembers, SweepStateRow, TaskStateRow};
use muster_model::spec::SweepShape;
use muster_model::state::{ExecutionResult, TaskState};
use muster_model::{AccountName, IndexSet, JobId, SweepId, TaskId, Timestamp};
use std::sync::Arc;

/// A sweep without the values: enough to place its members in lists.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) account: AccountName,
    pub(crate) job: JobId,
    pub(crate) id: SweepId,
    pub(crate) shape: SweepShape,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    /// As the template has it.
    pub(crate) display_name: String,
}

/// A sweep whose members may have no rows.
#[derive(Debug)]
pub(crate) struct Untouched {
    /// The store's own key of it.
    pub(crate) key: i64,
    pub(crate) outline: Outline,
    pub(crate) state: SweepStateRow,
    /// Needed only when a filter asks for display names that differ from member to member.
    pub(crate) template: Option<Arc<Template>>,
}

/// What became of a member without a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate<'s> {
    /// It waits.
    Pending,
    /// It ended before it was placed.
    Ended(&'s EndedMembers),
}

impl Outline {
    pub(crate) fn task_id(&self, index: u64) -> TaskId {
        self.shape.task_id(&self.id, index)
    }

    /// Whether members' display names may differ.
    pub(crate) fn names_differ(&self) -> bool {
        self.display_name.contains('{')
    }
}

impl Untouched {
    /// The groups that share a state.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Fate<'_>, &IndexSet)> {
        let pending = std::iter::once((Fate::Pending, &self.state.pending));
        pending.chain(self.state.ended.iter().map(|group| (Fate::Ended(group), &group.members)))
    }
}

impl<'s> Fate<'s> {
    /// What became of a member; `None` when it has a row or was deleted.
    pub(crate) fn of(state: &'s SweepStateRow, index: u64) -> Option<Self> {
        if state.pending.contains(index) {
            return Some(Self::Pending);
        }
        state.ended.iter().find(|group| group.members.contains(index)).map(Self::Ended)
    }
}

/// The state of one member.
pub(super) fn state(
    account: &AccountName,
    job: &JobId,
    created: Timestamp,
    task: TaskId,
    fate: Fate<'_>,
) -> TaskStateRow {
    let waits = untouched(account.clone(), job.clone(), task, created);
    match fate {
        Fate::Pending => waits,
        Fate::Ended(group) => TaskStateRow {
            state: TaskState::Completed,
            state_since: group.at,
            previous_state: Some(TaskState::Active),
            previous_state_since: Some(created),
            ended: Some(group.at),
            result: Some(group.result),
            satisfies: Some(group.result == ExecutionResult::Success),
            failure: group.failure.clone(),
            modified: group.at,
            revision: 2,
            ..waits
        },
    }
}

/// One member as a task.
pub(crate) fn view(template: &Template, index: u64, fate: Fate<'_>) -> TaskView {
    let (spec, fault) = template.expand(index);
    let state = state(&spec.account, &spec.job, spec.created, spec.spec.id.clone(), fate);
    TaskView { spec, state, sweep: Some((template.id().clone(), index)), fault }
}
