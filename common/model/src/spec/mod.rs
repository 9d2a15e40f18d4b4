//! What users ask for: the specifications of pools, jobs and tasks.
//!
//! A specification never changes by itself; what the system makes of it is state, kept elsewhere. Values here have
//! been checked against `limits` by the conversion from the wire, which also fills in the defaults.

mod common;
mod job;
mod pool;
mod task;

pub use common::{
    EnvironmentSetting, FileDestination, FileSource, MetadataItem, OutputFile, ResourceFile, RetryLimit,
    UserIdentity,
};
pub use job::{JobConstraints, JobPatch, JobSpec};
pub use pool::{PoolPatch, PoolSpec, StartTaskSpec};
pub use task::{DependsOn, IdRange, TaskConstraints, TaskLimits, TaskSpec};
