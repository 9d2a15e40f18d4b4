//! Everything that can happen to the controller: the door through which the core is told things.
//!
//! An input is a client's command, a node's event or a passed deadline. Whatever needs a clock, randomness or a disk
//! (ids, keys, digests) was drawn by the caller and is handed in, so that the same inputs always give the same
//! decisions. What comes back is in `record` (what must be durable), `effect` (what to do then) and `reply`.

use crate::reply::CreatedNode;
use muster_model::account::AccessKey;
use muster_model::node::{MachineFacts, NodeError, StartTaskInfo};
use muster_model::spec::{JobPatch, JobSpec, PoolPatch, PoolSpec, SweepSpec, TaskConstraints, TaskSpec};
use muster_model::state::{AttemptPhase, DrainOption};
use muster_model::{
    AccountName, AttemptId, AttemptResult, ContainerName, Digest, FilePath, JobId, KeyName, NodeId, PoolId,
    RequestId, SweepId, TaskId, Timestamp, TokenId,
};
use std::time::Duration;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A client asks for a change.
    Client {
        /// In whose name.
        account: AccountName,
        /// Names the request, so that a repeat returns the first answer.
        request_id: Option<RequestId>,
        /// What is asked.
        command: Command,
    },
    /// A machine or its agent says something.
    Node(NodeInput),
    /// Time has passed the deadline that `Core::next_deadline` named. Everything due is dealt with.
    DeadlinePassed,
}

