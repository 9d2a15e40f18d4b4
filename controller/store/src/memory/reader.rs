//! The readers' face of the memory store: looks rows up, and lists by filtering and sorting all of a parent's rows.
//!
//! It changes nothing, and each call answers from one commit as a whole. It is the plain form of what SQLite answers
//! through indexes: the conformance suite holds both to the same pages. Filters and orders themselves are `query`'s.

use super::rows::{ByAccount, MemoryRows};
use super::shared::{Shared, read};
use crate::port::{Reader, StoreError};
use crate::query::{
    AccountProperty, AttemptProperty, ContainerProperty, Fields, FileProperty, JobNodeProperty, JobProperty,
    NodeProperty, Page, PoolProperty, Property, Query, SweepProperty, TaskProperty, TokenProperty,
    compare_places,
};
use crate::view::{ContainerView, SweepView, TaskView};
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobNodeRow, JobRow, NodeRow, PoolRow, TaskSpecRow, TokenRow,
};
use muster_model::{
    AccountName, AttemptId, ContainerName, Digest, FilePath, JobId, NodeId, PoolId, SweepId, TaskKey, TokenId,
};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct MemoryReader {
    rows: Shared,
}

impl MemoryReader {
    pub(super) fn new(rows: Shared) -> Self {
        Self { rows }
    }

    fn rows(&self) -> Arc<MemoryRows> {
        Arc::clone(&read(&self.rows))
    }
}

fn get<K: Ord, V: Clone>(rows: &ByAccount<K, Arc<V>>, account: &AccountName, key: &K) -> Option<V> {
    rows.get(account)?.get(key).map(|row| V::clone(row))
}

/// The rows of one account as they are in the map.
fn of_account<'r, K, V: Clone>(
    rows: &'r ByAccount<K, Arc<V>>,
    account: &AccountName,
) -> impl Iterator<Item = V> + use<'r, K, V> {
    rows.get(account).into_iter().flat_map(BTreeMap::values).map(|row| V::clone(row))
}

/// One page of `rows`.
fn list<P: Property, T: Fields<P>>(
    rows: impl Iterator<Item = T>,
    query: &Query<P>,
    scope: &[&str],
) -> Result<Page<T>, StoreError> {
    let plan = query.plan(scope)?;
    let mut kept: Vec<_> = rows
        .filter(|row| plan.filter.is_none_or(|filter| filter.matches(row)))
        .map(|row| (plan.places(&row), row))
        .filter(|(places, _)| {
            plan.after.is_none_or(|after| compare_places(&plan.terms, places, after) == Ordering::Greater)
        })
        .collect();
    kept.sort_by(|(left, _), (right, _)| compare_places(&plan.terms, left, right));
    kept.truncate(plan.limit.saturating_add(1));
    Ok(plan.page(kept.into_iter().map(|(_, row)| row).collect()))
}

impl Reader for MemoryReader {
    fn account(&self, name: &AccountName) -> Result<Option<AccountRow>, StoreError> {
        Ok(self.rows().accounts.get(name).map(|row| AccountRow::clone(row)))
    }

    fn accounts(&self, query: &Query<AccountProperty>) -> Result<Page<AccountRow>, StoreError> {
        list(self.rows().accounts.values().map(|row| AccountRow::clone(row)), query, &[])
    }

    fn pool(&self, account: &AccountName, pool: &PoolId) -> Result<Option<PoolRow>, StoreError> {
        Ok(get(&self.rows().pools, account, pool))
    }

    fn pools(&self, account: &AccountName, query: &Query<PoolProperty>) -> Result<Page<PoolRow>, StoreError> {
        list(of_account(&self.rows().pools, account), query, &[account.as_str()])
    }

    fn node(&self, account: &AccountName, node: &NodeId) -> Result<Option<NodeRow>, StoreError> {
        Ok(get(&self.rows().nodes, account, node))
    }

    fn nodes(
        &self,
        account: &AccountName,
        pool: &PoolId,
        query: &Query<NodeProperty>,
    ) -> Result<Page<NodeRow>, StoreError> {
        let rows = self.rows();
        let nodes = of_account(&rows.nodes, account).filter(|row| row.pool == *pool);
        list(nodes, query, &[account.as_str(), pool.as_str()])
    }

    fn token(&self, account: &AccountName, token: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        Ok(get(&self.rows().tokens, account, token))
    }

    fn tokens(
        &self,
        account: &AccountName,
        query: &Query<TokenProperty>,
    ) -> Result<Page<TokenRow>, StoreError> {
        list(of_account(&self.rows().tokens, account), query, &[account.as_str()])
    }

    fn job(&self, account: &AccountName, job: &JobId) -> Result<Option<JobRow>, StoreError> {
        Ok(self.rows().job(account, job).map(|job| JobRow::clone(&job.row)))
    }

    fn jobs(&self, account: &AccountName, query: &Query<JobProperty>) -> Result<Page<JobRow>, StoreError> {
        let rows = self.rows();
        let jobs = rows.jobs.get(account).into_iter().flat_map(BTreeMap::values);
        list(jobs.map(|job| JobRow::clone(&job.row)), query, &[account.as_str()])
    }

