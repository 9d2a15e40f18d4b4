//! A job's tasks and the only function that moves one from phase to phase.
//!
//! `Job::shift` changes a task's phase and with it everything that hangs on it: the counts, the ready list, the
//! dependents, the record. No other code touches those but `members`, which moves members of sweeps in bulk. What happens
//! to the job itself is in `job_life`, what happens to an attempt in `attempt`, what it does on nodes in `job_node`.
//!
//! Invariants: counts equal a recount over the tasks; `ready` holds exactly the tasks that wait for nothing but a node.

use crate::book::{Book, Found, outcome_of};
use crate::class::{Class, Classes};
use crate::counts::TaskCounts;
use crate::dependency::{Graph, Waiter};
use crate::pace::Pace;
use crate::record::{JobNodeRow, JobRow, Record, TaskSpecRow};
use crate::sweep::Sweep;
use crate::task::{Phase, Task, TaskEvent};
use crate::turn::Turn;
use muster_model::cause::Cause;
use muster_model::spec::RetryLimit;
use muster_model::state::{ExecutionResult, JobState, OnDependencyFailure};
use muster_model::{FailureInfo, JobId, NodeId, PoolId, SweepId, TaskId, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is ready of one class, by age.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) tasks: BTreeMap<u64, TaskId>,
    /// By the age of their first pending member.
    pub(crate) sweeps: BTreeMap<u64, SweepId>,
}

