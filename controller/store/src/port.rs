//! The two faces of the store: `Store` for the one writer, `Reader` for everybody else; and what can go wrong.
//!
//! Both are blocking: the daemon runs the store on a thread of its own and readers where blocking is allowed. The store
//! persists rows and never interprets them. Every backend passes the same conformance suite (tests/conformance).
//!
//! Invariant: what `commit` has answered with `Ok` is on disk, as a whole, and every read that starts later sees it.

use crate::codec::CodecError;
use crate::query::{
    AccountProperty, AttemptProperty, ContainerProperty, FileProperty, JobNodeProperty, JobProperty,
    NodeProperty, Page, PoolProperty, Query, QueryError, SweepProperty, TaskProperty, TokenProperty,
};
use crate::view::{ContainerView, SweepView, TaskView};
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobNodeRow, JobRow, NodeRow, PoolRow, Record, Rows, TaskRows,
    TaskSpecRow, TokenRow,
};
use muster_model::{
    AccountName, AttemptId, ContainerName, Digest, FilePath, JobId, NodeId, PoolId, SweepId, TaskKey, TokenId,
};
use std::sync::Arc;

/// The writer's face. One of it for each database.
pub trait Store: Send {
    /// Every row that decides but those of tasks and members: those lists stay empty, and come with `load_tasks`.
    /// Sweeps are in the order of their sequence numbers.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and [`StoreError::Decode`] name the row that cannot be read.
    fn load(&mut self) -> Result<Rows, StoreError>;

    /// Hands every task and every member that is a task of its own to `each`, in any order, one at a time: however many
    /// there are, they are not in memory together.
    ///
    /// # Errors
    /// As `load`. What `each` has been given before is worth nothing then.
    fn load_tasks(&mut self, each: &mut dyn FnMut(TaskRows)) -> Result<(), StoreError>;

    /// `load` and `load_tasks` together, tasks and members in the order of their sequence numbers. For tests and tools: it
    /// holds everything in memory.
    ///
    /// # Errors
    /// As `load`.
    fn load_all(&mut self) -> Result<Rows, StoreError> {
        let mut rows = self.load()?;
        self.load_tasks(&mut |task| match task {
            TaskRows::Task(spec, state) => rows.tasks.push((spec, state)),
            TaskRows::Member(member, state) => rows.members.push((member, state)),
        })?;
        rows.tasks.sort_by_key(|(spec, _)| spec.sequence);
        rows.members.sort_by_key(|(member, _)| member.sequence);
        Ok(rows)
    }

    /// Makes `records` durable in one transaction: all of them or, on any error, none. They are applied in order, so
    /// that a later record of a key wins. A job comes before all that is in it, a sweep before its state and its members,
    /// a task or member before its state and its attempts; a member comes with its state. A task without one is a task that
    /// nothing has happened to.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`], [`StoreError::UnknownSweep`] and [`StoreError::UnknownTask`] when that order is not
    /// kept; [`StoreError::Full`] when the disk is; anything else is a fault of the disk or of the database.
    fn commit(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// The readers' face. Cheap to clone and to share.
    fn reader(&self) -> Arc<dyn Reader>;

    /// Removes some of what deleted jobs, sweeps and containers have left behind; `true` while there is more. Commits do a
    /// little of it by themselves; call this when there is nothing else to do.
    ///
    /// # Errors
    /// As `commit`.
    fn tidy(&mut self) -> Result<bool, StoreError>;

    /// Gives the disk back what the store keeps in reserve for when it is full; `true` if there was something. Call it when
    /// `commit` has answered [`StoreError::Full`], then try again.
    fn release_reserve(&mut self) -> bool {
        false
    }

    /// Takes the reserve, if it is not there; `false` while the disk has too little room for that. A store without a disk
    /// always has room.
    fn restore_reserve(&mut self) -> bool {
        true
    }
}

/// The readers' face. Each call sees the last committed state, as a whole.
///
/// `None` and empty pages mean "not there". Every list takes a [`Query`]; all errors but [`StoreError::Query`] (the
/// caller's filter, order or token) are faults of the store.
pub trait Reader: Send + Sync {
    /// One account.
    fn account(&self, name: &AccountName) -> Result<Option<AccountRow>, StoreError>;
    /// All accounts.
    fn accounts(&self, query: &Query<AccountProperty>) -> Result<Page<AccountRow>, StoreError>;

    /// One pool.
    fn pool(&self, account: &AccountName, pool: &PoolId) -> Result<Option<PoolRow>, StoreError>;
    /// The pools of an account.
    fn pools(&self, account: &AccountName, query: &Query<PoolProperty>) -> Result<Page<PoolRow>, StoreError>;

    /// One node.
    fn node(&self, account: &AccountName, node: &NodeId) -> Result<Option<NodeRow>, StoreError>;
    /// The nodes of a pool.
    fn nodes(
        &self,
        account: &AccountName,
        pool: &PoolId,
        query: &Query<NodeProperty>,
    ) -> Result<Page<NodeRow>, StoreError>;

