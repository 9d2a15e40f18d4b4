//! The core's few settings, all of them spans and bounds.
//!
//! None changes while the core runs. The defaults are those of the design (section 5) or say where they come from.

use crate::planted::{Plant, Planted};
use muster_model::Timestamp;
use std::time::Duration;

/// What an operator may set about the core's decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a node may go on without being answered (design section 5).
    pub lease_ttl: Duration,
    /// How much longer than `lease_ttl` the controller waits before it counts a node's attempts as lost: covers clocks
    /// that run at different rates and kills that take a moment.
    pub lease_margin: Duration,
    /// How long the answer to a request id is kept.
    pub replay_window: Duration,
    /// How often a task is tried again for server errors before it fails.
    pub server_retries_max: u32,
    /// How many different nodes may be lost while they run a task before it is taken for the reason.
    pub nodes_lost_max: usize,
    /// The wait after the first server error; doubles with each, up to `backoff_max`.
    pub backoff_first: Duration,
    /// The longest wait after a server error.
    pub backoff_max: Duration,
    /// How long a node may take to come back from a restart on request before it is taken for lost.
    pub restart_timeout: Duration,
    /// How many attempts in a row a node may fail to start, for reasons of its own, before it is taken out of use.
    pub launch_failures_max: u32,
    /// How long a node is out of use the first time; doubles with each time after that, up to `probation_max`.
    pub probation_first: Duration,
    /// The longest time out of use before a node is tried again.
    pub probation_max: Duration,
    /// How long a task must have been running on a node that is being tried before the node counts as well again.
    pub probation_trial: Duration,
    /// How much work, by measured duration, a node may hold beyond its slots.
    pub ahead_work: Duration,
    /// Most attempts that a node may hold beyond its slots, for each slot.
    pub ahead_per_slot_max: u32,
    /// The fault that is planted, if one is.
    pub planted: Plant,
}

impl Settings {
    /// When the attempts of a node whose lease lasts until then count as lost.
    pub(crate) fn lease_end(&self, until: Timestamp) -> Timestamp {
        let skips = self.planted.has(Planted::SkipLeaseMargin);
        until.after(if skips { Duration::ZERO } else { self.lease_margin })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(30),
            lease_margin: Duration::from_secs(5),
            replay_window: Duration::from_secs(24 * 3600),
            server_retries_max: 5,
            nodes_lost_max: 3,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            restart_timeout: Duration::from_secs(20 * 60),
            launch_failures_max: 5,
            probation_first: Duration::from_secs(60),
            probation_max: Duration::from_secs(3600),
            probation_trial: Duration::from_secs(60),
            ahead_work: Duration::from_millis(100),
            ahead_per_slot_max: 16,
            planted: Plant::default(),
        }
    }
}
