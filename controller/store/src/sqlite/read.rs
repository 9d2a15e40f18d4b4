//! The readers' face of the SQLite store: each call is one read transaction on a lent connection.
//!
//! It never writes, and never waits for the writer: a reader sees the commits before its transaction as a whole. Names
//! are found first (`names`), then rows by their keys; pages are made in `list`, values of rows in `row`. A row that
//! cannot be read is an error that names it, and is never left out.

use super::columns::Stored;
use super::list::{Source, list};
use super::names::{find_container, find_job, find_tenant};
use super::pool::ReadPool;
use super::resolve::{JobAt, Resolved, one};
use super::row::{self, Cells, RowError};
use super::template::Templates;
use super::{row_sweep, row_task, task_list};
use crate::member::{self, Fate};
use crate::port::{Reader, StoreError};
use crate::query::{
    AccountProperty, AttemptProperty, ContainerProperty, Fields, FileProperty, JobNodeProperty, JobProperty,
    NodeProperty, Page, Plan, PoolProperty, Query, SweepProperty, TaskProperty, TokenProperty,
};
use crate::view::{ContainerView, SweepView, TaskView};
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobNodeRow, JobRow, NodeRow, PoolRow, TaskSpecRow, TokenRow,
};
use muster_model::{
    AccountName, AttemptId, ContainerName, Digest, FilePath, JobId, NodeId, PoolId, SweepId, TaskKey, TokenId,
};
use rusqlite::Connection;
use std::sync::Arc;

const DOING: &str = "reading a row";
const SWEEPS: &str = "sweep w JOIN sweep_state x ON x.key = w.key";

#[derive(Debug)]
pub(super) struct SqliteReader {
    pool: Arc<ReadPool>,
    templates: Arc<Templates>,
}

