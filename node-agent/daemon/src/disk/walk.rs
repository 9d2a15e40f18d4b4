//! Measures a directory by walking it: the sum of the blocks that its files take.
//!
//! A task may change the tree meanwhile. Every directory is opened relative to its parent and without following links, so the
//! walk cannot be led out of it; what vanishes under way is passed over. Mounted file systems in it are not entered.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Most entries of one walk, a second or two: of a larger tree the rest is not counted.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;
/// How deep a tree is walked: each level holds a descriptor open.
const DEPTH_MAX: usize = 128;
/// What `st_blocks` counts in, whatever the file system's own blocks.
const BLOCK_BYTES: u64 = 512;

/// What a walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// Whether everything was seen.
    pub(crate) is_whole: bool,
}

/// Measures the directory at a path without links, looking at so many entries at most.
pub(crate) fn size_of(path: &Path, entries_max: usize) -> io::Result<Size> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let top = Dir::open(path, flags, Mode::empty())?;
    let facts = fstat(top.as_fd())?;
    let mut walk =
        Walk { device: facts.st_dev, left: entries_max, bytes: blocks(&facts), shared: BTreeSet::new() };
    let is_whole = walk.count(top, DEPTH_MAX);
    Ok(Size { bytes: walk.bytes, is_whole })
}

struct Walk {
    device: u64,
    left: usize,
    bytes: u64,
    /// Files with several names that were counted.
    shared: BTreeSet<u64>,
}

fn blocks(facts: &FileStat) -> u64 {
    u64::try_from(facts.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES)
}

impl Walk {
    /// Counts what is in a directory; false if something was left out.
    fn count(&mut self, mut dir: Dir, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        let mut folders = Vec::new();
        let mut is_whole = true;
        // An entry that cannot be listed is as good as gone.
        let entries: Vec<_> = dir.iter().flatten().take(self.left.saturating_add(3)).collect();
        for entry in entries {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            let Ok(facts) = fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            if facts.st_dev != self.device
                || (facts.st_nlink > 1 && !is_folder(&facts) && !self.shared.insert(facts.st_ino))
            {
                continue;
            }
            self.bytes = self.bytes.saturating_add(blocks(&facts));
            if is_folder(&facts) {
                folders.push(name.to_owned());
            }
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for name in folders {
            match Dir::openat(dir.as_fd(), name.as_c_str(), flags, Mode::empty()) {
                Ok(folder) => is_whole &= self.count(folder, depth),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(_unreadable) => is_whole = false,
            }
        }
        is_whole
    }
}

fn is_folder(facts: &FileStat) -> bool {
    SFlag::from_bits_truncate(facts.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn blocks_of_all_files_are_counted_once_and_links_are_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let (inside, outside) = (temporary.path().join("inside"), temporary.path().join("outside"));
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("large"), vec![1; 8 * MIB]).unwrap();
        let empty = size_of(&inside, ENTRIES_MAX).unwrap();
        assert!(empty.is_whole && empty.bytes < 64 * 1024, "{empty:?}");
        std::fs::write(inside.join("a/b/file"), vec![1; MIB]).unwrap();
        std::fs::hard_link(inside.join("a/b/file"), inside.join("a/again")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("out")).unwrap();
        // A hole takes no blocks.
        std::fs::File::create(inside.join("hole")).unwrap().set_len(1 << 40).unwrap();
        let found = size_of(&inside, ENTRIES_MAX).unwrap();
        let grown = usize::try_from(found.bytes - empty.bytes).unwrap();
        assert!(found.is_whole && (MIB..MIB + 64 * 1024).contains(&grown), "{found:?}");
        assert!(!size_of(&inside, 2).unwrap().is_whole);
    }
}
