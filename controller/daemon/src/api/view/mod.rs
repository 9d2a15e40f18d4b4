//! Rows of the store as messages of the API: the specification as it was given, and the state beside it.
//!
//! One file for each resource. Nothing is decided here and nothing is looked up: whoever answers hands in all the rows
//! that the message is made of.

mod account;
mod explain;
mod file;
mod job;
mod job_node;
mod node;
mod pool;
mod sweep;
mod task;

pub(super) use account::{account, account_keys};
pub(super) use explain::{explanation, job_explanation};
pub(super) use file::{container, file_etag, file_info};
pub(super) use job::{counts_by_state, job, task_counts};
pub(super) use job_node::job_node;
pub(super) use node::{node, recent_task};
pub(super) use pool::{join_token, node_counts, pool};
pub(super) use sweep::{sweep, sweep_without_rows};
pub(super) use task::{attempt, task};
