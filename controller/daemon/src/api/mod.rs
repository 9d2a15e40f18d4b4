//! The API for clients: every service of `muster.v1` but the nodes' own.
//!
//! A handler takes a proof from the gate, converts and checks the whole request before anything is changed, hands a
//! command to the engine or reads the store, and answers what the store then holds. It decides nothing: rules live in
//! the core. `session` and this module never know each other.
//!
//! * one file for each service: `account`, `version`, `pool`, `compute_node`, `job`, `task_service`, `file`; behind it `task`,
//!   `task_batch`, `task_stream`, `sweep`, `explain`, `job_nodes`, the streams of events (`pool_watch`, `job_watch`,
//!   `task_watch`, `tasks_watch`), `upload`, and `task_file`, `attempt_file`, `follow`, `node_file` for files of tasks and nodes;
//! * `context`: what handlers work with; `lookup`: reading what must be there; `list`: filters, orders and pages;
//!   `read_mask`: which fields to answer; `view`: rows as messages; `watch` and `feed`: the machinery of streams;
//!   `refused`: refusals that only clients meet.

mod account;
mod attempt_file;
mod compute_node;
mod context;
mod explain;
mod feed;
mod file;
mod file_link;
mod follow;
mod job;
mod job_nodes;
mod job_watch;
mod list;
mod lookup;
mod node_file;
mod pool;
mod pool_token;
mod pool_watch;
mod read_mask;
mod refused;
mod saved;
mod services;
mod stream_chunk;
mod stream_owner;
mod sweep;
mod task;
mod task_batch;
mod task_file;
mod task_service;
mod task_stream;
mod task_watch;
mod tasks_watch;
mod upload;
mod version;
mod view;
mod watch;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use context::{Api, Parts};
pub use services::routes;
