//! One job of the memory store: its tasks, its sweeps, what it does on nodes, and how a task is found in it.
//!
//! The plain form of what SQLite keeps in tables: a list has every member of every sweep made into a task, so that this is
//! the meaning that the other backend is held to. Records have been checked before they come here.

use crate::expand::Template;
use crate::member::{Fate, view};
use crate::view::{SweepView, TaskView, untouched};
use muster_controller_core::record::{
    AttemptRow, JobNodeRow, JobRow, MemberRow, SweepRow, SweepStateRow, TaskRows, TaskSpecRow, TaskStateRow,
};
use muster_model::spec::split_member;
use muster_model::{AttemptNumber, NodeId, SweepId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job with all that is in it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) row: Arc<JobRow>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) sweeps: BTreeMap<SweepId, Sweep>,
    pub(super) nodes: BTreeMap<NodeId, Arc<JobNodeRow>>,
}

/// A sweep; without a state, as a batch may leave it, nobody sees it.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    pub(super) template: Arc<Template>,
    pub(super) state: Option<Arc<SweepStateRow>>,
}

/// Where a task comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Plain(Arc<TaskSpecRow>),
    Member(Arc<MemberRow>, Arc<Template>),
}

/// A task or member that has a row, with its ledger of attempts.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) origin: Origin,
    pub(super) state: Arc<TaskStateRow>,
    pub(super) attempts: BTreeMap<AttemptNumber, Arc<AttemptRow>>,
}

impl Task {
    pub(super) fn view(&self) -> TaskView {
        let state = TaskStateRow::clone(&self.state);
        match &self.origin {
            Origin::Plain(spec) => {
                TaskView { spec: TaskSpecRow::clone(spec), state, sweep: None, fault: None }
            }
            Origin::Member(member, template) => {
                let (spec, fault) = template.expand(member.index);
                TaskView { spec, state, sweep: Some((template.id().clone(), member.index)), fault }
            }
        }
    }

    /// The sweep that it is a member of.
    pub(super) fn sweep(&self) -> Option<&SweepId> {
        match &self.origin {
            Origin::Plain(_) => None,
            Origin::Member(member, _) => Some(&member.sweep),
        }
    }

    pub(super) fn rows(&self) -> TaskRows {
        let state = TaskStateRow::clone(&self.state);
        match &self.origin {
            Origin::Plain(spec) => TaskRows::Task(TaskSpecRow::clone(spec), state),
            Origin::Member(member, _) => TaskRows::Member(MemberRow::clone(member), state),
        }
    }
}

impl Sweep {
    pub(super) fn view(&self) -> Option<SweepView> {
        let state = SweepStateRow::clone(self.state.as_ref()?);
        Some(SweepView { row: self.template.row().clone(), state })
    }

    /// One member without a row.
    fn member(&self, index: u64) -> Option<TaskView> {
        let fate = Fate::of(self.state.as_ref()?, index)?;
        Some(view(&self.template, index, fate))
    }

    /// Every member without a row.
    fn members(&self) -> impl Iterator<Item = TaskView> {
        (0..self.template.shape().count).filter_map(|index| self.member(index))
    }
}

impl Job {
    pub(super) fn new(row: Arc<JobRow>) -> Self {
        Self { row, tasks: BTreeMap::new(), sweeps: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    pub(super) fn put_task_spec(&mut self, row: &TaskSpecRow) {
        let (account, job, id) = (row.account.clone(), row.job.clone(), row.spec.id.clone());
        self.put_task(Origin::Plain(Arc::new(row.clone())), untouched(account, job, id, row.created));
    }

    pub(super) fn put_member(&mut self, row: &MemberRow) {
        let Some(sweep) = self.sweeps.get(&row.sweep) else { return };
        let origin = Origin::Member(Arc::new(row.clone()), Arc::clone(&sweep.template));
        let (account, job, id) = (row.account.clone(), row.job.clone(), row.task.clone());
        self.put_task(origin, untouched(account, job, id, row.created));
    }

    fn put_task(&mut self, origin: Origin, state: TaskStateRow) {
        match self.tasks.get_mut(&state.task) {
            Some(task) => task.origin = origin,
            None => {
                let id = state.task.clone();
                let task = Task { origin, state: Arc::new(state), attempts: BTreeMap::new() };
                self.tasks.insert(id, task);
            }
        }
    }

    pub(super) fn put_sweep(&mut self, row: &SweepRow) {
        let template = Arc::new(Template::new(row.clone()));
        match self.sweeps.get_mut(&row.spec.id) {
            Some(sweep) => sweep.template = template,
            None => {
                self.sweeps.insert(row.spec.id.clone(), Sweep { template, state: None });
            }
        }
    }

    pub(super) fn put_sweep_state(&mut self, row: &SweepStateRow) {
        if let Some(sweep) = self.sweeps.get_mut(&row.sweep) {
            sweep.state = Some(Arc::new(row.clone()));
        }
    }

    pub(super) fn remove_sweep(&mut self, sweep: &SweepId) {
        self.sweeps.remove(sweep);
        self.tasks.retain(|_, task| task.sweep() != Some(sweep));
    }

    /// A task or member that has a row, with or without the leading zeros of its number.
    pub(super) fn row(&self, task: &TaskId) -> Option<&Task> {
        self.tasks.get(task).or_else(|| {
            let (sweep, index) = self.member_named(task)?;
            self.tasks.get(&sweep.template.task_id(index))
        })
    }

    /// The member that a task id names, whatever became of it.
    fn member_named(&self, task: &TaskId) -> Option<(&Sweep, u64)> {
        let (sweep, _) = split_member(task)?;
        let sweep = self.sweeps.get(&sweep)?;
        let index = sweep.template.shape().find(sweep.template.id(), task)?;
        Some((sweep, index))
    }

    /// One task.
    pub(super) fn task(&self, task: &TaskId) -> Option<TaskView> {
        self.row(task).map(Task::view).or_else(|| {
            let (sweep, index) = self.member_named(task)?;
            sweep.member(index)
        })
    }

    /// Every task, with all members.
    pub(super) fn all_tasks(&self) -> impl Iterator<Item = TaskView> {
        let members = self.sweeps.values().flat_map(Sweep::members);
        self.tasks.values().map(Task::view).chain(members)
    }
}
