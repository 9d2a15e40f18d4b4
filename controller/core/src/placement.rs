//! Which task goes to which node.
//!
//! Per pool: jobs by priority, then age; within a job the oldest task first. Tasks of equal needs form a class: once one
//! of a class fits nowhere, none of it does, so a pass costs what it places plus classes and jobs, never tasks. Nodes are
//! kept by the slots that they have left, so a choice is a look at one end of a list. What fits is `fit`'s to say.
//!
//! A task that needs more than any node has left must not be overtaken for ever by smaller ones: one node that could run it
//! is kept for the job's oldest such task. What comes later in line gets from that node only what the task does not need.
//!
//! When tasks are short, a node gets a few beyond its slots, so that it does not wait for a round trip; those are
//! asked back when another node falls idle (design section 3).

use crate::attempt;
use crate::class::Class;
use crate::effect::NodeMessage;
use crate::fit;
use crate::job::{Head, Job};
use crate::job_node;
use crate::node::Node;
use crate::pool::{PlaceInLine, Pool};
use crate::tenant::Tenant;
use crate::turn::Turn;
use muster_model::state::{NodeFillType, PoolState};
use muster_model::{AttemptId, JobId, NodeId, PoolId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Places what can be placed in every pool that something has changed in.
pub(crate) fn run(tenant: &mut Tenant, turn: &mut Turn<'_>) {
    while let Some(pool) = turn.dirty.pop_first() {
        if tenant.pools.get(&pool).is_some_and(|pool| pool.row.state == PoolState::Active) {
            fill(tenant, turn, &pool);
        }
    }
}

/// A task's place among those of its pool: its job's, then its age.
pub(crate) type TaskPlace = (PlaceInLine, u64);

/// For whom a node is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    place: TaskPlace,
    class: Arc<Class>,
}

/// Nodes that are kept, each for the oldest task of a job that does not fit anywhere yet.
pub(crate) type KeptNodes = BTreeMap<NodeId, Kept>;

/// What a pass has found out so far.
#[derive(Debug, Default)]
struct Pass {
    /// Classes that fit nowhere any more.
    full: BTreeSet<Arc<Class>>,
    /// The same for the job at hand, where nodes are excluded for it alone.
    full_here: BTreeSet<Arc<Class>>,
    kept: KeptNodes,
    /// Whether the job at hand has a node kept for it.
    keeps: bool,
}

impl Pass {
    /// Begins with the next job.
    fn next_job(&mut self) {
        self.full_here.clear();
        self.keeps = false;
    }

    fn is_full(&self, class: &Arc<Class>) -> bool {
        self.full.contains(class) || self.full_here.contains(class)
    }
}

/// Whether a task of this class would take from a node what it is kept for. What comes later in line than the task that it
/// is kept for must leave room for it together, whatever else the node holds now: that will end.
pub(crate) fn overtakes(tenant: &Tenant, node: &Node, kept: &KeptNodes, class: &Class) -> bool {
    let Some(kept) = kept.get(node.id()) else { return false };
    if kept.class.exclusive {
        return true;
    }
    let later = node.held.values().filter(|held| {
        let Some(job) = tenant.jobs.get(&held.attempt.job) else { return false };
        let (priority, age) = job.turn_in_pool();
        let task = job.tasks.get(&held.attempt.task);
        task.is_some_and(|task| ((priority, age, job.id().clone()), task.sequence) > kept.place)
    });
    let sum = later.fold(kept.class.needs.plus(&class.needs), |sum, held| sum.plus(&held.class.needs));
    !sum.fits(&node.offer())
}

