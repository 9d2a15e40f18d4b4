//! Waiting until a node is where an operator wants it: drained, back after a restart, or gone.
//!
//! There is no watch of nodes, so the node is asked for: often at first, because a node without tasks is drained at once,
//! then less often, because tasks and machines take minutes. A controller that is being upgraded meanwhile is waited for.
//!
//! Invariant: it only looks. Whatever the waiting comes to, the operation itself goes on at the controller.

use std::time::{Duration, Instant};

use muster_proto::wire;
use muster_runtime::backoff::Backoff;

use crate::client::Client;
use crate::error::{CallError, ErrorKind};

/// The first wait between two looks, and the longest.
const LOOK_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// For how long a controller that cannot be reached is waited for: as for watches, an upgrade or a reboot of its machine
/// passes in this time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where a node is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeGoal {
    /// It is given no more tasks and runs none.
    Drained,
    /// It has been restarted, or set up anew, and is in use again (or offline, if it was before).
    Back,
    /// It is not in its pool any more.
    Gone,
}

/// Why waiting for a node ended without reaching its goal.
#[derive(Debug, thiserror::Error)]
pub enum NodeWaitError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Scheduling was enabled again while the node was being drained.
    #[error("node '{node}' takes tasks again: somebody enabled it while it was being drained")]
    Enabled {
        /// The node.
        node: String,
    },
    /// The node left its pool while it was waited for.
    #[error("node '{node}' left its pool while it was waited for")]
    Left {
        /// The node.
        node: String,
    },
    /// The node did not come back well.
    #[error("node '{node}' is {state}{}", because(.reason))]
    Unwell {
        /// The node.
        node: String,
        /// Its state in words.
        state: &'static str,
        /// What the controller says is wrong. Empty if it says nothing.
        reason: String,
    },
    /// The time was over.
    #[error(
        "node '{node}' is not there after {limit:?}: it is {state} and runs {tasks} tasks. It goes on by itself"
    )]
    Late {
        /// The node.
        node: String,
        /// How long was waited.
        limit: Duration,
        /// Its state in words.
        state: String,
        /// How many tasks it runs.
        tasks: u32,
    },
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl NodeWaitError {
    /// What kind of wrong it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Enabled { .. } => ErrorKind::Conflict,
            Self::Left { .. } => ErrorKind::NotFound,
            Self::Unwell { .. } | Self::Late { .. } => ErrorKind::Failure,
        }
    }
}

/// What a look at a node says about its goal.
#[derive(Debug)]
enum Verdict {
    NotYet,
    Reached,
    Never(NodeWaitError),
}

