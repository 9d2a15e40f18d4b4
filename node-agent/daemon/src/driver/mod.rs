//! The one loop: hands what happens to the core, has the core's records written, then does what the core wants done.
//!
//! ```text
//!   session ──┐                           ┌──> records ──> journal (a thread) ──┐
//!   custody ──┼──> inputs ──> Agent::handle ──> effects, held in order until ───┴──> session, custody, hands, work
//!   work ─────┤                           └──> heartbeats, Hello, lease: at once ──> session, custody
//!   clock ────┘
//! ```
//!
//! What takes time is a task of its own that answers with an input; what touches a disk is on a thread of its own (`hands`):
//! the loop never waits, so the node keeps its lease. Nothing here decides. Invariant: the rule of the journal
//! (`muster_agent_core::effect::Effect`).

mod error;
mod guard;
mod hands;
mod measure;
mod records;
mod supervised;
mod talk;
mod telling;
mod turn;
mod work;

pub(crate) use turn::{Driver, Ended, INPUTS_MAX, Parts};
