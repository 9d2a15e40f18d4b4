//! What clients may do with a node by name, beside removing it (`resize`): close it, open it, restart it.
//!
//! Each refusal comes before the first change. A command that only repeats what is under way is refused; one that asks for
//! more of it (a stronger option, another deadline) takes over.

use crate::drain;
use crate::node::Node;
use crate::probation;
use crate::record::Drain;
use crate::reject::Reject;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::{health, node_life};
use muster_model::node::NodeError;
use muster_model::state::{AfterDrain, DrainOption, NodeState, SchedulingState};
use muster_model::{NodeId, PoolId, Timestamp};

/// Places nothing more on a node and relieves it of its tasks.
pub(crate) fn disable_scheduling(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    pool: &PoolId,
    id: &NodeId,
    (option, deadline): (DrainOption, Option<Timestamp>),
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let node = tenant.node_mut(pool, id)?;
    node.require(if_match)?;
    refuse_leaving(node)?;
    let asks_for_more = match node.row.drain {
        None => node.has_tasks(),
        Some(drain) => {
            let waits = option == DrainOption::TaskCompletion && drain.option == option;
            drain::strength(option) > drain::strength(drain.option) || (waits && deadline != drain.deadline)
        }
    };
    if node.row.scheduling == SchedulingState::Disabled && !asks_for_more {
        return Err(already(node));
    }
    node.row.scheduling = SchedulingState::Disabled;
    drain::begin(tenant, turn, id, Drain { option, deadline, then: AfterDrain::Stay });
    node_life::look(tenant, turn, id);
    Ok(Reply::Done)
}

/// Lets tasks be placed on a node again: breaks off a drain and a restart that waits for one, and ends the time out of use
/// of a node that failed what it was given. Tasks that are being ended are not spared by it.
pub(crate) fn enable_scheduling(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    pool: &PoolId,
    id: &NodeId,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let node = tenant.node_mut(pool, id)?;
    node.require(if_match)?;
    refuse_leaving(node)?;
    let paused = node.row.probation.until.is_some();
    let of_restart = |error: &NodeError| {
        error.code == NodeError::RESTART_FAILED || error.code == health::RESTART_TIMED_OUT
    };
    let changes = node.row.scheduling == SchedulingState::Disabled
        || node.row.drain.is_some()
        || paused
        || node.row.errors.iter().any(of_restart);
    if !changes {
        return Err(already(node));
    }
    node.row.scheduling = SchedulingState::Enabled;
    node.row.drain = None;
    node.row.errors.retain(|error| !of_restart(error));
    if paused {
        probation::reprieve(tenant, turn, id);
    } else {
        tenant.save_node(turn, id);
    }
    Ok(Reply::Done)
}

/// Relieves a node of its tasks and restarts it, or sets it up anew.
pub(crate) fn restart(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    pool: &PoolId,
    id: &NodeId,
    option: DrainOption,
    reimage: bool,
    if_match: Option<u64>,
) -> Result<Reply, Reject> {
    let node = tenant.node_mut(pool, id)?;
    node.require(if_match)?;
    refuse_restart(node, option, reimage)?;
    let then = if reimage { AfterDrain::Reimage } else { AfterDrain::Reboot };
    let deadline = drain::deadline(&node.row);
    drain::begin(tenant, turn, id, Drain { option, deadline, then });
    node_life::look(tenant, turn, id);
    Ok(Reply::Done)
}

fn refuse_restart(node: &Node, option: DrainOption, reimage: bool) -> Result<(), Reject> {
    refuse_leaving(node)?;
    let id = node.id().clone();
    match node.row.state {
        NodeState::Rebooting => return Err(Reject::NodeBeingRestarted { node: id, reimage: false }),
        NodeState::Reimaging => return Err(Reject::NodeBeingRestarted { node: id, reimage: true }),
        state @ NodeState::Unknown => {
            let wanted = "only a node in contact can be told to restart";
            return Err(Reject::NodeState { node: id, state, wanted });
        }
        NodeState::Idle
        | NodeState::Running
        | NodeState::Unusable
        | NodeState::Creating
        | NodeState::Starting
        | NodeState::WaitingForStartTask
        | NodeState::StartTaskFailed
        | NodeState::LeavingPool
        | NodeState::Offline
        | NodeState::Preempted
        | NodeState::UpgradingOs
        | NodeState::Deallocated
        | NodeState::Deallocating => {}
    }
    let capabilities = &node.row.facts.capabilities;
    let (able, what, setting) = if reimage {
        (capabilities.reimage, "reimaging", "hooks.reimage")
    } else {
        (capabilities.reboot, "rebooting", "hooks.reboot")
    };
    if !able {
        return Err(Reject::NodeCannotRestart { node: id, what, setting });
    }
    let then = if reimage { AfterDrain::Reimage } else { AfterDrain::Reboot };
    match node.row.drain {
        Some(drain) if drain.then >= then && drain::strength(option) <= drain::strength(drain.option) => {
            let reimage = drain.then == AfterDrain::Reimage;
            Err(Reject::NodeBeingRestarted { node: id, reimage })
        }
        Some(_) | None => Ok(()),
    }
}

fn refuse_leaving(node: &Node) -> Result<(), Reject> {
    if node.row.state != NodeState::LeavingPool {
        return Ok(());
    }
    let wanted = "nothing more can be asked of a node that leaves its pool";
    Err(Reject::NodeState { node: node.id().clone(), state: node.row.state, wanted })
}

fn already(node: &Node) -> Reject {
    let state = node.row.scheduling.as_str();
    Reject::NodeAlreadyInTargetSchedulingState { node: node.id().clone(), state }
}
