//! A compute node as the controller knows it: its row, its contact and what it holds.
//!
//! `Contact` is the volatile half (session, lease); loading starts without a session and with a full lease, because the
//! controller that died may have granted one a moment before (design section 5). What happens on the session is in
//! `session`, when a lease ends in `lease`.
//!
//! Invariant: `load` is the sum of the slots of `held`; the row's running figures equal a recount.

use crate::class::Class;
use crate::input::SessionId;
use crate::record::{NodeRow, Record};
use crate::reject::Reject;
use crate::turn::Turn;
use muster_model::node::StartTaskInfo;
use muster_model::spec::PoolSpec;
#[cfg(any(test, feature = "check"))]
use muster_model::state::AfterDrain;
use muster_model::state::{ExecutionResult, NodeState, SchedulingState, StartTaskState};
use muster_model::{AttemptId, JobId, NodeId, Resources, TaskKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An attempt that a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) attempt: AttemptId,
    pub(crate) class: Arc<Class>,
    /// It is a job's preparation or release task, which takes nothing and is not counted among the node's tasks.
    pub(crate) of_job: bool,
    /// When it started, by the node's clock; `None` until the node has said so.
    pub(crate) started: Option<Timestamp>,
    /// When the node said so, by the controller's clock; `None` for what is no task.
    pub(crate) heard: Option<Timestamp>,
    /// It has been asked back; volatile, and harmless when forgotten.
    pub(crate) recalled: bool,
}

/// What keeps every task from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    OutOfContact,
    State(NodeState),
    /// It is being relieved of its tasks.
    Draining,
    SchedulingDisabled,
    /// It is being tried with one task, which it has.
    OnTrial,
    /// A task has it for itself.
    HeldAlone,
}

/// What is true only while processes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) session: Option<SessionId>,
    /// Until then, and a margin longer, the node may be running what it holds.
    pub(crate) lease_until: Timestamp,
    /// The newest connection on which it has said Hello to this controller.
    pub(crate) connection: u64,
}

/// A node as the core knows it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) row: NodeRow,
    pub(crate) contact: Contact,
    pub(crate) held: BTreeMap<TaskKey, Held>,
    /// Everything that the held attempts take together.
    pub(crate) load: Resources,
    /// A task has it for itself.
    pub(crate) held_alone: bool,
    /// Some of the tasks that it failed in a row; volatile, and harmless when forgotten.
    pub(crate) failed_tasks: BTreeSet<TaskKey>,
    /// Jobs that have a row about it: they have been prepared on it, or are being.
    pub(crate) prepared_for: BTreeSet<JobId>,
}

impl Node {
    pub(crate) fn new(row: NodeRow, lease_until: Timestamp) -> Self {
        Self {
            row,
            contact: Contact { session: None, lease_until, connection: 0 },
            held: BTreeMap::new(),
            load: Resources::default(),
            held_alone: false,
            failed_tasks: BTreeSet::new(),
            prepared_for: BTreeSet::new(),
        }
    }

    pub(crate) fn id(&self) -> &NodeId {
        &self.row.id
    }

    /// What it offers in all.
    pub(crate) fn offer(&self) -> Resources {
        Resources { slots: self.row.slots, ..self.row.facts.capacity.clone() }
    }

    /// What it has left.
    pub(crate) fn free(&self) -> Resources {
        self.offer().minus(&self.load)
    }

    /// Slots left; below zero when it holds more than it can run at once.
    pub(crate) fn room(&self) -> i64 {
        i64::from(self.row.slots) - i64::from(self.load.slots)
    }

    /// Whether it holds tasks, beside preparation and release tasks.
    pub(crate) fn has_tasks(&self) -> bool {
        self.load.slots > 0
    }

    /// The tasks that it holds and when each has started: the newest start first, those that have not started last.
    pub(crate) fn tasks(&self) -> Vec<(AttemptId, Option<Timestamp>)> {
        let tasks = self.held.values().filter(|held| !held.of_job);
        let mut tasks: Vec<_> = tasks.map(|held| (held.attempt.clone(), held.started)).collect();
        tasks.sort_by_key(|(_, started)| std::cmp::Reverse(*started));
        tasks
    }

