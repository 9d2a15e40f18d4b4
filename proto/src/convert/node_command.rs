//! What clients and operators ask of a node: scheduling, restarts.
//!
//! Whether the node can do so, and what it leads to, is decided by the core; here is only what a request has to look like.

use std::time::Duration;

use muster_model::state::DrainOption;
use muster_model::{NodeId, PoolId, RequestId, limits};

use super::common::{etag, optional_duration, request_id};
use super::enums::{deallocation_option, enumeration};
use super::node::node_id;
use super::pool::pool_id;
use super::violation::{Checker, FieldErrors, Problem};
use crate::wire;

/// Which node a request is about: all of an `EnableNodeScheduling`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTarget {
    /// The pool.
    pub pool: PoolId,
    /// The node.
    pub node: NodeId,
    /// Only if the node has this revision.
    pub if_match: Option<u64>,
    /// Names the request.
    pub request_id: Option<RequestId>,
}

impl NodeTarget {
    fn check(
        checker: &mut Checker,
        ids: (&str, &str),
        given_etag: &str,
        given_request_id: &str,
    ) -> Option<Self> {
        let pool = pool_id(checker, ids.0);
        let node = node_id(checker, ids.1);
        let if_match = etag(checker, given_etag);
        let request_id = request_id(checker, given_request_id);
        Some(Self { pool: pool?, node: node?, if_match, request_id })
    }
}

impl TryFrom<wire::EnableNodeSchedulingRequest> for NodeTarget {
    type Error = FieldErrors;

    fn try_from(request: wire::EnableNodeSchedulingRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let ids = (request.pool_id.as_str(), request.node_id.as_str());
        let target = Self::check(&mut checker, ids, &request.etag, &request.request_id);
        checker.finish(target)
    }
}

/// A checked `DisableNodeScheduling`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDisabling {
    /// Which node.
    pub target: NodeTarget,
    /// What becomes of its tasks.
    pub option: DrainOption,
    /// With task completion, when tasks that still run are requeued: this long from now; `None` is never.
    pub deadline: Option<Duration>,
}

impl TryFrom<wire::DisableNodeSchedulingRequest> for NodeDisabling {
    type Error = FieldErrors;

    fn try_from(request: wire::DisableNodeSchedulingRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let c = &mut checker;
        let ids = (request.pool_id.as_str(), request.node_id.as_str());
        let target = NodeTarget::check(c, ids, &request.etag, &request.request_id);
        let option = c.at("option", |c| {
            enumeration::<wire::DisableSchedulingOption>(c, request.option, Some(DrainOption::Requeue))
        });
        let deadline = deadline(c, option, request.deadline);
        let disabling = target.zip(option).map(|(target, option)| Self { target, option, deadline });
        checker.finish(disabling)
    }
}

/// A deadline makes sense only where something is waited for.
fn deadline(
    c: &mut Checker,
    option: Option<DrainOption>,
    given: Option<prost_types::Duration>,
) -> Option<Duration> {
    let deadline = optional_duration(c, "deadline", given, Duration::ZERO)?;
    if option.is_some_and(|option| option != DrainOption::TaskCompletion) {
        let hint = "use DISABLE_SCHEDULING_OPTION_TASK_COMPLETION, the only one that waits for tasks";
        c.note_at("deadline", Problem::Needs { hint });
    }
    let max = limits::DRAIN_DEADLINE_MAX;
    if deadline > max {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        c.note_at("deadline", Problem::LongDuration { given: seconds(deadline), max: seconds(max) });
    }
    Some(deadline)
}

/// A checked `RebootNode` or `ReimageNode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRestart {
    /// Which node.
    pub target: NodeTarget,
    /// What becomes of its tasks.
    pub option: DrainOption,
    /// Whether it is set up anew.
    pub reimage: bool,
}

impl TryFrom<wire::RebootNodeRequest> for NodeRestart {
    type Error = FieldErrors;

    fn try_from(request: wire::RebootNodeRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let ids = (request.pool_id.as_str(), request.node_id.as_str());
        let target = NodeTarget::check(&mut checker, ids, &request.etag, &request.request_id);
        let option = deallocation_option(&mut checker, "option", request.option);
        checker.finish(target.zip(option).map(|(target, option)| Self { target, option, reimage: false }))
    }
}

impl TryFrom<wire::ReimageNodeRequest> for NodeRestart {
    type Error = FieldErrors;

    fn try_from(request: wire::ReimageNodeRequest) -> Result<Self, FieldErrors> {
        let mut checker = Checker::new();
        let ids = (request.pool_id.as_str(), request.node_id.as_str());
        let target = NodeTarget::check(&mut checker, ids, &request.etag, &request.request_id);
        let option = deallocation_option(&mut checker, "option", request.option);
        checker.finish(target.zip(option).map(|(target, option)| Self { target, option, reimage: true }))
    }
}
