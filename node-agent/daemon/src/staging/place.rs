//! Puts a content where a plan says: a copy that shares its blocks where the file system can, else a plain copy.
//!
//! A task may write its inputs, so a file is never the cache's own: with one exception. A file of mode 0444 in the directory of a task that is
//! neither root nor the agent's user can be a second name of the cached content, because that task can neither write it
//! nor change its mode.

use super::cache::Blob;
use super::error::StageError;
use crate::workdir::TaskPlace;
use muster_proto::convert::PlannedFile;
use std::io;

/// The permission bits that cached contents have.
const SHARED_MODE: u32 = 0o444;

/// Puts a content into a working directory. Blocks for as long as the copy takes.
pub(super) fn put(blob: &Blob, place: &TaskPlace, file: &PlannedFile) -> Result<(), StageError> {
    let failed = StageError::write(&file.path);
    let (parent, name) = place.parent_of(&file.path).map_err(&failed)?;
    let may_share = file.mode == SHARED_MODE && place.owner().is_some_and(|(uid, _)| uid != 0);
    if may_share && blob.link(&parent, name).is_ok() {
        return Ok(());
    }
    let mut source = blob.open().map_err(&failed)?;
    let mut target = parent.create_file(name, file.mode).map_err(&failed)?;
    // Between two files this is copy_file_range, which shares blocks on file systems that can.
    let copied = io::copy(&mut source, &mut target).map_err(&failed)?;
    if copied != blob.size() {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    place.give(&target).map_err(&failed)
}
