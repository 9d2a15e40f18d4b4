//! What users ask for: the specifications of pools, jobs, tasks and sweeps.
//!
//! A specification never changes by itself; what the system makes of it is state, kept elsewhere. Values here have
//! been checked against `limits` by the conversion from the wire, which also fills in the defaults.

mod common;
mod dependency;
mod job;
mod pool;
mod sweep;
mod task;

pub use common::{
    EnvironmentSetting, FileDestination, FileSource, MetadataItem, OutputFile, ResourceFile, RetryLimit,
    UserIdentity,
};
pub use dependency::{
    DependencyGroup, DependsOn, ExitConditions, ExitOptions, GlobError, IdRange, Quota, SweepMembers,
    TaskGlob, TaskSet,
};
pub use job::{JobConstraints, JobManagerSpec, JobPatch, JobPreparationSpec, JobReleaseSpec, JobSpec};
pub use pool::{PoolPatch, PoolSpec, StartTaskSpec, UserAccount};
pub use sweep::{Axis, SweepShape, SweepSpec, split_member};
pub use task::{MemoryEscalation, TaskConstraints, TaskLimits, TaskSpec};
