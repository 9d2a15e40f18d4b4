//! A file beside the database that holds disk blocks for the day on which there are no others.
//!
//! SQLite needs room to do anything at all: frames in its log for a commit, pages in the database for a checkpoint, its shared
//! index for opening after a crash. When the disk is full, giving this file up is what lets a controller start, record the
//! ends of what runs, and remove things. It decides nothing about when (the engine does); it only holds and lets go.

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How much is held: the log of some full batches (8 MiB of requests each) and as much again for their pages in the
/// database.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// On a small disk it is this part of it at most, so that the reserve is not itself what fills it.
const PART_OF_DISK: u64 = 16;

/// What a probe writes to see whether the disk takes anything: more than a file system finds room for in an inode.
const PROBE_BYTES: usize = 64 * 1024;

/// The reserve of one database.
#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
    /// There is no way to hold one here (another kind of fault than want of room); all goes on without.
    given_up: bool,
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(ending);
    name.into()
}

impl Reserve {
    pub(super) fn of(database: &Path) -> Self {
        Self { file: beside(database, "-reserve"), given_up: false }
    }

    /// Lets the blocks go; `true` if there were any.
    pub(super) fn release(&self) -> bool {
        let held = fs::metadata(&self.file).is_ok_and(|found| found.len() > 0);
        held && fs::remove_file(&self.file).is_ok()
    }

    /// Holds the blocks; `false` while the disk has too little room. Twice the reserve must be free for that, so that a
    /// disk on the brink does not go back and forth.
    pub(super) fn restore(&mut self) -> bool {
        if self.given_up {
            return true;
        }
        match self.try_restore() {
            Ok(held) => held,
            Err(error) if is_want_of_room(&error) => false,
            Err(_) => {
                self.given_up = true;
                true
            }
        }
    }

    fn try_restore(&self) -> io::Result<bool> {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk = statvfs(folder.unwrap_or(Path::new(".")))?;
        let (block, all, free) = (disk.fragment_size(), disk.blocks(), disk.blocks_available());
        let bytes = BYTES_MAX.min(block.saturating_mul(all) / PART_OF_DISK);
        let held = fs::metadata(&self.file).map_or(0, |found| found.len());
        if held == bytes {
            return Ok(true);
        }
        if block.saturating_mul(free).saturating_add(held) < bytes.saturating_mul(2) {
            return Ok(false);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.file)?;
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        if length > 0
            && let Err(error) = posix_fallocate(&file, 0, length)
        {
            // What was had of it would be taken for the whole.
            drop(file);
            fs::remove_file(&self.file)?;
            return Err(error.into());
        }
        Ok(true)
    }
}

/// Whether a fault means that there is no room: on the disk, or in the owner's share of it.
pub(super) fn is_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the disk of the database takes nothing more at the moment. Writes a small file and removes it.
pub(super) fn takes_nothing(database: &Path) -> bool {
    let probe = beside(database, "-probe");
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe).and_then(
            |mut file| {
                io::Write::write_all(&mut file, &[1; PROBE_BYTES])?;
                file.sync_data()
            },
        );
    // Nothing is lost with a probe that stays: the next one takes its place.
    let _ = fs::remove_file(&probe);
    written.is_err_and(|error| is_want_of_room(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn what_is_held_is_real_and_can_be_let_go_once() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("muster.db");
        let mut reserve = Reserve::of(&database);
        assert!(!reserve.release());
        assert!(reserve.restore());
        let found = fs::metadata(folder.path().join("muster.db-reserve")).unwrap();
        assert!(found.blocks() * 512 >= found.len() && found.len() > 0, "a file with holes holds nothing");
        assert!(reserve.restore());
        assert!(reserve.release());
        assert!(!reserve.release());
        assert!(!takes_nothing(&database));
    }

    #[test]
    fn a_place_that_cannot_hold_one_does_not_keep_anything_from_going_on() {
        let mut reserve = Reserve::of(Path::new("/proc/muster.db"));
        assert!(reserve.restore());
        assert!(!reserve.release());
    }
}
