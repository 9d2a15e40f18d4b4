//! A core from the rows of the store: the only way back after a restart.
//!
//! What is few (accounts, pools, nodes, jobs, sweeps) comes at once; tasks come one by one, in any order, so that a
//! restart never holds a million specifications. Who waits for whom can be told only when all are there: `finish`.
//!
//! Invariant: the core that comes out equals the live core that wrote the rows, less its sessions.  [every_history_keeps_the_laws]

use crate::book::{Book, outcome_of};
use crate::class::Class;
use crate::core::Core;
use crate::job::Job;
use crate::members::is_forgettable;
use crate::node::{Held, Node};
use crate::planted::Planted;
use crate::pool::Pool;
use crate::record::{JobNodeRow, JobRow, MemberRow, NodeRow, PoolRow, Rows, SweepRow, SweepStateRow};
use crate::record::{TaskRows, TaskSpecRow, TaskStateRow, TokenRow};
use crate::settings::Settings;
use crate::sweep::Sweep;
use crate::task::{Phase, Task};
use crate::tenant::Tenant;
use crate::timer::Deadline;
use crate::{drain, job_life, job_node, join, probation, restart};
use muster_model::limits::TASK_LIFE_MAX;
use muster_model::{AccountName, JobId, SweepId, TaskId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A core that is being loaded.
#[derive(Debug)]
pub struct Loader {
    core: Core,
    now: Timestamp,
    /// When the oldest task of a job that has not ended was made.
    oldest: BTreeMap<(AccountName, JobId), Timestamp>,
}

impl Core {
    /// The core that these rows describe, without sessions, as after a crash at `now`.
    #[must_use]
    pub fn load(mut rows: Rows, settings: Settings, now: Timestamp) -> Self {
        let tasks = std::mem::take(&mut rows.tasks);
        let members = std::mem::take(&mut rows.members);
        let mut loader = Self::loader(rows, settings, now);
        for (spec, state) in tasks {
            loader.take(TaskRows::Task(spec, state));
        }
        for (member, state) in members {
            loader.take(TaskRows::Member(member, state));
        }
        loader.finish()
    }

    /// Begins to load a core whose tasks and members of sweeps come one by one.
    #[must_use]
    pub fn loader(rows: Rows, settings: Settings, now: Timestamp) -> Loader {
        Loader::begin(rows, settings, now)
    }
}

impl Loader {
    fn begin(rows: Rows, settings: Settings, now: Timestamp) -> Self {
        let mut loader = Self { core: Core::empty(settings), now, oldest: BTreeMap::new() };
        (loader.core.sequence, loader.core.numbers_used) = (rows.numbers_used, rows.numbers_used);
        for row in rows.accounts {
            loader.core.tenants.insert(row.name.clone(), Tenant::new(row));
        }
        loader.pools(rows.pools);
        loader.nodes(rows.nodes);
        loader.jobs(rows.jobs);
        for (row, state) in rows.sweeps {
            loader.sweep(&row, state);
        }
        for row in rows.job_nodes {
            loader.job_node(row);
        }
        loader.tokens(rows.tokens);
        for row in rows.requests {
            loader.core.deadlines.add(row.expires, Deadline::Request(row.account.clone(), row.id.clone()));
            if let Some(tenant) = loader.core.tenants.get_mut(&row.account) {
                tenant.requests.insert(row.id.clone(), row);
            }
        }
        loader
    }

    fn pools(&mut self, rows: Vec<PoolRow>) {
        for row in rows {
            if let Some(at) = row.resize_deadline {
                self.core.deadlines.add(at, Deadline::Resize(row.account.clone(), row.spec.id.clone()));
            }
            if let Some(tenant) = self.core.tenants.get_mut(&row.account) {
                tenant.pools.insert(row.spec.id.clone(), Pool::new(row));
            }
        }
    }

    fn nodes(&mut self, rows: Vec<NodeRow>) {
        // The controller that died may have granted any lease a moment ago.
        let waits = !self.core.settings.planted.has(Planted::RestartWithoutLease);
        let lease_until = self.now.after(if waits { self.core.settings.lease_ttl } else { Duration::ZERO });
        let lease_end = self.core.settings.lease_end(lease_until);
        for mut row in rows {
            self.core.deadlines.add(lease_end, Deadline::Lease(row.account.clone(), row.id.clone()));
            if let Some(at) = drain::deadline(&row) {
                self.core.deadlines.add(at, Deadline::Drain(row.account.clone(), row.id.clone()));
            }
            if let Some(at) = restart::deadline(&row, &self.core.settings) {
                self.core.deadlines.add(at, Deadline::Restart(row.account.clone(), row.id.clone()));
            }
            let Some(tenant) = self.core.tenants.get_mut(&row.account) else { continue };
            if let Some(pool) = tenant.pools.get_mut(&row.pool) {
                pool.nodes.insert(row.id.clone());
            }
            // Recounted from what the tasks say.
            row.running_tasks = 0;
            row.running_slots = 0;
            tenant.nodes.insert(row.id.clone(), Node::new(row, lease_until));
        }
    }

    fn jobs(&mut self, rows: Vec<JobRow>) {
        for row in rows {
            self.core.sequence = self.core.sequence.max(row.sequence);
            if let Some(end) = job_life::wall_clock_end(&row) {
                let wall_clock = Deadline::JobWallClock(row.account.clone(), row.spec.id.clone());
                self.core.deadlines.add(end, wall_clock);
            }
            if let Some(tenant) = self.core.tenants.get_mut(&row.account) {
                tenant.jobs.insert(row.spec.id.clone(), Job::new(row));
            }
        }
    }

    fn tokens(&mut self, rows: Vec<TokenRow>) {
        for row in rows {
            self.core.tokens.insert(row.id.clone(), row.account.clone());
            let forget = Deadline::Token(row.account.clone(), row.id.clone());
            self.core.deadlines.add(join::forget_at(&row), forget);
            if let Some(tenant) = self.core.tenants.get_mut(&row.account) {
                tenant.tokens.insert(row.id.clone(), row);
            }
        }
    }

    fn sweep(&mut self, row: &SweepRow, state: SweepStateRow) {
        let last = row.sequence.saturating_add(row.spec.shape().count.saturating_sub(1));
        self.core.sequence = self.core.sequence.max(last);
        let Some(job) = job_of(&mut self.core, &row.account, &row.job) else { return };
        let class = Class { needs: row.spec.template.resources.clone(), exclusive: false };
        let mut sweep = Sweep::new(row, job.classes.share(class));
        sweep.restore(state);
        if !sweep.pending.is_empty() {
            note_age(&mut self.oldest, &row.account, &row.job, row.created);
        }
        job.insert_sweep(sweep);
    }

    fn job_node(&mut self, row: JobNodeRow) {
        let Some(tenant) = self.core.tenants.get_mut(&row.account) else { return };
        let Some(job) = tenant.jobs.get_mut(&row.job) else { return };
        if let Some(node) = tenant.nodes.get_mut(&row.node) {
            node.prepared_for.insert(row.job.clone());
            if let Some(held) = job_node::held_by(job, &row) {
                node.hold(held);
            }
        }
        job.nodes.insert(row.node.clone(), row);
    }

    /// Takes one task in.
    pub fn take(&mut self, rows: TaskRows) {
        match rows {
            TaskRows::Task(spec, state) => self.task(&spec, state),
            TaskRows::Member(member, state) => self.member(&member, state),
        }
    }

    fn task(&mut self, spec: &TaskSpecRow, state: TaskStateRow) {
        self.core.sequence = self.core.sequence.max(spec.sequence);
        let Some(job) = job_of(&mut self.core, &spec.account, &spec.job) else { return };
        let class = job.class_of(&spec.spec.id, &spec.spec.resources);
        let mut task = Task::new(spec, class);
        task.restore(state);
        self.admit(&spec.account, &spec.job, task);
    }

    fn member(&mut self, row: &MemberRow, state: TaskStateRow) {
        let Some(job) = job_of(&mut self.core, &row.account, &row.job) else { return };
        let Some(sweep) = job.sweeps.get_mut(&row.sweep) else { return };
        let mut task = sweep.task(row.index);
        task.restore(state);
        if is_forgettable(&task) {
            if !sweep.deleting {
                let slots = sweep.class.needs.slots;
                sweep.succeeded.insert(row.index, row.index);
                let id = sweep.id.clone();
                job.recount(Some(&id), (None, Some(task.phase)), 1, slots);
            }
            return;
        }
        self.admit(&row.account, &row.job, task);
    }

    fn admit(&mut self, account: &AccountName, job_id: &JobId, mut task: Task) {
        let Some(tenant) = self.core.tenants.get_mut(account) else { return };
        let Some(job) = tenant.jobs.get_mut(job_id) else { return };
        if let Some(bytes) = task.progress_ref().and_then(|progress| progress.memory_bytes) {
            let mut class = Class::clone(&task.class);
            class.needs.memory_bytes = bytes;
            task.class = job.classes.share(class);
        }
        if !matches!(task.phase, Phase::Completed(_)) {
            note_age(&mut self.oldest, account, job_id, task.created);
        }
        if let (Phase::Waiting, Some(at)) = (task.phase, task.not_before()) {
            let retry = Deadline::Retry(account.clone(), job_id.clone(), task.id.clone());
            self.core.deadlines.add(at, retry);
        }
        let running = || task.progress_ref().filter(|_| task.phase == Phase::Running);
        if let Some(node) = task.holder().and_then(|id| tenant.nodes.get_mut(id)) {
            node.hold(Held {
                attempt: task.attempt_id(job_id),
                class: Arc::clone(&task.class),
                of_job: false,
                started: running().and_then(|progress| progress.started),
                heard: running().map(|progress| progress.since),
                recalled: false,
            });
        }
        job.insert(task);
    }

    /// The core, now that all tasks are there.
    #[must_use]
    pub fn finish(self) -> Core {
        let Self { mut core, now, oldest } = self;
        for (account, tenant) in &mut core.tenants {
            for node in tenant.nodes.values() {
                if let Some(at) = probation::deadline(node, &core.settings) {
                    core.deadlines.add(at, Deadline::Probation(account.clone(), node.id().clone()));
                }
            }
            let ids: Vec<JobId> = tenant.jobs.keys().cloned().collect();
            for id in ids {
                if let Some(job) = tenant.jobs.get_mut(&id) {
                    relate(job, now);
                    let age = oldest.get(&(account.clone(), id.clone())).copied().unwrap_or(now);
                    core.deadlines.add(age.after(TASK_LIFE_MAX), job_life::lives(&job.row));
                }
                tenant.requeue_job(&id);
            }
        }
        core
    }
}

fn job_of<'a>(core: &'a mut Core, account: &AccountName, job: &JobId) -> Option<&'a mut Job> {
    core.tenants.get_mut(account)?.jobs.get_mut(job)
}