impl Client {
    /// Waits until a node has come to its goal, for at most `limit` (`None`: for as long as it takes). `show` is told of
    /// every look. Answers the node as it was then, `None` when it is gone.
    ///
    /// # Errors
    /// As the variants of [`NodeWaitError`] say.
    pub async fn wait_for_node(
        &self,
        pool: &str,
        node: &str,
        goal: NodeGoal,
        limit: Option<Duration>,
        show: impl Fn(&wire::ComputeNode),
    ) -> Result<Option<wire::ComputeNode>, NodeWaitError> {
        let start = Instant::now();
        let mut backoff = Backoff::new(LOOK_WAIT.0, LOOK_WAIT.1);
        let mut last = wire::ComputeNode::default();
        let mut heard = start;
        loop {
            match self.get_node(pool, node).await {
                Ok(found) => {
                    show(&found);
                    match verdict(goal, &found) {
                        Verdict::NotYet => (last, heard) = (found, Instant::now()),
                        Verdict::Reached => return Ok(Some(found)),
                        Verdict::Never(error) => return Err(error),
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let left = NodeWaitError::Left { node: node.to_owned() };
                    return if goal == NodeGoal::Gone { Ok(None) } else { Err(left) };
                }
                Err(error) if error.kind() == ErrorKind::Unavailable && heard.elapsed() < PATIENCE => {
                    tracing::debug!(%error, "a node cannot be looked at and is looked at again");
                }
                Err(error) => return Err(error.into()),
            }
            // The bound, not the jittered wait: nobody else looks at the same moment.
            let wait = backoff.bound();
            let _jitter = backoff.next_delay();
            let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            if let (Some(limit), Some(Duration::ZERO)) = (limit, left) {
                let (node, tasks) = (node.to_owned(), last.running_tasks_count);
                let state = in_words(last.state().as_str_name());
                return Err(NodeWaitError::Late { node, limit, state, tasks });
            }
            tokio::time::sleep(left.map_or(wait, |left| left.min(wait))).await;
        }
    }
}

/// Where a node is on its way to a goal.
fn verdict(goal: NodeGoal, node: &wire::ComputeNode) -> Verdict {
    match goal {
        NodeGoal::Drained => drained(node),
        NodeGoal::Back => back(node),
        NodeGoal::Gone => Verdict::NotYet,
    }
}

fn drained(node: &wire::ComputeNode) -> Verdict {
    if node.scheduling_state() == wire::SchedulingState::Enabled {
        return Verdict::Never(NodeWaitError::Enabled { node: node.id.clone() });
    }
    // The wish is gone when nothing is held any more; the rest is for a node that was disabled without tasks.
    let is_idle = node.running_tasks_count == 0 && node.state() != wire::NodeState::Running;
    if node.drain.is_none() && is_idle { Verdict::Reached } else { Verdict::NotYet }
}

fn back(node: &wire::ComputeNode) -> Verdict {
    use wire::NodeState;
    let then = node.drain.map(|drain| drain.then());
    if matches!(then, Some(wire::AfterDrain::Reboot | wire::AfterDrain::Reimage)) {
        return Verdict::NotYet;
    }
    let unwell = |state| {
        let reason = node.errors.first().map(|error| error.message.clone()).unwrap_or_default();
        Verdict::Never(NodeWaitError::Unwell { node: node.id.clone(), state, reason })
    };
    match node.state() {
        NodeState::Idle | NodeState::Running | NodeState::Offline => Verdict::Reached,
        NodeState::StartTaskFailed => {
            let failure = node.start_task_info.as_ref().and_then(|info| info.failure_info.as_ref());
            let reason = failure.map(|failure| failure.message.clone()).unwrap_or_default();
            let (node, state) = (node.id.clone(), "back, but its start task failed");
            Verdict::Never(NodeWaitError::Unwell { node, state, reason })
        }
        NodeState::Unusable => unwell("unusable"),
        NodeState::LeavingPool | NodeState::Deallocating | NodeState::Deallocated => {
            unwell("leaving its pool")
        }
        NodeState::Preempted => unwell("preempted"),
        NodeState::Unspecified
        | NodeState::Creating
        | NodeState::Starting
        | NodeState::WaitingForStartTask
        | NodeState::Rebooting
        | NodeState::Reimaging
        | NodeState::Unknown
        | NodeState::UpgradingOs => Verdict::NotYet,
    }
}

/// A state of the API in words: `NODE_STATE_LEAVING_POOL` is `leaving pool`.
fn in_words(state: &str) -> String {
    match state.strip_prefix("NODE_STATE_").unwrap_or(state) {
        "UNSPECIFIED" => "in no state that is known".to_owned(),
        name => name.to_lowercase().replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{AfterDrain, NodeState, SchedulingState};

    fn node(state: NodeState, scheduling: SchedulingState, tasks: u32) -> wire::ComputeNode {
        wire::ComputeNode {
            id: "n1".into(),
            state: state.into(),
            scheduling_state: scheduling.into(),
            running_tasks_count: tasks,
            ..Default::default()
        }
    }

    #[test]
    fn a_node_is_drained_when_it_takes_and_runs_nothing() {
        let look = |state, scheduling, tasks| drained(&node(state, scheduling, tasks));
        let off = SchedulingState::Disabled;
        assert!(matches!(look(NodeState::Running, off, 2), Verdict::NotYet));
        let mut handing_back = node(NodeState::Offline, off, 0);
        handing_back.drain = Some(wire::NodeDrain::default());
        assert!(matches!(drained(&handing_back), Verdict::NotYet), "it holds what it has not started");
        assert!(matches!(look(NodeState::Offline, off, 0), Verdict::Reached));
        assert!(matches!(look(NodeState::Unusable, off, 0), Verdict::Reached));
        assert!(matches!(look(NodeState::Unknown, off, 1), Verdict::NotYet));
        let enabled = look(NodeState::Idle, SchedulingState::Enabled, 0);
        assert!(matches!(enabled, Verdict::Never(NodeWaitError::Enabled { .. })), "{enabled:?}");
    }

    #[test]
    fn a_node_is_back_when_nothing_is_left_to_do_and_it_is_well() {
        let on = SchedulingState::Enabled;
        let mut draining = node(NodeState::Running, SchedulingState::Disabled, 1);
        let drain = wire::NodeDrain { then: AfterDrain::Reboot.into(), ..Default::default() };
        draining.drain = Some(drain);
        assert!(matches!(back(&draining), Verdict::NotYet));
        draining.state = NodeState::Offline.into();
        assert!(matches!(back(&draining), Verdict::NotYet), "the restart has not begun");
        for state in
            [NodeState::Rebooting, NodeState::Starting, NodeState::WaitingForStartTask, NodeState::Unknown]
        {
            assert!(matches!(back(&node(state, on, 0)), Verdict::NotYet), "{state:?}");
        }
        assert!(matches!(back(&node(NodeState::Idle, on, 0)), Verdict::Reached));
        let mut ill = node(NodeState::Unusable, on, 0);
        ill.errors = vec![wire::NodeError { message: "the command failed".into(), ..Default::default() }];
        let Verdict::Never(error) = back(&ill) else { panic!("{ill:?}") };
        assert_eq!(error.to_string(), "node 'n1' is unusable: the command failed");
        assert_eq!(error.kind(), ErrorKind::Failure);
        let Verdict::Never(error) = back(&node(NodeState::StartTaskFailed, on, 0)) else { panic!() };
        assert_eq!(error.to_string(), "node 'n1' is back, but its start task failed");
    }
}
