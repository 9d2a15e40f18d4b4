//! Refuses a batch before anything of it is applied, as a database rolls one back.
//!
//! Follows which jobs and tasks each record of the batch makes and removes, on top of what is committed.

use super::rows::MemoryRows;
use crate::port::{StoreError, integer};
use muster_controller_core::record::Record;
use muster_model::{AccountName, JobId, TaskId, TaskKey};
use std::collections::{BTreeMap, BTreeSet};

type JobKey = (AccountName, JobId);

/// What the records so far have made and removed.
struct Overlay<'r> {
    rows: &'r MemoryRows,
    jobs: BTreeMap<JobKey, bool>,
    /// Jobs that were removed once: their committed tasks count no more.
    emptied: BTreeSet<JobKey>,
    tasks: BTreeMap<(AccountName, TaskKey), bool>,
}

/// Checks that every record can be applied in order.
pub(super) fn check(rows: &MemoryRows, records: &[Record]) -> Result<(), StoreError> {
    let mut overlay =
        Overlay { rows, jobs: BTreeMap::new(), emptied: BTreeSet::new(), tasks: BTreeMap::new() };
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
                self.jobs.insert(key.clone(), false);
                self.emptied.insert(key);
                Ok(())
            }
            Record::TaskSpec(row) => {
                integer("sequence", row.sequence)?;
                let key = (row.account.clone(), row.job.clone());
                let known = self.jobs.get(&key).copied();
                if !known.unwrap_or_else(|| self.rows.job(&row.account, &row.job).is_some()) {
                    return Err(StoreError::UnknownJob { job: row.job.clone(), task: row.spec.id.clone() });
                }
                self.mark_task(&row.account, &row.job, &row.spec.id, true);
                Ok(())
            }
            Record::TaskState(row) => {
                integer("revision", row.revision)?;
                self.check_task(&row.account, &row.job, &row.task, "state")
            }
            Record::TaskGone(account, job, task) => {
                self.mark_task(account, job, task, false);
                Ok(())
            }
            Record::Attempt(row) => {
                self.check_task(&row.account, &row.job, &row.task, "result of an attempt")
            }
            Record::File(row) => integer("size", row.size).map(drop),
            Record::PoolGone(..)
            | Record::NodeGone(..)
            | Record::Token(_)
            | Record::TokenGone(..)
            | Record::FileGone(..)
            | Record::ContainerGone(..)
            | Record::Request(_)
            | Record::RequestGone(..) => Ok(()),
        }
    }

    fn mark_task(&mut self, account: &AccountName, job: &JobId, task: &TaskId, exists: bool) {
        let key = TaskKey { job: job.clone(), task: task.clone() };
        self.tasks.insert((account.clone(), key), exists);
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
            !self.emptied.contains(&(account.clone(), job.clone()))
                && self.rows.task(account, &key.1).is_some()
        };
        if self.tasks.get(&key).copied().unwrap_or_else(committed) {
            Ok(())
        } else {
            Err(StoreError::UnknownTask { task: key.1, what })
        }
    }
}
