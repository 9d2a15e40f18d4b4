//! What must be durable: rows of the store, put whole or removed.
//!
//! A step's records are written in one transaction before any of its effects is carried out. The recovery law:
//! loading the rows that all records so far have left gives the live core (less its sessions). Rows therefore hold
//! everything that decides; what only serves reading (excerpts, details) is in them too but not in the core.

use crate::reply::Reply;
use muster_model::account::AccessKey;
use muster_model::node::{MachineFacts, StartTaskInfo};
use muster_model::spec::{JobSpec, PoolSpec, TaskConstraints, TaskSpec};
use muster_model::state::{
    AllocationState, ExecutionResult, JobState, NodeState, PoolState, SchedulingState, TaskState,
};
use muster_model::{
    AccountName, AttemptNumber, AttemptResult, ContainerName, Digest, FailureInfo, FilePath, JobId, NodeId,
    PoolId, RequestId, TaskId, Timestamp, TokenId,
};

/// One durable change.
#[derive(Debug, Clone)]
pub enum Record {
    /// An account is made or changed.
    Account(AccountRow),
    /// A pool is made or changed.
    Pool(Box<PoolRow>),
    /// A pool is gone.
    PoolGone(AccountName, PoolId),
    /// A node is made or changed.
    Node(Box<NodeRow>),
    /// A node is gone.
    NodeGone(AccountName, NodeId),
    /// A join token is made or used.
    Token(TokenRow),
    /// A join token is revoked, used up or expired.
    TokenGone(AccountName, TokenId),
    /// A job is made or changed.
    Job(Box<JobRow>),
    /// A job is gone, with all its tasks and attempts.
    JobGone(AccountName, JobId),
    /// A task is made; never changes.
    TaskSpec(Box<TaskSpecRow>),
    /// A task's state is made or changed.
    TaskState(Box<TaskStateRow>),
    /// A task is gone, with its attempts.
    TaskGone(AccountName, JobId, TaskId),
    /// An attempt ended; the ledger keeps it.
    Attempt(Box<AttemptRow>),
    /// A name of the file store is made or changed.
    File(FileRow),
    /// A name of the file store is gone.
    FileGone(AccountName, ContainerName, FilePath),
    /// A container is gone, with all its names.
    ContainerGone(AccountName, ContainerName),
    /// A request was answered.
    Request(RequestRow),
    /// A request's replay window has passed.
    RequestGone(AccountName, RequestId),
}

/// An account.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// Its name: the key.
    pub name: AccountName,
    /// For people.
    pub display_name: String,
    /// Whether it may manage accounts.
    pub is_operator: bool,
    /// Its first key.
    pub primary: AccessKey,
    /// Its second key.
    pub secondary: AccessKey,
    /// When it was made.
    pub created: Timestamp,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// The account; with `spec.id` the key.
    pub account: AccountName,
    /// What was asked for, with all updates.
    pub spec: PoolSpec,
    /// Whether it lives.
    pub state: PoolState,
    /// Whether it has the nodes that it asks for.
    pub allocation_state: AllocationState,
    /// When `allocation_state` last changed.
    pub allocation_since: Timestamp,
    /// When an unfinished resize is given up; `None` while steady.
    pub resize_deadline: Option<Timestamp>,
    /// Why the last resize fell short: a code of the reference and a sentence.
    pub resize_error: Option<(String, String)>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub modified: Timestamp,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// A compute node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// The account; with `id` the key.
    pub account: AccountName,
    /// Its id, unique within the account.
    pub id: NodeId,
    /// Its pool.
    pub pool: PoolId,
    /// What the machine is.
    pub facts: MachineFacts,
    /// Its slots: the pool's setting when it joined or last connected.
    pub slots: u32,
    /// What it is doing.
    pub state: NodeState,
    /// When `state` last changed.
    pub state_since: Timestamp,
    /// Whether tasks may be placed on it.
    pub scheduling: SchedulingState,
    /// The start task of this boot.
    pub start_task: Option<StartTaskInfo>,
    /// What is wrong: a code and a sentence for each.
    pub errors: Vec<(String, String)>,
    /// When it joined.
    pub joined: Timestamp,
    /// Attempts that it has ended.
    pub tasks_run: u64,
    /// Those of them that succeeded.
    pub tasks_succeeded: u64,
    /// Attempts that it runs.
    pub running_tasks: u32,
    /// Slots that those take.
    pub running_slots: u32,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// The account; with `id` the key.
    pub account: AccountName,
    /// Its public half.
    pub id: TokenId,
    /// Where it leads.
    pub pool: PoolId,
    /// SHA-256 of its secret half.
    pub secret_hash: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// When it becomes worthless.
    pub expires: Timestamp,
    /// How many machines may use it in all.
    pub uses_max: u32,
    /// How many have.
    pub uses: u32,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The account; with `spec.id` the key.
    pub account: AccountName,
    /// What was asked for, with all updates.
    pub spec: JobSpec,
    /// Where it is in its life.
    pub state: JobState,
    /// When `state` last changed.
    pub state_since: Timestamp,
    /// The state before.
    pub previous_state: Option<JobState>,
    /// The order of creation: jobs of equal priority are served by it.
    pub sequence: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub modified: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it was terminated.
    pub terminate_reason: Option<String>,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// The part of a task that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpecRow {
    /// The account; with `job` and `spec.id` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// What was asked for.
    pub spec: TaskSpec,
    /// The order of creation within the controller.
    pub sequence: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// Why a held attempt is being stopped, and so what becomes of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The task goes back to waiting.
    Requeue,
    /// The task is completed as terminated.
    Terminate,
    /// The task is removed.
    Delete,
}

