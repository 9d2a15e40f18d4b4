//! The life of one task: its phases, and the only function that changes them.
//!
//! `Phase::next` is total over (phase, event): a transition or nothing. It decides neither where a task runs (placement)
//! nor whether to try again (retry). A task keeps what decides and no more; command lines and the like stay in the store.
//!
//! Invariant: at most one attempt of a task is placed; attempt numbers only grow.  [one_live_attempt]

use crate::class::Class;
use crate::record::{Ending, MemberRow, TaskSpecRow, TaskStateRow};
use muster_model::spec::{
    DependsOn, ExitConditions, MemoryEscalation, RetryLimit, TaskConstraints, TaskSpec,
};
use muster_model::state::{ExecutionResult, TaskState};
use muster_model::{
    AccountName, AttemptId, AttemptNumber, FailureInfo, JobId, NodeId, SweepId, TaskId, Timestamp,
};
use std::sync::Arc;

/// Where a task is. The reference's states derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not on any node.
    Waiting,
    /// Placed on a node, where the job's preparation task was not done at that time. Given to the node once it is.
    Preparing,
    /// A node holds its current attempt, which has not started yet.
    Assigned,
    /// A node runs its current attempt.
    Running,
    /// Ended.
    Completed(ExecutionResult),
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// A new attempt is given to a node.
    Place,
    /// A new attempt is meant for a node that the job is not prepared on yet.
    PlaceToPrepare,
    /// The node says that the attempt has started.
    Start,
    /// The attempt is over and the task waits again.
    Release,
    /// The task is over.
    Complete(ExecutionResult),
    /// A failed task is to run once more.
    Reactivate,
}

impl Phase {
    /// The phase after `event`, or `None` when the event means nothing in this phase.
    pub(crate) const fn next(self, event: TaskEvent) -> Option<Self> {
        match (self, event) {
            (Self::Waiting, TaskEvent::Place) => Some(Self::Assigned),
            (Self::Waiting, TaskEvent::PlaceToPrepare) => Some(Self::Preparing),
            (Self::Preparing | Self::Assigned, TaskEvent::Start) => Some(Self::Running),
            (Self::Preparing | Self::Assigned | Self::Running, TaskEvent::Release) => Some(Self::Waiting),
            (
                Self::Waiting | Self::Preparing | Self::Assigned | Self::Running,
                TaskEvent::Complete(result),
            ) => Some(Self::Completed(result)),
            (Self::Completed(ExecutionResult::Failure), TaskEvent::Reactivate) => Some(Self::Waiting),
            (Self::Waiting, TaskEvent::Start | TaskEvent::Release | TaskEvent::Reactivate)
            | (
                Self::Preparing | Self::Assigned,
                TaskEvent::Place | TaskEvent::PlaceToPrepare | TaskEvent::Reactivate,
            )
            | (
                Self::Running,
                TaskEvent::Place | TaskEvent::PlaceToPrepare | TaskEvent::Start | TaskEvent::Reactivate,
            )
            | (Self::Completed(_), _) => None,
        }
    }

    /// The reference's state.
    pub(crate) const fn state(self) -> TaskState {
        match self {
            Self::Waiting | Self::Assigned => TaskState::Active,
            Self::Preparing => TaskState::Preparing,
            Self::Running => TaskState::Running,
            Self::Completed(_) => TaskState::Completed,
        }
    }

    pub(crate) const fn is_placed(self) -> bool {
        matches!(self, Self::Preparing | Self::Assigned | Self::Running)
    }
}

/// What few specifications ask for; shared by the members of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Traits {
    pub(crate) exit_conditions: Option<ExitConditions>,
    pub(crate) affinity: Option<NodeId>,
    pub(crate) escalation: Option<MemoryEscalation>,
}

impl Traits {
    /// The traits of a specification; `None` when it has none.
    pub(crate) fn of(spec: &TaskSpec) -> Option<Arc<Self>> {
        let traits = Self {
            exit_conditions: spec.exit_conditions.clone(),
            affinity: spec.affinity.clone(),
            escalation: spec.constraints.on_out_of_memory,
        };
        (traits != Self::default()).then(|| Arc::new(traits))
    }
}

