//! Bytes on disk: the one place that says how values become them and how they are read again.
//!
//! `codes` numbers the closed enums for columns; `spec` keeps specifications as messages of `muster.v1`; `part` has
//! messages of the store's own for small nested things, as have
//! `node` (what nodes say of themselves), `rare` (what few tasks have) and `sweep` (sets of members). Rows carry the version of these formats (`format`); golden
//! files of every version are kept in tests/golden and read by a test.
//!
//! Invariant: a code or a field number is never used for something else, in no version.

mod codes;
mod error;
mod format;
mod node;
mod part;
mod rare;
mod result;
mod spec;
mod sweep;

pub(crate) use codes::Coded;
pub use error::CodecError;
pub(crate) use format::{FORMAT, check_format};
pub(crate) use node::{error, error_bytes, errors, errors_bytes, facts, facts_bytes};
pub(crate) use part::{constraints, constraints_bytes, failure, failure_bytes, reply, reply_bytes};
pub(crate) use rare::{rare, rare_bytes};
pub(crate) use result::{attempt_detail, attempt_detail_bytes};
pub(crate) use spec::{
    job_spec, job_spec_bytes, pool_spec, pool_spec_bytes, sweep_spec, sweep_spec_bytes, task_spec,
    task_spec_bytes,
};
pub(crate) use sweep::{ended, ended_bytes, index_set, index_set_bytes};
