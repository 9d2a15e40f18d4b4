//! What must be durable: rows of the store, put whole or removed.
//!
//! A step's records are written in one transaction before any of its effects is carried out. The recovery law:
//! loading the rows that all records so far have left gives the live core (less its sessions). Rows therefore hold
//! everything that decides; what only serves reading (excerpts, details) is in them too but not in the core.

use crate::reply::Reply;
use muster_model::account::AccessKey;
use muster_model::node::{MachineFacts, NodeError, StartTaskInfo};
use muster_model::spec::{JobSpec, PoolSpec, SweepSpec, TaskConstraints, TaskSpec};
use muster_model::state::{
    AfterDrain, AllocationState, DrainOption, ExecutionResult, JobNodeTaskState, JobState, NodeState,
    PoolState, SchedulingState, TaskState,
};
use muster_model::{
    AccountName, AttemptNumber, AttemptResult, ContainerName, Digest, FailureInfo, FilePath, IndexSet, JobId,
    NodeId, PoolId, RequestId, SweepId, TaskId, Timestamp, TokenId,
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
    /// A job is gone, with all its tasks, sweeps and attempts and what it did on nodes.
    JobGone(AccountName, JobId),
    /// A sweep is made; never changes. Its state follows in the same batch.
    Sweep(Box<SweepRow>),
    /// A sweep's state is made or changed.
    SweepState(Box<SweepStateRow>),
    /// A sweep is gone, with all its members, also those that have become tasks of their own.
    SweepGone(AccountName, JobId, SweepId),
    /// A member of a sweep becomes a task of its own: comes before its first `TaskState`.
    Member(Box<MemberRow>),
    /// What a job did on a node is new or has changed.
    JobNode(Box<JobNodeRow>),
    /// What a job did on a node is forgotten: the node is gone, or was booted anew.
    JobNodeGone(AccountName, JobId, NodeId),
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
    /// All numbers of creation up to this one have been given out. Comes with what is removed, whose own number is lost
    /// with it: no later creation may get it again.
    NumbersUsed(u64),
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
    /// What is wrong with it now, as it says itself or its facts and its silence show; any of it makes it unusable.
    pub errors: Vec<NodeError>,
    /// How it is being relieved of its tasks; `None` when it is not.
    pub drain: Option<Drain>,
    /// What it did wrong, and when it is tried again.
    pub probation: Probation,
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

impl NodeRow {
    /// All that is wrong with the node, to show: what it says itself, then why the controller has taken it out of use, or is
    /// trying it again.
    pub fn all_errors(&self) -> impl Iterator<Item = &NodeError> {
        self.errors.iter().chain(&self.probation.error)
    }
}

/// How a node is being relieved of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// What becomes of its tasks.
    pub option: DrainOption,
    /// When tasks that have not ended by themselves are requeued; `None` is never.
    pub deadline: Option<Timestamp>,
    /// What follows.
    pub then: AfterDrain,
}

/// What a node did wrong of late, as the controller sees it, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probation {
    /// Attempts in a row that could not be started for reasons of the node's own.
    pub launch_failures: u32,
    /// How often it was taken out of use without a success in between; 0: it is not on probation.
    pub strikes: u32,
    /// Until when it takes no tasks; `None` while it is being tried, one task at a time, or not on probation.
    pub until: Option<Timestamp>,
    /// Why it was taken out of use last.
    pub error: Option<NodeError>,
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
    /// When the job came into the state before.
    pub previous_state_since: Option<Timestamp>,
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
    /// When the task came into the state before.
    pub previous_state_since: Option<Timestamp>,
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
    /// When it was last tried again for a user's failure.
    pub last_retry: Option<Timestamp>,
    /// When it last went back to waiting on request.
    pub last_requeue: Option<Timestamp>,
    /// The memory in bytes that it asks for after it ran out of what its specification asks for.
    pub memory_bytes: Option<u64>,
    /// Nodes that it is not placed on while another fits: they were at fault.
    pub avoid: Vec<NodeId>,
    /// Different nodes that were lost while they ran it.
    pub nodes_lost: Vec<NodeId>,
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
    /// Whether its end lets those run that wait for it to be satisfied; `None` until it has ended.
    pub satisfies: Option<bool>,
    /// Why it failed.
    pub failure: Option<FailureInfo>,
    /// When it last changed.
    pub modified: Timestamp,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// The part of a sweep that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRow {
    /// The account; with `job` and `spec.id` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// What was asked for.
    pub spec: SweepSpec,
    /// The order of creation of its first member; each further member has the next number.
    pub sequence: u64,
    /// When it was made, and with it all its members.
    pub created: Timestamp,
}

