//! How members of sweeps move: into tasks of their own, out of these again, and in bulk.
//!
//! The sweep side of `Job`. A member becomes a task when something happens to it alone; a task of a sweep that has
//! succeeded is only remembered by its index. What happens to many members at once (cancelled, skipped, run once more)
//! is written on the sweep and costs its runs, not its members.

use crate::book::{Book, plain_outcome};
use crate::dependency::Waiter;
use crate::job::Job;
use crate::record::{EndedMembers, Record};
use crate::sweep::Sweep;
use crate::task::{Member, Phase, Task};
use crate::turn::Turn;
use muster_model::state::ExecutionResult;
use muster_model::{FailureInfo, IndexSet, SweepId, TaskId, Timestamp};
use std::sync::Arc;

impl Job {
    /// Takes a sweep in as it is; nobody has been told of it yet.
    pub(crate) fn insert_sweep(&mut self, mut sweep: Sweep) {
        sweep.count_untouched();
        let counts = &mut self.counts;
        counts.active += sweep.counts.active;
        counts.succeeded += sweep.counts.succeeded;
        counts.failed += sweep.counts.failed;
        counts.active_slots += sweep.counts.active_slots;
        counts.succeeded_slots += sweep.counts.succeeded_slots;
        counts.failed_slots += sweep.counts.failed_slots;
        self.sweeps.insert(sweep.id.clone(), sweep);
    }

    /// Takes a new sweep in: it waits for what it depends on, and those that wait for it learn of it.
    pub(crate) fn admit_sweep(&mut self, turn: &mut Turn<'_>, sweep: Sweep) {
        let id = sweep.id.clone();
        self.insert_sweep(sweep);
        let mut changed = self.attend_sweep(&id);
        if self.row.spec.uses_task_dependencies {
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            changed.extend(self.graph.sweep_added(&id, &facts));
        }
        self.refresh_sweep(turn, &id);
        self.stir(turn, changed);
    }

    /// Lets a sweep with pending members be told of what they wait for; answers it if it was not known to wait.
    pub(crate) fn attend_sweep(&mut self, id: &SweepId) -> Vec<Waiter> {
        let Some(sweep) = self.sweeps.get(id).filter(|sweep| !sweep.pending.is_empty()) else {
            return Vec::new();
        };
        let Some(needs) = sweep.depends_on.as_ref().map(Arc::clone) else { return Vec::new() };
        let waiter = Waiter::Sweep(id.clone());
        let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
        self.graph.add(waiter.clone(), needs, &facts);
        vec![waiter]
    }

    /// Whether the pending members of a sweep wait for nothing but nodes.
    fn is_sweep_ready(&self, sweep: &Sweep) -> bool {
        !sweep.pending.is_empty()
            && (sweep.depends_on.is_none() || self.graph.standing(&Waiter::Sweep(sweep.id.clone())).met)
    }

    /// Puts a sweep at its place on the ready list or takes it off. Answers whether it is on it.
    pub(crate) fn list_sweep(&mut self, id: &SweepId) -> bool {
        let Some(sweep) = self.sweeps.get(id) else { return false };
        let place = if self.is_sweep_ready(sweep) { sweep.place_in_line() } else { None };
        let (class, before) = (Arc::clone(&sweep.class), sweep.queued);
        if before != place {
            if let Some(at) = before {
                self.unlist(&class, |queue| drop(queue.sweeps.remove(&at)));
            }
            if let Some(at) = place {
                self.ready.entry(class).or_default().sweeps.insert(at, id.clone());
            }
            if let Some(sweep) = self.sweeps.get_mut(id) {
                sweep.queued = place;
            }
        }
        place.is_some()
    }

    /// As `list_sweep`; a sweep that is ready is looked at by placement.
    pub(crate) fn refresh_sweep(&mut self, turn: &mut Turn<'_>, id: &SweepId) {
        if self.list_sweep(id) {
            turn.dirty.insert(self.row.spec.pool.clone());
        }
    }

    /// Notes that a sweep's state has changed; it is recorded once at the end of the step.
    fn note(&mut self, turn: &mut Turn<'_>, id: &SweepId) {
        turn.sweeps.insert((self.row.spec.id.clone(), id.clone()));
    }

