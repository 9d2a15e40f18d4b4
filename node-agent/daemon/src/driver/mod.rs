//! The one loop: hands what happens to the core, writes the core's records, then does what the core wants done.
//!
//! ```text
//!   session ──┐                                     ┌──> journal (one write for a turn)
//!   custody ──┼──> inputs ──> Agent::handle ──> effects, in order, after the write ──> session, custody, work
//!   work ─────┤
//!   clock ────┘
//! ```
//!
//! Everything that takes time (staging, collecting, reading files) is a task of its own that answers with an input. Nothing here
//! decides; what an effect needs beyond the core's words (plans, settings) is kept here, in step with the records.
//!
//! Invariant: no effect of a turn is carried out before its records are written.

mod talk;
mod turn;
mod work;

pub(crate) use turn::{Driver, Ended, INPUTS_MAX, Parts};