fn note_age(
    oldest: &mut BTreeMap<(AccountName, JobId), Timestamp>,
    account: &AccountName,
    job: &JobId,
    created: Timestamp,
) {
    let age = oldest.entry((account.clone(), job.clone())).or_insert(created);
    *age = (*age).min(created);
}

/// Tells the tasks of a job of one another, and lists those that wait for nothing but a node.
fn relate(job: &mut Job, now: Timestamp) {
    let tasks: Vec<TaskId> = job.tasks.keys().cloned().collect();
    let sweeps: Vec<SweepId> = job.sweeps.keys().cloned().collect();
    if job.row.spec.uses_task_dependencies {
        // Nobody is registered as waiting yet, so what is answered is nobody.
        let facts = Book { tasks: &job.tasks, sweeps: &job.sweeps };
        for sweep in sweeps.iter().filter(|id| job.sweeps.get(*id).is_some_and(|sweep| !sweep.deleting)) {
            job.graph.sweep_added(sweep, &facts);
        }
        for (id, task) in job.tasks.iter().filter(|(_, task)| facts.is_lasting(task)) {
            job.graph.task_added(id, &facts);
            if let Some(outcome) = outcome_of(task) {
                job.graph.task_ended(id, outcome, &facts);
            }
        }
        for id in &tasks {
            job.attend(id);
        }
        for id in &sweeps {
            job.attend_sweep(id);
        }
    }
    for id in &tasks {
        job.list(id, now);
    }
    for id in &sweeps {
        job.list_sweep(id);
    }
}
