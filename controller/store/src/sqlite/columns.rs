//! Which column of the database holds each property, and by which column each order goes.
//!
//! Every property of `query` has exactly one column, also after a property is added: the matches leave none out. Names of
//! closed lists become the codes of `codec`. Nothing here comes from a request, so `filter` and `list` may put these texts
//! into SQL as they are.

use crate::codec::Coded;
use crate::query::{
    AccountProperty, AttemptProperty, ContainerProperty, FileProperty, JobNodeProperty, JobProperty,
    NodeProperty, PoolProperty, Property, SweepProperty, TaskProperty, TokenProperty,
};
use muster_model::Cause;
use muster_model::state::{
    AllocationState, ExecutionResult, JobNodeTaskState, JobState, NodeState, PoolState, SchedulingState,
    StartTaskState, TaskState,
};

/// A column, and how names of a closed list are written in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// The column with its table's alias. Text columns are declared with the collation of their property's kind.
    pub(super) name: &'static str,
    /// Whether it can be NULL: the property can be absent.
    pub(super) nullable: bool,
    /// The code of a name, for columns of closed lists.
    pub(super) code: Option<fn(&str) -> Option<i64>>,
}

const fn column(name: &'static str) -> Column {
    Column { name, nullable: false, code: None }
}

const fn nullable(name: &'static str) -> Column {
    Column { name, nullable: true, code: None }
}

macro_rules! coded {
    ($column:expr, $name:ident) => {
        Column { code: Some(|name| $name::parse(name).ok().map(Coded::code)), ..$column }
    };
}

/// A property that has a column.
pub(super) trait Stored: Property {
    /// The column of the property.
    fn column(self) -> Column;

    /// The column by which lists are ordered; only creation differs, see `Fields::place`.
    fn order_column(self) -> &'static str {
        self.column().name
    }
}

impl Stored for AccountProperty {
    fn column(self) -> Column {
        match self {
            Self::Name => column("n.name"),
            Self::DisplayName => column("a.display_name"),
            Self::IsOperator => column("a.is_operator"),
            Self::CreateTime => column("a.created"),
        }
    }
}

impl Stored for PoolProperty {
    fn column(self) -> Column {
        match self {
            Self::Id => column("p.id"),
            Self::State => coded!(column("p.state"), PoolState),
            Self::AllocationState => coded!(column("p.allocation_state"), AllocationState),
            Self::AllocationStateTransitionTime => column("p.allocation_since"),
            Self::CreateTime => column("p.created"),
            Self::UpdateTime => column("p.modified"),
        }
    }
}

impl Stored for NodeProperty {
    fn column(self) -> Column {
        match self {
            Self::Id => column("n.id"),
            Self::State => coded!(column("n.state"), NodeState),
            Self::StateTransitionTime => column("n.state_since"),
            Self::SchedulingState => coded!(column("n.scheduling"), SchedulingState),
            Self::LastBootTime => column("n.boot_time"),
            Self::AllocationTime => column("n.joined"),
            Self::StartTaskState => coded!(nullable("n.start_state"), StartTaskState),
            Self::StartTaskResult => coded!(nullable("n.start_result"), ExecutionResult),
            Self::StartTaskExitCode => nullable("n.start_exit_code"),
            Self::StartTaskStartTime => nullable("n.start_started"),
            Self::StartTaskEndTime => nullable("n.start_ended"),
        }
    }
}

impl Stored for TokenProperty {
    fn column(self) -> Column {
        match self {
            Self::Id => column("t.id"),
            Self::PoolId => column("t.pool"),
            Self::CreateTime => column("t.created"),
            Self::ExpireTime => column("t.expires"),
        }
    }
}

impl Stored for JobProperty {
    fn column(self) -> Column {
        match self {
            Self::Id => column("j.id"),
            Self::DisplayName => column("j.display_name"),
            Self::State => coded!(column("j.state"), JobState),
            Self::StateTransitionTime => column("j.state_since"),
            Self::Priority => column("j.priority"),
            Self::PoolId => column("j.pool"),
            Self::CreateTime | Self::StartTime => column("j.created"),
            Self::UpdateTime => column("j.modified"),
            Self::EndTime => nullable("j.ended"),
        }
    }

