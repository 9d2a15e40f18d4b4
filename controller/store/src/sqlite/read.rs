//! The readers' face of the SQLite store: each call is one read transaction on a lent connection.
//!
//! It never writes, and never waits for the writer: a reader sees the commits before its transaction as a whole. Names
//! are found first (`names`), then rows by their keys; pages are made in `list`, values of rows in `row`. A row that
//! cannot be read is an error that names it, and is never left out.

use super::columns::Stored;
use super::fault::fault;
use super::list::{Source, list};
use super::names::{find_container, find_job, find_tenant};
use super::pool::ReadPool;
use super::row::{self, Cells, RowError, unreadable};
use crate::port::{Reader, StoreError};
use crate::query::{
    AccountProperty, AttemptProperty, ContainerProperty, Fields, FileProperty, JobProperty, NodeProperty,
    Page, Plan, PoolProperty, Query, TaskProperty, TokenProperty,
};
use crate::view::{ContainerView, TaskView};
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobRow, NodeRow, PoolRow, TaskSpecRow, TokenRow,
};
use muster_model::{
    AccountName, AttemptId, ContainerName, Digest, FilePath, JobId, NodeId, PoolId, TaskKey, TokenId,
};
use rusqlite::{Connection, Params};
use std::sync::Arc;

const DOING: &str = "reading a row";
const TASKS: &str = "task t JOIN task_state s ON s.key = t.key";

#[derive(Debug)]
pub(super) struct SqliteReader {
    pool: Arc<ReadPool>,
}

/// Reads at most one row.
fn one<T>(
    connection: &Connection,
    what: &'static str,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&mut Cells<'_, '_>) -> Result<T, RowError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(fault(DOING))?;
    let mut rows = statement.query(params).map_err(fault(DOING))?;
    let Some(row) = rows.next().map_err(fault(DOING))? else { return Ok(None) };
    read(&mut Cells::new(row)).map(Some).map_err(|error| unreadable(what, row, error))
}

fn job_key(connection: &Connection, account: &AccountName, job: &JobId) -> Result<Option<i64>, StoreError> {
    match find_tenant(connection, account)? {
        Some(tenant) => find_job(connection, tenant, job),
        None => Ok(None),
    }
}

fn task_key(
    connection: &Connection,
    account: &AccountName,
    task: &TaskKey,
) -> Result<Option<i64>, StoreError> {
    let Some(job) = job_key(connection, account, &task.job)? else { return Ok(None) };
    let sql = "SELECT key FROM task WHERE job = ?1 AND id = ?2";
    one(connection, "task", sql, (job, task.task.as_str()), |cells| cells.take())
}

fn container_key(
    connection: &Connection,
    account: &AccountName,
    container: &ContainerName,
) -> Result<Option<i64>, StoreError> {
    match find_tenant(connection, account)? {
        Some(tenant) => find_container(connection, tenant, container),
        None => Ok(None),
    }
}

const fn empty<T>() -> Page<T> {
    Page { items: Vec::new(), next: None }
}

impl SqliteReader {
    pub(super) fn new(pool: Arc<ReadPool>) -> Self {
        Self { pool }
    }

    /// Reads one row of a table by its account and id.
    fn get<T>(
        &self,
        account: &AccountName,
        id: &str,
        what: &'static str,
        sql: &str,
        read: fn(&AccountName, &mut Cells<'_, '_>) -> Result<T, RowError>,
    ) -> Result<Option<T>, StoreError> {
        self.pool.read(DOING, |connection| {
            let Some(tenant) = find_tenant(connection, account)? else { return Ok(None) };
            one(connection, what, sql, (tenant, id), |cells| read(account, cells))
        })
    }

    /// Reads one page of a table by its account.
    fn list_of_account<P: Stored, T: Fields<P>>(
        &self,
        account: &AccountName,
        plan: &Plan<'_, P>,
        source: fn(i64) -> Source<'static>,
        read: fn(&AccountName, &mut Cells<'_, '_>) -> Result<T, RowError>,
    ) -> Result<Page<T>, StoreError> {
        self.pool.read(DOING, |connection| match find_tenant(connection, account)? {
            Some(tenant) => list(connection, plan, source(tenant), |cells| read(account, cells)),
            None => Ok(empty()),
        })
    }
}

impl Reader for SqliteReader {
    fn account(&self, name: &AccountName) -> Result<Option<AccountRow>, StoreError> {
        let sql = format!(
            "SELECT {} FROM tenant n JOIN account a ON a.tenant = n.key WHERE n.name = ?1",
            row::ACCOUNT
        );
        self.pool.read(DOING, |connection| one(connection, "account", &sql, [name.as_str()], row::account))
    }