    /// Makes a member that is no task one, in the phase that it is in, and answers its id. `to_place`: it is placed at
    /// once, so what it depends on does not matter any more, and its state is recorded with that. Nothing for a member that
    /// is a task, or is gone.
    pub(crate) fn take_out(
        &mut self,
        turn: &mut Turn<'_>,
        sweep_id: &SweepId,
        index: u64,
        to_place: bool,
    ) -> Option<TaskId> {
        let sweep = self.sweeps.get_mut(sweep_id)?;
        let mut task = sweep.task(index);
        if sweep.pending.contains(index) {
            sweep.pending.remove(index, index);
            if to_place {
                task.ask_no_more();
            }
        } else {
            let group = sweep.ended.iter_mut().find(|group| group.members.contains(index))?;
            group.members.remove(index, index);
            end_as(&mut task, group);
            sweep.ended.retain(|group| !group.members.is_empty());
        }
        let (id, was_last) = (task.id.clone(), sweep.pending.is_empty());
        let listed = task.phase == Phase::Waiting;
        if let Some(row) = task.member_row(&turn.account, &self.row.spec.id) {
            turn.record(Record::Member(Box::new(row)));
        }
        if !to_place {
            turn.record(Record::TaskState(Box::new(task.row(&turn.account, &self.row.spec.id))));
        }
        self.tasks.insert(id.clone(), task);
        if was_last && listed {
            self.graph.remove(&Waiter::Sweep(sweep_id.clone()));
        }
        self.attend(&id);
        self.note(turn, sweep_id);
        self.list_sweep(sweep_id);
        self.list(&id, turn.now);
        Some(id)
    }

    /// Remembers a member that has succeeded by its index instead of as a task.
    pub(crate) fn remember(&mut self, id: &TaskId, member: &Member) {
        let forgettable = self.tasks.get(id).is_some_and(is_forgettable);
        if forgettable && let Some(sweep) = self.sweeps.get_mut(&member.sweep) {
            self.tasks.remove(id);
            sweep.succeeded.insert(member.index, member.index);
        }
    }

    /// Ends pending members together, all or those with indices in a range; answers whose standing has changed.
    pub(crate) fn end_pending(
        &mut self,
        turn: &mut Turn<'_>,
        id: &SweepId,
        indices: Option<(u64, u64)>,
        result: ExecutionResult,
        failure: Option<FailureInfo>,
    ) -> Vec<Waiter> {
        let Some(sweep) = self.sweeps.get_mut(id) else { return Vec::new() };
        let (first, last) = indices.unwrap_or((0, u64::MAX));
        let members = sweep.pending.within(first, last);
        if members.is_empty() {
            return Vec::new();
        }
        sweep.pending.remove(first, last);
        sweep.ended.push(EndedMembers { members: members.clone(), at: turn.now, result, failure });
        let (slots, none_left) = (sweep.class.needs.slots, sweep.pending.is_empty());
        let change = (Some(Phase::Waiting), Some(Phase::Completed(result)));
        self.recount(Some(id), change, members.len(), slots);
        if none_left {
            self.graph.remove(&Waiter::Sweep(id.clone()));
        }
        self.note(turn, id);
        self.list_sweep(id);
        if !self.row.spec.uses_task_dependencies {
            return Vec::new();
        }
        let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
        self.graph.members_ended(id, &members, plain_outcome(result), &facts)
    }

    /// Lets members that failed together wait again; answers whose standing has changed, themselves among them.
    pub(crate) fn reopen_ended(
        &mut self,
        turn: &mut Turn<'_>,
        id: &SweepId,
        (first, last): (u64, u64),
    ) -> Vec<Waiter> {
        let Some(sweep) = self.sweeps.get_mut(id) else { return Vec::new() };
        let mut members = IndexSet::default();
        for group in sweep.ended.iter_mut().filter(|group| group.result == ExecutionResult::Failure) {
            members.extend(&group.members.within(first, last));
            group.members.remove(first, last);
        }
        sweep.ended.retain(|group| !group.members.is_empty());
        if members.is_empty() {
            return Vec::new();
        }
        let waited = !sweep.pending.is_empty();
        sweep.pending.extend(&members);
        let slots = sweep.class.needs.slots;
        let change = (Some(Phase::Completed(ExecutionResult::Failure)), Some(Phase::Waiting));
        self.recount(Some(id), change, members.len(), slots);
        let mut changed = if waited { Vec::new() } else { self.attend_sweep(id) };
        self.note(turn, id);
        self.refresh_sweep(turn, id);
        if self.row.spec.uses_task_dependencies {
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            let was = plain_outcome(ExecutionResult::Failure);
            changed.extend(self.graph.members_reopened(id, &members, was, &facts));
        }
        changed
    }

