//! Members of one sweep that share a state, and one of them as a row of a list.
//!
//! A row of a list says its properties and its places; a view with the whole specification is made only for what is on a
//! page. Which members a filter takes is `choice`'s, their order `merge`'s.

use super::fate::{Fate, Untouched, state};
use crate::query::{Field, Fields, Place, TaskHead, TaskProperty, integer, task_field};
use muster_controller_core::record::TaskStateRow;
use muster_model::{IndexSet, TaskId};

/// Members of one sweep that share a state.
#[derive(Debug)]
pub(super) struct Group<'s> {
    sweep: &'s Untouched,
    fate: Fate<'s>,
    members: &'s IndexSet,
    /// The state that they share; its task is one of them.
    state: TaskStateRow,
}

/// One member as a row of a list.
#[derive(Debug)]
pub(super) struct Member<'g, 's> {
    group: &'g Group<'s>,
    index: u64,
    id: TaskId,
    /// Its own display name; `None` when all have the same.
    name: Option<String>,
}

impl<'s> Group<'s> {
    pub(super) fn new(sweep: &'s Untouched, fate: Fate<'s>, members: &'s IndexSet) -> Self {
        let outline = &sweep.outline;
        let task = outline.task_id(members.first().unwrap_or_default());
        let state = state(&outline.account, &outline.job, outline.created, task, fate);
        Self { sweep, fate, members, state }
    }

    pub(super) fn sweep(&self) -> &'s Untouched {
        self.sweep
    }

    pub(super) fn fate(&self) -> Fate<'s> {
        self.fate
    }

    pub(super) fn members(&self) -> &'s IndexSet {
        self.members
    }

    /// How many members the sweep has, of this group or not.
    pub(super) fn count(&self) -> u64 {
        self.sweep.outline.shape.count
    }

    pub(super) fn id(&self, index: u64) -> TaskId {
        self.sweep.outline.task_id(index)
    }

    pub(super) fn number(&self, index: u64) -> i64 {
        integer(self.sweep.outline.shape.number(index))
    }

    pub(super) fn names_differ(&self) -> bool {
        self.sweep.outline.names_differ()
    }

    pub(super) fn member(&self, index: u64) -> Member<'_, 's> {
        let name = self.sweep.template.as_ref().filter(|_| self.names_differ());
        let name = name.map(|template| template.display_name(index));
        Member { group: self, index, id: self.id(index), name }
    }
}

impl Member<'_, '_> {
    pub(super) fn index(&self) -> u64 {
        self.index
    }
}

impl Fields<TaskProperty> for Member<'_, '_> {
    fn field(&self, property: TaskProperty) -> Option<Field<'_>> {
        let outline = &self.group.sweep.outline;
        let head = TaskHead {
            id: self.id.as_str(),
            display_name: self.name.as_deref().unwrap_or(&outline.display_name),
            created: outline.created,
            sweep: Some((&outline.id, outline.shape.number(self.index))),
        };
        task_field(head, &self.group.state, property)
    }

    fn place(&self, property: TaskProperty) -> Place {
        if property == TaskProperty::CreateTime {
            let sequence = self.group.sweep.outline.sequence.saturating_add(self.index);
            return Place::Integer(integer(sequence));
        }
        Place::of(self.field(property))
    }
}