    fn accounts(&self, query: &Query<AccountProperty>) -> Result<Page<AccountRow>, StoreError> {
        let plan = query.plan(&[])?;
        let source = Source {
            what: "account",
            columns: row::ACCOUNT,
            from: "tenant n JOIN account a ON a.tenant = n.key",
            parent: Vec::new(),
        };
        self.pool.read(DOING, |connection| list(connection, &plan, source, row::account))
    }

    fn pool(&self, account: &AccountName, pool: &PoolId) -> Result<Option<PoolRow>, StoreError> {
        let sql = format!("SELECT {} FROM pool p WHERE p.tenant = ?1 AND p.id = ?2", row::POOL);
        self.get(account, pool.as_str(), "pool", &sql, row::pool)
    }

    fn pools(&self, account: &AccountName, query: &Query<PoolProperty>) -> Result<Page<PoolRow>, StoreError> {
        let plan = query.plan(&[account.as_str()])?;
        let source = |tenant: i64| Source {
            what: "pool",
            columns: row::POOL,
            from: "pool p",
            parent: vec![("p.tenant", tenant.into())],
        };
        self.list_of_account(account, &plan, source, row::pool)
    }

    fn node(&self, account: &AccountName, node: &NodeId) -> Result<Option<NodeRow>, StoreError> {
        let sql = format!("SELECT {} FROM node n WHERE n.tenant = ?1 AND n.id = ?2", row::NODE);
        self.get(account, node.as_str(), "node", &sql, row::node)
    }

    fn nodes(
        &self,
        account: &AccountName,
        pool: &PoolId,
        query: &Query<NodeProperty>,
    ) -> Result<Page<NodeRow>, StoreError> {
        let plan = query.plan(&[account.as_str(), pool.as_str()])?;
        self.pool.read(DOING, |connection| {
            let Some(tenant) = find_tenant(connection, account)? else { return Ok(empty()) };
            let parent = vec![("n.tenant", tenant.into()), ("n.pool", pool.as_str().to_owned().into())];
            let source = Source { what: "node", columns: row::NODE, from: "node n", parent };
            list(connection, &plan, source, |cells| row::node(account, cells))
        })
    }

    fn token(&self, account: &AccountName, token: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        let sql = format!("SELECT {} FROM token t WHERE t.tenant = ?1 AND t.id = ?2", row::TOKEN);
        self.get(account, token.as_str(), "join token", &sql, row::token)
    }

    fn tokens(
        &self,
        account: &AccountName,
        query: &Query<TokenProperty>,
    ) -> Result<Page<TokenRow>, StoreError> {
        let plan = query.plan(&[account.as_str()])?;
        let source = |tenant: i64| Source {
            what: "join token",
            columns: row::TOKEN,
            from: "token t",
            parent: vec![("t.tenant", tenant.into())],
        };
        self.list_of_account(account, &plan, source, row::token)
    }

    fn job(&self, account: &AccountName, job: &JobId) -> Result<Option<JobRow>, StoreError> {
        let sql = format!("SELECT {} FROM job j WHERE j.tenant = ?1 AND j.id = ?2", row::JOB);
        self.get(account, job.as_str(), "job", &sql, row::job)
    }

    fn jobs(&self, account: &AccountName, query: &Query<JobProperty>) -> Result<Page<JobRow>, StoreError> {
        let plan = query.plan(&[account.as_str()])?;
        let source = |tenant: i64| Source {
            what: "job",
            columns: row::JOB,
            from: "job j",
            parent: vec![("j.tenant", tenant.into())],
        };
        self.list_of_account(account, &plan, source, row::job)
    }

    fn task(&self, account: &AccountName, task: &TaskKey) -> Result<Option<TaskView>, StoreError> {
        let (spec, state) = (row::TASK_SPEC, row::TASK_STATE);
        let sql = format!("SELECT {spec}, {state} FROM {TASKS} WHERE t.job = ?1 AND t.id = ?2");
        self.pool.read(DOING, |connection| {
            let Some(job) = job_key(connection, account, &task.job)? else { return Ok(None) };
            one(connection, "task", &sql, (job, task.task.as_str()), |cells| {
                row::task(account, &task.job, cells)
            })
        })
    }

    fn tasks(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<TaskProperty>,
    ) -> Result<Page<TaskView>, StoreError> {
        let plan = query.plan(&[account.as_str(), job.as_str()])?;
        let columns = format!("{}, {}", row::TASK_SPEC, row::TASK_STATE);
        self.pool.read(DOING, |connection| {
            let Some(key) = job_key(connection, account, job)? else { return Ok(empty()) };
            let source =
                Source { what: "task", columns: &columns, from: TASKS, parent: vec![("t.job", key.into())] };
            list(connection, &plan, source, |cells| row::task(account, job, cells))
        })
    }