    /// Removes one member that is no task.
    pub(crate) fn drop_member(&mut self, turn: &mut Turn<'_>, id: &SweepId, index: u64) {
        let Some(sweep) = self.sweeps.get_mut(id) else { return };
        let Some(fate) = sweep.fate(index) else { return };
        let phase = fate.phase();
        let was = match phase {
            Phase::Completed(result) => Some(plain_outcome(result)),
            Phase::Waiting | Phase::Preparing | Phase::Assigned | Phase::Running => None,
        };
        if sweep.succeeded.contains(index) {
            sweep.succeeded.remove(index, index);
            let gone = sweep.task_id(index);
            turn.record(Record::TaskGone(turn.account.clone(), self.row.spec.id.clone(), gone));
        }
        sweep.pending.remove(index, index);
        for group in &mut sweep.ended {
            group.members.remove(index, index);
        }
        sweep.ended.retain(|group| !group.members.is_empty());
        let (slots, none_left) = (sweep.class.needs.slots, sweep.pending.is_empty());
        self.recount(Some(id), (Some(phase), None), 1, slots);
        if none_left {
            self.graph.remove(&Waiter::Sweep(id.clone()));
        }
        self.note(turn, id);
        self.list_sweep(id);
        if self.row.spec.uses_task_dependencies {
            let mut gone = IndexSet::default();
            gone.insert(index, index);
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            let changed = self.graph.members_gone(id, &gone, was, &facts);
            self.stir(turn, changed);
        }
    }

    /// Forgets all members that are no tasks, for a sweep that is on its way out. For those that wait for it, it is gone.
    pub(crate) fn empty_sweep(&mut self, turn: &mut Turn<'_>, id: &SweepId) {
        let Some(sweep) = self.sweeps.get_mut(id) else { return };
        let slots = sweep.class.needs.slots;
        let mut gone = vec![(std::mem::take(&mut sweep.pending), Phase::Waiting)];
        let success = Phase::Completed(ExecutionResult::Success);
        gone.push((std::mem::take(&mut sweep.succeeded), success));
        gone.extend(sweep.ended.drain(..).map(|group| (group.members, Phase::Completed(group.result))));
        sweep.deleting = true;
        self.graph.remove(&Waiter::Sweep(id.clone()));
        self.list_sweep(id);
        for (members, phase) in gone {
            self.recount(Some(id), (Some(phase), None), members.len(), slots);
        }
        self.note(turn, id);
        if self.row.spec.uses_task_dependencies {
            let facts = Book { tasks: &self.tasks, sweeps: &self.sweeps };
            let changed = self.graph.sweep_gone(id, &facts);
            self.stir(turn, changed);
        }
    }

    /// Removes a sweep that is being deleted once its last member is gone.
    pub(crate) fn bury(&mut self, turn: &mut Turn<'_>, id: &SweepId) {
        let Some(sweep) = self.sweeps.get(id).filter(|sweep| sweep.deleting) else { return };
        let last = sweep.shape.count.saturating_sub(1);
        if self.book().member_tasks(sweep, 0, last).next().is_some() {
            return;
        }
        self.sweeps.remove(id);
        turn.sweeps.remove(&(self.row.spec.id.clone(), id.clone()));
        turn.record(Record::SweepGone(turn.account.clone(), self.row.spec.id.clone(), id.clone()));
    }

    /// Records a sweep that was noted as changed.
    pub(crate) fn save_sweep(&mut self, turn: &mut Turn<'_>, id: &SweepId) {
        let Some(sweep) = self.sweeps.get_mut(id) else { return };
        sweep.modified = turn.now;
        sweep.revision += 1;
        turn.record(Record::SweepState(Box::new(sweep.row(&turn.account, &self.row.spec.id))));
    }
}

/// Whether nothing of a task matters any more but that it has succeeded and satisfies those that wait for it.
pub(crate) fn is_forgettable(task: &Task) -> bool {
    task.phase == Phase::Completed(ExecutionResult::Success)
        && task.progress_ref().is_none_or(|progress| progress.satisfies != Some(false))
}

/// Puts a task where its group ended.
fn end_as(task: &mut Task, group: &EndedMembers) {
    let created: Timestamp = task.created;
    task.phase = Phase::Completed(group.result);
    let progress = task.progress_mut();
    (progress.since, progress.modified, progress.revision) = (group.at, group.at, 2);
    progress.previous = Some((Phase::Waiting.state(), Some(created)));
    progress.ended = Some(group.at);
    progress.satisfies = Some(group.result == ExecutionResult::Success);
    progress.failure = group.failure.clone();
}
