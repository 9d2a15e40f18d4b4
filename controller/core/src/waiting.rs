//! Finds out why tasks wait, in the order in which placement looks: the job, the task, the pool, its nodes, the queue.
//!
//! Reads only, and asks the predicates of `fit` and `placement` that place tasks, so that it cannot say anything else than
//! they do. What is found is worded in `explain`. A call costs the nodes of the pool, `job` also the job's waiting tasks.

use crate::book::Found;
use crate::class::Class;
use crate::dependency::Waiter;
use crate::explain::{DependencyWait, Explanation, JobExplanation, Reason, WaitingTasks};
use crate::fit::{self, Miss};
use crate::job::{Head, Job};
use crate::node::{Closed, Node};
use crate::placement::{self, KeptNodes};
use crate::pool::Pool;
use crate::reject::Reject;
use crate::sweep::Fate;
use crate::task::{Phase, Task};
use crate::task_command;
use crate::tenant::Tenant;
use muster_model::node::NodeError;
use muster_model::spec::TaskSpec;
use muster_model::state::{JobState, NodeState, PoolState, TaskState};
use muster_model::{JobId, NodeId, Shortage, TaskId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most groups of waiting tasks that a job's explanation names: what a person reads.
const GROUPS_MAX: usize = 50;

/// A task that waits, as far as its reasons go.
struct Subject {
    class: Arc<Class>,
    dependencies: Vec<DependencyWait>,
    not_before: Option<Timestamp>,
    /// Its age among the tasks; `None` for one that is not added yet.
    sequence: Option<u64>,
}

/// Reasons, and whether it could run some day.
struct Finding {
    reasons: Vec<Reason>,
    can_ever_run: bool,
}

pub(crate) fn task(
    tenant: &Tenant,
    job_id: &JobId,
    id: &TaskId,
    now: Timestamp,
) -> Result<Explanation, Reject> {
    let job = tenant.job(job_id)?;
    let missing = || Reject::TaskNotFound { job: job_id.clone(), task: id.clone() };
    let found = job.find(id).ok_or_else(missing)?;
    let state = found.phase().state();
    let subject = match found {
        Found::Task(task) if task.phase == Phase::Waiting => of_task(job, task),
        Found::Member(_, index, Fate::Pending) => of_member(job, id, index),
        Found::Task(_) | Found::Member(..) => None,
    };
    Ok(match subject {
        Some(subject) => {
            let Finding { reasons, can_ever_run } = reasons(tenant, job, &subject, now);
            Explanation { state, reasons, can_ever_run }
        }
        None => Explanation { state, reasons: with_node(&job.find(id)), can_ever_run: true },
    })
}

/// What a task that has its node waits for, unless it runs.
fn with_node(found: &Option<Found<'_>>) -> Vec<Reason> {
    let Some(Found::Task(task)) = found else { return Vec::new() };
    let Some(node) = task.holder().cloned() else { return Vec::new() };
    match task.phase {
        Phase::Assigned => vec![Reason::Assigned { node }],
        Phase::Preparing => vec![Reason::Preparing { node }],
        Phase::Waiting | Phase::Running | Phase::Completed(_) => Vec::new(),
    }
}

fn of_task(job: &Job, task: &Task) -> Option<Subject> {
    let waiter = Waiter::Task(task.id.clone());
    let asks = task.needs_others().is_some();
    Some(Subject {
        class: Arc::clone(&task.class),
        dependencies: if asks { job.graph.explain(&waiter, &job.book()) } else { Vec::new() },
        not_before: task.not_before(),
        sequence: Some(task.sequence),
    })
}

fn of_member(job: &Job, id: &TaskId, index: u64) -> Option<Subject> {
    let Some(Found::Member(sweep, _, _)) = job.find(id) else { return None };
    let waiter = Waiter::Sweep(sweep.id.clone());
    Some(Subject {
        class: Arc::clone(&sweep.class),
        dependencies: match sweep.depends_on {
            Some(_) => job.graph.explain(&waiter, &job.book()),
            None => Vec::new(),
        },
        not_before: None,
        sequence: Some(sweep.sequence + index),
    })
}

/// A task that is not added yet.
pub(crate) fn new_task(
    tenant: &Tenant,
    job_id: &JobId,
    spec: &TaskSpec,
    now: Timestamp,
) -> Result<Explanation, Reject> {
    let job = tenant.job(job_id)?;
    task_command::refuse_ended(job)?;
    task_command::refuse_task(tenant, job_id, spec)?;
    let mut dependencies = Vec::new();
    if !spec.depends_on.is_empty() {
        let waiter = Waiter::Task(spec.id.clone());
        let mut graph = job.graph.vacant();
        graph.add(waiter.clone(), Arc::new(spec.depends_on.clone()), &job.book());
        dependencies = graph.explain(&waiter, &job.book());
    }
    let class = Arc::new(Class { needs: spec.resources.clone(), exclusive: false });
    let subject = Subject { class, dependencies, not_before: None, sequence: None };
    let Finding { reasons, can_ever_run } = reasons(tenant, job, &subject, now);
    Ok(Explanation { state: TaskState::Active, reasons, can_ever_run })
}

pub(crate) fn job(tenant: &Tenant, id: &JobId, now: Timestamp) -> Result<JobExplanation, Reject> {
    let job = tenant.job(id)?;
    let mut waiting: Vec<(u64, WaitingTasks)> = Vec::new();
    for (class, queue) in &job.ready {
        let Some((age, head)) = queue.head() else { continue };
        let of_sweeps = queue.sweeps.values().filter_map(|id| job.sweeps.get(id));
        let count = queue.tasks.len() as u64 + of_sweeps.map(|sweep| sweep.pending.len()).sum::<u64>();
        let example = match head {
            Head::Task(task) => Some(task.clone()),
            Head::Sweep(id) => {
                job.sweeps.get(id).and_then(|s| s.pending.first().map(|index| s.task_id(index)))
            }
        };
        let subject = Subject {
            class: Arc::clone(class),
            dependencies: Vec::new(),
            not_before: None,
            sequence: Some(age),
        };
        let Finding { reasons, can_ever_run } = reasons(tenant, job, &subject, now);
        if let Some(example) = example {
            waiting.push((age, WaitingTasks { count, example, reasons, can_ever_run }));
        }
    }
    waiting.extend(held_back(tenant, job, now));
    waiting.sort_by_key(|(age, _)| *age);
    waiting.truncate(GROUPS_MAX);
    let waiting = waiting.into_iter().map(|(_, tasks)| tasks).collect();
    Ok(JobExplanation { state: job.row.state, waiting })
}

/// What tasks that are told of together have in common: class, whether dependencies are met, whether they never will be.
type Alike = (Arc<Class>, bool, bool);

/// Tasks that are told of together.
struct Group {
    count: u64,
    /// Of the oldest, which is the example.
    age: u64,
    example: TaskId,
}

/// The tasks that would not be placed even on an empty pool, and those that have their node and do not run yet, by what they
/// need and why.
fn held_back(tenant: &Tenant, job: &Job, now: Timestamp) -> Vec<(u64, WaitingTasks)> {
    let mut groups: BTreeMap<Alike, Group> = BTreeMap::new();
    let mut add = |key, age: u64, count: u64, example: TaskId| {
        let group = groups.entry(key).or_insert_with(|| Group { count: 0, age, example: example.clone() });
        group.count += count;
        if age < group.age {
            (group.age, group.example) = (age, example);
        }
    };
    let waiting = job.tasks.values().filter(|task| task.phase == Phase::Waiting);
    for task in waiting.filter(|task| !job.is_ready(task, now)) {
        let standing = job.graph.standing(&Waiter::Task(task.id.clone()));
        let key = (Arc::clone(&task.class), standing.met, standing.hopeless);
        add(key, task.sequence, 1, task.id.clone());
    }
    let placed = job.tasks.values().filter(|task| matches!(task.phase, Phase::Assigned | Phase::Preparing));
    for task in placed {
        // Told apart from those without a node by what neither of them can be: met and hopeless.
        add((Arc::clone(&task.class), true, true), task.sequence, 1, task.id.clone());
    }
    let idle = job.sweeps.values().filter(|sweep| sweep.queued.is_none());
    for sweep in idle {
        let Some(index) = sweep.pending.first() else { continue };
        let standing = job.graph.standing(&Waiter::Sweep(sweep.id.clone()));
        let key = (Arc::clone(&sweep.class), standing.met, standing.hopeless);
        add(key, sweep.sequence + index, sweep.pending.len(), sweep.task_id(index));
    }
    let explained = groups.into_values().filter_map(|Group { count, age, example }| {
        let Explanation { reasons, can_ever_run, .. } = self::task(tenant, job.id(), &example, now).ok()?;
        Some((age, WaitingTasks { count, example, reasons, can_ever_run }))
    });
    explained.collect()
}

/// All reasons of a task that waits.
fn reasons(tenant: &Tenant, job: &Job, subject: &Subject, now: Timestamp) -> Finding {
    let mut found = Finding { reasons: Vec::new(), can_ever_run: true };
    if job.row.state != JobState::Active {
        found.reasons.push(Reason::JobState(job.row.state));
        found.can_ever_run &=
            !matches!(job.row.state, JobState::Terminating | JobState::Completed | JobState::Deleting);
    }
    found.can_ever_run &= !subject.dependencies.iter().any(|wait| wait.hopeless);
    found.reasons.extend(subject.dependencies.iter().cloned().map(Reason::Dependency));
    if let Some(until) = subject.not_before.filter(|at| *at > now) {
        found.reasons.push(Reason::Backoff { until, seconds: until.since(now).as_secs().max(1) });
    }
    let ready = found.reasons.is_empty();
    if let Some(limit) = job.row.spec.max_parallel_tasks.filter(|_| job.is_at_limit()) {
        found.reasons.push(Reason::MaxParallelTasks { limit });
    }
    let Some(pool) = tenant.pools.get(job.pool()) else {
        found.reasons.push(Reason::PoolMissing(job.pool().clone()));
        found.can_ever_run = false;
        return found;
    };
    if pool.row.state != PoolState::Active {
        found.reasons.push(Reason::PoolState(job.pool().clone(), pool.row.state));
        found.can_ever_run = false;
    }
    of_nodes(tenant, job, pool, subject, &mut found);
    if ready {
        found.reasons.extend(queue(tenant, job, pool, subject));
    }
    found
}

/// What is in the way on the nodes of the pool.
fn of_nodes(tenant: &Tenant, job: &Job, pool: &Pool, subject: &Subject, found: &mut Finding) {
    if pool.nodes.is_empty() {
        let target = pool.row.spec.target_dedicated_nodes;
        found.reasons.push(Reason::NoNodes { pool: job.pool().clone(), target });
        found.can_ever_run &= target > 0;
        return;
    }
    let (priority, age) = job.turn_in_pool();
    let place = ((priority, age, job.id().clone()), subject.sequence.unwrap_or(u64::MAX));
    let kept = placement::kept_before(tenant, pool, &place);
    let mut misses = Misses::default();
    let mut able = false;
    for node in pool.nodes.iter().filter_map(|id| tenant.nodes.get(id)) {
        let leaving = node.row.state == NodeState::LeavingPool;
        able |= !leaving && fit::could_fit(job, node, &subject.class);
        misses.look(tenant, job, node, subject, &kept);
    }
    found.can_ever_run &= able;
    found.reasons.extend(misses.reasons());
}

/// Who comes first.
fn queue(tenant: &Tenant, job: &Job, pool: &Pool, subject: &Subject) -> Option<Reason> {
    let (priority, age) = job.turn_in_pool();
    let place = (priority, age, job.id().clone());
    let before = pool.waiting_jobs.range(..&place).filter_map(|(_, _, id)| tenant.jobs.get(id));
    let ahead_in_other_jobs = before.map(Job::ready_count).sum();
    let until = subject.sequence.unwrap_or(u64::MAX);
    let in_queue = |queue: &crate::job::Queue| {
        let tasks = queue.tasks.range(..until).count() as u64;
        let sweeps = queue.sweeps.values().filter_map(|id| job.sweeps.get(id));
        let older = sweeps.map(|sweep| match until.checked_sub(sweep.sequence + 1) {
            Some(last) => sweep.pending.count_within(0, last),
            None => 0,
        });
        tasks + older.sum::<u64>()
    };
    let ahead_in_job = job.ready.values().map(in_queue).sum();
    let any = ahead_in_other_jobs > 0 || ahead_in_job > 0;
    any.then_some(Reason::Queue { ahead_in_other_jobs, ahead_in_job })
}

/// How many nodes, and one of them.
type Counted = Option<(u32, NodeId)>;

/// What is in the way, summed up over nodes.
#[derive(Default)]
struct Misses {
    states: BTreeMap<NodeState, (u32, NodeId)>,
    /// By the code of what is wrong, with its words.
    unusable: BTreeMap<String, (u32, NodeId, String)>,
    out_of_contact: Counted,
    draining: Counted,
    disabled: Counted,
    on_probation: Counted,
    preparation: Counted,
    exclusive: Counted,
    kept: Counted,
    small: Option<(u32, NodeId, Shortage)>,
    busy: Option<(u32, NodeId, Shortage)>,
}

fn count(some: &mut Counted, node: &Node) {
    some.get_or_insert_with(|| (0, node.id().clone())).0 += 1;
}

/// How far a shortage is from none, in thousandths of what is wanted.
fn distance(shortage: &Shortage) -> u64 {
    let lacking = u128::from(shortage.wanted.saturating_sub(shortage.offered));
    u64::try_from(lacking * 1000 / u128::from(shortage.wanted.max(1))).unwrap_or(u64::MAX)
}

fn nearer(some: &mut Option<(u32, NodeId, Shortage)>, node: &Node, shortage: Shortage) {
    match some {
        None => *some = Some((1, node.id().clone(), shortage)),
        Some((count, nearest, least)) => {
            *count += 1;
            if distance(&shortage) < distance(least) {
                (*nearest, *least) = (node.id().clone(), shortage);
            }
        }
    }
}

impl Misses {
    fn look(&mut self, tenant: &Tenant, job: &Job, node: &Node, subject: &Subject, kept: &KeptNodes) {
        match fit::miss(job, node, &subject.class) {
            None if placement::overtakes(tenant, node, kept, &subject.class) => count(&mut self.kept, node),
            None => {}
            Some(Miss::Closed(Closed::OutOfContact)) => count(&mut self.out_of_contact, node),
            Some(Miss::Closed(Closed::State(state))) => self.in_state(node, state),
            Some(Miss::Closed(Closed::Draining)) => count(&mut self.draining, node),
            Some(Miss::Closed(Closed::OnTrial)) => count(&mut self.on_probation, node),
            Some(Miss::Closed(Closed::SchedulingDisabled)) => count(&mut self.disabled, node),
            Some(Miss::Closed(Closed::HeldAlone) | Miss::NotEmpty) => count(&mut self.exclusive, node),
            Some(Miss::PreparationFailed) => count(&mut self.preparation, node),
            Some(Miss::TooSmall(shortage)) => nearer(&mut self.small, node, shortage),
            Some(Miss::Busy(shortage)) => nearer(&mut self.busy, node, shortage),
        }
    }

    fn in_state(&mut self, node: &Node, state: NodeState) {
        let first = node.row.all_errors().next().filter(|_| state == NodeState::Unusable);
        if let Some(NodeError { code, message, .. }) = first {
            let entry = || (0, node.id().clone(), message.clone());
            self.unusable.entry(code.clone()).or_insert_with(entry).0 += 1;
        } else {
            self.states.entry(state).or_insert_with(|| (0, node.id().clone())).0 += 1;
        }
    }

    /// In the order in which placement looks at a node.
    fn reasons(self) -> impl Iterator<Item = Reason> {
        let Self { states, unusable, out_of_contact, draining, disabled, on_probation, .. } = self;
        let Self { preparation, exclusive, kept, small, busy, .. } = self;
        let states = states.into_iter().map(|(state, (count, example))| Reason::NodesInState {
            count,
            state,
            example,
        });
        let unusable = unusable.into_iter().map(|(error, (count, example, message))| Reason::NodesUnusable {
            count,
            example,
            error,
            message,
        });
        let small = small.map(|(count, nearest, shortage)| Reason::TooSmall { count, nearest, shortage });
        let busy = busy.map(|(count, nearest, shortage)| Reason::Busy { count, nearest, shortage });
        states
            .chain(unusable)
            .chain(out_of_contact.map(|(count, example)| Reason::NodesOutOfContact { count, example }))
            .chain(draining.map(|(count, example)| Reason::NodesDraining { count, example }))
            .chain(disabled.map(|(count, example)| Reason::SchedulingDisabled { count, example }))
            .chain(on_probation.map(|(count, example)| Reason::NodesOnProbation { count, example }))
            .chain(preparation.map(|(count, example)| Reason::PreparationFailed { count, example }))
            .chain(small)
            .chain(busy)
            .chain(exclusive.map(|(count, example)| Reason::Exclusive { count, example }))
            .chain(kept.map(|(count, example)| Reason::KeptFree { count, example }))
    }
}
