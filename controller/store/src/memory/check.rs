//! Refuses a batch before anything of it is applied, as a database rolls one back.
//!
//! Follows which jobs, sweeps and tasks each record of the batch makes and removes, on top of what is committed.

use super::job::Task;
use super::rows::MemoryRows;
use crate::port::{StoreError, integer};
use muster_controller_core::record::{Record, SweepRow};
use muster_model::{AccountName, JobId, SweepId, TaskId, TaskKey};
use std::collections::{BTreeMap, BTreeSet};

type JobKey = (AccountName, JobId);

/// What the records so far have made and removed.
struct Overlay<'r> {
    rows: &'r MemoryRows,
    jobs: BTreeMap<JobKey, bool>,
    /// Jobs that were removed once: their committed sweeps and tasks count no more.
    emptied: BTreeSet<JobKey>,
    sweeps: BTreeMap<(JobKey, SweepId), bool>,
    /// Whether a task is there, and of which sweep it is.
    tasks: BTreeMap<(AccountName, TaskKey), (bool, Option<SweepId>)>,
    /// Sweeps that were removed once: their committed members count no more.
    swept: BTreeSet<(JobKey, SweepId)>,
}

/// Checks that every record can be applied in order.
pub(super) fn check(rows: &MemoryRows, records: &[Record]) -> Result<(), StoreError> {
    let mut overlay = Overlay {
        rows,
        jobs: BTreeMap::new(),
        emptied: BTreeSet::new(),
        sweeps: BTreeMap::new(),
        tasks: BTreeMap::new(),
        swept: BTreeSet::new(),
    };
    records.iter().try_for_each(|record| overlay.check(record))
}

