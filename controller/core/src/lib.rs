//! The controller's decisions: one pure state machine.
//!
//! `Core::handle(input, now)` answers with records to make durable and effects to carry out after that, or with
//! a typed refusal and no records. No async, clock, randomness or I/O: time is an argument and the next deadline a
//! return value. Start at `core`, which only dispatches; the rules live in the noun's own file.

mod account;
mod attempt;
mod book;
#[cfg(any(test, feature = "check"))]
mod check;
mod class;
mod core;
mod counts;
mod custody;
mod dependency;
mod drain;
pub mod effect;
mod exit;
pub mod explain;
mod fit;
mod health;
pub mod input;
mod job;
mod job_life;
mod job_node;
mod job_node_report;
mod join;
#[cfg(test)]
mod laws;
mod lease;
mod loader;
mod members;
mod node;
mod node_command;
mod node_life;
mod pace;
mod placement;
mod planted;
mod pool;
mod pool_command;
mod probation;
pub mod record;
pub mod reject;
pub mod reply;
mod request;
mod resize;
mod restart;
mod retry;
mod session;
mod settings;
mod sweep;
mod sweep_command;
mod task;
mod task_command;
mod tenant;
mod timer;
mod turn;
mod users;
mod waiting;

pub use crate::core::{Core, Step};
pub use counts::TaskCounts;
pub use loader::Loader;
pub use planted::{Plant, Planted};
pub use settings::Settings;
pub use timer::Deadline;
