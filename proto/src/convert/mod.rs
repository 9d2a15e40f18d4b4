//! The only conversions between the wire and the model, one file for each resource.
//!
//! Inwards is `TryFrom` (or a function that takes a [`Checker`] for parts): defaults are filled in, limits checked, and
//! *everything* that is wrong is answered at once as [`FieldErrors`], each with the path of its field. Outwards is
//! `From`. No input makes a conversion panic. Fields that this version does not act on are refused, by the one table in
//! `unsupported`.
//!
//! Specifications survive the way out and back unchanged (property-tested in `tests/`), so the store keeps them as the
//! messages of this package.

mod account;
mod common;
mod dependency;
mod enums;
mod error;
mod file;
mod health;
mod job;
mod job_task;
mod mask;
mod node;
mod node_command;
mod plan;
mod pool;
mod session;
mod stream;
mod sweep;
mod task;
mod unsupported;
mod user;
mod violation;

pub use account::{NewAccount, account_name, key_name};
pub use common::{
    digest, duration_out, etag, etag_out, job_id, optional_duration, optional_timestamp, page_size,
    request_id, required_timestamp, timestamp, timestamp_out,
};
pub use dependency::{job_action_refused, needs_job_action, sweep_id};
pub use enums::{WireEnum, enumeration, optional_enumeration};
pub use error::{
    STATUS_HEADER_BYTES_MAX, failure_info, item_error, reason_name, reason_of, reason_of_code,
    retry_delay_of, status, status_busy, status_field, status_of, violations_of,
};
pub use file::{FileName, container, file_name};
pub use health::{Metrics, NodeHealth};
pub use job::JobUpdate;
pub use node::{capacity_out, node_id};
pub use node_command::{NodeDisabling, NodeRestart, NodeTarget};
pub use plan::{
    Amendment, AttemptLimits, AttemptPlan, NodeSettings, PlannedFile, PlannedSource, StartTaskPlan,
};
pub use pool::{NewJoinToken, NodeRemoval, PoolResize, PoolUpdate, pool_id};
pub use session::{Finished, HeldAttempt, Progress, attempt_id, stored_result};
pub use stream::TaskStream;
pub use sweep::{NewSweep, SweepTarget};
pub use task::{TaskUpdate, batch_task, task_id};
pub use violation::{Checker, FIELD_ERRORS_MAX, FieldError, FieldErrors, Problem};