    fn sweep(
        &self,
        account: &AccountName,
        job: &JobId,
        sweep: &SweepId,
    ) -> Result<Option<SweepView>, StoreError> {
        let rows = self.rows();
        Ok(rows.job(account, job).and_then(|job| job.sweeps.get(sweep)?.view()))
    }

    fn sweeps(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<SweepProperty>,
    ) -> Result<Page<SweepView>, StoreError> {
        let rows = self.rows();
        let sweeps = rows.job(account, job).into_iter().flat_map(|job| job.sweeps.values());
        list(sweeps.filter_map(super::job::Sweep::view), query, &[account.as_str(), job.as_str()])
    }

    fn job_node(
        &self,
        account: &AccountName,
        job: &JobId,
        node: &NodeId,
    ) -> Result<Option<JobNodeRow>, StoreError> {
        let rows = self.rows();
        Ok(rows.job(account, job).and_then(|job| job.nodes.get(node)).map(|row| JobNodeRow::clone(row)))
    }

    fn job_nodes(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<JobNodeProperty>,
    ) -> Result<Page<JobNodeRow>, StoreError> {
        let rows = self.rows();
        let nodes = rows.job(account, job).into_iter().flat_map(|job| job.nodes.values());
        list(nodes.map(|row| JobNodeRow::clone(row)), query, &[account.as_str(), job.as_str()])
    }

    fn task(&self, account: &AccountName, task: &TaskKey) -> Result<Option<TaskView>, StoreError> {
        Ok(self.rows().job(account, &task.job).and_then(|job| job.task(&task.task)))
    }

    fn tasks(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<TaskProperty>,
    ) -> Result<Page<TaskView>, StoreError> {
        let rows = self.rows();
        let tasks = rows.job(account, job).into_iter().flat_map(super::job::Job::all_tasks);
        list(tasks, query, &[account.as_str(), job.as_str()])
    }

    fn task_specs(
        &self,
        account: &AccountName,
        tasks: &[TaskKey],
    ) -> Result<Vec<Option<TaskSpecRow>>, StoreError> {
        let rows = self.rows();
        let spec = |key: &TaskKey| rows.job(account, &key.job)?.task(&key.task).map(|task| task.spec);
        Ok(tasks.iter().map(spec).collect())
    }

    fn attempt(&self, account: &AccountName, attempt: &AttemptId) -> Result<Option<AttemptRow>, StoreError> {
        let rows = self.rows();
        let task = rows.job(account, &attempt.job).and_then(|job| job.row(&attempt.task));
        Ok(task.and_then(|task| task.attempts.get(&attempt.number)).map(|row| AttemptRow::clone(row)))
    }

    fn attempts(
        &self,
        account: &AccountName,
        task: &TaskKey,
        query: &Query<AttemptProperty>,
    ) -> Result<Page<AttemptRow>, StoreError> {
        let rows = self.rows();
        let found = rows.job(account, &task.job).and_then(|job| job.row(&task.task));
        let attempts = found.into_iter().flat_map(|task| task.attempts.values());
        let scope = [account.as_str(), task.job.as_str(), task.task.as_str()];
        list(attempts.map(|row| AttemptRow::clone(row)), query, &scope)
    }

    fn container(
        &self,
        account: &AccountName,
        container: &ContainerName,
    ) -> Result<Option<ContainerView>, StoreError> {
        let rows = self.rows();
        let found = rows.containers.get(account).and_then(|containers| containers.get(container));
        Ok(found.map(|found| ContainerView {
            account: account.clone(),
            name: container.clone(),
            created: found.created,
        }))
    }

    fn containers(
        &self,
        account: &AccountName,
        query: &Query<ContainerProperty>,
    ) -> Result<Page<ContainerView>, StoreError> {
        let rows = self.rows();
        let views = rows.containers.get(account).into_iter().flatten().map(|(name, container)| {
            ContainerView { account: account.clone(), name: name.clone(), created: container.created }
        });
        list(views, query, &[account.as_str()])
    }

    fn file(
        &self,
        account: &AccountName,
        container: &ContainerName,
        path: &FilePath,
    ) -> Result<Option<FileRow>, StoreError> {
        let rows = self.rows();
        let found = rows.containers.get(account).and_then(|containers| containers.get(container));
        Ok(found.and_then(|found| found.files.get(path)).map(|row| FileRow::clone(row)))
    }

    fn files(
        &self,
        account: &AccountName,
        container: &ContainerName,
        query: &Query<FileProperty>,
    ) -> Result<Page<FileRow>, StoreError> {
        let rows = self.rows();
        let found = rows.containers.get(account).and_then(|containers| containers.get(container));
        let files = found.into_iter().flat_map(|found| found.files.values());
        list(files.map(|row| FileRow::clone(row)), query, &[account.as_str(), container.as_str()])
    }

    fn content_sizes(
        &self,
        account: &AccountName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let rows = self.rows();
        let containers = rows.containers.get(account).into_iter().flat_map(BTreeMap::values);
        let sizes: BTreeMap<Digest, u64> =
            containers.flat_map(|c| c.files.values()).map(|file| (file.digest, file.size)).collect();
        Ok(digests.iter().map(|digest| sizes.get(digest).copied()).collect())
    }
}