/// A client's command. All values have been checked against the limits of the model.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes an account; operators only (the gate's business).
    CreateAccount(NewAccount),
    /// Replaces one of the two keys of the calling account.
    RegenerateKey {
        /// Which.
        name: KeyName,
        /// With what.
        key: AccessKey,
    },
    /// Makes a pool.
    CreatePool(PoolSpec),
    /// Changes fields of a pool.
    UpdatePool {
        /// The pool.
        pool: PoolId,
        /// The fields.
        patch: PoolPatch,
        /// Only if the pool's etag is this.
        if_match: Option<u64>,
    },
    /// Sets how many nodes a pool should have.
    ResizePool {
        /// The pool.
        pool: PoolId,
        /// The number of nodes.
        target: u32,
        /// When to give up, and to requeue tasks that still run where the option is task completion; `None` leaves the pool's
        /// setting.
        timeout: Option<Duration>,
        /// What becomes of the tasks of nodes that leave.
        option: DrainOption,
        /// Only if the pool's etag is this.
        if_match: Option<u64>,
    },
    /// Stops a resize; the target stays what it is.
    StopResize {
        /// The pool.
        pool: PoolId,
        /// Only if the pool's etag is this.
        if_match: Option<u64>,
    },
    /// Removes a pool: its nodes leave, then it is gone.
    DeletePool {
        /// The pool.
        pool: PoolId,
        /// Only if the pool's etag is this.
        if_match: Option<u64>,
    },
    /// Makes a token with which machines join a pool.
    CreateJoinToken(NewToken),
    /// Makes a join token worthless.
    RevokeJoinToken {
        /// The token.
        token: TokenId,
    },
    /// Takes nodes out of a pool.
    RemoveNodes {
        /// The pool.
        pool: PoolId,
        /// The nodes.
        nodes: Vec<NodeId>,
        /// What becomes of their tasks.
        option: DrainOption,
        /// With task completion, when tasks that still run are requeued: this long from now; `None` is the pool's resize timeout.
        timeout: Option<Duration>,
        /// Only if the pool's etag is this.
        if_match: Option<u64>,
    },
    /// Places nothing more on a node and relieves it of its tasks. On a node without scheduling it is refused, unless it asks
    /// for more than what is under way: a stronger option (terminate before requeue before task completion), or, with task
    /// completion, another deadline; then it takes over. What the node has not started runs elsewhere at once, whatever the
    /// option, and costs nothing.
    DisableScheduling {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// What becomes of its tasks.
        option: DrainOption,
        /// With task completion, when tasks that still run are requeued: this long from now; `None` is never.
        deadline: Option<Duration>,
        /// Only if the node's etag is this.
        if_match: Option<u64>,
    },
    /// Allows tasks to be placed on a node again; also breaks off a drain and the restart that waits for it (tasks that are
    /// being ended are not spared), ends the pause of a probation, and drops the error of a restart that failed. Refused if
    /// none of that is so.
    EnableScheduling {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// Only if the node's etag is this.
        if_match: Option<u64>,
    },
    /// Relieves a node of its tasks and restarts it, or sets it up anew. Scheduling is afterwards what it was. While a restart
    /// is under way only a stronger option, or setting up anew instead, takes over.
    RestartNode {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
        /// What becomes of its tasks.
        option: DrainOption,
        /// Whether it is set up anew.
        reimage: bool,
        /// Only if the node's etag is this.
        if_match: Option<u64>,
    },
    /// Makes a job.
    CreateJob(Box<JobSpec>),
    /// Changes fields of a job.
    UpdateJob {
        /// The job.
        job: JobId,
        /// The fields.
        patch: JobPatch,
        /// Only if the job's etag is this.
        if_match: Option<u64>,
    },
    /// Ends a job and all its tasks.
    TerminateJob {
        /// The job.
        job: JobId,
        /// Why; the reference's default is `UserTerminate`.
        reason: String,
        /// Only if the job's etag is this.
        if_match: Option<u64>,
    },
    /// Stops a job's tasks from being placed.
    DisableJob {
        /// The job.
        job: JobId,
        /// What happens to its running tasks.
        tasks: DisableTasks,
        /// Only if the job's etag is this.
        if_match: Option<u64>,
    },
    /// Lets a disabled job go on.
    EnableJob {
        /// The job.
        job: JobId,
        /// Only if the job's etag is this.
        if_match: Option<u64>,
    },
    /// Removes a job with its tasks.
    DeleteJob {
        /// The job.
        job: JobId,
        /// Only if the job's etag is this.
        if_match: Option<u64>,
    },
    /// Adds tasks to a job, each for itself: one refused task does not hold up the others.
    CreateTasks {
        /// The job.
        job: JobId,
        /// The tasks, in order.
        tasks: Vec<TaskSpec>,
    },
    /// Replaces a task's constraints.
    UpdateTask {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// The constraints.
        constraints: TaskConstraints,
        /// Only if the task's etag is this.
        if_match: Option<u64>,
    },
    /// Ends a task.
    TerminateTask {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Only if the task's etag is this.
        if_match: Option<u64>,
    },
    /// Lets a failed task run once more.
    ReactivateTask {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Only if the task's etag is this.
        if_match: Option<u64>,
    },
    /// Removes a task; a running one is ended first.
    DeleteTask {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Only if the task's etag is this.
        if_match: Option<u64>,
    },
    /// Adds a sweep to a job.
    CreateSweep {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: Box<SweepSpec>,
    },
    /// Ends members of a sweep that have not ended; the others are left alone.
    TerminateSweep {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
        /// The first and the last number of the members that are meant; `None` for all.
        numbers: Option<(u64, u64)>,
    },
    /// Lets failed members of a sweep run once more; the others are left alone.
    ReactivateSweep {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
        /// The first and the last number of the members that are meant; `None` for all.
        numbers: Option<(u64, u64)>,
    },
    /// Removes a sweep with all its members; running ones are ended first.
    DeleteSweep {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
    },
    /// Names a blob in the file store. The blob is already stored.
    PutFile {
        /// The container, made when it does not exist.
        container: ContainerName,
        /// The name.
        path: FilePath,
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// Removes names from the file store.
    DeleteFiles {
        /// The container.
        container: ContainerName,
        /// The names.
        paths: Vec<FilePath>,
    },
    /// Removes a container and all its names.
    DeleteContainer {
        /// The container.
        container: ContainerName,
    },
}

