//! What clients may do with a node by name, beside removing it (`resize`).
//!
//! Switching scheduling off stops nothing that runs; it only keeps further tasks away.

use crate::reject::Reject;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::state::SchedulingState;
use muster_model::{NodeId, PoolId};

pub(crate) fn set_scheduling(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    pool: &PoolId,
    id: &NodeId,
    enabled: bool,
) -> Result<Reply, Reject> {
    let wanted = if enabled { SchedulingState::Enabled } else { SchedulingState::Disabled };
    let node = tenant.node_mut(pool, id)?;
    if node.row.scheduling == wanted {
        let state = wanted.as_str();
        return Err(Reject::NodeAlreadyInTargetSchedulingState { node: id.clone(), state });
    }
    let room = node.room();
    node.row.scheduling = wanted;
    tenant.reindex(id, room);
    tenant.save_node(turn, id);
    Ok(Reply::Done)
}
