//! How resources look: one file for each, as a row of a list and as a record.
//!
//! Goes in: the API's messages. Comes out: fields with their tone. Nothing here writes (`outlet.rs` does) and nothing is
//! left out of `-o json`, which shows the messages themselves.

pub(crate) mod account;
pub(crate) mod attempt;
pub(crate) mod capability;
pub(crate) mod explain;
pub(crate) mod failure;
pub(crate) mod file;
pub(crate) mod job;
pub(crate) mod job_node;
pub(crate) mod node;
pub(crate) mod pool;
pub(crate) mod sweep;
pub(crate) mod task;
pub(crate) mod usage;
pub(crate) mod words;