    /// One join token.
    fn token(&self, account: &AccountName, token: &TokenId) -> Result<Option<TokenRow>, StoreError>;
    /// The join tokens of an account; filter by pool for those of one.
    fn tokens(
        &self,
        account: &AccountName,
        query: &Query<TokenProperty>,
    ) -> Result<Page<TokenRow>, StoreError>;

    /// One job.
    fn job(&self, account: &AccountName, job: &JobId) -> Result<Option<JobRow>, StoreError>;
    /// The jobs of an account.
    fn jobs(&self, account: &AccountName, query: &Query<JobProperty>) -> Result<Page<JobRow>, StoreError>;

    /// One sweep.
    fn sweep(
        &self,
        account: &AccountName,
        job: &JobId,
        sweep: &SweepId,
    ) -> Result<Option<SweepView>, StoreError>;
    /// The sweeps of a job.
    fn sweeps(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<SweepProperty>,
    ) -> Result<Page<SweepView>, StoreError>;

    /// What a job's preparation and release tasks did on one node.
    fn job_node(
        &self,
        account: &AccountName,
        job: &JobId,
        node: &NodeId,
    ) -> Result<Option<JobNodeRow>, StoreError>;
    /// What a job's preparation and release tasks did on nodes.
    fn job_nodes(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<JobNodeProperty>,
    ) -> Result<Page<JobNodeRow>, StoreError>;

    /// One task. A member of a sweep is found with or without the leading zeros of its number; answers have them.
    fn task(&self, account: &AccountName, task: &TaskKey) -> Result<Option<TaskView>, StoreError>;
    /// The tasks of a job, members of sweeps among them.
    fn tasks(
        &self,
        account: &AccountName,
        job: &JobId,
        query: &Query<TaskProperty>,
    ) -> Result<Page<TaskView>, StoreError>;
    /// The specifications of several tasks, in the order asked; `None` for one that is not there. Those of members are
    /// filled in as far as they can be; `task` says what cannot.
    fn task_specs(
        &self,
        account: &AccountName,
        tasks: &[TaskKey],
    ) -> Result<Vec<Option<TaskSpecRow>>, StoreError>;

    /// One attempt.
    fn attempt(&self, account: &AccountName, attempt: &AttemptId) -> Result<Option<AttemptRow>, StoreError>;
    /// The ended attempts at a task, newest first unless asked otherwise.
    fn attempts(
        &self,
        account: &AccountName,
        task: &TaskKey,
        query: &Query<AttemptProperty>,
    ) -> Result<Page<AttemptRow>, StoreError>;

    /// One container of the file store.
    fn container(
        &self,
        account: &AccountName,
        container: &ContainerName,
    ) -> Result<Option<ContainerView>, StoreError>;
    /// The containers of an account.
    fn containers(
        &self,
        account: &AccountName,
        query: &Query<ContainerProperty>,
    ) -> Result<Page<ContainerView>, StoreError>;

    /// One name of the file store.
    fn file(
        &self,
        account: &AccountName,
        container: &ContainerName,
        path: &FilePath,
    ) -> Result<Option<FileRow>, StoreError>;
    /// The names of a container.
    fn files(
        &self,
        account: &AccountName,
        container: &ContainerName,
        query: &Query<FileProperty>,
    ) -> Result<Page<FileRow>, StoreError>;
    /// The sizes in bytes of contents, in the order asked; `None` for one that no file of the account names.
    fn content_sizes(
        &self,
        account: &AccountName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>, StoreError>;
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller's filter, order or page token is refused. The only error that is not a fault of the store.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A record came without its job.
    #[error("{what} '{id}' belongs to job '{job}', which is not stored: write the job first")]
    UnknownJob {
        /// The job.
        job: JobId,
        /// What came.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A state or a member came without its sweep.
    #[error("a {what} belongs to sweep '{sweep}' of job '{job}', which is not stored: write the sweep first")]
    UnknownSweep {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
        /// What came.
        what: &'static str,
    },
    /// A state or an attempt came without its task.
    #[error("a {what} belongs to task '{task}', which is not stored: write its specification first")]
    UnknownTask {
        /// The task.
        task: TaskKey,
        /// What came.
        what: &'static str,
    },
    /// A number that the database cannot hold.
    #[error("{what} is {value}: the store holds at most {max}")]
    TooLarge {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
        /// `i64::MAX`.
        max: i64,
    },
    /// The disk is full. Nothing of the batch is stored.
    #[error("the disk of the database is full while {doing}: free some space")]
    Full {
        /// What was tried.
        doing: &'static str,
        /// What the database said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database contradicts itself.
    #[error("the database is damaged, seen while {doing}: restore it from a backup")]
    Damaged {
        /// What was tried.
        doing: &'static str,
        /// What the database said.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A stored row cannot be read.
    #[error("{what} '{key}' cannot be read from the database")]
    Decode {
        /// What the row is.
        what: &'static str,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        cause: CodecError,
    },
    /// Any other fault of the database or the disk below it.
    #[error("the database failed while {doing}")]
    Backend {
        /// What was tried.
        doing: &'static str,
        /// What the database said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The form in which databases hold numbers.
///
/// # Errors
/// [`StoreError::TooLarge`] beyond `i64::MAX`.
pub(crate) fn integer(what: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::TooLarge { what, value, max: i64::MAX })
}
