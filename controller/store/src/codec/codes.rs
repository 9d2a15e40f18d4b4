//! The numbers under which the values of closed enums are stored.
//!
//! They are part of the format: a new value gets a new number, and a number is never given to another value. The order
//! of the model's declarations plays no part. Numbers start at 1, so that 0 is never a value.

use super::error::CodecError;
use muster_controller_core::record::Ending;
use muster_controller_core::reject::RejectKind;
use muster_model::Cause;
use muster_model::spec::RetryLimit;
use muster_model::state::{
    AfterDrain, AllocationState, DiskLimit, DrainOption, ExecutionResult, IsolationLevel, JobNodeTaskState,
    JobState, NodeState, PoolState, SchedulingState, StartTaskState, TaskState,
};

/// A closed enum with a number for each value.
pub(crate) trait Coded: Sized {
    /// What it is, for messages.
    const WHAT: &'static str;

    /// The number of this value.
    fn code(self) -> i64;

    /// The value of a number.
    ///
    /// # Errors
    /// [`CodecError::Code`] when there is none.
    fn from_code(code: i64) -> Result<Self, CodecError>;
}

macro_rules! codes {
    ($name:ident, $what:literal { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl Coded for $name {
            const WHAT: &'static str = $what;

            fn code(self) -> i64 {
                match self { $(Self::$variant => $code),+ }
            }

            fn from_code(code: i64) -> Result<Self, CodecError> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    found => Err(CodecError::Code { what: $what, found }),
                }
            }
        }
    };
}

codes!(PoolState, "pool state" { Active = 1, Deleting = 2 });
codes!(AllocationState, "allocation state" { Steady = 1, Resizing = 2, Stopping = 3 });
codes!(NodeState, "node state" {
    Idle = 1,
    Running = 2,
    Rebooting = 3,
    Reimaging = 4,
    Unusable = 5,
    Creating = 6,
    Starting = 7,
    WaitingForStartTask = 8,
    StartTaskFailed = 9,
    Unknown = 10,
    LeavingPool = 11,
    Offline = 12,
    Preempted = 13,
    UpgradingOs = 14,
    Deallocated = 15,
    Deallocating = 16,
});
codes!(SchedulingState, "scheduling state" { Enabled = 1, Disabled = 2 });
codes!(DrainOption, "drain option" { Requeue = 1, Terminate = 2, TaskCompletion = 3 });
codes!(AfterDrain, "action after draining" { Stay = 1, Reboot = 2, Reimage = 3, Leave = 4 });
codes!(IsolationLevel, "isolation level" { None = 1, Process = 2, Sandbox = 3 });
codes!(DiskLimit, "means of disk limits" { Watch = 1, Tmpfs = 2, Loop = 3, Btrfs = 4, ProjectQuota = 5 });
codes!(JobState, "job state" {
    Active = 1,
    Disabling = 2,
    Disabled = 3,
    Enabling = 4,
    Terminating = 5,
    Completed = 6,
    Deleting = 7,
});
codes!(TaskState, "task state" { Active = 1, Preparing = 2, Running = 3, Completed = 4 });
codes!(Ending, "ending" { Requeue = 1, Terminate = 2, Delete = 3 });
codes!(ExecutionResult, "result" { Success = 1, Failure = 2 });
codes!(StartTaskState, "start task state" { Running = 1, Completed = 2 });
codes!(JobNodeTaskState, "job preparation or release task state" { Running = 1, Completed = 2 });
codes!(RejectKind, "refusal" {
    NotFound = 1,
    AlreadyExists = 2,
    FailedPrecondition = 3,
    Aborted = 4,
    InvalidArgument = 5,
    PermissionDenied = 6,
    ResourceExhausted = 7,
});
codes!(Cause, "cause" {
    ExitCode = 1,
    Signal = 2,
    OutOfMemory = 3,
    WallClock = 4,
    DiskFull = 5,
    StagingNotFound = 6,
    StagingDenied = 7,
    StagingCorrupt = 8,
    StagingNetwork = 9,
    ProgramNotFound = 10,
    LaunchFailed = 11,
    UploadFailed = 12,
    NodeLost = 13,
    NodePreempted = 14,
    PreparationFailed = 15,
    Terminated = 16,
    DependencyFailed = 17,
    Internal = 18,
});

/// -1 is unlimited, as on the wire.
impl Coded for RetryLimit {
    const WHAT: &'static str = "retry limit";

    fn code(self) -> i64 {
        match self {
            Self::Times(times) => times.into(),
            Self::Unlimited => -1,
        }
    }

    fn from_code(code: i64) -> Result<Self, CodecError> {
        if code == -1 {
            return Ok(Self::Unlimited);
        }
        u32::try_from(code).map(Self::Times).map_err(|_| CodecError::Code { what: Self::WHAT, found: code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    fn check<T: Coded + Copy + PartialEq + Debug>(all: &[T]) {
        let codes: BTreeSet<i64> = all.iter().map(|value| value.code()).collect();
        assert_eq!(codes.len(), all.len(), "{} has a number twice", T::WHAT);
        for value in all {
            assert_eq!(T::from_code(value.code()).unwrap(), *value);
        }
        assert!(T::from_code(0).is_err() && T::from_code(1_000).is_err(), "{}", T::WHAT);
    }

    #[test]
    fn every_value_has_a_number_of_its_own_and_comes_back() {
        check(PoolState::ALL);
        check(AllocationState::ALL);
        check(NodeState::ALL);
        check(SchedulingState::ALL);
        check(DrainOption::ALL);
        check(AfterDrain::ALL);
        check(IsolationLevel::ALL);
        check(DiskLimit::ALL);
        check(JobState::ALL);
        check(TaskState::ALL);
        check(ExecutionResult::ALL);
        check(StartTaskState::ALL);
        check(JobNodeTaskState::ALL);
        check(Cause::ALL);
        for limit in [RetryLimit::Unlimited, RetryLimit::Times(0), RetryLimit::Times(u32::MAX)] {
            assert_eq!(RetryLimit::from_code(limit.code()).unwrap(), limit);
        }
        assert!(RetryLimit::from_code(-2).is_err());
    }
}