/// The part of a task that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStateRow {
    /// The account; with `job` and `task` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// When `state` last changed.
    pub state_since: Timestamp,
    /// The state before.
    pub previous_state: Option<TaskState>,
    /// The number of the current or last attempt; 0 before the first.
    pub attempt: AttemptNumber,
    /// The node that holds, or last held, that attempt.
    pub node: Option<NodeId>,
    /// Whether `node` holds the attempt now.
    pub placed: bool,
    /// What was asked for while the attempt is still held; decides what follows its end.
    pub ending: Option<Ending>,
    /// Tries after the first for the user's failures.
    pub retry_count: u32,
    /// Times it went back to waiting on request.
    pub requeue_count: u32,
    /// Tries after server errors.
    pub server_retry_count: u32,
    /// It may not be placed before this.
    pub not_before: Option<Timestamp>,
    /// Constraints that were replaced after creation.
    pub constraints: Option<TaskConstraints>,
    /// When the current or last attempt started.
    pub started: Option<Timestamp>,
    /// When it ended for good.
    pub ended: Option<Timestamp>,
    /// The last exit code.
    pub exit_code: Option<i32>,
    /// The last signal.
    pub signal: Option<i32>,
    /// How it counts.
    pub result: Option<ExecutionResult>,
    /// Why it failed.
    pub failure: Option<FailureInfo>,
    /// When it last changed.
    pub modified: Timestamp,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// One line of a task's ledger of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The account; with `job`, `task` and `number` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// The number.
    pub number: AttemptNumber,
    /// Where it was placed.
    pub node: NodeId,
    /// What came of it. For a lost attempt, what the controller concluded.
    pub result: AttemptResult,
}

/// A name of the file store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// The account; with `container` and `path` the key.
    pub account: AccountName,
    /// The container.
    pub container: ContainerName,
    /// The name in it.
    pub path: FilePath,
    /// The blob.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// When the name was given.
    pub modified: Timestamp,
}

/// An answered request, kept for its replay window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// The account; with `id` the key.
    pub account: AccountName,
    /// The client's name for it.
    pub id: RequestId,
    /// What was asked, in one word: a repeat must ask the same.
    pub command: String,
    /// What was answered.
    pub reply: Reply,
    /// When the window ends.
    pub expires: Timestamp,
}

/// Every row that decides, as the store holds them: what a core is loaded from.
///
/// Files and attempts decide nothing and are not among them.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// All accounts.
    pub accounts: Vec<AccountRow>,
    /// All pools.
    pub pools: Vec<PoolRow>,
    /// All nodes.
    pub nodes: Vec<NodeRow>,
    /// All join tokens.
    pub tokens: Vec<TokenRow>,
    /// All jobs.
    pub jobs: Vec<JobRow>,
    /// All tasks, in the order of their sequence numbers.
    pub tasks: Vec<(TaskSpecRow, TaskStateRow)>,
    /// All answered requests within their replay window.
    pub requests: Vec<RequestRow>,
}
