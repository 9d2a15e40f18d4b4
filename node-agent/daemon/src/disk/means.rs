//! What a means of bounding a directory can do, as a trait: make, look, lift, and for file systems of their own rest and wake.
//!
//! A means keeps no books: which directories there are is known to `disks`, what was made of them to `record`.
//! Invariant: `lift` may be repeated, and undoes whatever part of `make` was done.

use super::error::DiskError;
use super::look::Look;
use muster_model::state::DiskLimit;
use std::fmt::Debug;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Permission bits of a new directory: nobody enters before it has its owner.
const NEW_MODE: u32 = 0o700;

/// A directory that is bounded or to be bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// Its name among those of the node: a file name.
    pub(super) name: String,
    /// The directory. Its parents belong to the agent alone and are no links.
    pub(super) path: PathBuf,
    /// What it may hold.
    pub(super) limit_bytes: u64,
    /// The means' own number for it; 0 for none.
    pub(super) id: u64,
}

/// One means of bounding directories. Everything blocks, for milliseconds as a rule.
pub(super) trait Means: Debug + Send + Sync {
    /// Which.
    fn kind(&self) -> DiskLimit;

    /// Makes the directory, which must not exist, and bounds it; answers the means' number for it, 0 for none. After an error
    /// [`Means::lift`] is called.
    fn make(&self, spot: &Spot) -> Result<u64, DiskError>;

    /// Looks at how full it is; cheap but for the one that watches.
    fn look(&self, spot: &Spot) -> Result<Look, DiskError>;

    /// As `look`, by whoever may not wait: `None` if that would take long.
    fn glance(&self, spot: &Spot) -> Option<Look> {
        self.look(spot).ok()
    }

    /// Lifts the bound, if it is there; what is in the directory goes with it or is removed afterwards. Safe to repeat.
    fn lift(&self, spot: &Spot) -> Result<(), DiskError>;

    /// Whether the bound is a file system of its own, which costs the kernel something while it is mounted.
    fn is_file_system(&self) -> bool {
        false
    }

    /// Takes the file system off its place; its content stays for [`Means::wake`] where the means can. Busy ones stay: that is
    /// an error.
    fn rest(&self, spot: &Spot) -> Result<(), DiskError> {
        let _nothing_to_unmount = spot;
        Ok(())
    }

    /// Puts the file system back, for reading.
    fn wake(&self, spot: &Spot) -> Result<(), DiskError> {
        let _nothing_to_mount = spot;
        Ok(())
    }
}

/// Makes the directory itself.
pub(super) fn make_directory(spot: &Spot) -> Result<(), DiskError> {
    DirBuilder::new().mode(NEW_MODE).create(&spot.path).map_err(DiskError::io("make", &spot.path))
}
