//! What fills a disk: a file that takes every free block, also those that others give back, until it is dropped.
//!
//! A thread looks again and again, because what runs on the disk deletes files and cuts logs back; with the ballast there it
//! gets none of that room again. Invariant: the file and the thread go with the value.

use anyhow::{Context, ensure};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks for room that somebody gave back: more often than a daemon can use it well.
const LOOK: Duration = Duration::from_millis(5);

/// Largest and smallest piece that it takes at a time.
const PIECE_MAX: i64 = 64 * 1024 * 1024;
const PIECE_MIN: i64 = 1024;

/// A full disk, until it is dropped.
#[derive(Debug)]
pub struct Ballast {
    file: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ballast {
    /// Fills the disk that a folder is on.
    ///
    /// # Errors
    /// When the file cannot be made, or the folder is not on a disk of its own.
    pub fn fill(folder: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let parent = folder.parent().unwrap_or(folder);
        // The machine's own disk is not ours to fill.
        ensure!(
            folder.metadata()?.dev() != parent.metadata()?.dev(),
            "{} is not the top of a disk of its own",
            folder.display()
        );
        let path = folder.join("ballast");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
        take_all(&mut file);
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                take_all(&mut file);
                std::thread::park_timeout(LOOK);
            }
        });
        Ok(Self { file: path, stop, thread: Some(thread) })
    }

    /// Bytes that are free on the disk of a folder.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn free_bytes(folder: &Path) -> anyhow::Result<u64> {
        let disk = statvfs(folder)?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ended = thread.join();
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Takes all room that there is: in large pieces, then in ever smaller ones.
fn take_all(file: &mut File) {
    let mut piece = PIECE_MAX;
    while piece >= PIECE_MIN {
        let Ok(size) = file.metadata().map(|metadata| metadata.len()) else { return };
        let Ok(offset) = i64::try_from(size) else { return };
        if fallocate(&*file, FallocateFlags::empty(), offset, piece).is_err() {
            piece /= 2;
        }
    }
    // The last block, where a file system cannot take it ahead.
    let _full = file.write_all(&[0; 512]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Image, Kind};
    use std::fs;

    #[test]
    fn a_full_disk_has_no_room_even_for_what_was_given_back_until_it_is_freed() -> anyhow::Result<()> {
        if let Some(missing) = Image::missing() {
            eprintln!("skipped: this machine has no {missing}");
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        assert!(Ballast::fill(folder.path()).is_err(), "the machine's own disk is refused");
        let disk = Image::mount(Kind::Ext4, &folder.path().join("disk"), 32)?;
        fs::write(disk.path().join("mine"), vec![1; 1024 * 1024])?;
        let ballast = Ballast::fill(disk.path())?;
        let more = || fs::write(disk.path().join("more"), vec![1; 64 * 1024]);
        assert!(more().is_err());
        fs::remove_file(disk.path().join("mine"))?;
        muster_e2e::wait_until(Duration::from_secs(10), "the room to be taken", || {
            Ok((Ballast::free_bytes(disk.path())? < 16 * 1024).then_some(()))
        })?;
        assert!(more().is_err());
        drop(ballast);
        more()?;
        Ok(())
    }
}
