//! What a durable batch changed, by name only: what watches are woken by and resume from.
//!
//! Rows are not kept: whoever is told a name reads what it is now. A batch that changes very many tasks of a job says so
//! and names none of them, so that a million added tasks cost the memory of one.

use muster_controller_core::record::Record;
use muster_model::{AccountName, JobId, NodeId, PoolId, SweepId, TaskId};
use std::collections::BTreeMap;

/// Names of one kind and job that a batch keeps: as many as one event of a watch can tell.
const NAMES_PER_JOB_MAX: usize = 1_000;

/// What one durable batch changed.
#[derive(Debug, Default)]
pub struct Committed {
    /// Grows by one with each batch; starts anew, far above all earlier ones, when the controller does.
    pub revision: u64,
    /// Pools, in the order of their changes.
    pub pools: Vec<(AccountName, PoolChange)>,
    /// Jobs and what is in them, each job once.
    pub jobs: Vec<JobChanges>,
}

/// What changed about pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolChange {
    /// The pool itself, or it is gone.
    Pool(PoolId),
    /// A node has joined a pool.
    Joined(NodeId, PoolId),
    /// A node is gone.
    Left(NodeId),
}

/// What changed in one job.
#[derive(Debug)]
pub struct JobChanges {
    /// The account.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// The job itself has changed or is gone, or what it did on nodes.
    pub itself: bool,
    /// Tasks that were added, changed or removed.
    pub tasks: Vec<TaskId>,
    /// Sweeps that were added or removed, or whose members changed together.
    pub sweeps: Vec<SweepId>,
    /// There were more tasks or sweeps than are named; then none is.
    pub overflow: bool,
}

impl JobChanges {
    fn of(account: &AccountName, job: &JobId) -> Self {
        Self {
            account: account.clone(),
            job: job.clone(),
            itself: false,
            tasks: Vec::new(),
            sweeps: Vec::new(),
            overflow: false,
        }
    }

    fn task(&mut self, task: &TaskId) {
        // A task's records follow one another: its specification, its state, its attempt.
        if !self.overflow && self.tasks.last() != Some(task) {
            self.tasks.push(task.clone());
            self.bound();
        }
    }

    fn sweep(&mut self, sweep: &SweepId) {
        if !self.overflow && self.sweeps.last() != Some(sweep) {
            self.sweeps.push(sweep.clone());
            self.bound();
        }
    }

    fn bound(&mut self) {
        if self.tasks.len() > NAMES_PER_JOB_MAX || self.sweeps.len() > NAMES_PER_JOB_MAX {
            self.overflow = true;
            self.tasks = Vec::new();
            self.sweeps = Vec::new();
        }
    }

    fn add(&mut self, other: Self) {
        self.itself |= other.itself;
        for task in &other.tasks {
            self.task(task);
        }
        for sweep in &other.sweeps {
            self.sweep(sweep);
        }
        if other.overflow {
            self.overflow = true;
            self.tasks = Vec::new();
            self.sweeps = Vec::new();
        }
    }
}

