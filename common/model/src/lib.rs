//! The vocabulary of Muster: typed ids, times, resources, specifications and states.
//!
//! Pure values with their limits and nothing else: no clock, no I/O, no wire format, no decision. Every
//! other crate may know this one; it knows nobody (docs/architecture.md draws the floors).
//!
//! Start at [`spec`] for what a user asks for and at [`attempt`] for what came of it.

pub mod account;
pub mod attempt;
pub mod cause;
pub mod digest;
pub mod id;
pub mod index_set;
pub mod limits;
pub mod node;
pub mod path;
pub mod resources;
pub mod spec;
pub mod state;
pub mod time;

pub use account::{AccessKey, KeyName};
pub use attempt::{AttemptId, AttemptNumber, AttemptResult, Excerpt, OutputEntry, TaskKey, Usage};
pub use cause::{Cause, ErrorCategory, FailureInfo};
pub use digest::Digest;
pub use id::{
    AccountName, ContainerName, IdError, JobId, NodeId, PoolId, RequestId, SweepId, TaskId, TokenId, UserName,
};
pub use index_set::IndexSet;
pub use path::{FilePath, PathError};
pub use resources::{NamedCounts, Resources, Shortage};
pub use time::Timestamp;