/// What only a task that has been tried or touched has; most queued tasks have none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// When the state last changed.
    pub(crate) since: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) revision: u64,
    pub(crate) attempt: AttemptNumber,
    pub(crate) node: Option<NodeId>,
    pub(crate) ending: Option<Ending>,
    pub(crate) previous: Option<(TaskState, Option<Timestamp>)>,
    pub(crate) retry_count: u32,
    pub(crate) requeue_count: u32,
    pub(crate) server_retry_count: u32,
    pub(crate) last_retry: Option<Timestamp>,
    pub(crate) last_requeue: Option<Timestamp>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) avoid: Vec<NodeId>,
    pub(crate) nodes_lost: Vec<NodeId>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) constraints: Option<TaskConstraints>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) satisfies: Option<bool>,
    pub(crate) failure: Option<FailureInfo>,
}

impl Progress {
    /// Of a task that nothing has happened to.
    const fn none(created: Timestamp) -> Self {
        Self {
            since: created,
            modified: created,
            revision: 1,
            attempt: 0,
            node: None,
            ending: None,
            previous: None,
            retry_count: 0,
            requeue_count: 0,
            server_retry_count: 0,
            last_retry: None,
            last_requeue: None,
            memory_bytes: None,
            avoid: Vec::new(),
            nodes_lost: Vec::new(),
            not_before: None,
            constraints: None,
            started: None,
            ended: None,
            exit_code: None,
            signal: None,
            satisfies: None,
            failure: None,
        }
    }
}

/// A member of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) sweep: SweepId,
    pub(crate) index: u64,
}

/// What a sweep gives a member that becomes a task of its own.
pub(crate) struct MemberSeed {
    pub(crate) id: TaskId,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) class: Arc<Class>,
    pub(crate) retry_limit: Option<RetryLimit>,
    pub(crate) depends_on: Option<Arc<DependsOn>>,
    pub(crate) traits: Option<Arc<Traits>>,
    pub(crate) member: Member,
}

/// What few tasks have from their specification; most queued tasks have none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rare {
    /// Dropped once the task has been placed.
    depends_on: Option<Arc<DependsOn>>,
    traits: Option<Arc<Traits>>,
    member: Option<Member>,
}

/// A task as the core knows it. A million of them wait at a time, so what few have is in a box of its own.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) class: Arc<Class>,
    pub(crate) phase: Phase,
    /// The retry limit in force but for the job's; `None` takes the job's.
    pub(crate) retry_limit: Option<RetryLimit>,
    rare: Option<Box<Rare>>,
    progress: Option<Box<Progress>>,
}

impl Task {
    pub(crate) fn new(row: &TaskSpecRow, class: Arc<Class>) -> Self {
        let spec = &row.spec;
        let depends_on = (!spec.depends_on.is_empty()).then(|| Arc::new(spec.depends_on.clone()));
        let rare = Rare { depends_on, traits: Traits::of(spec), member: None };
        Self {
            id: spec.id.clone(),
            sequence: row.sequence,
            created: row.created,
            class,
            phase: Phase::Waiting,
            retry_limit: spec.constraints.max_task_retry_count,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
            progress: None,
        }
    }

    /// A member of a sweep that nothing has happened to.
    pub(crate) fn of_sweep(seed: MemberSeed) -> Self {
        let MemberSeed { id, sequence, created, class, retry_limit, depends_on, traits, member } = seed;
        let rare = Rare { depends_on, traits, member: Some(member) };
        Self {
            id,
            sequence,
            created,
            class,
            phase: Phase::Waiting,
            retry_limit,
            rare: Some(Box::new(rare)),
            progress: None,
        }
    }

