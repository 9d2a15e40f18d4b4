//! What clients would read: every job, sweep, task and node, kept from the records of each step in the plainest way.
//!
//! Members of sweeps are tasks here like any other, one by one. It knows nothing of the core's or the store's ways of
//! keeping them, so that what it says can be held against both. What follows from it is judged in `judge` and `naive`.

use muster_controller_core::record::{
    Ending, JobRow, NodeRow, PoolRow, Record, SweepRow, SweepStateRow, TaskStateRow,
};
use muster_model::spec::{JobSpec, SweepShape, TaskConstraints, TaskSpec, split_member};
use muster_model::state::{ExecutionResult, JobState};
use muster_model::{Cause, JobId, NodeId, PoolId, SweepId, TaskId, TaskKey};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a task is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stand {
    pub(crate) attempt: u32,
    pub(crate) placed: bool,
    pub(crate) node: Option<NodeId>,
    pub(crate) ending: Option<Ending>,
    pub(crate) result: Option<ExecutionResult>,
    pub(crate) cause: Option<Cause>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) satisfies: Option<bool>,
    pub(crate) constraints: Option<TaskConstraints>,
    pub(crate) memory_bytes: Option<u64>,
}

impl Stand {
    fn of(row: &TaskStateRow) -> Self {
        Self {
            attempt: row.attempt,
            placed: row.placed,
            node: row.node.clone(),
            ending: row.ending,
            result: row.result,
            cause: row.failure.as_ref().map(|failure| failure.cause),
            exit_code: row.exit_code,
            signal: row.signal,
            satisfies: row.satisfies,
            constraints: row.constraints,
            memory_bytes: row.memory_bytes,
        }
    }
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) spec: Rc<TaskSpec>,
    pub(crate) member: Option<(SweepId, u64)>,
    pub(crate) stand: Stand,
    /// Whether a row of its own says so; else its sweep's does.
    own: bool,
}

impl Known {
    /// A task that nothing has happened to.
    pub(crate) fn new(spec: Rc<TaskSpec>, member: Option<(SweepId, u64)>) -> Self {
        Self { spec, member, stand: Stand::default(), own: true }
    }

    /// The constraints in force.
    pub(crate) fn constraints(&self) -> TaskConstraints {
        self.stand.constraints.unwrap_or(self.spec.constraints)
    }
}

/// A job.
#[derive(Debug)]
pub(crate) struct KnownJob {
    pub(crate) spec: JobSpec,
    pub(crate) state: JobState,
    /// Why it was terminated.
    pub(crate) reason: Option<String>,
    /// Which of the jobs that have had this id.
    pub(crate) life: u64,
    pub(crate) tasks: BTreeMap<TaskId, Known>,
    pub(crate) sweeps: BTreeMap<SweepId, KnownSweep>,
}

/// A sweep.
#[derive(Debug)]
pub(crate) struct KnownSweep {
    pub(crate) shape: SweepShape,
    template: Rc<TaskSpec>,
    /// It is on its way out and nobody can count on it any more.
    pub(crate) deleting: bool,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) jobs: BTreeMap<JobId, KnownJob>,
    pub(crate) nodes: BTreeMap<NodeId, NodeRow>,
    /// What the last step did to nodes: as they were and as they are.
    pub(crate) node_changes: Vec<(NodeRow, NodeRow)>,
    /// The pools that anything has been said of.
    pub(crate) pools: BTreeMap<PoolId, PoolRow>,
    /// What the last step did to pools: as they were and as they are.
    pub(crate) pool_changes: Vec<(PoolRow, PoolRow)>,
    /// Whether the last step added tasks or sweeps.
    pub(crate) has_grown: bool,
    lives: u64,
    /// How many steps it has taken in.
    pub(crate) steps: u64,
}

/// What a record did to a task.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: TaskKey,
    pub(crate) before: Option<Stand>,
    pub(crate) after: Option<Stand>,
}

impl Book {
    pub(crate) fn task(&self, key: &TaskKey) -> Option<&Known> {
        self.jobs.get(&key.job)?.tasks.get(&key.task)
    }

    /// Takes the records of one step in; answers what they did to tasks, in order.
    pub(crate) fn take(&mut self, records: &[Record]) -> Vec<Change> {
        let mut changes = Vec::new();
        self.steps += 1;
        let adds = |record: &Record| matches!(record, Record::TaskSpec(_) | Record::Sweep(_));
        self.has_grown = records.iter().any(adds);
        self.node_changes.clear();
        self.pool_changes.clear();
        for record in records {
            self.take_one(record, &mut changes);
        }
        changes
    }

