//! Why an input was refused. A refused input has changed nothing.
//!
//! Each variant names the thing, the value, the limit and the way out; `code` is the reference's word (azure-batch.md
//! 2.4) where it has one, and `kind` the family from which the API picks its status.

use muster_model::state::{AllocationState, JobState, NodeState, TaskState};
use muster_model::{AccountName, JobId, NodeId, PoolId, RequestId, SweepId, TaskId, TokenId, UserName};

/// The family of a refusal: which gRPC status it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectKind {
    /// The thing does not exist.
    NotFound,
    /// The id is taken.
    AlreadyExists,
    /// Not in this state.
    FailedPrecondition,
    /// The etag differs.
    Aborted,
    /// The value can never be right here.
    InvalidArgument,
    /// The secret is wrong or worthless.
    PermissionDenied,
    /// A quota or bound is reached.
    ResourceExhausted,
}

/// A typed refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// No such account.
    #[error("account '{0}' does not exist")]
    AccountNotFound(AccountName),
    /// The account name is taken.
    #[error("account '{0}' already exists: choose another name")]
    AccountExists(AccountName),
    /// No such pool.
    #[error("pool '{0}' does not exist: see `muster pool list`, or create it")]
    PoolNotFound(PoolId),
    /// The pool id is taken.
    #[error("pool '{0}' already exists: choose another id or delete it first")]
    PoolExists(PoolId),
    /// The pool is going away.
    #[error("pool '{0}' is being deleted: wait until it is gone, then create it again")]
    PoolBeingDeleted(PoolId),
    /// The pool is not steady.
    #[error("pool '{pool}' is {state}: wait until it is steady or stop the resize first")]
    PoolBeingResized {
        /// The pool.
        pool: PoolId,
        /// What it is doing.
        state: AllocationState,
    },
    /// A stop without a resize.
    #[error("pool '{0}' is steady: there is no resize to stop")]
    PoolNotResizing(PoolId),
    /// No such node in the pool.
    #[error("pool '{pool}' has no node '{node}': see `muster node list {pool}`")]
    NodeNotFound {
        /// The pool.
        pool: PoolId,
        /// The node.
        node: NodeId,
    },
    /// The switch is already there.
    #[error("scheduling on node '{node}' is already {state}")]
    NodeAlreadyInTargetSchedulingState {
        /// The node.
        node: NodeId,
        /// The state.
        state: &'static str,
    },
    /// The node's state forbids it.
    #[error("node '{node}' is {state}: {wanted}")]
    NodeState {
        /// The node.
        node: NodeId,
        /// Its state.
        state: NodeState,
        /// What the command needs, in words.
        wanted: &'static str,
    },
    /// The node is being restarted, or relieved of its tasks for that.
    #[error("node '{node}' is being {} already: wait until it is back", if *reimage { "reimaged" } else { "rebooted" })]
    NodeBeingRestarted {
        /// The node.
        node: NodeId,
        /// Whether it is being set up anew.
        reimage: bool,
    },
    /// The node's operator has not said how it is restarted.
    #[error("node '{node}' has no command for {what}: set {setting} in its agent's configuration")]
    NodeCannotRestart {
        /// The node.
        node: NodeId,
        /// `rebooting` or `reimaging`.
        what: &'static str,
        /// The agent's setting.
        setting: &'static str,
    },
    /// A user that the nodes of the pool do not have.
    #[error(
        "{what} names user '{user}', which pool '{pool}' does not have: add it to the pool's user_accounts, or name another"
    )]
    UserUnknown {
        /// Who names it, in words.
        what: String,
        /// The name.
        user: UserName,
        /// The pool.
        pool: PoolId,
    },
    /// No such job.
    #[error("job '{0}' does not exist: see `muster job list`, or create it")]
    JobNotFound(JobId),
    /// The job id is taken.
    #[error("job '{0}' already exists: choose another id or delete it first")]
    JobExists(JobId),
    /// The job's state forbids it.
    #[error("job '{job}' is {state}: {wanted}")]
    JobState {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
        /// What the command needs, in words.
        wanted: &'static str,
    },
    /// A task with dependencies in a job without.
    #[error(
        "task '{task}' has depends_on, but job '{job}' was created without uses_task_dependencies: create the job with it"
    )]
    TaskDependenciesNotSpecifiedOnJob {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
    },
    /// The dependencies lead back to the task.
    #[error("task '{task}' would wait for itself: {chain}; take one of these dependencies out")]
    DependencyCycle {
        /// The task.
        task: TaskId,
        /// The way round, as "a -> b -> a".
        chain: String,
    },
    /// No such task.
    #[error("job '{job}' has no task '{task}': see `muster task list {job}`")]
    TaskNotFound {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
    },
    /// The task id is taken.
    #[error("job '{job}' already has a task '{task}': choose another id or delete it first")]
    TaskExists {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
    },
    /// The task's state forbids it.
    #[error("task '{task}' is {state}: {wanted}")]
    TaskState {
        /// The task.
        task: TaskId,
        /// Its state.
        state: TaskState,
        /// What the command needs, in words.
        wanted: &'static str,
    },
    /// The task id is that of the job's own preparation or release task.
    #[error("task id '{task}' is taken by the job's {what}: choose another id")]
    TaskIdReserved {
        /// The id.
        task: TaskId,
        /// `job preparation task` or `job release task`.
        what: &'static str,
    },
    /// No such sweep.
    #[error("job '{job}' has no sweep '{sweep}': see `muster sweep list {job}`")]
    SweepNotFound {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
    },
    /// The sweep id is taken.
    #[error("job '{job}' already has a sweep '{sweep}': choose another id (`--id`) or delete it first")]
    SweepExists {
        /// The job.
        job: JobId,
        /// The sweep.
        sweep: SweepId,
    },
    /// The sweep is on its way out.
    #[error("sweep '{0}' is being deleted: wait until it is gone")]
    SweepBeingDeleted(SweepId),
    /// The sweep has no members with such numbers.
    #[error("sweep '{sweep}' has no members from {first} to {last}: its numbers go from {from} to {to}")]
    SweepHasNoSuchMembers {
        /// The sweep.
        sweep: SweepId,
        /// The first number that was asked for.
        first: u64,
        /// The last.
        last: u64,
        /// The sweep's first number.
        from: u64,
        /// The sweep's last number.
        to: u64,
    },
    /// A job on its way may not change its pool.
    #[error(
        "the pool of job '{job}' can change only while the job is disabled, and it is {state}: disable it first"
    )]
    JobPoolFixed {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
    },
    /// Only a failed task can run once more.
    #[error("task '{0}' has succeeded: only a failed task can be reactivated; add a new task instead")]
    TaskSucceeded(TaskId),
    /// More slots than any node of the pool can ever have.
    #[error(
        "pool '{pool}' has {offered} task slots per node; task '{task}' asks for {wanted}: lower required_slots or use another pool"
    )]
    TooManySlots {
        /// The pool.
        pool: PoolId,
        /// The task.
        task: TaskId,
        /// What the pool's nodes have.
        offered: u32,
        /// What the task asks for.
        wanted: u32,
    },
    /// The resource changed since it was read.
    #[error(
        "{what} has changed since it was read (etag {given}, now {current}): read it again and decide anew"
    )]
    EtagMismatch {
        /// The resource in words.
        what: String,
        /// The etag that was sent.
        given: u64,
        /// The etag that it has.
        current: u64,
    },
    /// The request id names another request.
    #[error("request id '{id}' was used for '{first}' before: a new request needs a new id")]
    RequestIdReused {
        /// The id.
        id: RequestId,
        /// The first command.
        first: String,
    },
    /// No such token, or a wrong secret: both look alike on purpose.
    #[error(
        "join token '{0}' is not known here, or its secret is wrong: make a new one with `muster token create POOL`"
    )]
    TokenUnknown(TokenId),
    /// The token is too old.
    #[error("join token '{0}' has expired: make a new one with `muster token create POOL`")]
    TokenExpired(TokenId),
    /// The token has been used as often as it may be.
    #[error(
        "join token '{token}' has been used {uses} times, which is its limit: make a new one with `muster token create POOL --uses N`"
    )]
    TokenUsedUp {
        /// The token.
        token: TokenId,
        /// Its limit.
        uses: u32,
    },
    /// No such token in this account.
    #[error("this account has no join token '{0}'")]
    TokenNotFound(TokenId),
    /// A node that is not (any more) part of a pool.
    #[error("node '{0}' is not part of any pool: join again with a token")]
    NodeUnknown(NodeId),
    /// A word of a session that has been replaced.
    #[error("this session of node '{0}' has been replaced by a newer one")]
    StaleSession(NodeId),
}