    /// What keeps every task from it, if something does.
    pub(crate) fn closed(&self) -> Option<Closed> {
        match self.row.state {
            NodeState::Idle | NodeState::Running => {}
            NodeState::Offline if self.row.drain.is_some() => return Some(Closed::Draining),
            // Offline is what the reference calls an idle node without scheduling.
            NodeState::Offline => return Some(Closed::SchedulingDisabled),
            state @ (NodeState::Rebooting
            | NodeState::Reimaging
            | NodeState::Creating
            | NodeState::Starting
            | NodeState::WaitingForStartTask
            | NodeState::StartTaskFailed
            | NodeState::Unusable
            | NodeState::Unknown
            | NodeState::LeavingPool
            | NodeState::Preempted
            | NodeState::UpgradingOs
            | NodeState::Deallocated
            | NodeState::Deallocating) => return Some(Closed::State(state)),
        }
        if self.contact.session.is_none() {
            return Some(Closed::OutOfContact);
        }
        if self.row.drain.is_some() {
            return Some(Closed::Draining);
        }
        if self.row.scheduling == SchedulingState::Disabled {
            return Some(Closed::SchedulingDisabled);
        }
        if self.on_trial_since().is_some_and(|since| self.has_newer_than(since)) {
            return Some(Closed::OnTrial);
        }
        self.held_alone.then_some(Closed::HeldAlone)
    }

    /// Since when it has been known for failing tasks, while it is being tried with one at a time.
    pub(crate) fn on_trial_since(&self) -> Option<Timestamp> {
        let probation = &self.row.probation;
        let error = probation.error.as_ref().filter(|_| probation.strikes > 0 && probation.until.is_none());
        error.map(|error| error.time)
    }

    /// Whether it holds a task that has not been running since before that time. The node's own clock is not asked: it may be
    /// wrong.
    fn has_newer_than(&self, time: Timestamp) -> bool {
        let mut tasks = self.held.values().filter(|held| !held.of_job);
        tasks.any(|held| held.heard.is_none_or(|heard| heard >= time))
    }

    /// When the tasks that it is being tried with were heard to have started.
    pub(crate) fn trial_started(&self) -> impl Iterator<Item = Timestamp> {
        let since = self.on_trial_since();
        let tasks = self.held.values().filter(|held| !held.of_job).filter_map(|held| held.heard);
        tasks.filter(move |heard| since.is_some_and(|since| *heard >= since))
    }

    /// Whether it is being restarted or set up anew on request.
    pub(crate) const fn is_restarting(&self) -> bool {
        matches!(self.row.state, NodeState::Rebooting | NodeState::Reimaging)
    }

