//! Each enum of the wire beside its twin in the model: one table, both directions.
//!
//! Outwards is `From`. Inwards, 0 (UNSPECIFIED) means the default of the field, if it has one; a number that the enum
//! does not have is noted, with the names that it has.

use muster_model::state::{
    AfterDrain, AllocationState, AttemptPhase, AutoUserScope, DependencyAction, DependencyCondition,
    DiskLimit, DrainOption, ElevationLevel, ExecutionResult, IsolationLevel, JobAction, JobDefaultOrder,
    JobNodeTaskState, JobState, NodeFillType, NodeState, OnAllTasksComplete, OnDependencyFailure,
    OnLeaseExpiry, OnTaskFailure, PoolState, SchedulingState, StartTaskState, TaskNetwork, TaskState,
    UploadCondition,
};
use muster_model::{Cause, ErrorCategory, KeyName};

use super::violation::{Checker, Problem};
use crate::wire;

/// An enum of the wire with a twin in the model.
pub trait WireEnum: Sized {
    /// The twin.
    type Model: Copy;
    /// The name of the wire's enum, for messages.
    const KIND: &'static str;

    /// The value of this number; `None` inside for UNSPECIFIED, `None` outside for a number that the enum lacks.
    fn from_number(number: i32) -> Option<Option<Self::Model>>;

    /// The names of all values but UNSPECIFIED, separated by commas.
    fn allowed() -> String;
}

/// The model's value of an enum field: `default` for UNSPECIFIED; noted when there is none or the number is unknown.
pub fn enumeration<E: WireEnum>(
    checker: &mut Checker,
    number: i32,
    default: Option<E::Model>,
) -> Option<E::Model> {
    match (E::from_number(number), default) {
        (Some(Some(value)), _) | (Some(None), Some(value)) => Some(value),
        (Some(None), None) | (None, _) => {
            checker.note(Problem::UnknownEnum { given: number, kind: E::KIND, allowed: E::allowed() });
            None
        }
    }
}

/// An enum field that may be unset: `Some(None)` for UNSPECIFIED.
pub fn optional_enumeration<E: WireEnum>(checker: &mut Checker, number: i32) -> Option<E::Model> {
    if number == 0 { None } else { enumeration::<E>(checker, number, None) }
}

/// What becomes of the tasks of nodes that leave or restart. This enum has one value more than its twin.
pub(super) fn deallocation_option(
    checker: &mut Checker,
    field: &'static str,
    number: i32,
) -> Option<DrainOption> {
    use wire::NodeDeallocationOption as Given;
    let problem = match Given::try_from(number) {
        Ok(Given::Unspecified | Given::Requeue) => return Some(DrainOption::Requeue),
        Ok(Given::Terminate) => return Some(DrainOption::Terminate),
        Ok(Given::TaskCompletion) => return Some(DrainOption::TaskCompletion),
        Ok(Given::RetainedData) => {
            Problem::NotSupported { instead: "use NODE_DEALLOCATION_OPTION_TASK_COMPLETION" }
        }
        Err(_) => {
            let allowed = [Given::Requeue, Given::Terminate, Given::TaskCompletion];
            let allowed = allowed.map(|option| option.as_str_name()).join(", ");
            Problem::UnknownEnum { given: number, kind: "NodeDeallocationOption", allowed }
        }
    };
    checker.note_at(field, problem);
    None
}

macro_rules! twins {
    ($($wire:ident = $model:ident { $($wire_value:ident = $model_value:ident),+ $(,)? })+) => { $(
        impl From<$model> for wire::$wire {
            fn from(value: $model) -> Self {
                match value { $($model::$model_value => Self::$wire_value),+ }
            }
        }

        impl WireEnum for wire::$wire {
            type Model = $model;
            const KIND: &'static str = stringify!($wire);

            fn from_number(number: i32) -> Option<Option<$model>> {
                match Self::try_from(number) {
                    Ok(Self::Unspecified) => Some(None),
                    $(Ok(Self::$wire_value) => Some(Some($model::$model_value)),)+
                    Err(_) => None,
                }
            }

            fn allowed() -> String {
                [$(Self::$wire_value.as_str_name()),+].join(", ")
            }
        }
    )+

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn every_value_has_one_twin_in_both_directions() {
                $(
                    let values = [$($model::$model_value),+];
                    for value in values {
                        let number = i32::from(wire::$wire::from(value));
                        assert_eq!(wire::$wire::from_number(number), Some(Some(value)));
                    }
                    assert_eq!(wire::$wire::from_number(0), Some(None));
                    assert_eq!(wire::$wire::from_number(i32::MAX), None);
                    assert_eq!(wire::$wire::from_number(-1), None);
                )+
            }
        }
    };
}