impl Reject {
    /// The family.
    #[must_use]
    pub const fn kind(&self) -> RejectKind {
        match self {
            Self::AccountNotFound(_)
            | Self::PoolNotFound(_)
            | Self::NodeNotFound { .. }
            | Self::JobNotFound(_)
            | Self::TaskNotFound { .. }
            | Self::SweepNotFound { .. }
            | Self::TokenNotFound(_) => RejectKind::NotFound,
            Self::AccountExists(_)
            | Self::PoolExists(_)
            | Self::JobExists(_)
            | Self::TaskExists { .. }
            | Self::TaskIdReserved { .. }
            | Self::SweepExists { .. } => RejectKind::AlreadyExists,
            Self::PoolBeingDeleted(_)
            | Self::PoolBeingResized { .. }
            | Self::PoolNotResizing(_)
            | Self::NodeAlreadyInTargetSchedulingState { .. }
            | Self::NodeState { .. }
            | Self::NodeBeingRestarted { .. }
            | Self::NodeCannotRestart { .. }
            | Self::JobState { .. }
            | Self::TaskState { .. }
            | Self::TaskSucceeded(_)
            | Self::JobPoolFixed { .. }
            | Self::SweepBeingDeleted(_)
            | Self::StaleSession(_) => RejectKind::FailedPrecondition,
            Self::EtagMismatch { .. } => RejectKind::Aborted,
            Self::TaskDependenciesNotSpecifiedOnJob { .. }
            | Self::DependencyCycle { .. }
            | Self::TooManySlots { .. }
            | Self::UserUnknown { .. }
            | Self::SweepHasNoSuchMembers { .. }
            | Self::RequestIdReused { .. } => RejectKind::InvalidArgument,
            Self::TokenUnknown(_)
            | Self::TokenExpired(_)
            | Self::TokenUsedUp { .. }
            | Self::NodeUnknown(_) => RejectKind::PermissionDenied,
        }
    }

