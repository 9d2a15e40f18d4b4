//! The typed calls, one file for each resource. Each is a method of [`crate::Client`] that takes what the call needs and
//! answers the API's own message; mutations get a fresh request id unless the caller brings one inside of the request.
//!
//! Lists are [`Pages`]: read page by page, or `all` at once.

mod account;
mod file;
mod job;
mod node;
mod pages;
mod pool;
mod span;
mod sweep;
mod task;
mod token;

pub use job::JobChange;
pub use pages::{Pages, Selection};
pub use sweep::SweepNumbers;
