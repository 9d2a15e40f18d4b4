//! What happens to a node once it holds nothing any more: it stays, is restarted, or leaves.
//!
//! `look` is called after everything that may have taken the last attempt off a node. How a node comes to hold nothing is in
//! `drain`.

use crate::drain;
use crate::record::Drain;
use crate::tenant::Tenant;
use crate::turn::Turn;
use crate::{resize, restart};
use muster_model::NodeId;
use muster_model::state::{AfterDrain, DrainOption, NodeState};

/// Does what was to follow, if the node has been relieved of everything.
pub(crate) fn look(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id).filter(|node| node.held.is_empty()) else { return };
    if node.row.state == NodeState::LeavingPool {
        return resize::release(tenant, turn, id);
    }
    let Some(drain) = node.row.drain else { return };
    match drain.then {
        AfterDrain::Stay => {
            node.row.drain = None;
            tenant.save_node(turn, id);
        }
        AfterDrain::Reboot => restart::begin(tenant, turn, id, false),
        AfterDrain::Reimage => restart::begin(tenant, turn, id, true),
        AfterDrain::Leave => resize::release(tenant, turn, id),
    }
}

/// Tasks that were to end by themselves have had their time, if they had any: the rest is requeued.
pub(crate) fn drain_timed_out(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    let Some(drain) = node.row.drain.filter(|drain| drain.deadline.is_some_and(|at| at <= turn.now)) else {
        return;
    };
    let wish = Drain { option: DrainOption::Requeue, deadline: None, ..drain };
    drain::begin(tenant, turn, id, wish);
    look(tenant, turn, id);
}
