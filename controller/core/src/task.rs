//! The life of one task: its phases, and the only function that changes them.
//!
//! `Phase::next` is total over (phase, event): a transition or nothing. It decides neither where a task runs (placement)
//! nor whether to try again (retry). A task keeps what decides and no more; command lines and the like stay in the store.
//!
//! Invariant: at most one attempt of a task is placed; attempt numbers only grow.  [one_live_attempt]

use crate::record::{Ending, TaskSpecRow, TaskStateRow};
use muster_model::spec::{DependsOn, RetryLimit, TaskConstraints};
use muster_model::state::{ExecutionResult, TaskState};
use muster_model::{
    AccountName, AttemptId, AttemptNumber, FailureInfo, JobId, NodeId, Resources, TaskId, Timestamp,
};

/// Where a task is. The reference's states derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not on any node.
    Waiting,
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
            (Self::Assigned, TaskEvent::Start) => Some(Self::Running),
            (Self::Assigned | Self::Running, TaskEvent::Release) => Some(Self::Waiting),
            (Self::Waiting | Self::Assigned | Self::Running, TaskEvent::Complete(result)) => {
                Some(Self::Completed(result))
            }
            (Self::Completed(ExecutionResult::Failure), TaskEvent::Reactivate) => Some(Self::Waiting),
            (Self::Waiting, TaskEvent::Start | TaskEvent::Release | TaskEvent::Reactivate)
            | (Self::Assigned, TaskEvent::Place | TaskEvent::Reactivate)
            | (Self::Running, TaskEvent::Place | TaskEvent::Start | TaskEvent::Reactivate)
            | (Self::Completed(_), _) => None,
        }
    }

    /// The reference's state.
    pub(crate) const fn state(self) -> TaskState {
        match self {
            Self::Waiting | Self::Assigned => TaskState::Active,
            Self::Running => TaskState::Running,
            Self::Completed(_) => TaskState::Completed,
        }
    }

    pub(crate) const fn is_placed(self) -> bool {
        matches!(self, Self::Assigned | Self::Running)
    }
}

/// What only a task that has been tried or touched has; most queued tasks have none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) attempt: AttemptNumber,
    pub(crate) node: Option<NodeId>,
    pub(crate) ending: Option<Ending>,
    pub(crate) retry_count: u32,
    pub(crate) requeue_count: u32,
    pub(crate) server_retry_count: u32,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) constraints: Option<TaskConstraints>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) failure: Option<FailureInfo>,
}

/// A task as the core knows it.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) sequence: u64,
    pub(crate) needs: Resources,
    pub(crate) phase: Phase,
    pub(crate) since: Timestamp,
    pub(crate) previous: Option<TaskState>,
    pub(crate) modified: Timestamp,
    pub(crate) revision: u64,
    /// The retry limit of the specification; `None` takes the job's.
    pub(crate) retry_limit: Option<RetryLimit>,
    /// Dependencies that are not satisfied yet.
    pub(crate) waiting_on: u32,
    /// What it depends on; dropped once satisfied.
    pub(crate) depends_on: Option<Box<DependsOn>>,
    progress: Option<Box<Progress>>,
}

impl Task {
    pub(crate) fn new(row: &TaskSpecRow) -> Self {
        let spec = &row.spec;
        Self {
            id: spec.id.clone(),
            sequence: row.sequence,
            needs: spec.resources,
            phase: Phase::Waiting,
            since: row.created,
            previous: None,
            modified: row.created,
            revision: 1,
            retry_limit: spec.constraints.max_task_retry_count,
            waiting_on: 0,
            depends_on: (!spec.depends_on.is_empty()).then(|| Box::new(spec.depends_on.clone())),
            progress: None,
        }
    }

    /// The task that these rows describe; its dependencies are counted later, when all tasks are there.
    pub(crate) fn load(spec: &TaskSpecRow, row: TaskStateRow) -> Self {
        let phase = match (row.state, row.placed) {
            (TaskState::Active, false) => Phase::Waiting,
            (TaskState::Active, true) => Phase::Assigned,
            (TaskState::Preparing | TaskState::Running, _) => Phase::Running,
            (TaskState::Completed, _) => Phase::Completed(row.result.unwrap_or(ExecutionResult::Failure)),
        };
        let progress = Progress {
            attempt: row.attempt,
            node: row.node,
            ending: row.ending,
            retry_count: row.retry_count,
            requeue_count: row.requeue_count,
            server_retry_count: row.server_retry_count,
            not_before: row.not_before,
            constraints: row.constraints,
            started: row.started,
            ended: row.ended,
            exit_code: row.exit_code,
            signal: row.signal,
            failure: row.failure,
        };
        let mut task = Self {
            phase,
            since: row.state_since,
            previous: row.previous_state,
            modified: row.modified,
            revision: row.revision,
            progress: (progress != Progress::default()).then(|| Box::new(progress)),
            ..Self::new(spec)
        };
        task.retry_limit =
            task.progress().constraints.map_or(task.retry_limit, |given| given.max_task_retry_count);
        task
    }

    /// What it has been through; all defaults for an untouched task.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.as_deref().cloned().unwrap_or_default()
    }

    pub(crate) fn progress_ref(&self) -> Option<&Progress> {
        self.progress.as_deref()
    }

    pub(crate) fn progress_mut(&mut self) -> &mut Progress {
        self.progress.get_or_insert_default()
    }

    /// Notes a change; a progress that says nothing is dropped, as loading would.
    pub(crate) fn changed(&mut self, now: Timestamp) {
        self.modified = now;
        self.revision += 1;
        if self.progress.as_deref() == Some(&Progress::default()) {
            self.progress = None;
        }
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

    /// Whether nothing but a node is missing.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.phase == Phase::Waiting && self.waiting_on == 0 && self.not_before().is_none_or(|at| at <= now)
    }

    pub(crate) fn row(&self, account: &AccountName, job: &JobId) -> TaskStateRow {
        let progress = self.progress();
        TaskStateRow {
            account: account.clone(),
            job: job.clone(),
            task: self.id.clone(),
            state: self.phase.state(),
            state_since: self.since,
            previous_state: self.previous,
            attempt: progress.attempt,
            node: progress.node,
            placed: self.phase.is_placed(),
            ending: progress.ending,
            retry_count: progress.retry_count,
            requeue_count: progress.requeue_count,
            server_retry_count: progress.server_retry_count,
            not_before: progress.not_before,
            constraints: progress.constraints,
            started: progress.started,
            ended: progress.ended,
            exit_code: progress.exit_code,
            signal: progress.signal,
            result: match self.phase {
                Phase::Completed(result) => Some(result),
                Phase::Waiting | Phase::Assigned | Phase::Running => None,
            },
            failure: progress.failure,
            modified: self.modified,
            revision: self.revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TaskEvent; 6] = [
        TaskEvent::Place,
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
        for phase in [Phase::Assigned, Phase::Running, Phase::Completed(ExecutionResult::Failure)] {
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