    /// Puts the task where its row says that it is.
    pub(crate) fn restore(&mut self, row: TaskStateRow) {
        self.phase = match (row.state, row.placed) {
            (TaskState::Active, false) => Phase::Waiting,
            (TaskState::Active, true) => Phase::Assigned,
            (TaskState::Preparing, _) => Phase::Preparing,
            (TaskState::Running, _) => Phase::Running,
            (TaskState::Completed, _) => Phase::Completed(row.result.unwrap_or(ExecutionResult::Failure)),
        };
        let progress = Progress {
            since: row.state_since,
            modified: row.modified,
            revision: row.revision,
            attempt: row.attempt,
            node: row.node,
            ending: row.ending,
            previous: row.previous_state.map(|state| (state, row.previous_state_since)),
            retry_count: row.retry_count,
            requeue_count: row.requeue_count,
            server_retry_count: row.server_retry_count,
            last_retry: row.last_retry,
            last_requeue: row.last_requeue,
            memory_bytes: row.memory_bytes,
            avoid: row.avoid,
            nodes_lost: row.nodes_lost,
            not_before: row.not_before,
            constraints: row.constraints,
            started: row.started,
            ended: row.ended,
            exit_code: row.exit_code,
            signal: row.signal,
            satisfies: row.satisfies,
            failure: row.failure,
        };
        if let Some(given) = progress.constraints {
            self.retry_limit = given.max_task_retry_count;
        }
        if progress.attempt > 0 {
            self.ask_no_more();
        }
        self.progress = (progress != Progress::none(self.created)).then(|| Box::new(progress));
    }