    /// Whether it runs tasks, or would if there were any.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.row.state, NodeState::Idle | NodeState::Running)
            && self.row.scheduling == SchedulingState::Enabled
    }

    fn start_task_outcome(&self) -> Option<StartTaskOutcome> {
        self.row.start_task.as_ref().map(StartTaskOutcome::of)
    }

    /// Whether its start task failed for good and its pool waits for that.
    pub(crate) fn start_task_failed(&self, pool: &PoolSpec) -> bool {
        pool.start_task.as_ref().is_some_and(|start_task| start_task.wait_for_success)
            && self.start_task_outcome() == Some(StartTaskOutcome::Failed)
    }

    pub(crate) fn start_task_succeeded(&self) -> bool {
        self.start_task_outcome() == Some(StartTaskOutcome::Succeeded)
    }

    /// Whether tasks may be placed on it at all.
    pub(crate) fn is_open(&self) -> bool {
        self.closed().is_none()
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.load = self.load.plus(&held.class.needs);
        self.held_alone |= held.class.exclusive;
        let running = held.started.is_some();
        self.row.running_tasks += u32::from(running && !held.of_job);
        self.row.running_slots += if running { held.class.needs.slots } else { 0 };
        self.held.insert(held.attempt.task_key(), held);
    }

    /// Lets go of an attempt; `None` if it does not hold it.
    pub(crate) fn drop_attempt(&mut self, attempt: &AttemptId) -> Option<Held> {
        let key = attempt.task_key();
        if self.held.get(&key)?.attempt != *attempt {
            return None;
        }
        let held = self.held.remove(&key)?;
        self.load = self.load.minus(&held.class.needs);
        self.held_alone &= !held.class.exclusive;
        if held.started.is_some() && !held.of_job {
            self.row.running_tasks = self.row.running_tasks.saturating_sub(1);
            self.row.running_slots = self.row.running_slots.saturating_sub(held.class.needs.slots);
        }
        Some(held)
    }

    /// Notes that a held attempt has started; false if it is not held or had started before.
    pub(crate) fn mark_running(&mut self, attempt: &AttemptId, time: Timestamp, now: Timestamp) -> bool {
        match self.held.get_mut(&attempt.task_key()) {
            Some(held) if held.attempt == *attempt && held.started.is_none() => {
                held.started = Some(time);
                held.heard = Some(now).filter(|_| !held.of_job);
                self.row.running_tasks += u32::from(!held.of_job);
                self.row.running_slots += held.class.needs.slots;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Refuses a change of a node that is not what the caller has read.
    pub(crate) fn require(&self, if_match: Option<u64>) -> Result<(), Reject> {
        let current = self.row.revision;
        match if_match {
            Some(given) if given != current => {
                Err(Reject::EtagMismatch { what: format!("node '{}'", self.row.id), given, current })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The state that a node in contact has: from what is wrong with it, its start task, its switch and what it runs. Where
    /// something must happen before it takes part again, it stays what it is.
    pub(crate) fn settled_state(&self, pool: &PoolSpec) -> NodeState {
        match self.row.state {
            NodeState::LeavingPool | NodeState::Rebooting | NodeState::Reimaging => return self.row.state,
            NodeState::Idle
            | NodeState::Running
            | NodeState::Unusable
            | NodeState::Creating
            | NodeState::Starting
            | NodeState::WaitingForStartTask
            | NodeState::StartTaskFailed
            | NodeState::Unknown
            | NodeState::Offline
            | NodeState::Preempted
            | NodeState::UpgradingOs
            | NodeState::Deallocated
            | NodeState::Deallocating => {}
        }
        if !self.row.errors.is_empty() {
            return NodeState::Unusable;
        }
        if let Some(start_task) = &pool.start_task
            && start_task.wait_for_success
        {
            match self.start_task_outcome() {
                None | Some(StartTaskOutcome::Running) => return NodeState::WaitingForStartTask,
                Some(StartTaskOutcome::Failed) => return NodeState::StartTaskFailed,
                Some(StartTaskOutcome::Succeeded) => {}
            }
        }
        if self.row.probation.until.is_some() {
            return NodeState::Unusable;
        }
        match (self.row.running_tasks, self.row.scheduling) {
            (0, SchedulingState::Disabled) => NodeState::Offline,
            (0, SchedulingState::Enabled) => NodeState::Idle,
            (_, _) => NodeState::Running,
        }
    }

    /// Enters a state; the caller saves.
    pub(crate) fn enter(&mut self, state: NodeState, now: Timestamp) {
        if self.row.state != state {
            self.row.state = state;
            self.row.state_since = now;
        }
    }

    /// Records the node.
    pub(crate) fn save(&mut self, turn: &mut Turn<'_>) {
        self.row.revision += 1;
        turn.dirty.insert(self.row.pool.clone());
        turn.record(Record::Node(Box::new(self.row.clone())));
    }

    #[cfg(any(test, feature = "check"))]
    pub(crate) fn check(&self) {
        let id = &self.row.id;
        let load = self.held.values().fold(Resources::default(), |sum, held| sum.plus(&held.class.needs));
        assert_eq!(self.load, load, "node {id}: load");
        let alone = self.held.values().any(|held| held.class.exclusive);
        assert_eq!(self.held_alone, alone, "node {id}: held by one task alone");
        let tasks = self.held.values().filter(|held| !held.of_job).count();
        assert!(!alone || tasks == 1, "node {id} is held alone by one of {tasks} tasks");
        // Slots may be promised beyond what can run at once; nothing else may.
        let beside_slots = Resources { slots: 0, ..load };
        assert!(beside_slots.fits(&self.offer()), "node {id} is promised to more than it can hold");
        let running: Vec<_> =
            self.held.values().filter(|held| held.started.is_some() && !held.of_job).collect();
        assert_eq!(self.row.running_tasks as usize, running.len(), "node {id}: running tasks");
        let slots: u32 = running.iter().map(|held| held.class.needs.slots).sum();
        assert_eq!(self.row.running_slots, slots, "node {id}: running slots");
        assert!(slots <= self.row.slots, "node {id} runs {slots} slots of {}", self.row.slots);
        let disabled = self.row.scheduling == SchedulingState::Disabled;
        let leaving = self.row.state == NodeState::LeavingPool;
        if (disabled || leaving) && self.row.drain.is_none() {
            assert_eq!(tasks, 0, "node {id} is to have no tasks and nothing relieves it of them");
        }
        if let Some(drain) = self.row.drain
            && self.held.is_empty()
        {
            let restarts = matches!(drain.then, AfterDrain::Reboot | AfterDrain::Reimage);
            let waits = restarts && self.contact.session.is_none() && !leaving;
            assert!(waits, "node {id} holds nothing and {drain:?} is not followed up");
        }
        assert!(!self.is_restarting() || self.held.is_empty(), "node {id} is restarted with tasks on it");
    }
}

/// How a node's start task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartTaskOutcome {
    Running,
    Succeeded,
    Failed,
}

impl StartTaskOutcome {
    fn of(info: &StartTaskInfo) -> Self {
        match (info.state, info.result) {
            (StartTaskState::Running, _) => Self::Running,
            (StartTaskState::Completed, Some(ExecutionResult::Success)) => Self::Succeeded,
            (StartTaskState::Completed, Some(ExecutionResult::Failure) | None) => Self::Failed,
        }
    }
}