    fn take_one(&mut self, record: &Record, changes: &mut Vec<Change>) {
        match record {
            Record::Job(row) => self.take_job(row),
            Record::JobGone(_, job) => drop(self.jobs.remove(job)),
            Record::TaskSpec(row) => {
                let Some(job) = self.jobs.get_mut(&row.job) else { return };
                let spec = Rc::new(row.spec.clone());
                let known = Known::new(spec, None);
                job.tasks.insert(row.spec.id.clone(), known);
            }
            Record::Member(row) => {
                let Some(job) = self.jobs.get_mut(&row.job) else { return };
                let Some(sweep) = job.sweeps.get(&row.sweep) else { return };
                let member = Some((row.sweep.clone(), row.index));
                let spec = Rc::clone(&sweep.template);
                let new = Known::new(spec, member);
                job.tasks.entry(row.task.clone()).or_insert(new).own = true;
            }
            Record::TaskState(row) => {
                let Some(job) = self.jobs.get_mut(&row.job) else { return };
                job.set(&row.task, Some(Stand::of(row)), changes);
            }
            Record::TaskGone(_, job, task) => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.set(task, None, changes);
                }
            }
            Record::Sweep(row) => {
                if let Some(job) = self.jobs.get_mut(&row.job) {
                    job.add_sweep(row);
                }
            }
            Record::SweepState(row) => {
                if let Some(job) = self.jobs.get_mut(&row.job) {
                    job.set_members(row, changes);
                }
            }
            Record::SweepGone(_, job, sweep) => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.drop_members(sweep, changes, |_| true);
                    job.sweeps.remove(sweep);
                }
            }
            Record::Node(row) => {
                if let Some(before) = self.nodes.insert(row.id.clone(), (**row).clone()) {
                    self.node_changes.push((before, (**row).clone()));
                }
            }
            Record::NodeGone(_, node) => drop(self.nodes.remove(node)),
            Record::Pool(row) => {
                if let Some(before) = self.pools.insert(row.spec.id.clone(), (**row).clone()) {
                    self.pool_changes.push((before, (**row).clone()));
                }
            }
            Record::Account(_)
            | Record::PoolGone(..)
            | Record::Token(_)
            | Record::TokenGone(..)
            | Record::JobNode(_)
            | Record::JobNodeGone(..)
            | Record::NumbersUsed(_)
            | Record::Attempt(_)
            | Record::File(_)
            | Record::FileGone(..)
            | Record::ContainerGone(..)
            | Record::Request(_)
            | Record::RequestGone(..) => {}
        }
    }

    fn take_job(&mut self, row: &JobRow) {
        if !self.jobs.contains_key(&row.spec.id) {
            self.lives += 1;
            self.jobs.insert(row.spec.id.clone(), KnownJob::new(row.spec.clone(), self.lives));
        }
        if let Some(job) = self.jobs.get_mut(&row.spec.id) {
            job.spec = row.spec.clone();
            job.state = row.state;
            job.reason.clone_from(&row.terminate_reason);
        }
    }
}

impl KnownJob {
    /// One that nothing has happened to, the `life`-th of all.
    pub(crate) fn new(spec: JobSpec, life: u64) -> Self {
        let (tasks, sweeps) = (BTreeMap::new(), BTreeMap::new());
        Self { spec, state: JobState::Active, reason: None, life, tasks, sweeps }
    }

    /// The task of that name; a member's number may be written without its zeros.
    pub(crate) fn find(&self, id: &TaskId) -> Option<(&TaskId, &Known)> {
        if let Some(found) = self.tasks.get_key_value(id) {
            return Some(found);
        }
        let (sweep, number) = split_member(id)?;
        let shape = self.sweeps.get(&sweep)?.shape;
        let full = shape.task_id(&sweep, shape.index(number)?);
        self.tasks.get_key_value(&full).filter(|(_, known)| known.member.is_some())
    }

    /// Tasks that nodes hold.
    pub(crate) fn placed(&self) -> usize {
        self.tasks.values().filter(|known| known.stand.placed).count()
    }

    fn set(&mut self, task: &TaskId, after: Option<Stand>, changes: &mut Vec<Change>) {
        let before = self.tasks.get(task).map(|known| known.stand.clone());
        let key = TaskKey { job: self.spec.id.clone(), task: task.clone() };
        match &after {
            Some(stand) => {
                if let Some(known) = self.tasks.get_mut(task) {
                    known.stand = stand.clone();
                }
            }
            None => drop(self.tasks.remove(task)),
        }
        if before != after {
            changes.push(Change { key, before, after });
        }
    }

    fn add_sweep(&mut self, row: &SweepRow) {
        let template = Rc::new(row.spec.template.clone());
        let known = KnownSweep { shape: row.spec.shape(), template, deleting: false };
        self.sweeps.insert(row.spec.id.clone(), known);
    }

    /// Members of a sweep are gone.
    fn drop_members(&mut self, sweep: &SweepId, changes: &mut Vec<Change>, which: impl Fn(&Known) -> bool) {
        let of_it = |known: &Known| known.member.as_ref().is_some_and(|(of, _)| of == sweep);
        let members = self.tasks.iter().filter(|(_, known)| of_it(known) && which(known));
        for id in members.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.set(&id, None, changes);
        }
    }

    /// Members that no row of their own tells of are where the sweep's row says, or nowhere.
    fn set_members(&mut self, row: &SweepStateRow, changes: &mut Vec<Change>) {
        let Some(sweep) = self.sweeps.get_mut(&row.sweep) else { return };
        sweep.deleting = row.deleting;
        let (shape, template) = (sweep.shape, Rc::clone(&sweep.template));
        if row.deleting {
            self.drop_members(&row.sweep, changes, |known| !known.stand.placed);
        }
        for index in 0..shape.count {
            let id = shape.task_id(&row.sweep, index);
            let group = row.ended.iter().find(|group| group.members.contains(index));
            let stand = match group {
                Some(group) => Some(Stand {
                    result: Some(group.result),
                    cause: group.failure.as_ref().map(|failure| failure.cause),
                    ..Stand::default()
                }),
                None => row.pending.contains(index).then(Stand::default),
            };
            let own = self.tasks.get(&id).is_some_and(|known| known.own);
            if stand.is_none() && own {
                continue;
            }
            if stand.is_some() {
                let member = Some((row.sweep.clone(), index));
                let spec = Rc::clone(&template);
                let new = Known::new(spec, member);
                self.tasks.entry(id.clone()).or_insert(new).own = false;
            }
            self.set(&id, stand, changes);
        }
    }
}