impl Overlay<'_> {
    fn check(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Account(row) => integer("revision", row.revision).map(drop),
            Record::Pool(row) => integer("revision", row.revision).map(drop),
            Record::Node(row) => {
                integer("tasks_run", row.tasks_run)?;
                integer("tasks_succeeded", row.tasks_succeeded)?;
                integer("revision", row.revision).map(drop)
            }
            Record::Job(row) => {
                integer("sequence", row.sequence)?;
                integer("revision", row.revision)?;
                self.jobs.insert((row.account.clone(), row.spec.id.clone()), true);
                Ok(())
            }
            Record::JobGone(account, job) => {
                let key = (account.clone(), job.clone());
                self.tasks.retain(|(owner, task), _| (owner, &task.job) != (account, job));
                self.sweeps.retain(|(owner, _), _| *owner != key);
                self.jobs.insert(key.clone(), false);
                self.emptied.insert(key);
                Ok(())
            }
            Record::Sweep(row) => self.check_new_sweep(row),
            Record::SweepState(row) => {
                self.check_sweep(&row.account, &row.job, &row.sweep, "state")?;
                integer("revision", row.revision).map(drop)
            }
            Record::SweepGone(account, job, sweep) => {
                self.mark_sweep_gone(account, job, sweep);
                Ok(())
            }
            Record::Member(row) => {
                self.check_sweep(&row.account, &row.job, &row.sweep, "member")?;
                integer("sequence", row.sequence)?;
                integer("index", row.index)?;
                self.mark_task(&row.account, &row.job, &row.task, true, Some(row.sweep.clone()));
                Ok(())
            }
            Record::JobNode(row) => {
                self.check_job(&row.account, &row.job, "preparation on node", row.node.as_str())
            }
            Record::TaskSpec(row) => {
                self.check_job(&row.account, &row.job, "task", row.spec.id.as_str())?;
                integer("sequence", row.sequence)?;
                self.mark_task(&row.account, &row.job, &row.spec.id, true, None);
                Ok(())
            }
            Record::TaskState(row) => {
                integer("revision", row.revision)?;
                self.check_task(&row.account, &row.job, &row.task, "state")
            }
            Record::TaskGone(account, job, task) => {
                self.mark_task(account, job, task, false, None);
                Ok(())
            }
            Record::Attempt(row) => {
                self.check_task(&row.account, &row.job, &row.task, "result of an attempt")
            }
            Record::File(row) => integer("size", row.size).map(drop),
            Record::NumbersUsed(number) => integer("number", *number).map(drop),
            Record::PoolGone(..)
            | Record::NodeGone(..)
            | Record::Token(_)
            | Record::TokenGone(..)
            | Record::JobNodeGone(..)
            | Record::FileGone(..)
            | Record::ContainerGone(..)
            | Record::Request(_)
            | Record::RequestGone(..) => Ok(()),
        }
    }

    fn check_new_sweep(&mut self, row: &SweepRow) -> Result<(), StoreError> {
        let (id, shape) = (&row.spec.id, row.spec.shape());
        self.check_job(&row.account, &row.job, "sweep", id.as_str())?;
        integer("sequence", row.sequence)?;
        integer("first number", shape.first)?;
        integer("step", shape.step)?;
        integer("count", shape.count)?;
        self.sweeps.insert(((row.account.clone(), row.job.clone()), id.clone()), true);
        Ok(())
    }

    fn mark_sweep_gone(&mut self, account: &AccountName, job: &JobId, sweep: &SweepId) {
        self.tasks.retain(|(owner, task), (_, of)| {
            (owner, &task.job) != (account, job) || of.as_ref() != Some(sweep)
        });
        let key = ((account.clone(), job.clone()), sweep.clone());
        self.sweeps.insert(key.clone(), false);
        self.swept.insert(key);
    }

    fn mark_task(
        &mut self,
        account: &AccountName,
        job: &JobId,
        task: &TaskId,
        exists: bool,
        sweep: Option<SweepId>,
    ) {
        let key = TaskKey { job: job.clone(), task: task.clone() };
        self.tasks.insert((account.clone(), key), (exists, sweep));
    }

    fn check_job(
        &self,
        account: &AccountName,
        job: &JobId,
        what: &'static str,
        id: &str,
    ) -> Result<(), StoreError> {
        let known = self.jobs.get(&(account.clone(), job.clone())).copied();
        if known.unwrap_or_else(|| self.rows.job(account, job).is_some()) {
            return Ok(());
        }
        Err(StoreError::UnknownJob { job: job.clone(), what, id: id.to_owned() })
    }

    fn check_sweep(
        &self,
        account: &AccountName,
        job: &JobId,
        sweep: &SweepId,
        what: &'static str,
    ) -> Result<(), StoreError> {
        self.check_job(account, job, what, sweep.as_str())?;
        let key = (account.clone(), job.clone());
        let committed = || {
            let known = self.rows.job(account, job).is_some_and(|job| job.sweeps.contains_key(sweep));
            known && !self.emptied.contains(&key)
        };
        let known = self.sweeps.get(&(key.clone(), sweep.clone())).copied();
        if known.unwrap_or_else(committed) {
            return Ok(());
        }
        Err(StoreError::UnknownSweep { job: job.clone(), sweep: sweep.clone(), what })
    }

    fn check_task(
        &self,
        account: &AccountName,
        job: &JobId,
        task: &TaskId,
        what: &'static str,
    ) -> Result<(), StoreError> {
        let key = (account.clone(), TaskKey { job: job.clone(), task: task.clone() });
        let committed = || {
            let owner = (account.clone(), job.clone());
            let row = self.rows.job(account, job).and_then(|job| job.tasks.get(task));
            let swept = row
                .and_then(Task::sweep)
                .is_some_and(|sweep| self.swept.contains(&(owner.clone(), sweep.clone())));
            row.is_some() && !swept && !self.emptied.contains(&owner)
        };
        if self.tasks.get(&key).map_or_else(committed, |(exists, _)| *exists) {
            Ok(())
        } else {
            Err(StoreError::UnknownTask { task: key.1, what })
        }
    }
}