/// What a record is about, for those who watch.
enum Subject<'a> {
    Pool(&'a AccountName, PoolChange),
    Job(&'a AccountName, &'a JobId),
    Task(&'a AccountName, &'a JobId, &'a TaskId),
    Sweep(&'a AccountName, &'a JobId, &'a SweepId),
    /// Nothing that is watched.
    Other,
}

fn subject(record: &Record) -> Subject<'_> {
    match record {
        Record::Pool(row) => Subject::Pool(&row.account, PoolChange::Pool(row.spec.id.clone())),
        Record::PoolGone(account, pool) => Subject::Pool(account, PoolChange::Pool(pool.clone())),
        // A node's first revision is that of its joining; what it does later is no change of its pool.
        Record::Node(row) if row.revision == 1 => {
            Subject::Pool(&row.account, PoolChange::Joined(row.id.clone(), row.pool.clone()))
        }
        Record::NodeGone(account, node) => Subject::Pool(account, PoolChange::Left(node.clone())),
        Record::Job(row) => Subject::Job(&row.account, &row.spec.id),
        Record::JobGone(account, job) | Record::JobNodeGone(account, job, _) => Subject::Job(account, job),
        Record::JobNode(row) => Subject::Job(&row.account, &row.job),
        Record::TaskSpec(row) => Subject::Task(&row.account, &row.job, &row.spec.id),
        Record::TaskState(row) => Subject::Task(&row.account, &row.job, &row.task),
        Record::TaskGone(account, job, task) => Subject::Task(account, job, task),
        Record::Attempt(row) => Subject::Task(&row.account, &row.job, &row.task),
        Record::Member(row) => Subject::Task(&row.account, &row.job, &row.task),
        Record::Sweep(row) => Subject::Sweep(&row.account, &row.job, &row.spec.id),
        Record::SweepState(row) => Subject::Sweep(&row.account, &row.job, &row.sweep),
        Record::SweepGone(account, job, sweep) => Subject::Sweep(account, job, sweep),
        Record::Account(_)
        | Record::NumbersUsed(_)
        | Record::Node(_)
        | Record::Token(_)
        | Record::TokenGone(..)
        | Record::File(_)
        | Record::FileGone(..)
        | Record::ContainerGone(..)
        | Record::Request(_)
        | Record::RequestGone(..) => Subject::Other,
    }
}

/// Collects changes by job. Records of one job mostly follow one another, so the last job is kept at hand.
#[derive(Default)]
struct Collector {
    last: Option<JobChanges>,
    others: BTreeMap<(AccountName, JobId), JobChanges>,
}

impl Collector {
    fn of(&mut self, account: &AccountName, job: &JobId) -> &mut JobChanges {
        let is_last = |last: &JobChanges| last.job == *job && last.account == *account;
        if !self.last.as_ref().is_some_and(is_last) {
            self.put_away();
        }
        self.last.get_or_insert_with(|| JobChanges::of(account, job))
    }

    fn put_away(&mut self) {
        if let Some(last) = self.last.take() {
            let key = (last.account.clone(), last.job.clone());
            match self.others.get_mut(&key) {
                Some(known) => known.add(last),
                None => {
                    self.others.insert(key, last);
                }
            }
        }
    }
}

impl Committed {
    /// What these records change. Linear in them.
    pub(super) fn of(revision: u64, records: &[Record]) -> Self {
        let (mut pools, mut jobs) = (Vec::<(AccountName, PoolChange)>::new(), Collector::default());
        for record in records {
            match subject(record) {
                Subject::Pool(account, change) => {
                    if pools.last().is_none_or(|(of, last)| *last != change || of != account) {
                        pools.push((account.clone(), change));
                    }
                }
                Subject::Job(account, job) => jobs.of(account, job).itself = true,
                Subject::Task(account, job, task) => jobs.of(account, job).task(task),
                Subject::Sweep(account, job, sweep) => jobs.of(account, job).sweep(sweep),
                Subject::Other => {}
            }
        }
        jobs.put_away();
        Self { revision, pools, jobs: jobs.others.into_values().collect() }
    }

    /// How many names it holds: what it costs.
    pub(super) fn names(&self) -> usize {
        let of_jobs: usize = self.jobs.iter().map(|job| 1 + job.tasks.len() + job.sweeps.len()).sum();
        self.pools.len() + of_jobs
    }

    /// Whether it changed nothing that is watched.
    pub(super) const fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.jobs.is_empty()
    }

    /// What it changed in one job.
    #[must_use]
    pub fn in_job(&self, account: &AccountName, job: &JobId) -> Option<&JobChanges> {
        self.jobs.iter().find(|changes| changes.job == *job && changes.account == *account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountName {
        AccountName::parse("studio").unwrap()
    }

    fn job(id: &str) -> JobId {
        JobId::parse(id).unwrap()
    }

    fn task_gone(in_job: &str, task: &str) -> Record {
        Record::TaskGone(account(), job(in_job), TaskId::parse(task).unwrap())
    }

    fn names(changes: &JobChanges) -> Vec<&str> {
        changes.tasks.iter().map(TaskId::as_str).collect()
    }

    #[test]
    fn changes_are_gathered_by_job_wherever_they_stand() {
        let records = [
            task_gone("a", "t1"),
            task_gone("a", "t1"),
            task_gone("b", "t2"),
            Record::JobGone(account(), job("c")),
            Record::SweepGone(account(), job("b"), SweepId::parse("s").unwrap()),
            task_gone("A", "t3"),
        ];
        let committed = Committed::of(7, &records);
        assert_eq!((committed.revision, committed.jobs.len()), (7, 3));
        assert_eq!(names(committed.in_job(&account(), &job("a")).unwrap()), ["t1", "t3"]);
        let b = committed.in_job(&account(), &job("b")).unwrap();
        assert_eq!((names(b), b.sweeps.len()), (vec!["t2"], 1));
        assert!(committed.in_job(&account(), &job("c")).unwrap().itself && !b.itself);
        let other = AccountName::parse("other1").unwrap();
        assert!(committed.in_job(&other, &job("a")).is_none());
        assert_eq!(committed.names(), 3 + 3 + 1);
    }

    #[test]
    fn a_flood_of_tasks_names_none_and_costs_nothing() {
        let mut records: Vec<Record> =
            (0..=NAMES_PER_JOB_MAX).map(|n| task_gone("a", &format!("t{n}"))).collect();
        records.insert(500, task_gone("b", "x"));
        let committed = Committed::of(1, &records);
        let a = committed.in_job(&account(), &job("a")).unwrap();
        assert!(a.overflow && a.tasks.is_empty());
        assert!(!committed.in_job(&account(), &job("b")).unwrap().overflow);
        records.pop();
        let fits = Committed::of(1, &records);
        assert_eq!(fits.in_job(&account(), &job("a")).unwrap().tasks.len(), NAMES_PER_JOB_MAX);
    }
}
