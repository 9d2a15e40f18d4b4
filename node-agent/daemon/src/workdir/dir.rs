//! An open directory: everything below is reached through its descriptor, never by a path from the root.
//!
//! Paths are resolved by openat2 with RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS: `..`, absolute paths and links of any
//! kind in any part fail in the kernel, whatever a task does at the same time. The one constructor that takes a path is
//! [`Dir::root`], which `layout` calls at start.
//!
//! Invariant: a file that is opened for reading is a regular file; a FIFO or a device cannot block or surprise the agent.

use nix::dir::Dir as Entries;
use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, unlinkat};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How deep a tree is walked or removed: deeper ones are a task's doing, and each level holds a descriptor open.
const DEPTH_MAX: usize = 256;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    File,
    Directory,
    /// A link, FIFO, socket or device.
    Other,
}

/// What is told of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
    /// Permission bits.
    pub(crate) mode: u32,
    /// User id of the owner.
    pub(crate) owner: u32,
    /// Microseconds since the epoch.
    pub(crate) modified_us: i64,
    /// Device and inode, which tell whether two files are one.
    pub(crate) identity: (u64, u64),
}

fn beneath(flags: OFlag, mode: Mode) -> OpenHow {
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve)
}

impl Dir {
    /// Opens a directory by its path, of which no part may be a symbolic link. For the node's own root only.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        Ok(Self(openat2(AT_FDCWD, path, how)?))
    }

    /// Opens a directory below.
    pub(crate) fn open_dir(&self, path: &str) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        Ok(Self(openat2(&self.0, path, beneath(flags, Mode::empty()))?))
    }

    /// Opens a directory below, made with `mode` if it does not exist; all before it must exist.
    pub(crate) fn make_dir(&self, name: &str, mode: u32) -> io::Result<Self> {
        match self.open_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&self.0, name, Mode::from_bits_truncate(mode)) {
                    Ok(()) | Err(Errno::EEXIST) => self.open_dir(name),
                    Err(errno) => Err(errno.into()),
                }
            }
            opened => opened,
        }
    }

    /// Makes a directory that must not exist.
    pub(crate) fn make_new_dir(&self, name: &str, mode: u32) -> io::Result<Self> {
        mkdirat(&self.0, name, Mode::from_bits_truncate(mode))?;
        self.open_dir(name)
    }

    /// Opens a regular file below for reading, with what is known of it.
    pub(crate) fn open_file(&self, path: &str) -> io::Result<(File, FileFacts)> {
        // Without O_NONBLOCK, opening a FIFO would wait for its writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = openat2(&self.0, path, beneath(flags, Mode::empty()))?;
        let facts = facts_of(&fstat(&file)?);
        if facts.kind != EntryKind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok((File::from(file), facts))
    }

    /// Creates a file that must not exist, with exactly these permission bits.
    pub(crate) fn create_file(&self, path: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOCTTY;
        let file = openat2(&self.0, path, beneath(flags, Mode::from_bits_truncate(mode & 0o700)))?;
        fchmod(&file, Mode::from_bits_truncate(mode))?;
        Ok(File::from(file))
    }

    /// Opens or creates a file for appending.
    pub(crate) fn append_file(&self, path: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOCTTY;
        Ok(File::from(openat2(&self.0, path, beneath(flags, Mode::from_bits_truncate(mode)))?))
    }

    /// What is known of an entry of this directory itself; links are told of, not followed.
    pub(crate) fn facts(&self, name: &str) -> io::Result<FileFacts> {
        Ok(facts_of(&fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?))
    }

    /// Makes this directory belong to a user and a group, with exactly these permission bits.
    pub(crate) fn give_to(&self, owner: Option<(u32, u32)>, mode: u32) -> io::Result<()> {
        fchmod(&self.0, Mode::from_bits_truncate(mode))?;
        give(self.0.as_fd(), owner)
    }

    /// The names in this directory with what they are, sorted.
    pub(crate) fn entries(&self) -> io::Result<Vec<(String, EntryKind)>> {
        let again = openat2(&self.0, ".", beneath(OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()))?;
        let mut found = Vec::new();
        for entry in Entries::from_fd(again)?.iter() {
            let entry = entry?;
            // Names that are no text cannot be asked for over the API; removal has its own walk.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::File) => EntryKind::File,
                Some(Type::Directory) => EntryKind::Directory,
                Some(
                    Type::Fifo | Type::CharacterDevice | Type::BlockDevice | Type::Symlink | Type::Socket,
                ) => EntryKind::Other,
                None => self.facts(name)?.kind,
            };
            found.push((name.to_owned(), kind));
        }
        found.sort();
        Ok(found)
    }

    /// Removes one entry that is not a directory; none is fine too.
    pub(crate) fn remove_file(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Moves an entry of this directory into another one.
    pub(crate) fn rename(&self, name: &str, to: &Self, new_name: &str) -> io::Result<()> {
        Ok(renameat(&self.0, name, &to.0, new_name)?)
    }

    /// Gives an entry of this directory a second name in another one.
    pub(crate) fn link(&self, name: &str, to: &Self, new_name: &str) -> io::Result<()> {
        Ok(linkat(&self.0, name, &to.0, new_name, AtFlags::empty())?)
    }

    /// Removes an entry with everything below it, following no link. None is fine too.
    pub(crate) fn remove_tree(&self, name: &str) -> io::Result<()> {
        let name = std::ffi::CString::new(name)?;
        remove(self.0.as_fd(), &name, DEPTH_MAX)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes an open file belong to a user and a group; `None` leaves it the agent's.
pub(super) fn give(file: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn facts_of(stat: &FileStat) -> FileFacts {
    let bits = SFlag::from_bits_truncate(stat.st_mode);
    let kind = match bits & SFlag::S_IFMT {
        SFlag::S_IFREG => EntryKind::File,
        SFlag::S_IFDIR => EntryKind::Directory,
        _ => EntryKind::Other,
    };
    FileFacts {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        modified_us: stat.st_mtime.saturating_mul(1_000_000).saturating_add(stat.st_mtime_nsec / 1_000),
        identity: (stat.st_dev, stat.st_ino),
    }
}

/// Removes an entry, trying first as what most entries are.
fn remove(parent: BorrowedFd<'_>, name: &std::ffi::CStr, depth: usize) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let Some(depth) = depth.checked_sub(1) else { return Err(Errno::ELOOP.into()) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let opened = match openat2(parent, name, beneath(flags, Mode::empty())) {
        // A directory that its owner may not read: the agent can change that if both are the same user.
        Err(Errno::EACCES) if !nix::unistd::geteuid().is_root() => {
            nix::sys::stat::fchmodat(
                parent,
                name,
                Mode::S_IRWXU,
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )?;
            openat2(parent, name, beneath(flags, Mode::empty()))?
        }
        opened => opened?,
    };
    // As long as deletion makes headway the listing is begun again: names may have moved under it.
    loop {
        let mut names = Vec::new();
        let again = openat2(&opened, ".", beneath(flags, Mode::empty()))?;
        for entry in Entries::from_fd(again)?.iter() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        if names.is_empty() {
            break;
        }
        // A directory without the write bit is the task's own doing; the same user may undo it.
        let _not_the_owner = fchmod(&opened, Mode::S_IRWXU);
        for name in names {
            remove(opened.as_fd(), &name, depth)?;
        }
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().canonicalize().unwrap();
        let dir = Dir::root(&path).unwrap();
        (temporary, dir)
    }

    #[test]
    fn links_and_paths_that_leave_are_refused() {
        let (temporary, dir) = dir();
        symlink("/etc", temporary.path().join("out")).unwrap();
        symlink("/etc/passwd", temporary.path().join("file")).unwrap();
        for path in ["out/passwd", "file", "../x", "/etc/passwd", "out"] {
            assert!(dir.open_file(path).is_err(), "{path}");
            assert!(dir.open_dir(path).is_err(), "{path}");
            assert!(dir.create_file(path, 0o600).is_err(), "{path}");
        }
    }

    #[test]
    fn a_fifo_is_no_file_and_does_not_block() {
        let (temporary, dir) = dir();
        nix::unistd::mkfifo(&temporary.path().join("fifo"), Mode::S_IRWXU).unwrap();
        assert_eq!(dir.open_file("fifo").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(dir.entries().unwrap(), [("fifo".to_owned(), EntryKind::Other)]);
    }

    #[test]
    fn a_tree_is_removed_without_following_links_out_of_it() {
        let (temporary, dir) = dir();
        let (outside, inside) = (temporary.path().join("outside"), temporary.path().join("tree/a/b"));
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("keep"), "x").unwrap();
        std::fs::create_dir_all(&inside).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        std::fs::write(inside.join("file"), "x").unwrap();
        std::fs::set_permissions(&inside, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
        dir.remove_tree("tree").unwrap();
        dir.remove_tree("tree").unwrap();
        assert!(!temporary.path().join("tree").exists());
        assert!(outside.join("keep").exists());
    }
}