fn fill(tenant: &mut Tenant, turn: &mut Turn<'_>, pool_id: &PoolId) {
    let mut dispatched: BTreeMap<NodeId, Vec<AttemptId>> = BTreeMap::new();
    let mut pass = Pass::default();
    let mut served = None;
    while let Some(place) = next_job(tenant, pool_id, served.take()) {
        let job_id = place.2.clone();
        pass.next_job();
        while let Some((task_id, node_id)) = next_choice(tenant, turn, pool_id, &job_id, &mut pass) {
            let attempts = attempt::place(tenant, turn, &job_id, &task_id, &node_id);
            dispatched.entry(node_id).or_default().extend(attempts);
        }
        tenant.requeue_job(&job_id);
        served = Some(place);
        if tenant.pools.get(pool_id).is_none_or(|pool| !has_room(pool)) {
            break;
        }
    }
    for (node_id, attempts) in dispatched.into_iter().filter(|(_, attempts)| !attempts.is_empty()) {
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

/// The oldest task of a job that fits somewhere, and where. A member of a sweep has become a task by then.
fn next_choice(
    tenant: &mut Tenant,
    turn: &mut Turn<'_>,
    pool_id: &PoolId,
    job_id: &JobId,
    pass: &mut Pass,
) -> Option<(TaskId, NodeId)> {
    loop {
        let pool = tenant.pools.get(pool_id)?;
        let job = tenant.jobs.get(job_id).filter(|job| job.has_work())?;
        let heads = job.ready.iter().filter(|(class, _)| !pass.is_full(class));
        let oldest = heads.filter_map(|(class, queue)| queue.head().map(|(age, head)| (age, class, head)));
        let (age, class, head) = oldest.min_by_key(|(age, _, _)| *age)?;
        let wishes = Wishes::of(job, &head);
        let found = choose(tenant, pool, job, class, &wishes, pass)
            .or_else(|| ahead(tenant, turn, pool, job, class, pass));
        let Some(node) = found else {
            let class = Arc::clone(class);
            if !std::mem::replace(&mut pass.keeps, true) {
                keep_one(tenant, pool, job, (age, &class), &mut pass.kept);
            }
            if job.nodes.is_empty() {
                pass.full.insert(class);
            } else {
                pass.full_here.insert(class);
            }
            continue;
        };
        return match head {
            Head::Task(task) => Some((task.clone(), node)),
            Head::Sweep(sweep) => {
                let sweep = sweep.clone();
                let job = tenant.jobs.get_mut(job_id)?;
                let index = job.sweeps.get(&sweep)?.pending.first()?;
                job.take_out(turn, &sweep, index, true).map(|task| (task, node))
            }
        };
    }
}

/// Where a task would rather be and where it would rather not.
struct Wishes<'a> {
    affinity: Option<&'a NodeId>,
    avoid: &'a [NodeId],
}

impl<'a> Wishes<'a> {
    fn of(job: &'a Job, head: &Head<'_>) -> Self {
        match head {
            Head::Task(id) => {
                let task = job.tasks.get(*id);
                Self {
                    affinity: task.and_then(|t| t.traits()).and_then(|t| t.affinity.as_ref()),
                    avoid: task.and_then(|t| t.progress_ref()).map_or(&[], |p| p.avoid.as_slice()),
                }
            }
            Head::Sweep(id) => {
                let traits = job.sweeps.get(*id).and_then(|sweep| sweep.traits.as_ref());
                Self { affinity: traits.and_then(|traits| traits.affinity.as_ref()), avoid: &[] }
            }
        }
    }
}

/// The node for this class: the wished one if it fits, else the emptiest when spreading, the fullest that fits when
/// packing. A node to avoid is taken only if no other fits.
fn choose(
    tenant: &Tenant,
    pool: &Pool,
    job: &Job,
    class: &Class,
    wishes: &Wishes<'_>,
    pass: &Pass,
) -> Option<NodeId> {
    let fits = |id: &NodeId| {
        tenant.nodes.get(id).is_some_and(|node| {
            fit::miss(job, node, class).is_none() && !overtakes(tenant, node, &pass.kept, class)
        })
    };
    if let Some(wished) = wishes.affinity
        && pool.nodes.contains(wished)
        && !wishes.avoid.contains(wished)
        && fits(wished)
    {
        return Some(wished.clone());
    }
    let with_room = pool.open_nodes.range(i64::from(class.needs.slots)..);
    let candidates: Box<dyn Iterator<Item = &NodeId>> = match pool.row.spec.node_fill_type {
        NodeFillType::Spread => Box::new(with_room.rev().flat_map(|(_, nodes)| nodes)),
        NodeFillType::Pack => Box::new(with_room.flat_map(|(_, nodes)| nodes)),
    };
    let mut second_best = None;
    for id in candidates.filter(|id| fits(id)) {
        if !wishes.avoid.contains(id) {
            return Some(id.clone());
        }
        second_best = second_best.or_else(|| Some(id.clone()));
    }
    second_best
}

/// The node with the shortest queue, if this job's tasks are so short that a queue is worth having.
fn ahead(
    tenant: &Tenant,
    turn: &Turn<'_>,
    pool: &Pool,
    job: &Job,
    class: &Class,
    pass: &Pass,
) -> Option<NodeId> {
    // Only slots may be promised twice: the agent starts queued attempts by slots, in order.
    if !class.needs.is_only_slots() || class.exclusive {
        return None;
    }
    let per_slot = job.pace.tasks_in(turn.settings.ahead_work, turn.settings.ahead_per_slot_max);
    let (room, nodes) = pool.open_nodes.last_key_value()?;
    let id = nodes.iter().find(|id| !pass.kept.contains_key(*id))?;
    let node = tenant.nodes.get(id)?;
    let allowed = i64::from(per_slot) * i64::from(node.row.slots);
    let slots = i64::from(class.needs.slots);
    let fits = class.needs.slots <= node.row.slots && room + allowed >= slots;
    (fits && job_node::is_ready(job, id)).then(|| id.clone())
}

/// Keeps one node for the oldest task of a job that does not fit now: the one with the most room of those that could run
/// it and are not kept yet.
fn keep_one(tenant: &Tenant, pool: &Pool, job: &Job, head: (u64, &Arc<Class>), kept: &mut KeptNodes) {
    let (age, class) = head;
    let emptiest_first = pool.open_nodes.iter().rev().flat_map(|(_, nodes)| nodes);
    let mut able = emptiest_first.filter(|id| {
        !kept.contains_key(*id) && tenant.nodes.get(*id).is_some_and(|node| fit::could_fit(job, node, class))
    });
    if let Some(id) = able.next().cloned() {
        let (priority, sequence) = job.turn_in_pool();
        let place = ((priority, sequence, job.id().clone()), age);
        kept.insert(id, Kept { place, class: Arc::clone(class) });
    }
}

/// The nodes that placement keeps for tasks that come before this place in line. All of these wait: what can be placed has
/// been.
pub(crate) fn kept_before(tenant: &Tenant, pool: &Pool, place: &TaskPlace) -> KeptNodes {
    let mut kept = KeptNodes::new();
    for before in pool.waiting_jobs.range(..=&place.0) {
        let Some(job) = tenant.jobs.get(&before.2).filter(|job| job.has_work()) else { continue };
        let heads = job.ready.iter().filter_map(|(class, queue)| queue.head().map(|(age, _)| (age, class)));
        if let Some((age, class)) = heads.min_by_key(|(age, _)| *age)
            && (before, age) < (&place.0, place.1)
        {
            keep_one(tenant, pool, job, (age, class), &mut kept);
        }
    }
    kept
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
    let held = node.held.values_mut().rev();
    let unstarted = held.filter(|held| held.started.is_none() && !held.recalled && !held.of_job);
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
