//! Join tokens, and how a machine becomes a node with one.
//!
//! The core knows only the hash of a token's secret. A wrong secret and an unknown token get the same answer; an
//! expired or used-up token says so, because whoever holds its secret may know.

use crate::input::NewToken;
use crate::node::Node;
use crate::record::{NodeRow, Probation, Record, TokenRow};
use crate::reject::Reject;
use crate::reply::{CreatedNode, Reply};
use crate::resize;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::turn::Turn;
use muster_model::node::MachineFacts;
use muster_model::state::{AllocationState, NodeState, SchedulingState};
use muster_model::{Digest, TokenId};

pub(crate) fn create_token(tenant: &mut Tenant, turn: &mut Turn<'_>, new: NewToken) -> Result<Reply, Reject> {
    tenant.active_pool_mut(&new.pool)?;
    let row = TokenRow {
        account: turn.account.clone(),
        id: new.id,
        pool: new.pool,
        secret_hash: new.secret_hash,
        created: turn.now,
        expires: new.expires,
        uses_max: new.uses,
        uses: 0,
    };
    turn.record(Record::Token(row.clone()));
    turn.wake(forget_at(&row), Deadline::Token(turn.account.clone(), row.id.clone()));
    tenant.tokens.insert(row.id.clone(), row);
    Ok(Reply::Done)
}

/// A token that has expired is kept for a day, so that whoever still uses it is told so.
pub(crate) fn forget_at(row: &TokenRow) -> muster_model::Timestamp {
    row.expires.after(std::time::Duration::from_secs(24 * 3600))
}

pub(crate) fn revoke_token(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &TokenId) -> Result<Reply, Reject> {
    if tenant.tokens.remove(id).is_none() {
        return Err(Reject::TokenNotFound(id.clone()));
    }
    turn.record(Record::TokenGone(turn.account.clone(), id.clone()));
    Ok(Reply::Done)
}

pub(crate) fn forget_token(tenant: &mut Tenant, turn: &mut Turn<'_>, id: &TokenId) {
    if tenant.tokens.get(id).is_some_and(|row| forget_at(row) <= turn.now) {
        tenant.tokens.remove(id);
        turn.record(Record::TokenGone(turn.account.clone(), id.clone()));
    }
}

pub(crate) fn join(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    token_id: &TokenId,
    secret_hash: &Digest,
    node: CreatedNode,
    facts: MachineFacts,
) -> Result<Reply, Reject> {
    let token = tenant
        .tokens
        .get(token_id)
        .filter(|token| token.secret_hash == *secret_hash)
        .cloned()
        .ok_or_else(|| Reject::TokenUnknown(token_id.clone()))?;
    if token.expires <= turn.now {
        return Err(Reject::TokenExpired(token_id.clone()));
    }
    if token.uses >= token.uses_max {
        return Err(Reject::TokenUsedUp { token: token_id.clone(), uses: token.uses_max });
    }
    let pool_id = token.pool.clone();
    let slots = tenant.active_pool_mut(&pool_id)?.row.spec.task_slots_per_node;
    let token = TokenRow { uses: token.uses + 1, ..token };
    turn.record(Record::Token(token.clone()));
    tenant.tokens.insert(token_id.clone(), token);

    let row = NodeRow {
        account: turn.account.clone(),
        id: node.node.clone(),
        pool: pool_id.clone(),
        facts,
        slots,
        state: NodeState::Starting,
        state_since: turn.now,
        scheduling: SchedulingState::Enabled,
        start_task: None,
        errors: Vec::new(),
        drain: None,
        probation: Probation::default(),
        joined: turn.now,
        tasks_run: 0,
        tasks_succeeded: 0,
        running_tasks: 0,
        running_slots: 0,
        revision: 0,
    };
    let mut joined = Node::new(row, turn.now.after(turn.settings.lease_ttl));
    joined.save(turn);
    let lease_end = turn.settings.lease_end(joined.contact.lease_until);
    turn.wake(lease_end, Deadline::Lease(turn.account.clone(), node.node.clone()));
    tenant.nodes.insert(node.node.clone(), joined);
    if let Some(pool) = tenant.pools.get_mut(&pool_id) {
        pool.nodes.insert(node.node.clone());
        let count = u32::try_from(pool.nodes.len()).unwrap_or(u32::MAX);
        // A machine that an operator brings by hand is wanted: the target follows.
        if pool.row.allocation_state == AllocationState::Steady
            && count > pool.row.spec.target_dedicated_nodes
        {
            pool.row.spec.target_dedicated_nodes = count;
            pool.save(turn);
        }
    }
    resize::settle(tenant, turn, &pool_id);
    Ok(Reply::Joined(CreatedNode {
        account: Some(turn.account.clone()),
        pool: Some(pool_id),
        node: node.node,
    }))
}