    fn order_column(self) -> &'static str {
        if self == Self::CreateTime { "j.sequence" } else { self.column().name }
    }
}

/// A task that nothing has happened to has no row `s`: what it has all the same is said here, as `view::untouched` does
/// (1 is the code of `active`). The sweep is `w`.
impl Stored for TaskProperty {
    fn column(self) -> Column {
        match self {
            Self::Id => column("t.id"),
            Self::DisplayName => column("t.display_name"),
            Self::State => coded!(column("ifnull(s.state, 1)"), TaskState),
            Self::StateTransitionTime => column("ifnull(s.state_since, t.created)"),
            Self::CreateTime => column("t.created"),
            Self::UpdateTime => column("ifnull(s.modified, t.created)"),
            Self::NodeId => nullable("s.node"),
            Self::StartTime => nullable("s.started"),
            Self::EndTime => nullable("s.ended"),
            Self::ExitCode => nullable("s.exit_code"),
            Self::Result => coded!(nullable("s.result"), ExecutionResult),
            Self::FailureCause => coded!(nullable("s.cause"), Cause),
            Self::RetryCount => column("ifnull(s.retry_count, 0)"),
            Self::RequeueCount => column("ifnull(s.requeue_count, 0)"),
            Self::SweepId => nullable("w.id"),
            Self::SweepNumber => nullable("(w.first + t.member * w.step)"),
        }
    }

    fn order_column(self) -> &'static str {
        if self == Self::CreateTime { "t.sequence" } else { self.column().name }
    }
}

impl Stored for SweepProperty {
    fn column(self) -> Column {
        match self {
            Self::Id => column("w.id"),
            Self::DisplayName => column("w.display_name"),
            Self::Count => column("w.count"),
            Self::Deleting => column("x.deleting"),
            Self::CreateTime => column("w.created"),
            Self::UpdateTime => column("x.modified"),
        }
    }

    fn order_column(self) -> &'static str {
        if self == Self::CreateTime { "w.sequence" } else { self.column().name }
    }
}

impl Stored for JobNodeProperty {
    fn column(self) -> Column {
        match self {
            Self::NodeId => column("m.node"),
            Self::PoolId => column("m.pool"),
            Self::PreparationState => coded!(column("m.prep_state"), JobNodeTaskState),
            Self::PreparationStartTime => nullable("m.prep_started"),
            Self::PreparationEndTime => nullable("m.prep_ended"),
            Self::PreparationExitCode => nullable("m.prep_exit_code"),
            Self::PreparationResult => coded!(nullable("m.prep_result"), ExecutionResult),
            Self::ReleaseState => coded!(nullable("m.rel_state"), JobNodeTaskState),
            Self::ReleaseStartTime => nullable("m.rel_started"),
            Self::ReleaseEndTime => nullable("m.rel_ended"),
            Self::ReleaseExitCode => nullable("m.rel_exit_code"),
            Self::ReleaseResult => coded!(nullable("m.rel_result"), ExecutionResult),
        }
    }
}

impl Stored for AttemptProperty {
    fn column(self) -> Column {
        match self {
            Self::Number => column("a.number"),
            Self::NodeId => column("a.node"),
            Self::Result => coded!(column("a.result"), ExecutionResult),
            Self::ExitCode => nullable("a.exit_code"),
            Self::FailureCause => coded!(nullable("a.cause"), Cause),
            Self::StartTime => nullable("a.started"),
            Self::EndTime => column("a.ended"),
        }
    }
}

impl Stored for ContainerProperty {
    fn column(self) -> Column {
        match self {
            Self::Name => column("c.name"),
            Self::CreateTime => column("c.created"),
        }
    }
}

impl Stored for FileProperty {
    fn column(self) -> Column {
        match self {
            Self::Path => column("f.path"),
            Self::SizeBytes => column("f.size"),
            Self::UpdateTime => column("f.modified"),
        }
    }
}