/// The part of a sweep that changes: what has become of the members that are no tasks of their own.
///
/// A member that is neither in `pending` nor in `ended` has a `MemberRow`, or was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepStateRow {
    /// The account; with `job` and `sweep` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// The sweep.
    pub sweep: SweepId,
    /// Members that wait, by index; nothing has happened to them yet.
    pub pending: IndexSet,
    /// Members that ended without having been placed, by what ended them.
    pub ended: Vec<EndedMembers>,
    /// It is being deleted and waits for the end of attempts that nodes still hold.
    pub deleting: bool,
    /// When it last changed.
    pub modified: Timestamp,
    /// Grows with every change: the etag.
    pub revision: u64,
}

/// Members of a sweep that ended together without having been placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedMembers {
    /// Which, by index.
    pub members: IndexSet,
    /// When.
    pub at: Timestamp,
    /// How they count.
    pub result: ExecutionResult,
    /// Why they failed; `None` exactly when `result` is success.
    pub failure: Option<FailureInfo>,
}

/// A member of a sweep that has become a task of its own. Its specification is the template with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// The account; with `job` and `task` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// The sweep.
    pub sweep: SweepId,
    /// Which member.
    pub index: u64,
    /// Its id as a task.
    pub task: TaskId,
    /// The order of creation within the controller: the sweep's plus the index.
    pub sequence: u64,
    /// When the sweep was made.
    pub created: Timestamp,
}

/// What a job's preparation and release tasks did on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNodeRow {
    /// The account; with `job` and `node` the key.
    pub account: AccountName,
    /// The job.
    pub job: JobId,
    /// The node.
    pub node: NodeId,
    /// The node's pool.
    pub pool: PoolId,
    /// The boot of the node for which the preparation holds.
    pub boot_id: String,
    /// The preparation task there.
    pub preparation: JobNodeTask,
    /// The release task there; `None` before the job ends.
    pub release: Option<JobNodeTask>,
}

/// A job preparation or release task on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNodeTask {
    /// The number of its current or last attempt there; grows over all nodes' reboots.
    pub attempt: AttemptNumber,
    /// Running until it has ended for good.
    pub state: JobNodeTaskState,
    /// Whether the node holds the attempt now.
    pub placed: bool,
    /// When the attempt started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Tries after the first.
    pub retry_count: u32,
    /// When it was last tried again.
    pub last_retry: Option<Timestamp>,
    /// How it counts; `None` until it has ended for good.
    pub result: Option<ExecutionResult>,
    /// Why it, or its last attempt, failed.
    pub failure: Option<FailureInfo>,
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
    /// All sweeps, in the order of their sequence numbers.
    pub sweeps: Vec<(SweepRow, SweepStateRow)>,
    /// What jobs did on nodes.
    pub job_nodes: Vec<JobNodeRow>,
    /// All tasks that are no members of sweeps, in the order of their sequence numbers. A store that hands tasks to a
    /// [`crate::Loader`] one by one leaves this and `members` empty.
    pub tasks: Vec<(TaskSpecRow, TaskStateRow)>,
    /// All members of sweeps that are tasks of their own, in the order of their sequence numbers.
    pub members: Vec<(MemberRow, TaskStateRow)>,
    /// All answered requests within their replay window.
    pub requests: Vec<RequestRow>,
    /// Numbers of creation up to this one have been given out; rows may have higher ones.
    pub numbers_used: u64,
}

/// One task as the store hands it to a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "handed over one by one and never kept: a box each would cost a start"
)]
pub enum TaskRows {
    /// A task that is no member of a sweep.
    Task(TaskSpecRow, TaskStateRow),
    /// A member of a sweep that is a task of its own.
    Member(MemberRow, TaskStateRow),
}
