//! What the rows of each resource say of their properties.
//!
//! The one place that ties a property to a field of a row for the memory store, and, for both backends, to the place
//! of a row in an order. The columns that hold the same values in SQLite are in `sqlite/columns`.

use super::property::{
    AccountProperty, AttemptProperty, ContainerProperty, FileProperty, JobNodeProperty, JobProperty,
    NodeProperty, PoolProperty, SweepProperty, TaskProperty, TokenProperty,
};
use super::value::{Field, Fields, Place};
use crate::view::{ContainerView, SweepView, TaskView};
use muster_controller_core::record::{
    AccountRow, AttemptRow, FileRow, JobNodeRow, JobNodeTask, JobRow, NodeRow, PoolRow, TaskStateRow,
    TokenRow,
};
use muster_model::spec::split_member;
use muster_model::{SweepId, Timestamp};

/// Numbers beyond `i64` cannot be stored, so that the largest stands in for none.
pub(crate) fn integer(number: u64) -> i64 {
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

/// What a task's properties are made of beside its state, wherever it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskHead<'a> {
    pub(crate) id: &'a str,
    pub(crate) display_name: &'a str,
    pub(crate) created: Timestamp,
    /// For a member of a sweep: the sweep, and the member's number in it.
    pub(crate) sweep: Option<(&'a SweepId, u64)>,
}

/// A property of a task.
pub(crate) fn task_field<'a>(
    head: TaskHead<'a>,
    state: &'a TaskStateRow,
    property: TaskProperty,
) -> Option<Field<'a>> {
    match property {
        TaskProperty::Id => Some(Field::Text(head.id)),
        TaskProperty::DisplayName => Some(Field::Text(head.display_name)),
        TaskProperty::State => Some(Field::Name(state.state.as_str())),
        TaskProperty::StateTransitionTime => Some(Field::Time(state.state_since)),
        TaskProperty::CreateTime => Some(Field::Time(head.created)),
        TaskProperty::UpdateTime => Some(Field::Time(state.modified)),
        TaskProperty::NodeId => state.node.as_ref().map(|node| Field::Text(node.as_str())),
        TaskProperty::StartTime => state.started.map(Field::Time),
        TaskProperty::EndTime => state.ended.map(Field::Time),
        TaskProperty::ExitCode => state.exit_code.map(|code| Field::Integer(code.into())),
        TaskProperty::Result => state.result.map(|result| Field::Name(result.as_str())),
        TaskProperty::FailureCause => state.failure.as_ref().map(|f| Field::Name(f.cause.as_str())),
        TaskProperty::RetryCount => Some(Field::Integer(state.retry_count.into())),
        TaskProperty::RequeueCount => Some(Field::Integer(state.requeue_count.into())),
        TaskProperty::SweepId => head.sweep.map(|(sweep, _)| Field::Text(sweep.as_str())),
        TaskProperty::SweepNumber => head.sweep.map(|(_, number)| Field::Integer(integer(number))),
    }
}

impl Fields<TaskProperty> for TaskView {
    fn field(&self, property: TaskProperty) -> Option<Field<'_>> {
        let spec = &self.spec.spec;
        let number = || split_member(&spec.id).map(|(_, number)| number);
        let head = TaskHead {
            id: spec.id.as_str(),
            display_name: &spec.display_name,
            created: self.spec.created,
            sweep: self.sweep.as_ref().and_then(|(sweep, _)| Some((sweep, number()?))),
        };
        task_field(head, &self.state, property)
    }

    fn place(&self, property: TaskProperty) -> Place {
        if property == TaskProperty::CreateTime {
            return Place::Integer(integer(self.spec.sequence));
        }
        Place::of(self.field(property))
    }
}

impl Fields<SweepProperty> for SweepView {
    fn field(&self, property: SweepProperty) -> Option<Field<'_>> {
        let spec = &self.row.spec;
        Some(match property {
            SweepProperty::Id => Field::Text(spec.id.as_str()),
            SweepProperty::DisplayName => Field::Text(&spec.template.display_name),
            SweepProperty::Count => Field::Integer(integer(spec.count())),
            SweepProperty::Deleting => Field::Boolean(self.state.deleting),
            SweepProperty::CreateTime => Field::Time(self.row.created),
            SweepProperty::UpdateTime => Field::Time(self.state.modified),
        })
    }

    fn place(&self, property: SweepProperty) -> Place {
        if property == SweepProperty::CreateTime {
            return Place::Integer(integer(self.row.sequence));
        }
        Place::of(self.field(property))
    }
}

impl Fields<JobNodeProperty> for JobNodeRow {
    fn field(&self, property: JobNodeProperty) -> Option<Field<'_>> {
        let (preparation, release) = (Some(&self.preparation), self.release.as_ref());
        match property {
            JobNodeProperty::NodeId => Some(Field::Text(self.node.as_str())),
            JobNodeProperty::PoolId => Some(Field::Text(self.pool.as_str())),
            JobNodeProperty::PreparationState => preparation.map(|task| Field::Name(task.state.as_str())),
            JobNodeProperty::ReleaseState => release.map(|task| Field::Name(task.state.as_str())),
            JobNodeProperty::PreparationStartTime => preparation.and_then(|t| t.started).map(Field::Time),
            JobNodeProperty::ReleaseStartTime => release.and_then(|t| t.started).map(Field::Time),
            JobNodeProperty::PreparationEndTime => preparation.and_then(|t| t.ended).map(Field::Time),
            JobNodeProperty::ReleaseEndTime => release.and_then(|t| t.ended).map(Field::Time),
            JobNodeProperty::PreparationExitCode => exit_code(preparation),
            JobNodeProperty::ReleaseExitCode => exit_code(release),
            JobNodeProperty::PreparationResult => result(preparation),
            JobNodeProperty::ReleaseResult => result(release),
        }
    }
}

fn exit_code(task: Option<&JobNodeTask>) -> Option<Field<'_>> {
    task.and_then(|task| task.exit_code).map(|code| Field::Integer(code.into()))
}

fn result(task: Option<&JobNodeTask>) -> Option<Field<'_>> {
    task.and_then(|task| task.result).map(|result| Field::Name(result.as_str()))
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