    /// The reference's error code (azure-batch.md 2.4), or ours in its style.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AccountNotFound(_) => "AccountNotFound",
            Self::AccountExists(_) => "AccountExists",
            Self::PoolNotFound(_) => "PoolNotFound",
            Self::PoolExists(_) => "PoolExists",
            Self::PoolBeingDeleted(_) => "PoolBeingDeleted",
            Self::PoolBeingResized { .. } => "PoolBeingResized",
            Self::PoolNotResizing(_) => "OperationInvalidForCurrentState",
            Self::NodeNotFound { .. } => "NodeNotFound",
            Self::NodeAlreadyInTargetSchedulingState { .. } => "NodeAlreadyInTargetSchedulingState",
            Self::NodeState { .. } => "OperationInvalidForCurrentState",
            Self::NodeBeingRestarted { reimage: false, .. } => "NodeBeingRebooted",
            Self::NodeBeingRestarted { reimage: true, .. } => "NodeBeingReimaged",
            Self::NodeCannotRestart { .. } => "OperationNotValidOnNode",
            Self::JobNotFound(_) => "JobNotFound",
            Self::JobExists(_) => "JobExists",
            Self::JobState { state, .. } => match state {
                JobState::Completed => "JobCompleted",
                JobState::Terminating => "JobBeingTerminated",
                JobState::Deleting => "JobBeingDeleted",
                JobState::Disabled | JobState::Disabling => "JobDisabled",
                JobState::Active | JobState::Enabling => "OperationInvalidForCurrentState",
            },
            Self::TaskDependenciesNotSpecifiedOnJob { .. } => "TaskDependenciesNotSpecifiedOnJob",
            Self::DependencyCycle { .. } => "DependencyCycle",
            Self::TaskNotFound { .. } => "TaskNotFound",
            Self::TaskExists { .. } | Self::TaskIdReserved { .. } => "TaskExists",
            Self::SweepNotFound { .. } => "SweepNotFound",
            Self::SweepExists { .. } => "SweepExists",
            Self::SweepBeingDeleted(_) => "SweepBeingDeleted",
            Self::SweepHasNoSuchMembers { .. } => "InvalidPropertyValue",
            Self::JobPoolFixed { .. } => "OperationInvalidForCurrentState",
            Self::TaskState { state, .. } => match state {
                TaskState::Completed => "TaskCompleted",
                TaskState::Active | TaskState::Preparing | TaskState::Running => "TaskNotCompleted",
            },
            Self::TaskSucceeded(_) => "TaskSucceeded",
            Self::TooManySlots { .. } | Self::UserUnknown { .. } => "InvalidPropertyValue",
            Self::EtagMismatch { .. } => "ConditionNotMet",
            Self::RequestIdReused { .. } => "RequestIdReused",
            Self::TokenUnknown(_) => "JoinTokenUnknown",
            Self::TokenExpired(_) => "JoinTokenExpired",
            Self::TokenUsedUp { .. } => "JoinTokenUsedUp",
            Self::TokenNotFound(_) => "JoinTokenNotFound",
            Self::NodeUnknown(_) => "NodeUnknown",
            Self::StaleSession(_) => "StaleSession",
        }
    }
}