fn job_key(connection: &Connection, account: &AccountName, job: &JobId) -> Result<Option<i64>, StoreError> {
    match find_tenant(connection, account)? {
        Some(tenant) => find_job(connection, tenant, job),
        None => Ok(None),
    }
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
    pub(super) fn new(pool: Arc<ReadPool>, templates: Arc<Templates>) -> Self {
        Self { pool, templates }
    }

    /// Reads of a job, which may not be there.
    fn in_job<T>(
        &self,
        account: &AccountName,
        job: &JobId,
        absent: impl FnOnce() -> T,
        read: impl FnOnce(JobAt<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.pool.read(DOING, |connection| match job_key(connection, account, job)? {
            Some(key) => read(JobAt { connection, account, id: job, key }),
            None => Ok(absent()),
        })
    }

    fn read_task(&self, at: JobAt<'_>, found: Resolved) -> Result<Option<TaskView>, StoreError> {
        let JobAt { connection, account, id: job, .. } = at;
        let find = |key| self.templates.get(connection, account, job, key);
        match found {
            Resolved::Row { key, .. } => {
                let sql = format!(
                    "SELECT {}, {} FROM task t LEFT JOIN task_state s ON s.key = t.key WHERE t.key = ?1",
                    row_task::TASK_SPEC,
                    row_task::TASK_STATE
                );
                one(connection, "task", &sql, [key], |cells| row_task::task(account, job, &find, cells))
            }
            Resolved::Member { sweep, state, index, .. } => {
                let template = find(sweep)?;
                let member = template.zip(Fate::of(&state, index));
                Ok(member.map(|(template, fate)| member::view(&template, index, fate)))
            }
        }
    }

    fn read_task_spec(&self, at: JobAt<'_>, found: Resolved) -> Result<Option<TaskSpecRow>, StoreError> {
        let JobAt { connection, account, id: job, .. } = at;
        let find = |key| self.templates.get(connection, account, job, key);
        match found {
            Resolved::Row { key, .. } => {
                let sql = format!("SELECT {} FROM task t WHERE t.key = ?1", row_task::TASK_SPEC);
                one(connection, "task", &sql, [key], |cells| row_task::task_spec(account, job, &find, cells))
            }
            Resolved::Member { sweep, index, .. } => {
                Ok(find(sweep)?.map(|template| template.expand(index).0))
            }
        }
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
        source: fn(i64) -> Source<'static, P>,
        read: fn(&AccountName, &mut Cells<'_, '_>) -> Result<T, RowError>,
    ) -> Result<Page<T>, StoreError> {
        self.pool.read(DOING, |connection| match find_tenant(connection, account)? {
            Some(tenant) => list(connection, plan, &source(tenant), |cells| read(account, cells)),
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
        let source = Source::of("account", row::ACCOUNT, "tenant n JOIN account a ON a.tenant = n.key", []);
        self.pool.read(DOING, |connection| list(connection, &plan, &source, row::account))
    }

    fn pool(&self, account: &AccountName, pool: &PoolId) -> Result<Option<PoolRow>, StoreError> {
        let sql = format!("SELECT {} FROM pool p WHERE p.tenant = ?1 AND p.id = ?2", row::POOL);
        self.get(account, pool.as_str(), "pool", &sql, row::pool)
    }

    fn pools(&self, account: &AccountName, query: &Query<PoolProperty>) -> Result<Page<PoolRow>, StoreError> {
        let plan = query.plan(&[account.as_str()])?;
        let source = |tenant: i64| Source::of("pool", row::POOL, "pool p", [("p.tenant", tenant.into())]);
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
            let parent = [("n.tenant", tenant.into()), ("n.pool", pool.as_str().to_owned().into())];
            let source = Source::of("node", row::NODE, "node n", parent);
            list(connection, &plan, &source, |cells| row::node(account, cells))
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
        let source =
            |tenant: i64| Source::of("join token", row::TOKEN, "token t", [("t.tenant", tenant.into())]);
        self.list_of_account(account, &plan, source, row::token)
    }

    fn job(&self, account: &AccountName, job: &JobId) -> Result<Option<JobRow>, StoreError> {
        let sql = format!("SELECT {} FROM job j WHERE j.tenant = ?1 AND j.id = ?2", row::JOB);
        self.get(account, job.as_str(), "job", &sql, row::job)
    }

    fn jobs(&self, account: &AccountName, query: &Query<JobProperty>) -> Result<Page<JobRow>, StoreError> {
        let plan = query.plan(&[account.as_str()])?;
        let source = |tenant: i64| Source::of("job", row::JOB, "job j", [("j.tenant", tenant.into())]);
        self.list_of_account(account, &plan, source, row::job)
    }

    fn sweep(
        &self,
        account: &AccountName,
        job: &JobId,
        sweep: &SweepId,
    ) -> Result<Option<SweepView>, StoreError> {
        let sql = format!(
            "SELECT {}, {} FROM {SWEEPS} WHERE w.job = ?1 AND w.id = ?2",
            row_sweep::SWEEP,
            row_sweep::SWEEP_STATE
        );
        self.in_job(
            account,
            job,
            || None,
            |at| {
                one(at.connection, "sweep", &sql, (at.key, sweep.as_str()), |cells| {
                    row_sweep::sweep_view(account, job, cells)
                })
            },
        )
    }

    fn sweeps(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<SweepProperty>,
    ) -> Result<Page<SweepView>, StoreError> {
        let plan = query.plan(&[account.as_str(), job.as_str()])?;
        let columns = format!("{}, {}", row_sweep::SWEEP, row_sweep::SWEEP_STATE);
        self.in_job(account, job, empty, |at| {
            let source = Source::of("sweep", &columns, SWEEPS, [("w.job", at.key.into())]);
            list(at.connection, &plan, &source, |cells| row_sweep::sweep_view(account, job, cells))
        })
    }

    fn job_node(
        &self,
        account: &AccountName,
        job: &JobId,
        node: &NodeId,
    ) -> Result<Option<JobNodeRow>, StoreError> {
        let sql = format!("SELECT {} FROM job_node m WHERE m.job = ?1 AND m.node = ?2", row_sweep::JOB_NODE);
        self.in_job(
            account,
            job,
            || None,
            |at| {
                one(at.connection, "job preparation", &sql, (at.key, node.as_str()), |cells| {
                    row_sweep::job_node(account, job, cells)
                })
            },
        )
    }

    fn job_nodes(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<JobNodeProperty>,
    ) -> Result<Page<JobNodeRow>, StoreError> {
        let plan = query.plan(&[account.as_str(), job.as_str()])?;
        self.in_job(account, job, empty, |at| {
            let parent = [("m.job", at.key.into())];
            let source = Source::of("job preparation", row_sweep::JOB_NODE, "job_node m", parent);
            list(at.connection, &plan, &source, |cells| row_sweep::job_node(account, job, cells))
        })
    }

    fn task(&self, account: &AccountName, task: &TaskKey) -> Result<Option<TaskView>, StoreError> {
        self.in_job(
            account,
            &task.job,
            || None,
            |at| match at.resolve(&task.task)? {
                Some(found) => self.read_task(at, found),
                None => Ok(None),
            },
        )
    }

    fn tasks(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<TaskProperty>,
    ) -> Result<Page<TaskView>, StoreError> {
        let plan = query.plan(&[account.as_str(), job.as_str()])?;
        self.in_job(account, job, empty, |at| task_list::tasks(at, &self.templates, &plan))
    }

    fn task_specs(
        &self,
        account: &AccountName,
        tasks: &[TaskKey],
    ) -> Result<Vec<Option<TaskSpecRow>>, StoreError> {
        self.pool.read(DOING, |connection| {
            // Tasks that are dispatched together are mostly of one job.
            let mut last: Option<(&JobId, Option<i64>)> = None;
            let mut specs = Vec::with_capacity(tasks.len());
            for task in tasks {
                let job = match last {
                    Some((job, found)) if *job == task.job => found,
                    Some(_) | None => job_key(connection, account, &task.job)?,
                };
                last = Some((&task.job, job));
                let at = job.map(|key| JobAt { connection, account, id: &task.job, key });
                let found = at.map(|at| Ok::<_, StoreError>((at, at.resolve(&task.task)?))).transpose()?;
                specs.push(match found {
                    Some((at, Some(found))) => self.read_task_spec(at, found)?,
                    Some((_, None)) | None => None,
                });
            }
            Ok(specs)
        })
    }

    fn attempt(&self, account: &AccountName, attempt: &AttemptId) -> Result<Option<AttemptRow>, StoreError> {
        let sql = format!("SELECT {} FROM attempt a WHERE a.task = ?1 AND a.number = ?2", row_task::ATTEMPT);
        self.in_job(
            account,
            &attempt.job,
            || None,
            |at| {
                let Some(Resolved::Row { key, id }) = at.resolve(&attempt.task)? else { return Ok(None) };
                let task = TaskKey { job: attempt.job.clone(), task: id };
                one(at.connection, "attempt", &sql, (key, attempt.number), |cells| {
                    row_task::attempt(account, &task, cells)
                })
            },
        )
    }

    fn attempts(
        &self,
        account: &AccountName,
        task: &TaskKey,
        query: &Query<AttemptProperty>,
    ) -> Result<Page<AttemptRow>, StoreError> {
        let plan = query.plan(&[account.as_str(), task.job.as_str(), task.task.as_str()])?;
        self.in_job(account, &task.job, empty, |at| {
            let Some(Resolved::Row { key, id }) = at.resolve(&task.task)? else { return Ok(empty()) };
            let task = TaskKey { job: task.job.clone(), task: id };
            let source = Source::of("attempt", row_task::ATTEMPT, "attempt a", [("a.task", key.into())]);
            list(at.connection, &plan, &source, |cells| row_task::attempt(account, &task, cells))
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
        let source = |tenant: i64| {
            Source::of("container", row::CONTAINER, "container c", [("c.tenant", tenant.into())])
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
            let source = Source::of("file", row::FILE, "file f", [("f.container", key.into())]);
            list(connection, &plan, &source, |cells| row::file(account, container, cells))
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
