//! The only writer: one thread that owns the core, one that commits what it decided.
//!
//! ```text
//!  submit/post/query -> inbox -> thread: Core::handle -> batch -> writer: commit -> replies, effects, events
//!  heartbeat --------> aside --^      |      ^                      |
//!                                     |      +--- writer is free ---+
//!                                     +-> lease, at once
//! ```
//! Promise 1 holds by construction here, and nowhere else is anything known about order. [`Engine`] says what waits for
//! what; any failed commit that want of room does not explain, or a panic of the core, ends it: a restart recovers.

mod accounts;
mod batch;
mod changes;
mod clock;
mod disk;
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
pub use disk::DiskSpace;
pub use error::{ReadError, SubmitError};
pub use events::{Closed, Seen, Subscription};
pub use handle::{Answer, EngineHandle};
pub use routes::{Lease, NodeOutbox, SESSION_MESSAGES_MAX, SessionRoute};
pub use start::{Engine, StartError};
pub use state::EngineFailure;
