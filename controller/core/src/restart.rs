//! A node that is restarted, or set up anew, on request: told, waited for, back.
//!
//! It holds nothing when it is told (`node_life`). Whether it has restarted is seen from its boot id alone: one that
//! connects with the old one is told again. A node that never comes back, or says that its operator's command failed, is no
//! longer waited for.
//!
//! Invariant: while the state is rebooting or reimaging, the row's boot id is the one from before.

use crate::effect::NodeMessage;
use crate::health;
use crate::node::Node;
use crate::record::NodeRow;
use crate::settings::Settings;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::node::NodeError;
use muster_model::state::NodeState;
use muster_model::{NodeId, Timestamp};

/// What the node is told while it is in this state; `None`: it is not being restarted.
pub(crate) const fn message(state: NodeState) -> Option<NodeMessage> {
    match state {
        NodeState::Rebooting => Some(NodeMessage::Restart { reimage: false }),
        NodeState::Reimaging => Some(NodeMessage::Restart { reimage: true }),
        NodeState::Idle
        | NodeState::Running
        | NodeState::Unusable
        | NodeState::Creating
        | NodeState::Starting
        | NodeState::WaitingForStartTask
        | NodeState::StartTaskFailed
        | NodeState::Unknown
        | NodeState::LeavingPool
        | NodeState::Offline
        | NodeState::Preempted
        | NodeState::UpgradingOs
        | NodeState::Deallocated
        | NodeState::Deallocating => None,
    }
}

/// When a node that is being restarted is no longer waited for.
pub(crate) fn deadline(row: &NodeRow, settings: &Settings) -> Option<Timestamp> {
    message(row.state).map(|_| row.state_since.after(settings.restart_timeout))
}

/// Restarts a node that holds nothing, once it is in contact.
pub(crate) fn begin(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId, reimage: bool) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    let Some(session) = node.contact.session else { return };
    node.row.drain = None;
    node.enter(if reimage { NodeState::Reimaging } else { NodeState::Rebooting }, turn.now);
    let at = node.row.state_since.after(turn.settings.restart_timeout);
    turn.wake(at, Deadline::Restart(turn.account.clone(), id.clone()));
    tenant.save_node(turn, id);
    turn.tell(id, session, NodeMessage::Restart { reimage });
}

/// A node has connected; `was` is the boot id that it had before. The caller saves.
pub(crate) fn connected(node: &mut Node, turn: &mut Turn<'_>, was: &str) {
    node.row.errors.retain(|error| error.code != health::RESTART_TIMED_OUT);
    let booted = node.row.facts.boot_id != was;
    if booted {
        node.row.errors.retain(|error| error.code != NodeError::RESTART_FAILED);
    }
    let Some(message) = message(node.row.state) else { return };
    if booted {
        node.enter(NodeState::Starting, turn.now);
    } else if let Some(session) = node.contact.session {
        // Its agent was restarted meanwhile, or the word was lost.
        turn.tell(&node.row.id, session, message);
    }
}

/// The restart has taken too long, if it is still under way.
pub(crate) fn timed_out(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    if deadline(&node.row, turn.settings).is_none_or(|at| at > turn.now) {
        return;
    }
    let waited = turn.settings.restart_timeout.as_secs();
    let error = NodeError {
        code: health::RESTART_TIMED_OUT.to_owned(),
        message: format!(
            "node '{id}' has not come back from its restart within {waited} s: look at the machine, then restart it again or remove it"
        ),
        details: vec![("waited_seconds".to_owned(), waited.to_string())],
        time: turn.now,
    };
    health::add(&mut node.row.errors, error);
    // In contact it has only not restarted, and the error keeps it from use.
    let state = if node.contact.session.is_some() { NodeState::Starting } else { NodeState::Unknown };
    node.enter(state, turn.now);
    tenant.save_node(turn, id);
}
