//! The rows themselves, in maps ordered as the lists are, and the one function that applies a record.
//!
//! Rows are behind `Arc`, so that a copy of all maps copies no row. A record that reaches `apply` has been checked:
//! its job and its task are there.

use crate::port::StoreError;
use crate::view::TaskView;
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobRow, NodeRow, PoolRow, Record, RequestRow, Rows, TaskSpecRow,
    TaskStateRow, TokenRow,
};
use muster_model::{
    AccountName, AttemptNumber, ContainerName, FilePath, JobId, NodeId, PoolId, RequestId, TaskId, TaskKey,
    Timestamp, TokenId,
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
}

/// A job with its tasks.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) row: Arc<JobRow>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
}

/// A task with its ledger of attempts.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) spec: Arc<TaskSpecRow>,
    pub(super) state: Option<Arc<TaskStateRow>>,
    pub(super) attempts: BTreeMap<AttemptNumber, Arc<AttemptRow>>,
}

/// A container with its files.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) created: Timestamp,
    pub(super) files: BTreeMap<FilePath, Arc<FileRow>>,
}

impl Task {
    /// Both halves; none while the state has not been written.
    pub(super) fn view(&self) -> Option<TaskView> {
        let state = self.state.as_ref()?;
        Some(TaskView { spec: TaskSpecRow::clone(&self.spec), state: TaskStateRow::clone(state) })
    }
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
            Record::TaskSpec(row) => self.put_task_spec(row),
            Record::TaskState(row) => {
                if let Some(task) = self.task_mut(&row.account, &row.job, &row.task) {
                    task.state = Some(Arc::new(TaskStateRow::clone(row)));
                }
            }
            Record::TaskGone(account, job, task) => {
                if let Some(job) = self.jobs.get_mut(account).and_then(|jobs| jobs.get_mut(job)) {
                    job.tasks.remove(task);
                }
            }
            Record::Attempt(row) => {
                if let Some(task) = self.task_mut(&row.account, &row.job, &row.task) {
                    task.attempts.insert(row.number, Arc::new(AttemptRow::clone(row)));
                }
            }
            Record::File(row) => self.put_file(row),
            Record::FileGone(account, container, path) => {
                if let Some(container) = self.containers.get_mut(account).and_then(|c| c.get_mut(container)) {
                    container.files.remove(path);
                }
            }
            Record::ContainerGone(account, container) => remove(&mut self.containers, account, container),
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
                jobs.insert(row.spec.id.clone(), Job { row, tasks: BTreeMap::new() });
            }
        }
    }

    fn put_task_spec(&mut self, row: &TaskSpecRow) {
        let Some(job) = self.jobs.get_mut(&row.account).and_then(|jobs| jobs.get_mut(&row.job)) else {
            return;
        };
        let spec = Arc::new(row.clone());
        match job.tasks.get_mut(&row.spec.id) {
            Some(task) => task.spec = spec,
            None => {
                let task = Task { spec, state: None, attempts: BTreeMap::new() };
                job.tasks.insert(row.spec.id.clone(), task);
            }
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

    fn task_mut(&mut self, account: &AccountName, job: &JobId, task: &TaskId) -> Option<&mut Task> {
        self.jobs.get_mut(account)?.get_mut(job)?.tasks.get_mut(task)
    }

    pub(super) fn job(&self, account: &AccountName, job: &JobId) -> Option<&Job> {
        self.jobs.get(account)?.get(job)
    }

    pub(super) fn task(&self, account: &AccountName, key: &TaskKey) -> Option<&Task> {
        self.job(account, &key.job)?.tasks.get(&key.task)
    }

    /// Every row that decides.
    pub(super) fn load(&self) -> Result<Rows, StoreError> {
        let mut tasks = Vec::new();
        for task in self.jobs.values().flat_map(BTreeMap::values).flat_map(|job| job.tasks.values()) {
            let damaged = StoreError::Damaged { doing: "reading a task that has no state", cause: None };
            let view = task.view().ok_or(damaged)?;
            tasks.push((view.spec, view.state));
        }
        tasks.sort_by_key(|(spec, _)| spec.sequence);
        Ok(Rows {
            accounts: self.accounts.values().map(|row| AccountRow::clone(row)).collect(),
            pools: all(&self.pools),
            nodes: all(&self.nodes),
            tokens: all(&self.tokens),
            jobs: self.jobs.values().flat_map(BTreeMap::values).map(|job| JobRow::clone(&job.row)).collect(),
            tasks,
            requests: all(&self.requests),
        })
    }
}

fn all<K, V: Clone>(rows: &ByAccount<K, Arc<V>>) -> Vec<V> {
    rows.values().flat_map(BTreeMap::values).map(|row| V::clone(row)).collect()
}
