//! Which task goes to which node.
//!
//! Per pool: jobs by priority, then age; within a job the oldest task first. Tasks of equal needs form a class: once one
//! of a class fits nowhere, none of it does, so a pass costs what it places plus classes and jobs, never tasks. Nodes are
//! kept by the slots that they have left, so a choice is a look at one end of a list.
//!
//! When tasks are short, a node gets a few beyond its slots, so that it does not wait for a round trip; those are
//! asked back when another node falls idle (design section 3).

use crate::attempt;
use crate::effect::NodeMessage;
use crate::job::Job;
use crate::pool::{PlaceInLine, Pool};
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::state::{NodeFillType, PoolState};
use muster_model::{AttemptId, JobId, NodeId, PoolId, Resources, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Places what can be placed in every pool that something has changed in.
pub(crate) fn run(tenant: &mut Tenant, turn: &mut Turn<'_>) {
    while let Some(pool) = turn.dirty.pop_first() {
        if tenant.pools.get(&pool).is_some_and(|pool| pool.row.state == PoolState::Active) {
            fill(tenant, turn, &pool);
        }
    }
}

fn fill(tenant: &mut Tenant, turn: &mut Turn<'_>, pool_id: &PoolId) {
    let mut dispatched: BTreeMap<NodeId, Vec<AttemptId>> = BTreeMap::new();
    let mut full: BTreeSet<Resources> = BTreeSet::new();
    let mut served = None;
    while let Some(place) = next_job(tenant, pool_id, served.take()) {
        let job_id = place.2.clone();
        while let Some((task_id, node_id)) = next_choice(tenant, turn, pool_id, &job_id, &mut full) {
            if let Some(attempt) = attempt::place(tenant, turn, &job_id, &task_id, &node_id) {
                dispatched.entry(node_id).or_default().push(attempt);
            }
        }
        tenant.requeue_job(&job_id);
        served = Some(place);
        if tenant.pools.get(pool_id).is_none_or(|pool| !has_room(pool)) {
            break;
        }
    }
    for (node_id, attempts) in dispatched {
        if let Some(session) = tenant.nodes.get(&node_id).and_then(|node| node.contact.session) {
            turn.tell(&node_id, session, NodeMessage::Dispatch { attempts });
        }
    }
    recall_for_idle(tenant, turn, pool_id);
}

/// Whether any node has a slot left. A job that comes later must not queue up behind one that waits for a slot.
fn has_room(pool: &Pool) -> bool {
    pool.open_nodes.last_key_value().is_some_and(|(room, _)| *room > 0)
}

/// The first job with work after the one that was served last.
fn next_job(tenant: &Tenant, pool: &PoolId, served: Option<PlaceInLine>) -> Option<PlaceInLine> {
    let pool = tenant.pools.get(pool).filter(|pool| !pool.open_nodes.is_empty())?;
    let after = served.map_or(Bound::Unbounded, Bound::Excluded);
    pool.waiting_jobs.range((after, Bound::Unbounded)).next().cloned()
}

/// The oldest task of a job that fits somewhere, and where.
fn next_choice(
    tenant: &Tenant,
    turn: &Turn<'_>,
    pool_id: &PoolId,
    job_id: &JobId,
    full: &mut BTreeSet<Resources>,
) -> Option<(TaskId, NodeId)> {
    let pool = tenant.pools.get(pool_id)?;
    let job = tenant.jobs.get(job_id).filter(|job| job.has_work())?;
    loop {
        let (_, needs, task) = job
            .ready
            .iter()
            .filter(|(needs, _)| !full.contains(needs))
            .filter_map(|(needs, queue)| queue.first_key_value().map(|(age, task)| (age, needs, task)))
            .min_by_key(|(age, _, _)| **age)?;
        let avoid =
            job.tasks.get(task).and_then(|task| task.progress_ref()).and_then(|progress| {
                if progress.server_retry_count > 0 { progress.node.as_ref() } else { None }
            });
        let found = choose(tenant, pool, needs, avoid).or_else(|| ahead(tenant, turn, pool, job, needs));
        match found {
            Some(node) => return Some((task.clone(), node)),
            None => full.insert(*needs),
        };
    }
}

/// The node for these needs: the emptiest when spreading, the fullest that fits when packing. A node to avoid is taken
/// only if no other fits.
fn choose(tenant: &Tenant, pool: &Pool, needs: &Resources, avoid: Option<&NodeId>) -> Option<NodeId> {
    let fits = |id: &&NodeId| tenant.nodes.get(*id).is_some_and(|node| needs.fits(&node.free()));
    let with_room = pool.open_nodes.range(i64::from(needs.slots)..);
    let candidates: Box<dyn Iterator<Item = &NodeId>> = match pool.row.spec.node_fill_type {
        NodeFillType::Spread => Box::new(with_room.rev().flat_map(|(_, nodes)| nodes)),
        NodeFillType::Pack => Box::new(with_room.flat_map(|(_, nodes)| nodes)),
    };
    let mut second_best = None;
    for id in candidates.filter(fits) {
        if Some(id) != avoid {
            return Some(id.clone());
        }
        second_best = Some(id.clone());
    }
    second_best
}

/// The node with the shortest queue, if this job's tasks are so short that a queue is worth having.
fn ahead(tenant: &Tenant, turn: &Turn<'_>, pool: &Pool, job: &Job, needs: &Resources) -> Option<NodeId> {
    // Only slots may be promised twice: the agent starts queued attempts by slots, in order.
    if *needs != (Resources { slots: needs.slots, ..Resources::default() }) {
        return None;
    }
    let per_slot = job.pace.tasks_in(turn.settings.ahead_work, turn.settings.ahead_per_slot_max);
    let (room, nodes) = pool.open_nodes.last_key_value()?;
    let id = nodes.first()?;
    let node = tenant.nodes.get(id)?;
    let allowed = i64::from(per_slot) * i64::from(node.row.slots);
    (needs.slots <= node.row.slots && room + allowed >= i64::from(needs.slots)).then(|| id.clone())
}

/// Asks the longest queue for attempts back when a node is idle and nothing waits for it.
fn recall_for_idle(tenant: &mut Tenant, turn: &mut Turn<'_>, pool_id: &PoolId) {
    let Some(pool) = tenant.pools.get(pool_id) else { return };
    let Some((&most_room, _)) = pool.open_nodes.last_key_value() else { return };
    let Some((&least_room, nodes)) = pool.open_nodes.first_key_value() else { return };
    if most_room <= 0 || least_room >= 0 || !pool.waiting_jobs.is_empty() {
        return;
    }
    let Some(id) = nodes.first().cloned() else { return };
    let Some(node) = tenant.nodes.get_mut(&id) else { return };
    let Some(session) = node.contact.session else { return };
    let surplus = usize::try_from(most_room.min(-least_room)).unwrap_or(0);
    let unstarted = node.held.values_mut().rev().filter(|held| !held.running && !held.recalled);
    let attempts: Vec<AttemptId> = unstarted
        .take(surplus)
        .map(|held| {
            held.recalled = true;
            held.attempt.clone()
        })
        .collect();
    if !attempts.is_empty() {
        turn.tell(&id, session, NodeMessage::Recall { attempts });
    }
}
