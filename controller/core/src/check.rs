//! What must always hold, as code: a recount of every figure that the rules keep, for tests and the simulation.
//!
//! Nothing here runs in a controller; `Core::check` is called after every step of a test.

use crate::core::Core;
use crate::node::Contact;
use crate::pace::Pace;
use crate::task::Phase;
use crate::tenant::Tenant;
use crate::timer::Deadline;
use muster_model::state::{AllocationState, NodeState};
use muster_model::{AccountName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What is true only while the controller lives.
#[derive(Debug)]
pub struct Volatile {
    paces: Vec<Pace>,
    contacts: Vec<(Contact, BTreeMap<muster_model::TaskKey, crate::node::Held>)>,
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
                job.check(account, now);
            }
            for node in tenant.nodes.values() {
                node.check();
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
            let at_rest = node.row.state == NodeState::Unknown;
            assert!(watched || at_rest, "nothing watches the lease of {:?}", node.id());
        }
    }

    /// A copy of what a crash would lose, to compare without it and go on with it.
    #[must_use]
    pub fn volatile(&self) -> Volatile {
        Volatile {
            paces: self.each_job().map(|job| job.pace).collect(),
            contacts: self.each_node().map(|node| (node.contact, node.held.clone())).collect(),
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
            for (node, (contact, held)) in tenant.nodes.values_mut().zip(&mut contacts) {
                node.contact = contact;
                node.held = held;
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
                node.contact = Contact { session: None, lease_until };
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
        format!("{tenants:#?}")
    }
}

/// What the tasks say of the nodes and what the nodes say of the tasks is the same.
fn check_custody(account: &AccountName, tenant: &Tenant) {
    let by_task: BTreeSet<_> = tenant
        .jobs
        .values()
        .flat_map(|job| job.tasks.values().map(move |task| (job, task)))
        .filter_map(|(job, task)| {
            let running = task.phase == Phase::Running;
            task.holder().map(|node| (task.attempt_id(job.id()), node.clone(), running))
        })
        .collect();
    let by_node: BTreeSet<_> = tenant
        .nodes
        .values()
        .flat_map(|node| {
            node.held.values().map(|held| (held.attempt.clone(), node.id().clone(), held.running))
        })
        .collect();
    assert_eq!(by_task, by_node, "account {account}: who holds what");
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
