//! Whether the engine runs, and why it does not when nobody told it to stop.
//!
//! `start` sets the state, every handle watches it. It only ever goes from running to one of the two ends, and the
//! first failure stays: what comes after it is a consequence.

use muster_store::StoreError;
use std::sync::Arc;

/// Why a running engine ended before it was told to. The process must end too: nothing can be acknowledged any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineFailure {
    /// A batch could not be made durable.
    #[error(
        "a change could not be stored; nothing is acknowledged any more: free disk space or repair the disk, then restart"
    )]
    Commit(#[source] Arc<StoreError>),
    /// The core panicked: a fault of Muster.
    #[error(
        "the core panicked while it handled '{input}'; nothing of that was stored: restart, and report this"
    )]
    Panic {
        /// What it was handling.
        input: &'static str,
    },
}

/// Whether the engine runs.
#[derive(Debug)]
pub(super) enum EngineState {
    Running,
    Stopped,
    Failed(EngineFailure),
}
