//! What must always hold, as code: a recount of every figure that the rules keep, for tests and the simulation.
//!
//! Nothing here runs in a controller; `Core::check` is called after every step of a test.

use crate::book::Book;
use crate::class::Class;
use crate::core::Core;
use crate::counts::TaskCounts;
use crate::dependency::Waiter;
use crate::job::{Job, Queue};
use crate::job_node;
use crate::node::{Contact, Held, Node};
use crate::pace::Pace;
use crate::task::Phase;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::{drain, probation, restart};
use muster_model::state::{AllocationState, ExecutionResult, NodeState};
use muster_model::{AccountName, TaskKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is true only while the controller lives.
#[derive(Debug)]
pub struct Volatile {
    paces: Vec<Pace>,
    contacts: Vec<(Contact, BTreeMap<TaskKey, Held>, BTreeSet<TaskKey>)>,
    open: Vec<BTreeMap<i64, BTreeSet<muster_model::NodeId>>>,
}

impl Core {
    /// Recounts every invariant.
    ///
    /// # Panics
    /// If one does not hold; the message names what and where.
    pub fn check(&self, now: Timestamp) {
        for (account, tenant) in self.tenants() {
            for job in tenant.jobs.values() {
                check_job(account, job, now);
            }
            for node in tenant.nodes.values() {
                node.check();
                let pool = tenant.pools.get(&node.row.pool).filter(|_| node.contact.session.is_some());
                if let Some(pool) = pool {
                    let settled = node.settled_state(&pool.row.spec);
                    assert_eq!(node.row.state, settled, "state of node {}", node.id());
                }
            }
            check_custody(account, tenant);
            check_lists(tenant);
            self.check_deadlines(account, tenant, now);
        }
    }

    /// Every wait has its deadline.
    fn check_deadlines(&self, account: &AccountName, tenant: &Tenant, now: Timestamp) {
        for job in tenant.jobs.values() {
            for task in job.tasks.values() {
                if let (Phase::Waiting, Some(at)) = (task.phase, task.not_before())
                    && at > now
                {
                    let retry = Deadline::Retry(account.clone(), job.id().clone(), task.id.clone());
                    assert!(self.deadlines().holds(at, &retry), "nothing wakes task {:?}", task.id);
                }
            }
        }
        for pool in tenant.pools.values() {
            if let Some(at) = pool.row.resize_deadline
                && at > now
            {
                let resize = Deadline::Resize(account.clone(), pool.row.spec.id.clone());
                assert!(
                    self.deadlines().holds(at, &resize),
                    "nothing ends the resize of {:?}",
                    pool.row.spec.id
                );
            }
        }
        for node in tenant.nodes.values() {
            let lease = Deadline::Lease(account.clone(), node.id().clone());
            let watched = self.deadlines().iter().any(|(_, deadline)| *deadline == lease);
            let at_rest = node.row.state == NodeState::Unknown || node.is_restarting();
            assert!(watched || at_rest, "nothing watches the lease of {:?}", node.id());
            self.check_node_deadlines(account, node, now);
        }
    }

    fn check_node_deadlines(&self, account: &AccountName, node: &Node, now: Timestamp) {
        let (account, id) = (account.clone(), node.id().clone());
        let waits = [
            (drain::deadline(&node.row), Deadline::Drain(account.clone(), id.clone())),
            (restart::deadline(&node.row, self.settings()), Deadline::Restart(account.clone(), id.clone())),
            (probation::deadline(node, self.settings()), Deadline::Probation(account, id)),
        ];
        for (at, deadline) in waits {
            if let Some(at) = at.filter(|at| *at > now) {
                assert!(self.deadlines().holds(at, &deadline), "{deadline:?} at {at:?} is missing");
            }
        }
    }

    /// A copy of what a crash would lose, to compare without it and go on with it.
    #[must_use]
    pub fn volatile(&self) -> Volatile {
        Volatile {
            paces: self.each_job().map(|job| job.pace).collect(),
            contacts: self
                .each_node()
                .map(|node| (node.contact, node.held.clone(), node.failed_tasks.clone()))
                .collect(),
            open: self.tenants().flat_map(|(_, t)| t.pools.values()).map(|p| p.open_nodes.clone()).collect(),
        }
    }

    fn each_job(&self) -> impl Iterator<Item = &crate::job::Job> {
        self.tenants().flat_map(|(_, tenant)| tenant.jobs.values())
    }

    fn each_node(&self) -> impl Iterator<Item = &crate::node::Node> {
        self.tenants().flat_map(|(_, tenant)| tenant.nodes.values())
    }

    /// Puts back what `volatile` copied from this very core.
    pub fn restore(&mut self, volatile: Volatile) {
        let Volatile { paces, contacts, open } = volatile;
        let (mut paces, mut contacts, mut open) = (paces.into_iter(), contacts.into_iter(), open.into_iter());
        for tenant in self.tenants_mut() {
            for (job, pace) in tenant.jobs.values_mut().zip(&mut paces) {
                job.pace = pace;
            }
            for (node, (contact, held, failed_tasks)) in tenant.nodes.values_mut().zip(&mut contacts) {
                node.contact = contact;
                node.held = held;
                node.failed_tasks = failed_tasks;
            }
            for (pool, open) in tenant.pools.values_mut().zip(&mut open) {
                pool.open_nodes = open;
            }
        }
    }

    /// Forgets what a crash at `now` would lose, so that the rest can be compared with a loaded core.
    pub fn forget_sessions(&mut self, now: Timestamp) {
        let lease_until = now.after(self.settings().lease_ttl);
        for tenant in self.tenants_mut() {
            for job in tenant.jobs.values_mut() {
                job.pace = Pace::default();
            }
            for node in tenant.nodes.values_mut() {
                node.contact = Contact { session: None, lease_until, connection: 0 };
                node.failed_tasks.clear();
                for held in node.held.values_mut() {
                    held.recalled = false;
                }
            }
            for pool in tenant.pools.values_mut() {
                pool.open_nodes.clear();
            }
        }
    }

    /// Everything that decides, as text: two cores that print alike decide alike.
    #[must_use]
    pub fn portrait(&self) -> String {
        let tenants: BTreeMap<_, _> = self.tenants().collect();
        format!("next number {}\n{tenants:#?}", self.sequence + 1)
    }
}

/// What the tasks say of the nodes and what the nodes say of the tasks is the same.
fn check_custody(account: &AccountName, tenant: &Tenant) {
    let mut by_task: BTreeSet<_> = tenant
        .jobs
        .values()
        .flat_map(|job| job.tasks.values().map(move |task| (job, task)))
        .filter_map(|(job, task)| {
            let running = task.phase == Phase::Running;
            task.holder().map(|node| (task.attempt_id(job.id()), node.clone(), running))
        })
        .collect();
    for job in tenant.jobs.values() {
        for (node, row) in &job.nodes {
            let held =
                job_node::held_by(job, row).map(|held| (held.attempt, node.clone(), held.started.is_some()));
            by_task.extend(held);
        }
    }
    let by_node: BTreeSet<_> = tenant
        .nodes
        .values()
        .flat_map(|node| {
            node.held.values().map(|held| (held.attempt.clone(), node.id().clone(), held.started.is_some()))
        })
        .collect();
    assert_eq!(by_task, by_node, "account {account}: who holds what");
}

/// Recounts what a job keeps of its tasks, sweeps and waiters.
fn check_job(account: &AccountName, job: &Job, now: Timestamp) {
    let name = format!("{account}/{}", job.id());
    let mut counts = TaskCounts::default();
    let mut ready: BTreeMap<Arc<Class>, Queue> = BTreeMap::new();
    let mut of_sweeps: BTreeMap<_, TaskCounts> = BTreeMap::new();
    for task in job.tasks.values() {
        counts.add(task.phase, 1, task.class.needs.slots);
        if let Some(member) = task.member() {
            let sweep = of_sweeps.entry(member.sweep.clone()).or_default();
            sweep.add(task.phase, 1, task.class.needs.slots);
            let fate = job.sweeps.get(&member.sweep).map(|sweep| sweep.fate(member.index).is_none());
            assert_eq!(fate, Some(true), "{name}: {:?} is a task and something else", task.id);
        }
        if task.needs_others().is_none() {
            let standing = job.graph.standing(&Waiter::Task(task.id.clone()));
            assert!(standing.met, "{name}: {:?} asks nothing but is known to wait", task.id);
        }
        if job.is_ready(task, now) {
            let queue = ready.entry(Arc::clone(&task.class)).or_default();
            queue.tasks.insert(task.sequence, task.id.clone());
        }
    }
    for sweep in job.sweeps.values() {
        let mut own = of_sweeps.remove(&sweep.id).unwrap_or_default();
        let slots = sweep.class.needs.slots;
        let ended = sweep.ended.iter().map(|group| (Phase::Completed(group.result), group.members.len()));
        let succeeded = (Phase::Completed(ExecutionResult::Success), sweep.succeeded.len());
        for (phase, members) in [(Phase::Waiting, sweep.pending.len()), succeeded].into_iter().chain(ended) {
            own.add(phase, members, slots);
            counts.add(phase, members, slots);
        }
        assert_eq!(sweep.counts, own, "{name}: counts of sweep {:?}", sweep.id);
        if let Some(at) = sweep.queued {
            ready.entry(Arc::clone(&sweep.class)).or_default().sweeps.insert(at, sweep.id.clone());
            assert_eq!(Some(at), sweep.place_in_line(), "{name}: place of sweep {:?}", sweep.id);
        }
    }
    assert_eq!(job.counts, counts, "{name}: counts");
    let placed = job.tasks.values().filter(|task| task.phase.is_placed()).count() as u64;
    assert_eq!(job.placed, placed, "{name}: placed tasks");
    // A wait may have ended at this very moment without its deadline having been dealt with.
    for (class, queue) in &job.ready {
        let should = ready.get(class);
        let tasks = queue.tasks.iter().all(|(at, id)| should.and_then(|q| q.tasks.get(at)) == Some(id));
        assert!(tasks, "{name}: the ready list holds a task that is not ready");
        assert_eq!(Some(&queue.sweeps), should.map(|q| &q.sweeps), "{name}: sweeps on the ready list");
    }
    for task in job.tasks.values().filter(|task| job.is_ready(task, now) && task.not_before().is_none()) {
        let listed = job.ready.get(&task.class).and_then(|queue| queue.tasks.get(&task.sequence));
        assert_eq!(listed, Some(&task.id), "{name}: a ready task is not listed");
    }
    job.graph.check(&Book { tasks: &job.tasks, sweeps: &job.sweeps });
}

/// The pools' two lists hold exactly what belongs on them.
fn check_lists(tenant: &Tenant) {
    for pool in tenant.pools.values() {
        let id = &pool.row.spec.id;
        let jobs: BTreeSet<_> = tenant
            .jobs
            .values()
            .filter(|job| job.pool() == id && job.has_work())
            .map(|job| (job.turn_in_pool().0, job.turn_in_pool().1, job.id().clone()))
            .collect();
        assert_eq!(pool.waiting_jobs, jobs, "pool {id}: jobs with work");
        let mut open: BTreeMap<i64, BTreeSet<_>> = BTreeMap::new();
        for node in tenant.nodes.values().filter(|node| node.row.pool == *id && node.is_open()) {
            open.entry(node.room()).or_default().insert(node.id().clone());
        }
        assert_eq!(pool.open_nodes, open, "pool {id}: nodes with room");
        let members: BTreeSet<_> =
            tenant.nodes.values().filter(|node| node.row.pool == *id).map(|node| node.id().clone()).collect();
        assert_eq!(pool.nodes, members, "pool {id}: nodes");
        if pool.row.allocation_state == AllocationState::Steady {
            assert_eq!(pool.row.resize_deadline, None, "pool {id} is steady but waits for a resize");
        }
    }
}
