//! A job's tasks and the only function that moves one from phase to phase.
//!
//! `Job::shift` changes a task's phase and with it everything that hangs on it: the counts, the ready list, the
//! dependents, the record. No other code touches those. What happens to the job itself is in `job_life`, what happens to an
//! attempt in `attempt`.
//!
//! Invariants: counts equal a recount over the tasks; `ready` holds exactly the tasks that wait for nothing but a node.

use crate::dependency::{Graph, number_of};
use crate::pace::Pace;
use crate::record::{JobRow, Record};
use crate::task::{Phase, Task, TaskEvent};
use crate::turn::Turn;
use muster_model::spec::{DependsOn, RetryLimit};
use muster_model::state::{ExecutionResult, JobState};
use muster_model::{JobId, PoolId, Resources, TaskId, Timestamp};
use std::collections::BTreeMap;

/// How many tasks of a job are where, live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Waiting, or on a node but not started.
    pub active: u64,
    /// Started.
    pub running: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Ended otherwise.
    pub failed: u64,
    /// Slots of the active tasks.
    pub active_slots: u64,
    /// Slots of the running tasks.
    pub running_slots: u64,
    /// Slots of the tasks that ended well.
    pub succeeded_slots: u64,
    /// Slots of the tasks that ended otherwise.
    pub failed_slots: u64,
}

impl TaskCounts {
    fn bucket(&mut self, phase: Phase) -> (&mut u64, &mut u64) {
        match phase {
            Phase::Waiting | Phase::Assigned => (&mut self.active, &mut self.active_slots),
            Phase::Running => (&mut self.running, &mut self.running_slots),
            Phase::Completed(ExecutionResult::Success) => (&mut self.succeeded, &mut self.succeeded_slots),
            Phase::Completed(ExecutionResult::Failure) => (&mut self.failed, &mut self.failed_slots),
        }
    }

    pub(crate) fn add(&mut self, phase: Phase, slots: u32) {
        let (tasks, sum) = self.bucket(phase);
        *tasks += 1;
        *sum += u64::from(slots);
    }

    pub(crate) fn take(&mut self, phase: Phase, slots: u32) {
        let (tasks, sum) = self.bucket(phase);
        *tasks = tasks.saturating_sub(1);
        *sum = sum.saturating_sub(u64::from(slots));
    }

    /// Tasks that have not ended.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.active + self.running
    }
}

/// Ready tasks of one need, oldest first.
pub(crate) type Queue = BTreeMap<u64, TaskId>;

/// A job as the core knows it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) row: JobRow,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    /// By need (an equivalence class of placement), then by age.
    pub(crate) ready: BTreeMap<Resources, Queue>,
    pub(crate) counts: TaskCounts,
    /// Tasks that a node holds.
    pub(crate) placed: u64,
    pub(crate) graph: Graph,
    pub(crate) pace: Pace,
}

impl Job {
    pub(crate) fn new(row: JobRow) -> Self {
        Self {
            row,
            tasks: BTreeMap::new(),
            ready: BTreeMap::new(),
            counts: TaskCounts::default(),
            placed: 0,
            graph: Graph::default(),
            pace: Pace::default(),
        }
    }

    pub(crate) fn id(&self) -> &JobId {
        &self.row.spec.id
    }

    pub(crate) fn pool(&self) -> &PoolId {
        &self.row.spec.pool
    }

    /// Whether its tasks may be placed, were there a node.
    pub(crate) fn has_work(&self) -> bool {
        self.row.state == JobState::Active && !self.ready.is_empty()
    }

    /// The retry limit in force for a task.
    pub(crate) fn retry_limit(&self, task: &Task) -> RetryLimit {
        task.retry_limit.unwrap_or(self.row.spec.constraints.max_task_retry_count)
    }

    /// How many of these dependencies are not satisfied.
    pub(crate) fn unmet(&self, needs: &DependsOn) -> u32 {
        self.graph.count_unmet(needs, |id| {
            self.tasks.get(id).is_some_and(|t| t.phase == Phase::Completed(ExecutionResult::Success))
        })
    }

    /// Takes a task in that is new or was loaded; its phase is counted as it is.
    pub(crate) fn insert(&mut self, mut task: Task, now: Timestamp) {
        if task.attempt() > 0 {
            task.depends_on = None;
        }
        self.attend(&mut task);
        self.counts.add(task.phase, task.needs.slots);
        self.placed += u64::from(task.phase.is_placed());
        if task.is_ready(now) {
            self.enqueue(&task);
        }
        self.tasks.insert(task.id.clone(), task);
    }

    /// Counts what a waiting task still waits for and puts it on the lists of those.
    fn attend(&mut self, task: &mut Task) {
        if let (Phase::Waiting, Some(needs)) = (task.phase, &task.depends_on) {
            task.waiting_on = self.unmet(needs);
            self.graph.add(&task.id, needs);
        }
    }

    /// Tells the graph of a success that was loaded from the store.
    pub(crate) fn note_success(&mut self, task: &TaskId) {
        self.graph.succeeded(task);
    }

    fn enqueue(&mut self, task: &Task) {
        self.ready.entry(task.needs).or_default().insert(task.sequence, task.id.clone());
    }

    fn dequeue(&mut self, needs: &Resources, sequence: u64) {
        if let Some(queue) = self.ready.get_mut(needs) {
            queue.remove(&sequence);
            if queue.is_empty() {
                self.ready.remove(needs);
            }
        }
    }