    /// What it has been through.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.as_deref().cloned().unwrap_or_else(|| Progress::none(self.created))
    }

    pub(crate) fn revision(&self) -> u64 {
        self.progress_ref().map_or(1, |progress| progress.revision)
    }

    pub(crate) fn traits(&self) -> Option<&Arc<Traits>> {
        self.rare.as_ref()?.traits.as_ref()
    }

    /// Of which sweep it is a member, if of one.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.rare.as_ref()?.member.as_ref()
    }

    /// What it depended on does not matter any more.
    pub(crate) fn ask_no_more(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.depends_on = None;
            if **rare == Rare::default() {
                self.rare = None;
            }
        }
    }

    /// All but the number of the attempt, the changed constraints and the memory that it was found to need is as for a
    /// new task (reference 3.7, reactivate).
    pub(crate) fn begin_anew(&mut self) {
        let Some(old) = self.progress.take() else { return };
        self.progress = Some(Box::new(Progress {
            since: old.since,
            modified: old.modified,
            revision: old.revision,
            attempt: old.attempt,
            constraints: old.constraints,
            memory_bytes: old.memory_bytes,
            // How it ended is told to those that wait for it before it is forgotten.
            satisfies: old.satisfies,
            ..Progress::none(self.created)
        }));
    }

    pub(crate) fn progress_ref(&self) -> Option<&Progress> {
        self.progress.as_deref()
    }

    pub(crate) fn progress_mut(&mut self) -> &mut Progress {
        let created = self.created;
        self.progress.get_or_insert_with(|| Box::new(Progress::none(created)))
    }

    /// Notes a change.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        let progress = self.progress_mut();
        progress.modified = now;
        progress.revision += 1;
    }

    pub(crate) fn attempt(&self) -> AttemptNumber {
        self.progress_ref().map_or(0, |progress| progress.attempt)
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.progress_ref().and_then(|progress| progress.ending)
    }

    pub(crate) fn not_before(&self) -> Option<Timestamp> {
        self.progress_ref().and_then(|progress| progress.not_before)
    }

    /// How its memory grows after it ran out of it.
    pub(crate) fn escalation(&self) -> Option<MemoryEscalation> {
        let changed = self.progress_ref().and_then(|progress| progress.constraints);
        match changed {
            Some(constraints) => constraints.on_out_of_memory,
            None => self.traits().and_then(|traits| traits.escalation),
        }
    }

    /// The node that holds its current attempt.
    pub(crate) fn holder(&self) -> Option<&NodeId> {
        if self.phase.is_placed() {
            self.progress_ref().and_then(|progress| progress.node.as_ref())
        } else {
            None
        }
    }

    pub(crate) fn attempt_id(&self, job: &JobId) -> AttemptId {
        AttemptId { job: job.clone(), task: self.id.clone(), number: self.attempt() }
    }

    /// What it waits for, as far as it has a say: nothing any more once it has been placed.
    pub(crate) fn needs_others(&self) -> Option<&Arc<DependsOn>> {
        if self.phase == Phase::Waiting { self.rare.as_ref()?.depends_on.as_ref() } else { None }
    }

    /// What it would wait for, did it wait: for a task that has never been placed.
    pub(crate) fn would_need(&self) -> Option<&Arc<DependsOn>> {
        self.rare.as_ref()?.depends_on.as_ref()
    }

    pub(crate) fn row(&self, account: &AccountName, job: &JobId) -> TaskStateRow {
        let progress = self.progress();
        TaskStateRow {
            account: account.clone(),
            job: job.clone(),
            task: self.id.clone(),
            state: self.phase.state(),
            state_since: progress.since,
            previous_state: progress.previous.map(|(state, _)| state),
            previous_state_since: progress.previous.and_then(|(_, since)| since),
            attempt: progress.attempt,
            node: progress.node,
            placed: self.phase.is_placed(),
            ending: progress.ending,
            retry_count: progress.retry_count,
            requeue_count: progress.requeue_count,
            server_retry_count: progress.server_retry_count,
            last_retry: progress.last_retry,
            last_requeue: progress.last_requeue,
            memory_bytes: progress.memory_bytes,
            avoid: progress.avoid,
            nodes_lost: progress.nodes_lost,
            not_before: progress.not_before,
            constraints: progress.constraints,
            started: progress.started,
            ended: progress.ended,
            exit_code: progress.exit_code,
            signal: progress.signal,
            result: match self.phase {
                Phase::Completed(result) => Some(result),
                Phase::Waiting | Phase::Preparing | Phase::Assigned | Phase::Running => None,
            },
            satisfies: progress.satisfies,
            failure: progress.failure,
            modified: progress.modified,
            revision: progress.revision,
        }
    }

    /// The row that says of which sweep it is a member, if of one.
    pub(crate) fn member_row(&self, account: &AccountName, job: &JobId) -> Option<MemberRow> {
        let member = self.member()?;
        Some(MemberRow {
            account: account.clone(),
            job: job.clone(),
            sweep: member.sweep.clone(),
            index: member.index,
            task: self.id.clone(),
            sequence: self.sequence,
            created: self.created,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TaskEvent; 7] = [
        TaskEvent::Place,
        TaskEvent::PlaceToPrepare,
        TaskEvent::Start,
        TaskEvent::Release,
        TaskEvent::Complete(ExecutionResult::Success),
        TaskEvent::Complete(ExecutionResult::Failure),
        TaskEvent::Reactivate,
    ];

    #[test]
    fn a_successful_task_never_changes_again() {
        assert!(ALL.iter().all(|event| Phase::Completed(ExecutionResult::Success).next(*event).is_none()));
    }

    #[test]
    fn only_a_waiting_task_can_be_placed() {
        for phase in
            [Phase::Preparing, Phase::Assigned, Phase::Running, Phase::Completed(ExecutionResult::Failure)]
        {
            assert_eq!(phase.next(TaskEvent::Place), None);
        }
        assert_eq!(Phase::Waiting.next(TaskEvent::Place), Some(Phase::Assigned));
    }

    #[test]
    fn a_failed_task_can_only_be_reactivated() {
        let failed = Phase::Completed(ExecutionResult::Failure);
        let legal: Vec<_> = ALL.into_iter().filter(|event| failed.next(*event).is_some()).collect();
        assert_eq!(legal, [TaskEvent::Reactivate]);
        assert_eq!(failed.next(TaskEvent::Reactivate), Some(Phase::Waiting));
    }
}
