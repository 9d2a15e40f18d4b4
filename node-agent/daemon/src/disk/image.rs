//! A file system in a file for each directory: a sparse image, ext4 without a journal, mounted through a loop device.
//!
//! Nothing is reserved on the node's disk; blocks that the task frees are given back (`discard`). A crash of the machine may
//! damage what was just written, as it ends the task anyway. The image of an ended attempt can be unmounted and mounted again, so
//! loop devices are only bound by what runs and what is read.

use super::error::DiskError;
use super::look::Look;
use super::means::{Means, Spot, make_directory};
use super::mounts;
use super::tool::Tool;
use muster_model::state::DiskLimit;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

/// Size of a block of the image.
const BLOCK_BYTES: u64 = 4_096;
/// The file system's own needs: one part of its size for the table of files (256 bytes for every 16 KiB), one for what
/// describes each 128 MiB, and a few blocks whatever the size.
const OWN_PARTS: [u64; 2] = [64, 512];
const OWN_BYTES: u64 = 128 * 1024;
/// The smallest image: a smaller one cannot hold a file system.
const IMAGE_BYTES_MIN: u64 = 512 * 1024;
/// How the image is mounted. Without `noinit_itable` the kernel would fill the sparse tables with zeros.
const OPTIONS: &str = "loop,nosuid,nodev,noatime,discard,noinit_itable,errors=remount-ro";
/// The same for reading what an ended attempt left.
const READ_OPTIONS: &str = "loop,ro,nosuid,nodev,noatime";

/// See the module.
#[derive(Debug)]
pub(super) struct Image {
    folder: PathBuf,
    make: Tool,
    mount: Tool,
    /// Loop devices are found and taken in two steps: one program at a time does so.
    turn: Mutex<()>,
}

impl Image {
    /// Images in this folder.
    pub(super) fn new(folder: &Path) -> Result<Self, DiskError> {
        Ok(Self {
            folder: folder.to_owned(),
            make: Tool::find("mke2fs", "e2fsprogs")?,
            mount: Tool::find("mount", "util-linux")?,
            turn: Mutex::new(()),
        })
    }

    fn file(&self, spot: &Spot) -> PathBuf {
        self.folder.join(format!("{}.img", spot.name))
    }

    fn create(&self, spot: &Spot) -> Result<PathBuf, DiskError> {
        let file = self.file(spot);
        let image = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let image = image.map_err(DiskError::io("make", &file))?;
        image.set_len(image_bytes(spot.limit_bytes)).map_err(DiskError::io("size", &file))?;
        drop(image);
        let fixed = ["-q", "-F", "-t", "ext4", "-b", "4096", "-i", "16384", "-m", "0"];
        let features = ["-O", "^has_journal,^resize_inode"];
        let extended = ["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"];
        let words = fixed.iter().chain(&features).chain(&extended).map(OsStr::new);
        self.make.run(&words.chain([file.as_os_str()]).collect::<Vec<_>>())?;
        Ok(file)
    }

    fn mount(&self, file: &Path, spot: &Spot, options: &str) -> Result<(), DiskError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let words = ["-t", "ext4", "-o", options].map(OsStr::new);
        let words = words.into_iter().chain([file.as_os_str(), spot.path.as_os_str()]);
        self.mount.run(&words.collect::<Vec<_>>())?;
        Ok(())
    }
}

impl Means for Image {
    fn kind(&self) -> DiskLimit {
        DiskLimit::Loop
    }

    fn make(&self, spot: &Spot) -> Result<u64, DiskError> {
        let file = self.create(spot)?;
        make_directory(spot)?;
        self.mount(&file, spot, OPTIONS)?;
        let lost = spot.path.join("lost+found");
        std::fs::remove_dir(&lost).map_err(DiskError::io("remove", &lost))?;
        Ok(0)
    }

    fn look(&self, spot: &Spot) -> Result<Look, DiskError> {
        look_at(spot)
    }

    fn lift(&self, spot: &Spot) -> Result<(), DiskError> {
        detach(&spot.path)?;
        let file = self.file(spot);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::io("remove", &file)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn is_file_system(&self) -> bool {
        true
    }

    fn rest(&self, spot: &Spot) -> Result<(), DiskError> {
        unmount(&spot.path)
    }

    fn wake(&self, spot: &Spot) -> Result<(), DiskError> {
        if mounts::is_mounted(&spot.path)? {
            return Ok(());
        }
        self.mount(&self.file(spot), spot, READ_OPTIONS)
    }
}

/// The size of an image that has room for so many bytes.
fn image_bytes(limit_bytes: u64) -> u64 {
    let parts = OWN_PARTS.iter().map(|part| limit_bytes / part).fold(limit_bytes, u64::saturating_add);
    parts.saturating_add(OWN_BYTES).max(IMAGE_BYTES_MIN).div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// How full the file system is that is mounted there, or that tells of a quota there as of itself.
pub(super) fn look_at(spot: &Spot) -> Result<Look, DiskError> {
    let facts = statvfs(&spot.path)
        .map_err(|errno| DiskError::io("look at the file system of", &spot.path)(errno.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(facts.fragment_size());
    // Full is also what has no room for another file.
    let has_files = facts.files() == 0 || facts.files_available() > 0;
    Ok(Look {
        used_bytes: bytes(facts.blocks().saturating_sub(facts.blocks_free())),
        room_bytes: if has_files { bytes(facts.blocks_available()) } else { 0 },
    })
}

/// Takes a file system off its place, unless somebody uses it. None is fine too.
pub(super) fn unmount(path: &Path) -> Result<(), DiskError> {
    taken_off(path, umount2(path, MntFlags::UMOUNT_NOFOLLOW))
}

/// Takes a file system off its place, whoever uses it: it is gone when the last one is done. None is fine too.
pub(super) fn detach(path: &Path) -> Result<(), DiskError> {
    taken_off(path, umount2(path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH))
}

fn taken_off(path: &Path, outcome: Result<(), Errno>) -> Result<(), DiskError> {
    match outcome {
        // Not mounted, or not even there.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(DiskError::io("unmount", path)(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_little_larger_than_what_it_is_for() {
        let gib = 1 << 30;
        let image = image_bytes(gib);
        assert!(image > gib + gib / 64 && image < gib + gib / 50, "{image}");
        assert_eq!((image_bytes(1), image_bytes(u64::MAX) > u64::MAX / 2), (IMAGE_BYTES_MIN, true));
        assert_eq!(image % BLOCK_BYTES, 0);
    }
}
