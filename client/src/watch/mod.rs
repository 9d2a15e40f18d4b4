//! Watches: the present state of a task, a job or all pools, the changes among the tasks of a job, across broken
//! connections.
//!
//! `events.rs` opens a stream again and goes on after the last revision; `reopen.rs` says when that is tried and for how
//! long; one file for each kind of watch says what its reader sees.

mod events;
mod job;
mod pool;
mod reopen;
mod task;
mod tasks;

pub use job::{JobProgress, JobWatch};
pub use pool::{PoolEvent, PoolWatch};
pub(crate) use reopen::Reopen;
pub use task::{TaskFeed, TaskSeen, TaskWatch};
pub use tasks::{TasksEvent, TasksWatch};