    fn task_specs(
        &self,
        account: &AccountName,
        tasks: &[TaskKey],
    ) -> Result<Vec<Option<TaskSpecRow>>, StoreError> {
        let sql = format!("SELECT {} FROM task t WHERE t.job = ?1 AND t.id = ?2", row::TASK_SPEC);
        self.pool.read(DOING, |connection| {
            // Tasks that are dispatched together are mostly of one job.
            let mut last: Option<(&JobId, Option<i64>)> = None;
            let mut specs = Vec::with_capacity(tasks.len());
            for key in tasks {
                let job = match last {
                    Some((job, found)) if *job == key.job => found,
                    Some(_) | None => job_key(connection, account, &key.job)?,
                };
                last = Some((&key.job, job));
                specs.push(match job {
                    Some(job) => one(connection, "task", &sql, (job, key.task.as_str()), |cells| {
                        row::task_spec(account, &key.job, cells)
                    })?,
                    None => None,
                });
            }
            Ok(specs)
        })
    }

    fn attempt(&self, account: &AccountName, attempt: &AttemptId) -> Result<Option<AttemptRow>, StoreError> {
        let sql = format!("SELECT {} FROM attempt a WHERE a.task = ?1 AND a.number = ?2", row::ATTEMPT);
        let task = attempt.task_key();
        self.pool.read(DOING, |connection| {
            let Some(key) = task_key(connection, account, &task)? else { return Ok(None) };
            one(connection, "attempt", &sql, (key, attempt.number), |cells| {
                row::attempt(account, &task, cells)
            })
        })
    }

    fn attempts(
        &self,
        account: &AccountName,
        task: &TaskKey,
        query: &Query<AttemptProperty>,
    ) -> Result<Page<AttemptRow>, StoreError> {
        let plan = query.plan(&[account.as_str(), task.job.as_str(), task.task.as_str()])?;
        self.pool.read(DOING, |connection| {
            let Some(key) = task_key(connection, account, task)? else { return Ok(empty()) };
            let parent = vec![("a.task", key.into())];
            let source = Source { what: "attempt", columns: row::ATTEMPT, from: "attempt a", parent };
            list(connection, &plan, source, |cells| row::attempt(account, task, cells))
        })
    }

    fn container(
        &self,
        account: &AccountName,
        container: &ContainerName,
    ) -> Result<Option<ContainerView>, StoreError> {
        let sql = format!("SELECT {} FROM container c WHERE c.tenant = ?1 AND c.name = ?2", row::CONTAINER);
        self.get(account, container.as_str(), "container", &sql, row::container)
    }

    fn containers(
        &self,
        account: &AccountName,
        query: &Query<ContainerProperty>,
    ) -> Result<Page<ContainerView>, StoreError> {
        let plan = query.plan(&[account.as_str()])?;
        let source = |tenant: i64| Source {
            what: "container",
            columns: row::CONTAINER,
            from: "container c",
            parent: vec![("c.tenant", tenant.into())],
        };
        self.list_of_account(account, &plan, source, row::container)
    }

    fn file(
        &self,
        account: &AccountName,
        container: &ContainerName,
        path: &FilePath,
    ) -> Result<Option<FileRow>, StoreError> {
        let sql = format!("SELECT {} FROM file f WHERE f.container = ?1 AND f.path = ?2", row::FILE);
        self.pool.read(DOING, |connection| {
            let Some(key) = container_key(connection, account, container)? else { return Ok(None) };
            one(connection, "file", &sql, (key, path.as_str()), |cells| row::file(account, container, cells))
        })
    }

    fn files(
        &self,
        account: &AccountName,
        container: &ContainerName,
        query: &Query<FileProperty>,
    ) -> Result<Page<FileRow>, StoreError> {
        let plan = query.plan(&[account.as_str(), container.as_str()])?;
        self.pool.read(DOING, |connection| {
            let Some(key) = container_key(connection, account, container)? else { return Ok(empty()) };
            let parent = vec![("f.container", key.into())];
            let source = Source { what: "file", columns: row::FILE, from: "file f", parent };
            list(connection, &plan, source, |cells| row::file(account, container, cells))
        })
    }

    fn content_sizes(
        &self,
        account: &AccountName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let sql = "SELECT f.size FROM file f JOIN container c ON c.key = f.container
            WHERE f.digest = ?1 AND c.tenant = ?2 LIMIT 1";
        self.pool.read(DOING, |connection| {
            let Some(tenant) = find_tenant(connection, account)? else {
                return Ok(vec![None; digests.len()]);
            };
            let size = |digest: &Digest| {
                one(connection, "file", sql, (digest.as_bytes().as_slice(), tenant), |cells| cells.natural())
            };
            digests.iter().map(size).collect()
        })
    }
}