/// The oldest of a queue.
pub(crate) enum Head<'a> {
    Task(&'a TaskId),
    /// The first pending member of it.
    Sweep(&'a SweepId),
}

impl Queue {
    /// The oldest, with its age.
    pub(crate) fn head(&self) -> Option<(u64, Head<'_>)> {
        let task = self.tasks.first_key_value();
        let sweep = self.sweeps.first_key_value();
        match (task, sweep) {
            (Some((at, task)), Some((before, _))) if at < before => Some((*at, Head::Task(task))),
            (Some((at, task)), None) => Some((*at, Head::Task(task))),
            (_, Some((at, sweep))) => Some((*at, Head::Sweep(sweep))),
            (None, None) => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.sweeps.is_empty()
    }
}

/// A job as the core knows it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) row: JobRow,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) sweeps: BTreeMap<SweepId, Sweep>,
    /// By class, then by age.
    pub(crate) ready: BTreeMap<Arc<Class>, Queue>,
    pub(crate) counts: TaskCounts,
    /// Tasks that are placed.
    pub(crate) placed: u64,
    /// What its preparation and release tasks did, by node.
    pub(crate) nodes: BTreeMap<NodeId, JobNodeRow>,
    pub(crate) graph: Graph,
    pub(crate) pace: Pace,
    pub(crate) classes: Classes,
}

impl Job {
    pub(crate) fn new(row: JobRow) -> Self {
        Self {
            row,
            tasks: BTreeMap::new(),
            sweeps: BTreeMap::new(),
            ready: BTreeMap::new(),
            counts: TaskCounts::default(),
            placed: 0,
            nodes: BTreeMap::new(),
            graph: Graph::default(),
            pace: Pace::default(),
            classes: Classes::default(),
        }
    }

    pub(crate) fn id(&self) -> &JobId {
        &self.row.spec.id
    }

    pub(crate) fn pool(&self) -> &PoolId {
        &self.row.spec.pool
    }

    pub(crate) fn book(&self) -> Book<'_> {
        Book { tasks: &self.tasks, sweeps: &self.sweeps }
    }

    pub(crate) fn find(&self, id: &TaskId) -> Option<Found<'_>> {
        self.book().find(id)
    }

    /// Whether it has as many tasks on nodes as it may.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.row.spec.max_parallel_tasks.is_some_and(|limit| self.placed >= u64::from(limit))
    }

    /// Whether its tasks may be placed, were there a node.
    pub(crate) fn has_work(&self) -> bool {
        self.row.state == JobState::Active && !self.ready.is_empty() && !self.is_at_limit()
    }

    /// The retry limit in force for a task.
    pub(crate) fn retry_limit(&self, task: &Task) -> RetryLimit {
        task.retry_limit.unwrap_or(self.row.spec.constraints.max_task_retry_count)
    }

    /// The class of a task: a job manager may have its node for itself.
    pub(crate) fn class_of(&mut self, task: &TaskId, needs: &muster_model::Resources) -> Arc<Class> {
        let manager = self.row.spec.manager.as_ref();
        let exclusive = manager.is_some_and(|m| m.run_exclusive && m.task.id == *task);
        self.classes.share(Class { needs: needs.clone(), exclusive })
    }

    /// Counts tasks out of one phase and into another, for the job and for their sweep.
    pub(crate) fn recount(
        &mut self,
        sweep: Option<&SweepId>,
        change: (Option<Phase>, Option<Phase>),
        tasks: u64,
        slots: u32,
    ) {
        let of_sweep = sweep.and_then(|id| self.sweeps.get_mut(id)).map(|sweep| &mut sweep.counts);
        for counts in std::iter::once(&mut self.counts).chain(of_sweep) {
            if let Some(before) = change.0 {
                counts.take(before, tasks, slots);
            }
            if let Some(after) = change.1 {
                counts.add(after, tasks, slots);
            }
        }
        let placed = |phase: Option<Phase>| phase.is_some_and(Phase::is_placed);
        if placed(change.1) {
            self.placed += tasks;
        }
        if placed(change.0) {
            self.placed -= tasks;
        }
    }

    /// Takes a task in as it is; nobody has been told of it yet.
    pub(crate) fn insert(&mut self, task: Task) {
        let sweep = task.member().map(|member| member.sweep.clone());
        self.recount(sweep.as_ref(), (None, Some(task.phase)), 1, task.class.needs.slots);
        self.tasks.insert(task.id.clone(), task);
    }

    /// Makes a task that has been looked at.
    pub(crate) fn take_in(&mut self, turn: &mut Turn<'_>, row: TaskSpecRow) {
        let class = self.class_of(&row.spec.id, &row.spec.resources);
        let task = Task::new(&row, class);
        let state = task.row(&turn.account, self.id());
        turn.record(Record::TaskSpec(Box::new(row)));
        turn.record(Record::TaskState(Box::new(state)));
        self.admit(turn, task);
    }

    /// Takes a new task in: it waits for what it depends on, and those that wait for it learn of it.
    fn admit(&mut self, turn: &mut Turn<'_>, task: Task) {
        let id = task.id.clone();
        self.insert(task);
        let mut changed = self.attend(&id);
        if self.row.spec.uses_task_dependencies {
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            changed.extend(self.graph.task_added(&id, &facts));
        }
        self.refresh(turn, &id);
        self.stir(turn, changed);
    }

    /// Lets a task that waits for others be told of them; answers it if it was not known to wait.
    pub(crate) fn attend(&mut self, id: &TaskId) -> Vec<Waiter> {
        let Some(needs) = self.tasks.get(id).and_then(Task::needs_others).map(Arc::clone) else {
            return Vec::new();
        };
        let waiter = Waiter::Task(id.clone());
        let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
        self.graph.add(waiter.clone(), needs, &facts);
        vec![waiter]
    }

    /// Whether nothing but a node is missing.
    pub(crate) fn is_ready(&self, task: &Task, now: Timestamp) -> bool {
        task.phase == Phase::Waiting
            && task.not_before().is_none_or(|at| at <= now)
            && (task.needs_others().is_none() || self.graph.standing(&Waiter::Task(task.id.clone())).met)
    }

    /// Puts a task on the ready list or takes it off. Answers whether it is on it.
    pub(crate) fn list(&mut self, id: &TaskId, now: Timestamp) -> bool {
        let Some(task) = self.tasks.get(id) else { return false };
        let ready = self.is_ready(task, now);
        let (class, sequence) = (Arc::clone(&task.class), task.sequence);
        if ready {
            self.ready.entry(class).or_default().tasks.insert(sequence, id.clone());
        } else {
            self.unlist(&class, |queue| drop(queue.tasks.remove(&sequence)));
        }
        ready
    }

    /// Takes something off the ready list.
    pub(crate) fn unlist(&mut self, class: &Arc<Class>, take: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.ready.get_mut(class) {
            take(queue);
            if queue.is_empty() {
                self.ready.remove(class);
            }
        }
    }

    /// As `list`; a task that is ready is looked at by placement.
    pub(crate) fn refresh(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        if self.list(id, turn.now) {
            turn.dirty.insert(self.row.spec.pool.clone());
        }
    }

    /// Moves a task to the phase that `event` leads to, with all that hangs on it, and records it. False, and nothing
    /// has changed, if the event means nothing in the task's phase.
    pub(crate) fn shift(&mut self, turn: &mut Turn<'_>, id: &TaskId, event: TaskEvent) -> bool {
        match self.apply(turn, id, event) {
            Some(changed) => {
                self.stir(turn, changed);
                true
            }
            None => false,
        }
    }

    /// One step of `shift`: everything but what follows for those that wait for this task, which are answered.
    fn apply(&mut self, turn: &mut Turn<'_>, id: &TaskId, event: TaskEvent) -> Option<Vec<Waiter>> {
        let task = self.tasks.get_mut(id)?;
        let before = task.phase;
        let after = before.next(event)?;
        let was = outcome_of(task);
        let waited = task.needs_others().is_some();
        task.phase = after;
        if before.state() != after.state() {
            let progress = task.progress_mut();
            let since = std::mem::replace(&mut progress.since, turn.now);
            progress.previous = Some((before.state(), Some(since)));
        }
        if !matches!(after, Phase::Completed(_)) && was.is_some() {
            task.progress_mut().satisfies = None;
        }
        if matches!(event, TaskEvent::Place | TaskEvent::PlaceToPrepare) {
            task.ask_no_more();
        }
        let (slots, member) = (task.class.needs.slots, task.member().cloned());
        let now_is = outcome_of(task);
        let lasting = member.as_ref().is_none_or(|m| self.sweeps.get(&m.sweep).is_some_and(|s| !s.deleting));
        let sweep = member.as_ref().map(|member| &member.sweep);
        self.recount(sweep, (Some(before), Some(after)), 1, slots);
        if waited {
            self.graph.remove(&Waiter::Task(id.clone()));
        }
        let mut changed = self.attend(id);
        self.touch(turn, id);
        if let Some(member) = member {
            self.remember(id, &member);
        }
        if self.row.spec.uses_task_dependencies && lasting {
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            match (was, now_is) {
                (None, Some(outcome)) => changed.extend(self.graph.task_ended(id, outcome, &facts)),
                (Some(outcome), None) => changed.extend(self.graph.task_reopened(id, outcome, &facts)),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        Some(changed)
    }

    /// Records a task after its progress changed and puts it on the ready list if it belongs there.
    pub(crate) fn touch(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.changed(turn.now);
        turn.record(Record::TaskState(Box::new(task.row(&turn.account, &self.row.spec.id))));
        self.refresh(turn, id);
    }

    /// Looks at waiters whose standing has changed: those that wait for nothing more become ready, and what happens to
    /// those that wait in vain is the job's `on_dependency_failure`. Ends of its own making are followed up, in a loop
    /// and not by recursion: a chain may be 100,000 long.
    pub(crate) fn stir(&mut self, turn: &mut Turn<'_>, changed: Vec<Waiter>) {
        let mut queue = VecDeque::from(changed);
        while let Some(waiter) = queue.pop_front() {
            let hopeless = self.graph.standing(&waiter).hopeless;
            let end = if hopeless { self.end_in_vain(&waiter) } else { None };
            match (&waiter, end) {
                (Waiter::Task(id), None) => self.refresh(turn, id),
                (Waiter::Sweep(id), None) => self.refresh_sweep(turn, id),
                (Waiter::Task(id), Some((result, failure))) => {
                    let Some(task) = self.tasks.get_mut(id) else { continue };
                    if task.phase != Phase::Waiting {
                        continue;
                    }
                    let progress = task.progress_mut();
                    progress.ended = Some(turn.now);
                    progress.failure = failure;
                    progress.satisfies = Some(result == ExecutionResult::Success);
                    queue.extend(self.apply(turn, id, TaskEvent::Complete(result)).unwrap_or_default());
                }
                (Waiter::Sweep(id), Some((result, failure))) => {
                    queue.extend(self.end_pending(turn, id, None, result, failure));
                }
            }
        }
    }

    /// How a task ends whose dependencies can never be met; `None`: it waits for ever.
    fn end_in_vain(&self, waiter: &Waiter) -> Option<(ExecutionResult, Option<FailureInfo>)> {
        match self.row.spec.on_dependency_failure {
            OnDependencyFailure::Wait => None,
            OnDependencyFailure::Skip => Some((ExecutionResult::Success, None)),
            OnDependencyFailure::Fail => {
                let waits = self.graph.explain(waiter, &self.book());
                let why =
                    waits.iter().find(|wait| wait.hopeless).map(ToString::to_string).unwrap_or_default();
                let words = format!("it {why}; reactivate this one after that");
                Some((ExecutionResult::Failure, Some(FailureInfo::new(Cause::DependencyFailed, words))))
            }
        }
    }

    /// Lets a task ask for more memory from its next attempt on. It must not be on the ready list.
    pub(crate) fn give_memory(&mut self, id: &TaskId, bytes: u64) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let mut class = Class::clone(&task.class);
        class.needs.memory_bytes = bytes;
        task.class = self.classes.share(class);
        task.progress_mut().memory_bytes = Some(bytes);
    }

    /// Removes a task that no node holds.
    pub(crate) fn remove(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        let Some(task) = self.tasks.remove(id) else { return };
        let sweep = task.member().map(|member| &member.sweep);
        self.recount(sweep, (Some(task.phase), None), 1, task.class.needs.slots);
        self.unlist(&task.class, |queue| drop(queue.tasks.remove(&task.sequence)));
        if task.needs_others().is_some() {
            self.graph.remove(&Waiter::Task(id.clone()));
        }
        turn.record(Record::TaskGone(turn.account.clone(), self.row.spec.id.clone(), task.id.clone()));
        if self.row.spec.uses_task_dependencies && self.book().is_lasting(&task) {
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            let changed = self.graph.task_gone(id, outcome_of(&task), &facts);
            self.stir(turn, changed);
        }
        if let Some(sweep) = sweep {
            self.bury(turn, sweep);
        }
    }

    /// Records the job itself.
    pub(crate) fn save(&mut self, turn: &mut Turn<'_>) {
        self.row.modified = turn.now;
        self.row.revision += 1;
        turn.record(Record::Job(Box::new(self.row.clone())));
    }

    /// Moves the job to another state and records it.
    pub(crate) fn enter(&mut self, turn: &mut Turn<'_>, state: JobState) {
        if self.row.state != state {
            self.row.previous_state = Some(self.row.state);
            self.row.previous_state_since = Some(self.row.state_since);
            self.row.state = state;
            self.row.state_since = turn.now;
        }
        turn.dirty.insert(self.row.spec.pool.clone());
        self.save(turn);
    }

    /// Ids of the tasks in some phases. O(tasks): only for what touches every task anyway.
    pub(crate) fn tasks_where(&self, wanted: impl Fn(&Task) -> bool) -> Vec<TaskId> {
        self.tasks.values().filter(|task| wanted(task)).map(|task| task.id.clone()).collect()
    }

    /// The names of this job in the order in which pools serve jobs: priority, then age.
    pub(crate) fn turn_in_pool(&self) -> (std::cmp::Reverse<i32>, u64) {
        (std::cmp::Reverse(self.row.spec.priority), self.row.sequence)
    }

    /// How many tasks wait for nothing but a node. Costs the classes.
    pub(crate) fn ready_count(&self) -> u64 {
        let of_sweep = |id: &SweepId| self.sweeps.get(id).map_or(0, |sweep| sweep.pending.len());
        let of_queue =
            |queue: &Queue| queue.tasks.len() as u64 + queue.sweeps.values().map(of_sweep).sum::<u64>();
        self.ready.values().map(of_queue).sum()
    }
}
