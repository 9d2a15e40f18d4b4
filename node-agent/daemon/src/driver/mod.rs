//! The one loop: hands what happens to the core, writes the core's records, then does what the core wants done.
//!
//! ```text
//!   session ──┐                                     ┌──> journal (one write for a turn)
//!   custody ──┼──> inputs ──> Agent::handle ──> effects, in order, after the write ──> session, custody, work
//!   work ─────┤
//!   clock ────┘
//! ```
//!
//! What takes time is a task of its own that answers with an input. Nothing here decides.
//!
//! Invariant: no effect of a turn is carried out before its records are written.

mod guard;
mod measure;
mod supervised;
mod talk;
mod turn;
mod work;

pub(crate) use turn::{Driver, Ended, INPUTS_MAX, Parts};
