//! What is wrong with a node: what it says itself, and what the controller sees from its facts.
//!
//! Anything of it keeps all further tasks away (`Node::settled_state`); what runs goes on. The list is the row's, whole: a
//! node's word replaces what the node said before and leaves what the controller has found. What a node did wrong with
//! tasks is `probation`'s.

use crate::drain;
use crate::node::Node;
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::limits::NODE_ERRORS_MAX;
use muster_model::node::{Capabilities, NodeError};
use muster_model::spec::PoolSpec;
use muster_model::state::{NodeState, TaskNetwork};
use muster_model::{NodeId, Timestamp};

/// The node did not come back from a restart in time: the controller's own finding, which ends when the node connects.
pub(crate) const RESTART_TIMED_OUT: &str = "RestartTimedOut";

/// Whether it is the controller that finds this, and not the node.
fn is_found_here(error: &NodeError) -> bool {
    error.code == NodeError::ISOLATION_UNAVAILABLE || error.code == RESTART_TIMED_OUT
}

/// Adds an error, in place of an older one of the same kind; the oldest gives way when there are too many.
pub(crate) fn add(errors: &mut Vec<NodeError>, error: NodeError) {
    errors.retain(|other| other.code != error.code);
    errors.push(error);
    let surplus = errors.len().saturating_sub(NODE_ERRORS_MAX);
    errors.drain(..surplus);
}

/// The node says what is wrong with it now.
pub(crate) fn reported(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId, mut errors: Vec<NodeError>) {
    let Some(node) = tenant.nodes.get_mut(id) else { return };
    errors.retain(|error| !is_found_here(error));
    let found = node.row.errors.iter().filter(|error| is_found_here(error)).cloned();
    errors.extend(found);
    let surplus = errors.len().saturating_sub(NODE_ERRORS_MAX);
    errors.drain(..surplus);
    if node.row.errors == errors {
        return;
    }
    node.row.errors = errors;
    let failed = node.row.errors.iter().any(|error| error.code == NodeError::RESTART_FAILED);
    if failed && node.is_restarting() {
        node.enter(NodeState::Starting, turn.now);
    }
    tenant.save_node(turn, id);
    spare(tenant, turn, id);
}

/// Asks a node that has become unusable for what it has not started: another one can do it.
pub(crate) fn spare(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &NodeId) {
    if tenant.nodes.get(id).is_some_and(|node| node.row.state == NodeState::Unusable) {
        drain::recall_unstarted(tenant, turn, id);
    }
}

/// A node has said what it is: whether that is enough for its pool. The caller saves.
pub(crate) fn connected(node: &mut Node, pool: &PoolSpec, now: Timestamp) {
    let missing = shortcoming(pool, &node.row.facts.capabilities);
    let known = node.row.errors.iter().find(|error| error.code == NodeError::ISOLATION_UNAVAILABLE);
    if known.map(|error| &error.message) == missing.as_ref() {
        return;
    }
    node.row.errors.retain(|error| error.code != NodeError::ISOLATION_UNAVAILABLE);
    if let Some(message) = missing {
        let code = NodeError::ISOLATION_UNAVAILABLE.to_owned();
        add(&mut node.row.errors, NodeError { code, message, details: Vec::new(), time: now });
    }
}

/// What a pool asks of its nodes and these cannot do.
fn shortcoming(pool: &PoolSpec, node: &Capabilities) -> Option<String> {
    if let Some(level) = pool.isolation_level.filter(|level| *level > node.isolation) {
        let has = node.isolation;
        return Some(format!(
            "pool '{}' asks for isolation level {level} and the node can give {has}: see its capability notes for what it lacks, or use a pool with isolation_level {has}",
            pool.id
        ));
    }
    if pool.task_network == TaskNetwork::None && !node.network_isolation {
        return Some(format!(
            "pool '{}' keeps its tasks from the network (task_network none) and the node cannot: its agent needs network namespaces",
            pool.id
        ));
    }
    if !pool.user_accounts.is_empty() && !node.user_switch {
        return Some(format!(
            "pool '{}' has user accounts and the node cannot run tasks as other users: its supervisor must run as root",
            pool.id
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::a_pool;
    use muster_model::UserName;
    use muster_model::spec::UserAccount;
    use muster_model::state::{ElevationLevel, IsolationLevel};

    #[test]
    fn a_node_that_cannot_do_what_its_pool_asks_says_which_of_it() {
        let able = Capabilities {
            isolation: IsolationLevel::Process,
            user_switch: true,
            network_isolation: true,
            ..Capabilities::default()
        };
        let mut pool = a_pool();
        assert_eq!(shortcoming(&pool, &Capabilities::default()), None, "a pool that asks for nothing");
        pool.isolation_level = Some(IsolationLevel::Process);
        pool.task_network = TaskNetwork::None;
        let name = UserName::parse("render").unwrap();
        pool.user_accounts = vec![UserAccount { name, elevation: ElevationLevel::NonAdmin, ids: None }];
        assert_eq!(shortcoming(&pool, &able), None);
        let lacks = |node: Capabilities, word: &str| {
            let words = shortcoming(&pool, &node).unwrap_or_default();
            assert!(words.contains(word), "{words}");
        };
        lacks(Capabilities { isolation: IsolationLevel::None, ..able.clone() }, "isolation level process");
        lacks(Capabilities { network_isolation: false, ..able.clone() }, "task_network none");
        lacks(Capabilities { user_switch: false, ..able.clone() }, "other users");
    }
}