/// A new account.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub name: AccountName,
    /// For people.
    pub display_name: String,
    /// Whether it may manage accounts.
    pub is_operator: bool,
    /// Its first key.
    pub primary: AccessKey,
    /// Its second key.
    pub secondary: AccessKey,
}

/// A new join token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its public half.
    pub id: TokenId,
    /// SHA-256 of its secret half.
    pub secret_hash: Digest,
    /// Where it leads.
    pub pool: PoolId,
    /// When it becomes worthless.
    pub expires: Timestamp,
    /// How many machines may use it.
    pub uses: u32,
}

/// What becomes of running tasks when a job is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableTasks {
    /// They are stopped and wait for the job to be enabled.
    Requeue,
    /// They are ended for good.
    Terminate,
    /// They run on to their end.
    Wait,
}

/// The number of one session of a node; grows with each connection, so that a late word of an old one is known.
pub type SessionId = u64;

/// Something that a machine or its agent says.
#[derive(Debug, Clone)]
pub enum NodeInput {
    /// A machine shows a join token. The id is for the new node.
    Join {
        /// The token's public half.
        token: TokenId,
        /// SHA-256 of the secret that was shown.
        secret_hash: Digest,
        /// The id that the new node will have.
        node: CreatedNode,
        /// What the machine is.
        facts: Box<MachineFacts>,
    },
    /// An agent opened a session and said what it holds.
    Connected(Box<Connected>),
    /// A session broke.
    Disconnected {
        /// The node.
        node: NodeKey,
        /// The session that broke.
        session: SessionId,
    },
    /// An agent asks for its lease to go on.
    Heartbeat {
        /// The node.
        node: NodeKey,
        /// The session that asks.
        session: SessionId,
        /// The agent's number of this heartbeat, returned with the grant.
        sequence: u64,
    },
    /// An agent reports.
    Reports {
        /// The node.
        node: NodeKey,
        /// The session that reports.
        session: SessionId,
        /// In the order in which they happened.
        reports: Vec<NumberedReport>,
    },
}

/// A node's full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// The account.
    pub account: AccountName,
    /// The node, unique within the account.
    pub node: NodeId,
}

/// The first word of a session.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The node, proved by its certificate.
    pub node: NodeKey,
    /// The new session.
    pub session: SessionId,
    /// The connection on which this came. An agent makes one for each session, and none before it has given up the one before:
    /// numbers grow in the order in which connections were accepted, so a word that was on its way for long is known by it.
    pub connection: u64,
    /// What the machine is now.
    pub facts: MachineFacts,
    /// The attempts that the agent holds.
    pub held: Vec<HeldAttempt>,
    /// The start task of this boot, if it has begun.
    pub start_task: Option<StartTaskInfo>,
}

/// An attempt that an agent holds when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAttempt {
    /// Which.
    pub attempt: AttemptId,
    /// Where it is.
    pub phase: AttemptPhase,
    /// The incarnation of its task, which is the task's place in the order of creation (of a preparation or release task,
    /// the job's); 0 when the agent does not know it.
    pub incarnation: u64,
}

/// A report with the number under which the agent keeps it until it is acknowledged.
#[derive(Debug, Clone)]
pub struct NumberedReport {
    /// The agent's number.
    pub number: u64,
    /// The report.
    pub report: Report,
}

/// One report of an agent.
#[derive(Debug, Clone)]
pub enum Report {
    /// An attempt left the node's queue: its inputs are being staged.
    Started {
        /// Which.
        attempt: AttemptId,
        /// When, by the node's clock.
        time: Timestamp,
    },
    /// An attempt ended.
    Finished {
        /// Which.
        attempt: AttemptId,
        /// What came of it.
        result: Box<AttemptResult>,
    },
    /// An attempt that was recalled had not started and is given back.
    Returned {
        /// Which.
        attempt: AttemptId,
    },
    /// The start task of this boot changed.
    StartTask(StartTaskInfo),
    /// All that is wrong with the node now, in place of what it said before; empty: all is well.
    Health(Vec<NodeError>),
}
