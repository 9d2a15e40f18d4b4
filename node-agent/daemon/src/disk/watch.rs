//! No bound but eyes: the directory is walked again and again, and the attempt is ended when it has too much.
//!
//! Works everywhere and bounds nothing hard: between two looks a task may write more than its share, and files that it has
//! deleted and still holds open are not seen. The monitor sees to it that walking stays below a hundredth of a processor.

use super::error::DiskError;
use super::look::Look;
use super::means::{Means, Spot, make_directory};
use super::walk;
use muster_model::state::DiskLimit;

/// Entries that are walked at once, at the end of a command: a millisecond or two.
const GLANCE_ENTRIES: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch;

impl Means for Watch {
    fn kind(&self) -> DiskLimit {
        DiskLimit::Watch
    }

    fn make(&self, spot: &Spot) -> Result<u64, DiskError> {
        make_directory(spot).map(|()| 0)
    }

    fn look(&self, spot: &Spot) -> Result<Look, DiskError> {
        let size =
            walk::size_of(&spot.path, walk::ENTRIES_MAX).map_err(DiskError::io("measure", &spot.path))?;
        Ok(Look::watched(size.bytes, spot.limit_bytes))
    }

    fn glance(&self, spot: &Spot) -> Option<Look> {
        let size = walk::size_of(&spot.path, GLANCE_ENTRIES).ok()?;
        // What was seen is there at least.
        (size.is_whole || size.bytes > spot.limit_bytes).then(|| Look::watched(size.bytes, spot.limit_bytes))
    }

    fn lift(&self, _: &Spot) -> Result<(), DiskError> {
        Ok(())
    }
}
