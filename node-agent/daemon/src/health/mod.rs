//! What is wrong with the node now: found out here and elsewhere, told to the core as a whole whenever it changes.
//!
//! ```text
//!   errors    what is wrong, raised and cleared by whoever finds out: the handle that everybody has
//!   pressure  how much free space and how many free files the node's disk needs, and when it is well again
//!   growth    which attempt without a limit has grown most
//!   skew      how far the node's clock is from the controller's
//!   watch     the one timer that looks at disk and clock, and tells the core
//! ```
//!
//! A condition comes at one threshold and goes at another, so that it does not flap. While it lasts its error keeps its words and
//! its time.

mod errors;
mod growth;
mod pressure;
mod skew;
mod watch;

pub(crate) use errors::Health;
pub(crate) use skew::Anchor;
pub(crate) use watch::{HealthSettings, watch};
