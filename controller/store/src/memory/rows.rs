//! The rows themselves, in maps ordered as the lists are, and the one function that applies a record.
//!
//! Rows are behind `Arc`, so that a copy of all maps copies no row. A record that reaches `apply` has been checked:
//! its job and its task are there.

use super::job::Job;
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobRow, NodeRow, PoolRow, Record, RequestRow, Rows, TaskRows,
    TaskStateRow, TokenRow,
};
use muster_model::{
    AccountName, ContainerName, FilePath, JobId, NodeId, PoolId, RequestId, Timestamp, TokenId,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one kind by account and id.
pub(super) type ByAccount<K, V> = BTreeMap<AccountName, BTreeMap<K, V>>;

/// All committed rows.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryRows {
    pub(super) accounts: BTreeMap<AccountName, Arc<AccountRow>>,
    pub(super) pools: ByAccount<PoolId, Arc<PoolRow>>,
    pub(super) nodes: ByAccount<NodeId, Arc<NodeRow>>,
    pub(super) tokens: ByAccount<TokenId, Arc<TokenRow>>,
    pub(super) jobs: ByAccount<JobId, Job>,
    pub(super) containers: ByAccount<ContainerName, Container>,
    pub(super) requests: ByAccount<RequestId, Arc<RequestRow>>,
    pub(super) numbers_used: u64,
}

/// A container with its files.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) created: Timestamp,
    pub(super) files: BTreeMap<FilePath, Arc<FileRow>>,
}

fn put<K: Ord, V>(rows: &mut ByAccount<K, V>, account: &AccountName, key: K, row: V) {
    rows.entry(account.clone()).or_default().insert(key, row);
}

fn remove<K: Ord, V>(rows: &mut ByAccount<K, V>, account: &AccountName, key: &K) {
    if let Some(rows) = rows.get_mut(account) {
        rows.remove(key);
    }
}

impl MemoryRows {
    /// Applies one checked record.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Account(row) => {
                self.accounts.insert(row.name.clone(), Arc::new(row.clone()));
            }
            Record::Pool(row) => {
                put(&mut self.pools, &row.account, row.spec.id.clone(), Arc::new(PoolRow::clone(row)));
            }
            Record::PoolGone(account, pool) => remove(&mut self.pools, account, pool),
            Record::Node(row) => {
                put(&mut self.nodes, &row.account, row.id.clone(), Arc::new(NodeRow::clone(row)));
            }
            Record::NodeGone(account, node) => remove(&mut self.nodes, account, node),
            Record::Token(row) => put(&mut self.tokens, &row.account, row.id.clone(), Arc::new(row.clone())),
            Record::TokenGone(account, token) => remove(&mut self.tokens, account, token),
            Record::Job(row) => self.put_job(row),
            Record::JobGone(account, job) => remove(&mut self.jobs, account, job),
            Record::Sweep(row) => self.in_job(&row.account, &row.job, |job| job.put_sweep(row)),
            Record::SweepState(row) => {
                self.in_job(&row.account, &row.job, |job| job.put_sweep_state(row));
            }
            Record::SweepGone(account, job, sweep) => {
                self.in_job(account, job, |job| job.remove_sweep(sweep));
            }
            Record::Member(row) => self.in_job(&row.account, &row.job, |job| job.put_member(row)),
            Record::JobNode(row) => self.in_job(&row.account, &row.job, |job| {
                job.nodes.insert(row.node.clone(), Arc::new(row.as_ref().clone()));
            }),
            Record::JobNodeGone(account, job, node) => self.in_job(account, job, |job| {
                job.nodes.remove(node);
            }),
            Record::TaskSpec(row) => self.in_job(&row.account, &row.job, |job| job.put_task_spec(row)),
            Record::TaskState(row) => self.in_job(&row.account, &row.job, |job| {
                if let Some(task) = job.tasks.get_mut(&row.task) {
                    task.state = Arc::new(TaskStateRow::clone(row));
                }
            }),
            Record::TaskGone(account, job, task) => self.in_job(account, job, |job| {
                job.tasks.remove(task);
            }),
            Record::Attempt(row) => self.in_job(&row.account, &row.job, |job| {
                if let Some(task) = job.tasks.get_mut(&row.task) {
                    task.attempts.insert(row.number, Arc::new(AttemptRow::clone(row)));
                }
            }),
            Record::File(row) => self.put_file(row),
            Record::FileGone(account, container, path) => {
                if let Some(container) = self.containers.get_mut(account).and_then(|c| c.get_mut(container)) {
                    container.files.remove(path);
                }
            }
            Record::ContainerGone(account, container) => remove(&mut self.containers, account, container),
            Record::NumbersUsed(number) => self.numbers_used = *number,
            Record::Request(row) => {
                put(&mut self.requests, &row.account, row.id.clone(), Arc::new(row.clone()))
            }
            Record::RequestGone(account, request) => remove(&mut self.requests, account, request),
        }
    }

    fn put_job(&mut self, row: &JobRow) {
        let jobs = self.jobs.entry(row.account.clone()).or_default();
        let row = Arc::new(row.clone());
        match jobs.get_mut(&row.spec.id) {
            Some(job) => job.row = row,
            None => {
                jobs.insert(row.spec.id.clone(), Job::new(row));
            }
        }
    }

    /// Changes a job, if it is there.
    fn in_job(&mut self, account: &AccountName, job: &JobId, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(account).and_then(|jobs| jobs.get_mut(job)) {
            change(job);
        }
    }

    fn put_file(&mut self, row: &FileRow) {
        let containers = self.containers.entry(row.account.clone()).or_default();
        containers
            .entry(row.container.clone())
            .or_insert_with(|| Container { created: row.modified, files: BTreeMap::new() })
            .files
            .insert(row.path.clone(), Arc::new(row.clone()));
    }

    pub(super) fn job(&self, account: &AccountName, job: &JobId) -> Option<&Job> {
        self.jobs.get(account)?.get(job)
    }

    fn all_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().flat_map(BTreeMap::values)
    }

    /// Every row that decides but tasks and members.
    pub(super) fn load(&self) -> Rows {
        let mut sweeps: Vec<_> = self
            .all_jobs()
            .flat_map(|job| job.sweeps.values())
            .filter_map(|sweep| sweep.view().map(|view| (view.row, view.state)))
            .collect();
        sweeps.sort_by_key(|(row, _)| row.sequence);
        Rows {
            accounts: self.accounts.values().map(|row| AccountRow::clone(row)).collect(),
            pools: all(&self.pools),
            nodes: all(&self.nodes),
            tokens: all(&self.tokens),
            jobs: self.all_jobs().map(|job| JobRow::clone(&job.row)).collect(),
            sweeps,
            job_nodes: self
                .all_jobs()
                .flat_map(|job| job.nodes.values())
                .map(|row| row.as_ref().clone())
                .collect(),
            tasks: Vec::new(),
            members: Vec::new(),
            requests: all(&self.requests),
            numbers_used: self.numbers_used,
        }
    }

    /// Hands every task and member to `each`.
    pub(super) fn load_tasks(&self, each: &mut dyn FnMut(TaskRows)) {
        for task in self.all_jobs().flat_map(|job| job.tasks.values()) {
            each(task.rows());
        }
    }
}

fn all<K, V: Clone>(rows: &ByAccount<K, Arc<V>>) -> Vec<V> {
    rows.values().flat_map(BTreeMap::values).map(|row| V::clone(row)).collect()
}
