//! What can be asked of each resource: its properties, their names in the API, their kinds and operators.
//!
//! The lists follow the reference's table 2.2 in the words of `muster.v1`. A property is data about a row that the
//! store keeps in a column of its own; nothing here knows a row (`fields`) or a database (`sqlite`).
//!
//! Invariant: an orderable property is never absent from a row, so that a page's end always has a position.

use muster_model::Cause;
use muster_model::state::{
    AllocationState, ExecutionResult, JobNodeTaskState, JobState, NodeState, PoolState, SchedulingState,
    StartTaskState, TaskState, UnknownName,
};
use std::fmt::Debug;

/// What values a property has, and so which operators it takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// An id: compared without regard to ASCII case.
    Id,
    /// Free text: compared without regard to ASCII case.
    Text,
    /// A path: compared byte by byte.
    Path,
    /// One of a closed list of names; the function reads one in any case and answers its spelling.
    OneOf(fn(&str) -> Result<&'static str, UnknownName>),
    /// A whole number.
    Integer,
    /// A point in time, to the microsecond.
    Time,
    /// `true` or `false`.
    Boolean,
}

/// How a property is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// The same. An absent property is never the same as a value.
    Equal,
    /// Not the same; also when the property is absent.
    NotEqual,
    /// Before.
    Less,
    /// Before, or the same.
    LessOrEqual,
    /// After.
    Greater,
    /// After, or the same.
    GreaterOrEqual,
    /// Starts with the value.
    Prefix,
}

impl Op {
    /// The operator as it is written in a filter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Prefix => ":",
        }
    }
}

const TEXT_OPS: &[Op] =
    &[Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::Prefix];
const ORDERED_OPS: &[Op] =
    &[Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual];
const EQUALITY_OPS: &[Op] = &[Op::Equal, Op::NotEqual];

impl Kind {
    /// The operators that make sense for values of this kind.
    #[must_use]
    pub const fn ops(self) -> &'static [Op] {
        match self {
            Self::Id | Self::Text | Self::Path => TEXT_OPS,
            Self::Integer | Self::Time => ORDERED_OPS,
            Self::OneOf(_) | Self::Boolean => EQUALITY_OPS,
        }
    }
}

/// The properties of one resource.
pub trait Property: Copy + Eq + Ord + Debug + Send + Sync + 'static {
    /// The resource in plural, for messages and for binding page tokens.
    const RESOURCE: &'static str;
    /// All of them, in the order in which messages list them.
    const ALL: &'static [Self];
    /// The one that tells the rows of a list apart; ends every order.
    const KEY: Self;
    /// The order of a list that asks for none.
    const DEFAULT_ORDER: (Self, bool);

    /// The name in filters and orders: the path of the field in `muster.v1`.
    fn name(self) -> &'static str;
    /// What values it has.
    fn kind(self) -> Kind;
    /// Whether lists can be ordered by it.
    fn orderable(self) -> bool;

    /// Finds a property by name; '/' stands for '.', as in the reference's filters.
    #[must_use]
    fn find(name: &str) -> Option<Self> {
        let dotted = name.replace('/', ".");
        Self::ALL.iter().copied().find(|property| property.name() == dotted)
    }
}

