//! Reading every row that decides, for the core to start from.
//!
//! Tasks are read in the order of their keys, which is nearly that of their sequence numbers, and put in order in
//! memory: an index over all sequence numbers would cost every insert to save this sort.

use super::fault::fault;
use super::row::{self, Cells, RowError, unreadable};
use crate::port::StoreError;
use muster_controller_core::record::{Rows, TaskSpecRow, TaskStateRow};
use muster_model::{AccountName, JobId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

const DOING: &str = "loading all rows";

/// The account of each key.
type Tenants = BTreeMap<i64, AccountName>;
/// The account and the id of each job's key. Keys of deleted jobs are not in it.
type Jobs = BTreeMap<i64, (AccountName, JobId)>;

/// Reads everything in the transaction of `connection`.
pub(super) fn load(connection: &Connection) -> Result<Rows, StoreError> {
    let tenants = tenants(connection)?;
    let sql =
        format!("SELECT {} FROM account a JOIN tenant n ON n.key = a.tenant ORDER BY n.name", row::ACCOUNT);
    let accounts = collect(connection, "account", &sql, |row| row::account(&mut Cells::new(row)))?;
    let jobs = of_tenants(connection, "job", "job j", "j.tenant", row::JOB, &tenants, row::job)?;
    let tasks = tasks(connection, &jobs_by_key(connection, &tenants)?)?;
    Ok(Rows {
        accounts,
        pools: of_tenants(connection, "pool", "pool p", "p.tenant", row::POOL, &tenants, row::pool)?,
        nodes: of_tenants(connection, "node", "node n", "n.tenant", row::NODE, &tenants, row::node)?,
        tokens: of_tenants(
            connection,
            "join token",
            "token t",
            "t.tenant",
            row::TOKEN,
            &tenants,
            row::token,
        )?,
        jobs,
        tasks,
        requests: of_tenants(
            connection,
            "request",
            "request r",
            "r.tenant",
            row::REQUEST,
            &tenants,
            row::request,
        )?,
    })
}

/// Runs `sql` and reads every row.
fn collect<T>(
    connection: &Connection,
    what: &'static str,
    sql: &str,
    mut read: impl FnMut(&Row<'_>) -> Result<T, RowError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare(sql).map_err(fault(DOING))?;
    let mut rows = statement.query([]).map_err(fault(DOING))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault(DOING))? {
        all.push(read(row).map_err(|error| unreadable(what, row, error))?);
    }
    Ok(all)
}

fn tenants(connection: &Connection) -> Result<Tenants, StoreError> {
    let read = |row: &Row<'_>| {
        let mut cells = Cells::new(row);
        let name = cells.parsed("account name")?;
        Ok((cells.take()?, name))
    };
    Ok(collect(connection, "account", "SELECT name, key FROM tenant", read)?.into_iter().collect())
}

/// The rows of a table that has its account's key in the column `tenant`, by account and id.
fn of_tenants<T>(
    connection: &Connection,
    what: &'static str,
    table: &str,
    tenant: &str,
    columns: &str,
    tenants: &Tenants,
    read: fn(&AccountName, &mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    let sql = format!("SELECT {columns} FROM {table} WHERE {tenant} = ?1 ORDER BY 1");
    let mut statement = connection.prepare(&sql).map_err(fault(DOING))?;
    // In the order of names, as the memory store has them.
    let by_name: BTreeMap<&AccountName, i64> = tenants.iter().map(|(key, name)| (name, *key)).collect();
    for (account, key) in by_name {
        let mut rows = statement.query([key]).map_err(fault(DOING))?;
        while let Some(row) = rows.next().map_err(fault(DOING))? {
            let read = read(account, &mut Cells::new(row));
            all.push(read.map_err(|error| unreadable(what, row, error))?);
        }
    }
    Ok(all)
}

fn jobs_by_key(connection: &Connection, tenants: &Tenants) -> Result<Jobs, StoreError> {
    let read = |row: &Row<'_>| {
        let mut cells = Cells::new(row);
        let job = cells.parsed("job id")?;
        let key: i64 = cells.take()?;
        let tenant: i64 = cells.take()?;
        Ok((key, tenant, job))
    };
    let rows = collect(connection, "job", "SELECT id, key, tenant FROM job", read)?;
    let jobs = rows.into_iter().filter_map(|(key, tenant, job)| {
        let account = tenants.get(&tenant)?.clone();
        Some((key, (account, job)))
    });
    Ok(jobs.collect())
}

fn tasks(connection: &Connection, jobs: &Jobs) -> Result<Vec<(TaskSpecRow, TaskStateRow)>, StoreError> {
    let sql = format!(
        "SELECT {}, {}, t.job, s.key FROM task t LEFT JOIN task_state s ON s.key = t.key ORDER BY t.key",
        row::TASK_SPEC,
        row::TASK_STATE
    );
    let mut statement = connection.prepare(&sql).map_err(fault(DOING))?;
    let state_key = statement.column_count().saturating_sub(1);
    let job_key = state_key.saturating_sub(1);
    let mut rows = statement.query([]).map_err(fault(DOING))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault(DOING))? {
        let key: i64 = row.get(job_key).map_err(fault(DOING))?;
        // A task of a deleted job that `sweep` has not reached.
        let Some((account, job)) = jobs.get(&key) else { continue };
        if row.get_ref(state_key).map_err(fault(DOING))? == ValueRef::Null {
            return Err(StoreError::Damaged { doing: "reading a task that has no state", cause: None });
        }
        let view =
            row::task(account, job, &mut Cells::new(row)).map_err(|error| unreadable("task", row, error))?;
        all.push((view.spec, view.state));
    }
    all.sort_by_key(|(spec, _)| spec.sequence);
    Ok(all)
}
