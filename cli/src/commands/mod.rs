//! What each command does, one file for each group.
//!
//! Every function here is a call or two of the client library and the way in which their answer is written; `run` and
//! `dev`, which are more than that, have folders of their own.

pub(crate) mod version;

mod account;
mod context;
mod dispatch;
mod file;
mod input;
mod job;
mod job_spec;
mod logs;
mod node;
mod node_operation;
mod pool;
mod spec;
mod sweep;
mod task;
mod task_add;
mod task_file;
mod task_spec;
mod token;

pub(crate) use context::Context;
pub(crate) use dispatch::run;
pub(crate) use spec::{command_line, constraints, resources, user_identity};
