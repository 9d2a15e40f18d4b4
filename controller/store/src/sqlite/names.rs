//! Accounts, jobs, sweeps and containers by their small integer keys.
//!
//! The writer remembers keys that it has looked up, so that a batch of records of one job asks the database once.
//! What is remembered may come from a transaction: after one that failed everything must be forgotten.

use super::fault::fault;
use crate::port::StoreError;
use muster_model::{AccountName, ContainerName, JobId, SweepId};
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeMap;

/// Most keys of each kind that are remembered: the active part of a large installation. Beyond it all are forgotten
/// and asked for again, which costs a search each.
const REMEMBERED_MAX: usize = 10_000;

const DOING: &str = "looking up a name";

/// Keys that the writer has looked up.
#[derive(Debug, Default)]
pub(super) struct Names {
    tenants: BTreeMap<AccountName, i64>,
    jobs: BTreeMap<(i64, JobId), i64>,
    sweeps: BTreeMap<(i64, SweepId), i64>,
}

/// The key of an account, if anything of it is stored.
pub(super) fn find_tenant(connection: &Connection, account: &AccountName) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT key FROM tenant WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([account.as_str()], |row| row.get(0)).optional())
        .map_err(fault(DOING))
}

/// The key of a job.
pub(super) fn find_job(connection: &Connection, tenant: i64, job: &JobId) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT key FROM job WHERE tenant = ?1 AND id = ?2")
        .and_then(|mut statement| statement.query_row((tenant, job.as_str()), |row| row.get(0)).optional())
        .map_err(fault(DOING))
}

/// The key of a sweep of a job.
pub(super) fn find_sweep(
    connection: &Connection,
    job: i64,
    sweep: &SweepId,
) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT key FROM sweep WHERE job = ?1 AND id = ?2")
        .and_then(|mut statement| statement.query_row((job, sweep.as_str()), |row| row.get(0)).optional())
        .map_err(fault(DOING))
}

/// The key of a container.
pub(super) fn find_container(
    connection: &Connection,
    tenant: i64,
    container: &ContainerName,
) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT key FROM container WHERE tenant = ?1 AND name = ?2")
        .and_then(|mut statement| {
            statement.query_row((tenant, container.as_str()), |row| row.get(0)).optional()
        })
        .map_err(fault(DOING))
}

impl Names {
    /// The key of an account; makes one when there is none.
    pub(super) fn tenant(
        &mut self,
        connection: &Connection,
        account: &AccountName,
    ) -> Result<i64, StoreError> {
        if let Some(key) = self.tenants.get(account) {
            return Ok(*key);
        }
        let key = match find_tenant(connection, account)? {
            Some(key) => key,
            None => connection
                .prepare_cached("INSERT INTO tenant (name) VALUES (?1)")
                .and_then(|mut statement| statement.insert([account.as_str()]))
                .map_err(fault("writing an account's name"))?,
        };
        remember(&mut self.tenants, account.clone(), key);
        Ok(key)
    }

    /// The key of a job, if it is stored.
    pub(super) fn job(
        &mut self,
        connection: &Connection,
        tenant: i64,
        job: &JobId,
    ) -> Result<Option<i64>, StoreError> {
        let name = (tenant, job.clone());
        if let Some(key) = self.jobs.get(&name) {
            return Ok(Some(*key));
        }
        let found = find_job(connection, tenant, job)?;
        if let Some(key) = found {
            remember(&mut self.jobs, name, key);
        }
        Ok(found)
    }

    /// The key of a sweep, if it is stored.
    pub(super) fn sweep(
        &mut self,
        connection: &Connection,
        job: i64,
        sweep: &SweepId,
    ) -> Result<Option<i64>, StoreError> {
        let name = (job, sweep.clone());
        if let Some(key) = self.sweeps.get(&name) {
            return Ok(Some(*key));
        }
        let found = find_sweep(connection, job, sweep)?;
        if let Some(key) = found {
            remember(&mut self.sweeps, name, key);
        }
        Ok(found)
    }

    /// Forgets a sweep that is gone.
    pub(super) fn forget_sweep(&mut self, job: i64, sweep: &SweepId) {
        self.sweeps.remove(&(job, sweep.clone()));
    }

    /// Forgets a job that is gone. The names of its sweeps can stay: its key is never used again.
    pub(super) fn forget_job(&mut self, tenant: i64, job: &JobId) {
        self.jobs.remove(&(tenant, job.clone()));
    }

    /// Forgets everything: after a transaction that failed.
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }
}

fn remember<K: Ord>(names: &mut BTreeMap<K, i64>, name: K, key: i64) {
    if names.len() >= REMEMBERED_MAX {
        names.clear();
    }
    names.insert(name, key);
}