macro_rules! properties {
    (
        $(#[$doc:meta])* $name:ident, $resource:literal, key $key:ident, order ($first:ident, $descending:literal) {
            $($(#[$vdoc:meta])* $variant:ident = $text:literal, $kind:expr, $orderable:literal;)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl Property for $name {
            const RESOURCE: &'static str = $resource;
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            const KEY: Self = Self::$key;
            const DEFAULT_ORDER: (Self, bool) = (Self::$first, $descending);

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn kind(self) -> Kind {
                match self { $(Self::$variant => $kind),+ }
            }

            fn orderable(self) -> bool {
                match self { $(Self::$variant => $orderable),+ }
            }
        }
    };
}

macro_rules! one_of {
    ($name:ident) => {
        Kind::OneOf(|text| $name::parse(text).map($name::as_str))
    };
}

properties!(
    /// Properties of accounts.
    AccountProperty, "accounts", key Name, order (Name, false) {
        /// The name.
        Name = "name", Kind::Id, true;
        /// The text for people.
        DisplayName = "display_name", Kind::Text, false;
        /// Whether it may manage accounts.
        IsOperator = "is_operator", Kind::Boolean, false;
        /// When it was made.
        CreateTime = "create_time", Kind::Time, true;
    }
);

properties!(
    /// Properties of pools.
    PoolProperty, "pools", key Id, order (Id, false) {
        /// The id.
        Id = "id", Kind::Id, true;
        /// Whether it lives.
        State = "state", one_of!(PoolState), false;
        /// Whether it has its nodes.
        AllocationState = "allocation_state", one_of!(AllocationState), false;
        /// When the allocation state last changed.
        AllocationStateTransitionTime = "allocation_state_transition_time", Kind::Time, false;
        /// When it was made.
        CreateTime = "create_time", Kind::Time, true;
        /// When it last changed.
        UpdateTime = "update_time", Kind::Time, true;
    }
);

properties!(
    /// Properties of compute nodes.
    NodeProperty, "nodes", key Id, order (Id, false) {
        /// The id.
        Id = "id", Kind::Id, true;
        /// What it is doing.
        State = "state", one_of!(NodeState), false;
        /// When the state last changed.
        StateTransitionTime = "state_transition_time", Kind::Time, true;
        /// Whether tasks may be placed on it.
        SchedulingState = "scheduling_state", one_of!(SchedulingState), false;
        /// When its machine booted.
        LastBootTime = "last_boot_time", Kind::Time, false;
        /// When it joined.
        AllocationTime = "allocation_time", Kind::Time, true;
        /// Where its start task is.
        StartTaskState = "start_task_info.state", one_of!(StartTaskState), false;
        /// How its start task ended.
        StartTaskResult = "start_task_info.result", one_of!(ExecutionResult), false;
        /// The start task's exit code.
        StartTaskExitCode = "start_task_info.exit_code", Kind::Integer, false;
        /// When the start task started.
        StartTaskStartTime = "start_task_info.start_time", Kind::Time, false;
        /// When the start task ended.
        StartTaskEndTime = "start_task_info.end_time", Kind::Time, false;
    }
);

properties!(
    /// Properties of join tokens.
    TokenProperty, "join tokens", key Id, order (Id, false) {
        /// The id.
        Id = "id", Kind::Id, true;
        /// Where it leads.
        PoolId = "pool_id", Kind::Id, false;
        /// When it was made.
        CreateTime = "create_time", Kind::Time, true;
        /// When it becomes worthless.
        ExpireTime = "expire_time", Kind::Time, true;
    }
);

properties!(
    /// Properties of jobs.
    JobProperty, "jobs", key Id, order (Id, false) {
        /// The id.
        Id = "id", Kind::Id, true;
        /// The text for people.
        DisplayName = "display_name", Kind::Text, false;
        /// Where it is in its life.
        State = "state", one_of!(JobState), false;
        /// When the state last changed.
        StateTransitionTime = "state_transition_time", Kind::Time, true;
        /// Its priority.
        Priority = "priority", Kind::Integer, true;
        /// Its pool.
        PoolId = "pool_id", Kind::Id, false;
        /// When it was made. Ordered by the sequence of creation, which a stepped clock cannot change.
        CreateTime = "create_time", Kind::Time, true;
        /// When it last changed.
        UpdateTime = "update_time", Kind::Time, true;
        /// When it started: its creation.
        StartTime = "execution_info.start_time", Kind::Time, false;
        /// When it ended.
        EndTime = "execution_info.end_time", Kind::Time, false;
    }
);

properties!(
    /// Properties of tasks.
    TaskProperty, "tasks", key Id, order (CreateTime, false) {
        /// The id.
        Id = "id", Kind::Id, true;
        /// The text for people.
        DisplayName = "display_name", Kind::Text, false;
        /// Where it is in its life.
        State = "state", one_of!(TaskState), false;
        /// When the state last changed.
        StateTransitionTime = "state_transition_time", Kind::Time, true;
        /// When it was made. Ordered by the sequence of creation, which a stepped clock cannot change.
        CreateTime = "create_time", Kind::Time, true;
        /// When it last changed.
        UpdateTime = "update_time", Kind::Time, true;
        /// The node that holds, or last held, its attempt.
        NodeId = "node_info.node_id", Kind::Id, false;
        /// When its attempt started.
        StartTime = "execution_info.start_time", Kind::Time, false;
        /// When it ended for good.
        EndTime = "execution_info.end_time", Kind::Time, false;
        /// The last exit code.
        ExitCode = "execution_info.exit_code", Kind::Integer, false;
        /// How it counts.
        Result = "execution_info.result", one_of!(ExecutionResult), false;
        /// Why it failed.
        FailureCause = "execution_info.failure_info.cause", one_of!(Cause), false;
        /// How often it was tried again for failures of its own.
        RetryCount = "execution_info.retry_count", Kind::Integer, false;
        /// How often it went back to waiting on request.
        RequeueCount = "execution_info.requeue_count", Kind::Integer, false;
        /// The sweep that it is a member of.
        SweepId = "sweep_id", Kind::Id, false;
        /// Its number in that sweep.
        SweepNumber = "sweep_number", Kind::Integer, false;
    }
);

properties!(
    /// Properties of the sweeps of a job.
    SweepProperty, "sweeps", key Id, order (CreateTime, false) {
        /// The id.
        Id = "id", Kind::Id, true;
        /// The template's text for people.
        DisplayName = "template.display_name", Kind::Text, false;
        /// How many members it was made with.
        Count = "count", Kind::Integer, false;
        /// Whether it is on its way out.
        Deleting = "deleting", Kind::Boolean, false;
        /// When it was made. Ordered by the sequence of creation, which a stepped clock cannot change.
        CreateTime = "create_time", Kind::Time, true;
        /// When it last changed.
        UpdateTime = "update_time", Kind::Time, true;
    }
);

properties!(
    /// Properties of what a job's preparation and release tasks did on nodes.
    JobNodeProperty, "job preparation and release task statuses", key NodeId, order (NodeId, false) {
        /// The node.
        NodeId = "node_id", Kind::Id, true;
        /// Its pool.
        PoolId = "pool_id", Kind::Id, false;
        /// Where the preparation task is.
        PreparationState = "job_preparation_task_execution_info.state", one_of!(JobNodeTaskState), false;
        /// When its attempt started.
        PreparationStartTime = "job_preparation_task_execution_info.start_time", Kind::Time, false;
        /// When its attempt ended.
        PreparationEndTime = "job_preparation_task_execution_info.end_time", Kind::Time, false;
        /// Its exit code.
        PreparationExitCode = "job_preparation_task_execution_info.exit_code", Kind::Integer, false;
        /// How it counts.
        PreparationResult = "job_preparation_task_execution_info.result", one_of!(ExecutionResult), false;
        /// Where the release task is.
        ReleaseState = "job_release_task_execution_info.state", one_of!(JobNodeTaskState), false;
        /// When its attempt started.
        ReleaseStartTime = "job_release_task_execution_info.start_time", Kind::Time, false;
        /// When its attempt ended.
        ReleaseEndTime = "job_release_task_execution_info.end_time", Kind::Time, false;
        /// Its exit code.
        ReleaseExitCode = "job_release_task_execution_info.exit_code", Kind::Integer, false;
        /// How it counts.
        ReleaseResult = "job_release_task_execution_info.result", one_of!(ExecutionResult), false;
    }
);

properties!(
    /// Properties of the attempts at a task.
    AttemptProperty, "attempts", key Number, order (Number, true) {
        /// The number.
        Number = "attempt", Kind::Integer, true;
        /// The node.
        NodeId = "node_id", Kind::Id, false;
        /// How it counts.
        Result = "result", one_of!(ExecutionResult), false;
        /// The exit code.
        ExitCode = "exit_code", Kind::Integer, false;
        /// Why it failed.
        FailureCause = "failure_info.cause", one_of!(Cause), false;
        /// When its command started.
        StartTime = "start_time", Kind::Time, false;
        /// When it ended.
        EndTime = "end_time", Kind::Time, false;
    }
);

properties!(
    /// Properties of the containers of the file store.
    ContainerProperty, "containers", key Name, order (Name, false) {
        /// The name.
        Name = "name", Kind::Id, true;
        /// When its first file was named.
        CreateTime = "create_time", Kind::Time, true;
    }
);

properties!(
    /// Properties of the files of a container.
    FileProperty, "files", key Path, order (Path, false) {
        /// The path.
        Path = "path", Kind::Path, true;
        /// The bytes of its content.
        SizeBytes = "size_bytes", Kind::Integer, true;
        /// When the name got this content.
        UpdateTime = "update_time", Kind::Time, true;
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<P: Property>() {
        for property in P::ALL {
            assert_eq!(P::find(property.name()), Some(*property));
            assert_eq!(P::find(&property.name().replace('.', "/")), Some(*property));
        }
        assert!(P::KEY.orderable() && P::DEFAULT_ORDER.0.orderable(), "{}", P::RESOURCE);
        assert_eq!(P::find("nonsense"), None);
    }

    #[test]
    fn every_property_is_found_by_its_name_and_by_its_path() {
        check::<AccountProperty>();
        check::<PoolProperty>();
        check::<NodeProperty>();
        check::<TokenProperty>();
        check::<JobProperty>();
        check::<TaskProperty>();
        check::<AttemptProperty>();
        check::<SweepProperty>();
        check::<JobNodeProperty>();
        check::<ContainerProperty>();
        check::<FileProperty>();
    }
}
