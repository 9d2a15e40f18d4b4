//! One round of one scenario, from an order to a report.
//!
//! `play.rs` is the whole of it, in order, and what a scenario says for itself; `turn.rs` the part in which it deals
//! faults; `evidence.rs` what is kept when a promise was broken.

mod evidence;
mod play;
mod report;
mod turn;

pub use play::{Scenario, play};
pub use report::{Order, Report};
pub use turn::{Dealt, Turn};