    /// Moves a task to the phase that `event` leads to, with all that hangs on it, and records it. False, and nothing
    /// has changed, if the event means nothing in the task's phase.
    pub(crate) fn shift(&mut self, turn: &mut Turn<'_>, id: &TaskId, event: TaskEvent) -> bool {
        let Some(mut task) = self.tasks.remove(id) else { return false };
        let before = task.phase;
        let Some(after) = before.next(event) else {
            self.tasks.insert(id.clone(), task);
            return false;
        };
        task.phase = after;
        if before.state() != after.state() {
            task.previous = Some(before.state());
            task.since = turn.now;
        }
        if before == Phase::Waiting {
            task.waiting_on = 0;
            if let Some(needs) = &task.depends_on {
                self.graph.remove(id, needs);
            }
        }
        if event == TaskEvent::Place {
            task.depends_on = None;
        }
        self.attend(&mut task);
        self.counts.take(before, task.needs.slots);
        self.counts.add(after, task.needs.slots);
        self.placed = self.placed + u64::from(after.is_placed()) - u64::from(before.is_placed());
        self.tasks.insert(id.clone(), task);
        if after == Phase::Completed(ExecutionResult::Success) {
            self.release_dependents(turn, id);
        }
        self.touch(turn, id);
        true
    }

    /// Records a task after its progress changed and puts it on the ready list if it belongs there.
    pub(crate) fn touch(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.changed(turn.now);
        turn.record(Record::TaskState(Box::new(task.row(&turn.account, &self.row.spec.id))));
        let (sequence, needs, ready) = (task.sequence, task.needs, task.is_ready(turn.now));
        if ready {
            self.ready.entry(needs).or_default().insert(sequence, id.clone());
            turn.dirty.insert(self.row.spec.pool.clone());
        } else {
            self.dequeue(&needs, sequence);
        }
    }

    /// Lets a task whose wait is over onto the ready list; nothing durable changes.
    pub(crate) fn awaken(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else { return };
        if task.is_ready(turn.now) {
            let (needs, sequence) = (task.needs, task.sequence);
            self.ready.entry(needs).or_default().insert(sequence, id.clone());
            turn.dirty.insert(self.row.spec.pool.clone());
        }
    }

    fn release_dependents(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        for freed in self.graph.succeeded(id) {
            if let Some(task) = self.tasks.get_mut(&freed) {
                task.waiting_on = task.waiting_on.saturating_sub(1);
            }
            self.awaken(turn, &freed);
        }
    }

    /// Removes a task that no node holds.
    pub(crate) fn remove(&mut self, turn: &mut Turn<'_>, id: &TaskId) {
        let Some(mut task) = self.tasks.remove(id) else { return };
        self.counts.take(task.phase, task.needs.slots);
        self.placed -= u64::from(task.phase.is_placed());
        self.dequeue(&task.needs, task.sequence);
        if let (Phase::Waiting, Some(needs)) = (task.phase, task.depends_on.take()) {
            self.graph.remove(id, &needs);
        }
        if task.phase == Phase::Completed(ExecutionResult::Success) {
            let twin = self.has_twin(id);
            for held in self.graph.forgotten(id, twin) {
                if let Some(waiting) = self.tasks.get_mut(&held) {
                    waiting.waiting_on += 1;
                    let (needs, sequence) = (waiting.needs, waiting.sequence);
                    self.dequeue(&needs, sequence);
                }
            }
        }
        turn.record(Record::TaskGone(turn.account.clone(), self.row.spec.id.clone(), id.clone()));
    }

    /// Whether another task with the same number (more or fewer leading zeros) has succeeded.
    fn has_twin(&self, id: &TaskId) -> bool {
        let Some(number) = number_of(id) else { return false };
        let plain = number.to_string();
        (0..=64usize.saturating_sub(plain.len())).any(|zeros| {
            TaskId::parse(&format!("{}{plain}", "0".repeat(zeros))).is_ok_and(|twin| {
                self.tasks.get(&twin).is_some_and(|t| t.phase == Phase::Completed(ExecutionResult::Success))
            })
        })
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

    /// Recounts what `shift` keeps.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self, account: &muster_model::AccountName, now: Timestamp) {
        let name = format!("{account}/{}", self.id());
        let mut counts = TaskCounts::default();
        let mut ready: BTreeMap<Resources, Queue> = BTreeMap::new();
        for task in self.tasks.values() {
            counts.add(task.phase, task.needs.slots);
            let needs = task.depends_on.as_ref().filter(|_| task.phase == Phase::Waiting);
            let unmet = needs.map_or(0, |needs| self.unmet(needs));
            assert_eq!(task.waiting_on, unmet, "{name}: unmet dependencies of {:?}", task.id);
            if task.is_ready(now) {
                ready.entry(task.needs).or_default().insert(task.sequence, task.id.clone());
            }
        }
        assert_eq!(self.counts, counts, "{name}: counts");
        let placed = self.tasks.values().filter(|task| task.phase.is_placed()).count() as u64;
        assert_eq!(self.placed, placed, "{name}: placed tasks");
        // A wait may have ended at this very moment without its deadline having been dealt with.
        let lists_only_ready = self.ready.iter().all(|(needs, queue)| {
            queue.iter().all(|(sequence, id)| ready.get(needs).and_then(|q| q.get(sequence)) == Some(id))
        });
        assert!(lists_only_ready, "{name}: the ready list holds a task that is not ready");
    }
}