twins! {
    PoolState = PoolState { Active = Active, Deleting = Deleting }
    AllocationState = AllocationState { Steady = Steady, Resizing = Resizing, Stopping = Stopping }
    NodeFillType = NodeFillType { Spread = Spread, Pack = Pack }
    JobDefaultOrder = JobDefaultOrder { None = None, CreationTime = CreationTime }
    LeaseExpiryPolicy = OnLeaseExpiry { Kill = Kill, Keep = Keep }
    NodeState = NodeState {
        Creating = Creating, Starting = Starting, WaitingForStartTask = WaitingForStartTask,
        StartTaskFailed = StartTaskFailed, Idle = Idle, Running = Running, Rebooting = Rebooting,
        Reimaging = Reimaging, Unusable = Unusable, Unknown = Unknown, Offline = Offline,
        LeavingPool = LeavingPool, Preempted = Preempted, UpgradingOs = UpgradingOs,
        Deallocating = Deallocating, Deallocated = Deallocated,
    }
    SchedulingState = SchedulingState { Enabled = Enabled, Disabled = Disabled }
    StartTaskState = StartTaskState { Running = Running, Completed = Completed }
    JobState = JobState {
        Active = Active, Disabling = Disabling, Disabled = Disabled, Enabling = Enabling,
        Terminating = Terminating, Completed = Completed, Deleting = Deleting,
    }
    OnAllTasksComplete = OnAllTasksComplete { NoAction = NoAction, TerminateJob = TerminateJob }
    OnTaskFailure = OnTaskFailure {
        NoAction = NoAction, PerformExitOptionsJobAction = PerformExitOptionsJobAction,
    }
    OnDependencyFailure = OnDependencyFailure { Wait = Wait, Fail = Fail, Skip = Skip }
    JobAction = JobAction { None = None, Disable = Disable, Terminate = Terminate }
    DependencyAction = DependencyAction { Satisfy = Satisfy, Block = Block }
    DependencyCondition = DependencyCondition { Satisfied = Satisfied, Failed = Failed, Completed = Completed }
    JobNodeTaskState = JobNodeTaskState { Running = Running, Completed = Completed }
    TaskState = TaskState { Active = Active, Preparing = Preparing, Running = Running, Completed = Completed }
    AttemptPhase = AttemptPhase {
        Assigned = Assigned, Staging = Staging, Running = Running, Uploading = Uploading, Finished = Finished,
    }
    ExecutionResult = ExecutionResult { Success = Success, Failure = Failure }
    UploadCondition = UploadCondition {
        TaskSuccess = TaskSuccess, TaskFailure = TaskFailure, TaskCompletion = TaskCompletion,
    }
    AutoUserScope = AutoUserScope { Task = Task, Pool = Pool }
    ElevationLevel = ElevationLevel { NonAdmin = NonAdmin, Admin = Admin }
    IsolationLevel = IsolationLevel { None = None, Process = Process, Sandbox = Sandbox }
    TaskNetwork = TaskNetwork { Host = Host, None = None }
    DiskLimitMeans = DiskLimit {
        Watch = Watch, Tmpfs = Tmpfs, Loop = Loop, Btrfs = Btrfs, ProjectQuota = ProjectQuota,
    }
    DisableSchedulingOption = DrainOption {
        Requeue = Requeue, Terminate = Terminate, TaskCompletion = TaskCompletion,
    }
    AfterDrain = AfterDrain { Stay = Stay, Reboot = Reboot, Reimage = Reimage, Leave = Leave }
    ErrorCategory = ErrorCategory { User = User, Server = Server }
    AccountKeyName = KeyName { Primary = Primary, Secondary = Secondary }
    FailureCause = Cause {
        ExitCode = ExitCode, Signal = Signal, OutOfMemory = OutOfMemory, WallClock = WallClock,
        DiskFull = DiskFull, StagingNotFound = StagingNotFound, StagingDenied = StagingDenied,
        StagingCorrupt = StagingCorrupt, StagingNetwork = StagingNetwork, ProgramNotFound = ProgramNotFound,
        LaunchFailed = LaunchFailed, UploadFailed = UploadFailed, NodeLost = NodeLost,
        NodePreempted = NodePreempted, PreparationFailed = PreparationFailed, Terminated = Terminated,
        DependencyFailed = DependencyFailed, Internal = Internal,
    }
}
