//! Why the loop ends by itself. It is rare: a disk that is slow or full is no reason, one that is broken is.
//!
//! Tasks go on under their supervisor; whoever starts the agent again (systemd) finds the same reason told in its log. What keeps
//! the loop from running at all is told by `node`.

use crate::codec::CodecError;
use crate::journal::JournalError;
use std::io;

/// Why the loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(
        "the journal of the agent holds something that cannot be read: upgrade the agent, or remove the file 'journal' and lose its tasks"
    )]
    Codec(#[from] CodecError),
    #[error("the timer of the agent failed, or it cannot start a thread")]
    System(#[from] io::Error),
    #[error(
        "the disk of the node has taken nothing for so long that {bytes} bytes of records and {effects} effects wait: free some \
         space or replace it; tasks go on"
    )]
    TooMuchWaits { bytes: usize, effects: usize },
    #[error("a part of the agent has ended by itself")]
    PartEnded,
}
