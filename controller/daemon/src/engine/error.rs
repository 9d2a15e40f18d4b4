//! Why the engine did not do what it was asked: an input that was not carried out, a read that was not answered.
//!
//! These go to the one who asked and the engine goes on. What ends the engine itself is in `state`. An input that was
//! refused or found no room has changed nothing; only `Stopping` leaves that open, and says so.

use muster_controller_core::reject::Reject;
use muster_store::StoreError;
use std::time::Duration;

/// Why an input was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The core refused it; nothing changed.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// No room for it in time; it was not carried out.
    #[error("the controller is overloaded: no room for this request within {waited:?}; try again later")]
    Overloaded {
        /// How long it waited.
        waited: Duration,
    },
    /// The disk below the store is full; it was not carried out. While that lasts, reads go on, and what only stops or
    /// removes things as long as the store has a reserve.
    #[error(
        "the disk of the controller's data folder is full: nothing new is taken until its operator frees space there; try again later"
    )]
    DiskFull,
    /// The controller is stopping. Whether the input was carried out is not known.
    #[error("the controller is stopping: connect again and ask whether the request was carried out")]
    Stopping,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store could not answer.
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    /// The read was broken off because the controller is stopping, or it panicked.
    #[error("the read of the store was broken off")]
    BrokenOff,
}
