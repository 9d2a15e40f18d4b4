//! Reading every row that decides, for the core to start from.
//!
//! Tasks and members are handed on one by one in the order of their keys: a million of them are never in memory together.
//! Rows below a deleted job or sweep that `tidy` has not reached are passed over.

use super::fault::fault;
use super::row::{self, Cells, RowError, unreadable};
use super::row_sweep;
use super::row_task::{self, Origin};
use crate::port::StoreError;
use muster_controller_core::record::{JobNodeRow, Rows, SweepRow, SweepStateRow, TaskRows};
use muster_model::{AccountName, JobId, SweepId};
use rusqlite::{Connection, OptionalExtension as _, Row};
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
    let by_key = jobs_by_key(connection, &tenants)?;
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
        sweeps: sweeps(connection, &by_key)?,
        job_nodes: job_nodes(connection, &by_key)?,
        tasks: Vec::new(),
        members: Vec::new(),
        requests: of_tenants(
            connection,
            "request",
            "request r",
            "r.tenant",
            row::REQUEST,
            &tenants,
            row::request,
        )?,
        numbers_used: numbers_used(connection)?,
    })
}

fn numbers_used(connection: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT number FROM numbers_used";
    let found: Option<i64> =
        connection.query_row(sql, [], |row| row.get(0)).optional().map_err(fault(DOING))?;
    u64::try_from(found.unwrap_or(0))
        .map_err(|_| StoreError::Damaged { doing: "reading a number of creation below zero", cause: None })
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

/// Runs `sql`, whose last column is the key of a job, and reads the rows of jobs that live.
fn of_jobs<T>(
    connection: &Connection,
    what: &'static str,
    sql: &str,
    jobs: &Jobs,
    read: fn(&AccountName, &JobId, &mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare(sql).map_err(fault(DOING))?;
    let job_key = statement.column_count().saturating_sub(1);
    let mut rows = statement.query([]).map_err(fault(DOING))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault(DOING))? {
        let key: i64 = row.get(job_key).map_err(fault(DOING))?;
        let Some((account, job)) = jobs.get(&key) else { continue };
        all.push(read(account, job, &mut Cells::new(row)).map_err(|error| unreadable(what, row, error))?);
    }
    Ok(all)
}

fn sweeps(connection: &Connection, jobs: &Jobs) -> Result<Vec<(SweepRow, SweepStateRow)>, StoreError> {
    let sql = format!(
        "SELECT {}, {}, w.job FROM sweep w JOIN sweep_state x ON x.key = w.key ORDER BY w.sequence",
        row_sweep::SWEEP,
        row_sweep::SWEEP_STATE
    );
    let views = of_jobs(connection, "sweep", &sql, jobs, row_sweep::sweep_view)?;
    Ok(views.into_iter().map(|view| (view.row, view.state)).collect())
}

/// In the order of accounts, jobs and nodes, as the memory store has them.
fn job_nodes(connection: &Connection, jobs: &Jobs) -> Result<Vec<JobNodeRow>, StoreError> {
    let sql = format!("SELECT {}, m.job FROM job_node m", row_sweep::JOB_NODE);
    let mut rows = of_jobs(connection, "job preparation", &sql, jobs, row_sweep::job_node)?;
    rows.sort_by(|a, b| (&a.account, &a.job, &a.node).cmp(&(&b.account, &b.job, &b.node)));
    Ok(rows)
}

/// The ids of the sweeps that live, by key.
fn sweep_ids(connection: &Connection) -> Result<BTreeMap<i64, SweepId>, StoreError> {
    let read = |row: &Row<'_>| {
        let mut cells = Cells::new(row);
        let id = cells.parsed("sweep id")?;
        Ok((cells.take()?, id))
    };
    Ok(collect(connection, "sweep", "SELECT id, key FROM sweep", read)?.into_iter().collect())
}

/// Hands every task and member in the transaction of `connection` to `each`.
pub(super) fn load_tasks(connection: &Connection, each: &mut dyn FnMut(TaskRows)) -> Result<(), StoreError> {
    let jobs = jobs_by_key(connection, &tenants(connection)?)?;
    let sweeps = sweep_ids(connection)?;
    let sql = format!(
        "SELECT {}, {}, t.job FROM task t LEFT JOIN task_state s ON s.key = t.key ORDER BY t.key",
        row_task::TASK_SPEC,
        row_task::TASK_STATE
    );
    let mut statement = connection.prepare(&sql).map_err(fault(DOING))?;
    let job_key = statement.column_count().saturating_sub(1);
    let mut rows = statement.query([]).map_err(fault(DOING))?;
    while let Some(row) = rows.next().map_err(fault(DOING))? {
        let key: i64 = row.get(job_key).map_err(fault(DOING))?;
        let Some((account, job)) = jobs.get(&key) else { continue };
        let task = task_rows(account, job, &sweeps, &mut Cells::new(row));
        if let Some(task) = task.map_err(|error| unreadable("task", row, error))? {
            each(task);
        }
    }
    Ok(())
}

/// One task or member; `None` for one that a deleted sweep has left.
fn task_rows(
    account: &AccountName,
    job: &JobId,
    sweeps: &BTreeMap<i64, SweepId>,
    cells: &mut Cells<'_, '_>,
) -> Result<Option<TaskRows>, RowError> {
    match row_task::origin(account, job, cells)? {
        Origin::Plain(spec) => {
            let state = row_task::task_state(account, job, &spec.spec.id, spec.created, cells)?;
            Ok(Some(TaskRows::Task(spec, state)))
        }
        Origin::Member { sweep, row } => {
            let Some(sweep) = sweeps.get(&sweep) else { return Ok(None) };
            let member = row.of(account, job, sweep.clone());
            let state = row_task::task_state(account, job, &member.task, member.created, cells)?;
            Ok(Some(TaskRows::Member(member, state)))
        }
    }
}
