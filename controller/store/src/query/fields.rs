//! What the rows of each resource say of their properties.
//!
//! The one place that ties a property to a field of a row for the memory store, and, for both backends, to the place
//! of a row in an order. The columns that hold the same values in SQLite are in `sqlite/columns`.

use super::property::{
    AccountProperty, AttemptProperty, ContainerProperty, FileProperty, JobProperty, NodeProperty,
    PoolProperty, TaskProperty, TokenProperty,
};
use super::value::{Field, Fields, Place};
use crate::view::{ContainerView, TaskView};
use muster_controller_core::record::{AccountRow, AttemptRow, FileRow, JobRow, NodeRow, PoolRow, TokenRow};

/// Numbers beyond `i64` cannot be stored, so that the largest stands in for none.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Fields<AccountProperty> for AccountRow {
    fn field(&self, property: AccountProperty) -> Option<Field<'_>> {
        Some(match property {
            AccountProperty::Name => Field::Text(self.name.as_str()),
            AccountProperty::DisplayName => Field::Text(&self.display_name),
            AccountProperty::IsOperator => Field::Boolean(self.is_operator),
            AccountProperty::CreateTime => Field::Time(self.created),
        })
    }
}

impl Fields<PoolProperty> for PoolRow {
    fn field(&self, property: PoolProperty) -> Option<Field<'_>> {
        Some(match property {
            PoolProperty::Id => Field::Text(self.spec.id.as_str()),
            PoolProperty::State => Field::Name(self.state.as_str()),
            PoolProperty::AllocationState => Field::Name(self.allocation_state.as_str()),
            PoolProperty::AllocationStateTransitionTime => Field::Time(self.allocation_since),
            PoolProperty::CreateTime => Field::Time(self.created),
            PoolProperty::UpdateTime => Field::Time(self.modified),
        })
    }
}

impl Fields<NodeProperty> for NodeRow {
    fn field(&self, property: NodeProperty) -> Option<Field<'_>> {
        let start_task = self.start_task.as_ref();
        match property {
            NodeProperty::Id => Some(Field::Text(self.id.as_str())),
            NodeProperty::State => Some(Field::Name(self.state.as_str())),
            NodeProperty::StateTransitionTime => Some(Field::Time(self.state_since)),
            NodeProperty::SchedulingState => Some(Field::Name(self.scheduling.as_str())),
            NodeProperty::LastBootTime => Some(Field::Time(self.facts.boot_time)),
            NodeProperty::AllocationTime => Some(Field::Time(self.joined)),
            NodeProperty::StartTaskState => start_task.map(|s| Field::Name(s.state.as_str())),
            NodeProperty::StartTaskResult => {
                start_task.and_then(|s| s.result).map(|r| Field::Name(r.as_str()))
            }
            NodeProperty::StartTaskExitCode => {
                start_task.and_then(|s| s.exit_code).map(|code| Field::Integer(code.into()))
            }
            NodeProperty::StartTaskStartTime => start_task.map(|s| Field::Time(s.start_time)),
            NodeProperty::StartTaskEndTime => start_task.and_then(|s| s.end_time).map(Field::Time),
        }
    }
}

impl Fields<TokenProperty> for TokenRow {
    fn field(&self, property: TokenProperty) -> Option<Field<'_>> {
        Some(match property {
            TokenProperty::Id => Field::Text(self.id.as_str()),
            TokenProperty::PoolId => Field::Text(self.pool.as_str()),
            TokenProperty::CreateTime => Field::Time(self.created),
            TokenProperty::ExpireTime => Field::Time(self.expires),
        })
    }
}

impl Fields<JobProperty> for JobRow {
    fn field(&self, property: JobProperty) -> Option<Field<'_>> {
        match property {
            JobProperty::Id => Some(Field::Text(self.spec.id.as_str())),
            JobProperty::DisplayName => Some(Field::Text(&self.spec.display_name)),
            JobProperty::State => Some(Field::Name(self.state.as_str())),
            JobProperty::StateTransitionTime => Some(Field::Time(self.state_since)),
            JobProperty::Priority => Some(Field::Integer(self.spec.priority.into())),
            JobProperty::PoolId => Some(Field::Text(self.spec.pool.as_str())),
            JobProperty::CreateTime | JobProperty::StartTime => Some(Field::Time(self.created)),
            JobProperty::UpdateTime => Some(Field::Time(self.modified)),
            JobProperty::EndTime => self.ended.map(Field::Time),
        }
    }

    fn place(&self, property: JobProperty) -> Place {
        if property == JobProperty::CreateTime {
            return Place::Integer(integer(self.sequence));
        }
        Place::of(self.field(property))
    }
}

impl Fields<TaskProperty> for TaskView {
    fn field(&self, property: TaskProperty) -> Option<Field<'_>> {
        let (spec, state) = (&self.spec, &self.state);
        match property {
            TaskProperty::Id => Some(Field::Text(spec.spec.id.as_str())),
            TaskProperty::DisplayName => Some(Field::Text(&spec.spec.display_name)),
            TaskProperty::State => Some(Field::Name(state.state.as_str())),
            TaskProperty::StateTransitionTime => Some(Field::Time(state.state_since)),
            TaskProperty::CreateTime => Some(Field::Time(spec.created)),
            TaskProperty::UpdateTime => Some(Field::Time(state.modified)),
            TaskProperty::NodeId => state.node.as_ref().map(|node| Field::Text(node.as_str())),
            TaskProperty::StartTime => state.started.map(Field::Time),
            TaskProperty::EndTime => state.ended.map(Field::Time),
            TaskProperty::ExitCode => state.exit_code.map(|code| Field::Integer(code.into())),
            TaskProperty::Result => state.result.map(|result| Field::Name(result.as_str())),
            TaskProperty::FailureCause => state.failure.as_ref().map(|f| Field::Name(f.cause.as_str())),
        }
    }

    fn place(&self, property: TaskProperty) -> Place {
        if property == TaskProperty::CreateTime {
            return Place::Integer(integer(self.spec.sequence));
        }
        Place::of(self.field(property))
    }
}

impl Fields<AttemptProperty> for AttemptRow {
    fn field(&self, property: AttemptProperty) -> Option<Field<'_>> {
        let result = &self.result;
        match property {
            AttemptProperty::Number => Some(Field::Integer(self.number.into())),
            AttemptProperty::NodeId => Some(Field::Text(self.node.as_str())),
            AttemptProperty::Result => Some(Field::Name(result.result.as_str())),
            AttemptProperty::ExitCode => result.exit_code.map(|code| Field::Integer(code.into())),
            AttemptProperty::FailureCause => result.failure.as_ref().map(|f| Field::Name(f.cause.as_str())),
            AttemptProperty::StartTime => result.start_time.map(Field::Time),
            AttemptProperty::EndTime => Some(Field::Time(result.end_time)),
        }
    }
}

impl Fields<ContainerProperty> for ContainerView {
    fn field(&self, property: ContainerProperty) -> Option<Field<'_>> {
        Some(match property {
            ContainerProperty::Name => Field::Text(self.name.as_str()),
            ContainerProperty::CreateTime => Field::Time(self.created),
        })
    }
}

impl Fields<FileProperty> for FileRow {
    fn field(&self, property: FileProperty) -> Option<Field<'_>> {
        Some(match property {
            FileProperty::Path => Field::Text(self.path.as_str()),
            FileProperty::SizeBytes => Field::Integer(integer(self.size)),
            FileProperty::UpdateTime => Field::Time(self.modified),
        })
    }
}
