//! The only writer: one thread that owns the core, one that commits what it decided.
//!
//! ```text
//!  submit/post/query -> inbox -> thread: Core::handle -> batch -> writer: commit -> replies, effects, events
//!                         ^                                          |
//!                         +------------- "the writer is free" -------+
//! ```
//! While one batch commits, the next one is stepped. A batch's replies, effects and events leave in order, and only
//! after its records are durable: this is the one place that knows about order, so promise 1 holds by construction.
//! A commit that fails, or a panic of the core, ends the engine without a further word: a restart recovers.

mod accounts;
mod batch;
mod changes;
mod clock;
mod error;
mod events;
mod handle;
mod inbox;
mod routes;
mod start;
mod state;
#[cfg(test)]
mod tests;
mod thread;
mod weight;
mod writer;

pub use accounts::AccountDirectory;
pub use changes::{Committed, JobChanges, PoolChange};
pub use clock::{EngineClock, SystemTimes, TimeSource};
pub use error::{ReadError, SubmitError};
pub use events::{Closed, Seen, Subscription};
pub use handle::{Answer, EngineHandle};
pub use routes::{NodeOutbox, SESSION_MESSAGES_MAX, SessionRoute};
pub use start::{Engine, StartError};
pub use state::EngineFailure;
