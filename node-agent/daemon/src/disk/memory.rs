//! A file system in memory for each directory (tmpfs). What is in it is memory, charged to the task that writes, and gone when it
//! is unmounted; so it is taken only where the operator names it.
//!
//! Of ended attempts no more stay than may stay mounted; what was in older ones cannot be read any more.

use super::error::DiskError;
use super::image::{detach, look_at, unmount};
use super::look::Look;
use super::means::{Means, Spot, make_directory};
use super::mounts;
use muster_model::state::DiskLimit;
use nix::mount::{MsFlags, mount};

/// Bytes of the limit for one file at least: bounds the memory that empty files take beside their content.
const BYTES_OF_FILE: u64 = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Memory;

impl Means for Memory {
    fn kind(&self) -> DiskLimit {
        DiskLimit::Tmpfs
    }

    fn make(&self, spot: &Spot) -> Result<u64, DiskError> {
        make_directory(spot)?;
        let files = (spot.limit_bytes / BYTES_OF_FILE).max(16);
        let options = format!("size={},nr_inodes={files},mode=0700", spot.limit_bytes);
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), &spot.path, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|errno| DiskError::io("mount a file system in memory on", &spot.path)(errno.into()))?;
        Ok(0)
    }

    fn look(&self, spot: &Spot) -> Result<Look, DiskError> {
        look_at(spot)
    }

    fn lift(&self, spot: &Spot) -> Result<(), DiskError> {
        detach(&spot.path)
    }

    fn is_file_system(&self) -> bool {
        true
    }

    fn rest(&self, spot: &Spot) -> Result<(), DiskError> {
        unmount(&spot.path)
    }

    /// Nothing is left to be shown: what was in memory went with the unmounting.
    fn wake(&self, spot: &Spot) -> Result<(), DiskError> {
        let gone = std::io::ErrorKind::NotFound.into();
        if mounts::is_mounted(&spot.path)? {
            Ok(())
        } else {
            Err(DiskError::io("show again", &spot.path)(gone))
        }
    }
}
