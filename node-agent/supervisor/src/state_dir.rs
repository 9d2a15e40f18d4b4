//! The state directory: who may use it, and the files in it.
//!
//! `lock` keeps a second supervisor out, `layout` says where the groups are, `journal` holds what is known of
//! attempts, `exits` how their keepers say that they ended, and what these know of the lease, `lease` until when they may run, `supervisor.sock` is
//! the socket. All are reached through a descriptor of the directory that was checked at start.
//!
//! Nothing is synced: records must survive the supervisor, not the machine; after a reboot attempts are lost
//! anyhow and recognised by their boot id.

use std::error::Error;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open, openat, posix_fallocate, renameat};
use nix::libc;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, ftruncate, geteuid, unlinkat, write};

use muster_supervisor::SOCKET_NAME;
use muster_supervisor::document::{DecodeError, Reader, Writer, required};
use muster_supervisor::journal::Journal;
use muster_supervisor::lease::Lease;

use crate::cgroup::{Controllers, Place, Version};
use crate::log;
use crate::slots::{self, Slots};
use crate::sys::write_in_place;

const JOURNAL: &str = "journal";
const LEASE: &str = "lease";
const LOCK: &str = "lock";
const EXITS: &str = "exits";
/// Mode of every file here.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

const LAYOUT_KIND: &str = "muster-layout";
const LAYOUT_VERSION: u32 = 1;
/// Largest file that is read back: far above a journal that is rewritten in time, and keeps a strange file
/// from filling memory.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// A journal is not rewritten below this size: it is read in a few milliseconds.
const REWRITE_BYTES_MIN: usize = 1 << 20;
/// A journal is rewritten when it has this many times the bytes of what is still held.
const REWRITE_FACTOR: usize = 4;
/// Longest path of a unix socket, without its closing NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// An open and locked state directory.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    root: OwnedFd,
    journal: Option<JournalFile>,
    /// Locked for as long as it is open.
    _lock: OwnedFd,
}

/// The journal, open for appending.
#[derive(Debug)]
struct JournalFile {
    file: OwnedFd,
    bytes: usize,
    /// The size at which it is to be written anew.
    rewrite_at: usize,
}

/// Where the groups are, and under which boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) boot_id: String,
    pub(crate) places: Vec<Place>,
}

impl StateDir {
    /// Opens the directory, making it if it is absent, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, StateDirError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StateDirError::Io { operation: "make", path: path.to_owned(), cause });
            }
            Ok(()) | Err(_) => {}
        }
        // The canonical path names the root groups, so two spellings must not make two of them.
        let failed = |operation| move |cause| StateDirError::Io { operation, path: path.to_owned(), cause };
        let path = fs::canonicalize(path).map_err(failed("resolve"))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = open(&path, flags, Mode::empty()).map_err(|errno| failed("open")(errno.into()))?;
        let root = File::from(root);
        let status = root.metadata().map_err(failed("look at"))?;
        let (owner, mode) = (status.uid(), status.permissions().mode() & 0o7777);
        if owner != geteuid().as_raw() || mode & 0o022 != 0 {
            return Err(StateDirError::Unsafe { path, owner, mode, wanted: geteuid().as_raw() });
        }
        let socket_bytes = path.join(SOCKET_NAME).as_os_str().len();
        if socket_bytes > SOCKET_PATH_BYTES_MAX {
            return Err(StateDirError::LongPath { path, bytes: socket_bytes });
        }
        let root = OwnedFd::from(root);
        let lock = Self::lock(&root, &path)?;
        Ok(Self { path, root, journal: None, _lock: lock })
    }

    /// Locks the directory with a lock of this process alone: what it clones does not hold it, so that the next
    /// supervisor need not wait for a launch that hangs.
    fn lock(root: &OwnedFd, path: &Path) -> Result<OwnedFd, StateDirError> {
        let failed = |errno: Errno| StateDirError::Io {
            operation: "lock",
            path: path.join(LOCK),
            cause: errno.into(),
        };
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(root, LOCK, flags, PRIVATE).map_err(failed)?;
        let kind = libc::c_short::try_from(libc::F_WRLCK).map_err(|_| failed(Errno::EINVAL))?;
        let from_start = libc::c_short::try_from(libc::SEEK_SET).map_err(|_| failed(Errno::EINVAL))?;
        // A length of 0 is all of the file.
        let mut whole = libc::flock { l_type: kind, l_whence: from_start, l_start: 0, l_len: 0, l_pid: 0 };
        match fcntl(&file, FcntlArg::F_SETLK(&whole)) {
            Ok(_) => Ok(file),
            Err(Errno::EACCES | Errno::EAGAIN) => {
                // Only for the words: it may be gone by now.
                let holder = fcntl(&file, FcntlArg::F_GETLK(&mut whole)).ok().map(|_| whole.l_pid);
                let pid = holder.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
                Err(StateDirError::Locked { path: path.to_owned(), pid })
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Binds the socket in place of one that an earlier supervisor left.
    pub(crate) fn bind(&self) -> Result<UnixListener, StateDirError> {
        let path = self.path.join(SOCKET_NAME);
        let failed = |operation| {
            let path = path.clone();
            move |cause| StateDirError::Io { operation, path, cause }
        };
        match unlinkat(&self.root, SOCKET_NAME, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("remove the old socket")(errno.into())),
        }
        // The mask makes the socket private from its first moment on; tasks set their own.
        nix::sys::stat::umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path).map_err(failed("bind"))?;
        nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
        listener.set_nonblocking(true).map_err(failed("set up"))?;
        Ok(listener)
    }

    /// Removes the socket, so that nobody connects to a supervisor that is gone.
    pub(crate) fn unbind(&self) {
        let _ = unlinkat(&self.root, SOCKET_NAME, UnlinkatFlags::NoRemoveDir);
    }

    /// A short name for this directory, different for each: 64-bit FNV-1a of its path.
    pub(crate) fn fingerprint(&self) -> String {
        let bytes = self.path.as_os_str().as_encoded_bytes();
        format!("{:016x}", slots::fnv(bytes.iter().copied()))
    }

    /// Opens the exit slots, with all their space taken, so that a full disk costs no exit code.
    pub(crate) fn slots(&self) -> Result<Slots, StateDirError> {
        let failed = |operation| {
            let path = self.path.join(EXITS);
            move |errno: Errno| StateDirError::Io { operation, path, cause: errno.into() }
        };
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.root, EXITS, flags, PRIVATE).map_err(failed("open"))?;
        let bytes = libc::off_t::try_from(slots::FILE_BYTES).map_err(|_| failed("size")(Errno::EFBIG))?;
        let taken = fstat(&file).map_err(failed("look at"))?.st_size;
        if taken == 0 {
            // Best effort: the file system that needs it has it.
            let _ = write_in_place(file.as_fd());
        }
        // Only what is missing, for where a file system cannot do it the C library writes, and keepers may write,
        // too.
        if taken < bytes
            && let Err(errno) = posix_fallocate(&file, taken, bytes - taken)
        {
            // A disk that is full at this moment must not keep running tasks from being taken over.
            log::warn("cannot take the space of the exit slots", &[("error", &errno)]);
        }
        Ok(Slots::new(file))
    }

    /// Reads the journal that an earlier supervisor left, and opens it for appending behind its last whole
    /// document.
    pub(crate) fn open_journal(&mut self) -> Result<Journal, StateDirError> {
        let path = self.path.join(JOURNAL);
        let failed = |operation| {
            let path = path.clone();
            move |cause| StateDirError::Io { operation, path, cause }
        };
        let bytes = match read_file(&self.root, JOURNAL) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read")(error)),
        };
        let journal = Journal::decode(&bytes);
        match &journal.damage {
            None | Some(DecodeError::Truncated) => {}
            Some(DecodeError::Version { .. } | DecodeError::MustUnderstand { .. }) => {
                // The tasks in it run on under the build that wrote it.
                return Err(StateDirError::Journal {
                    path,
                    cause: journal.damage.unwrap_or(DecodeError::Head),
                });
            }
            Some(damage) => {
                let aside = format!("{JOURNAL}.damaged");
                log::error(
                    "the journal is damaged; what can be read is kept",
                    &[("damage", damage), ("copy", &aside)],
                );
                if let Err(errno) = self.replace(&aside, &bytes) {
                    // For people to look at; running tasks matter more.
                    log::warn("cannot keep a copy of the damaged journal", &[("error", &errno)]);
                }
            }
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file =
            openat(&self.root, JOURNAL, flags, PRIVATE).map_err(|errno| failed("open")(errno.into()))?;
        let mut file = JournalFile { file, bytes: journal.whole_bytes, rewrite_at: REWRITE_BYTES_MIN };
        file.cut().map_err(|errno| failed("shorten")(errno.into()))?;
        self.journal = Some(file);
        Ok(journal)
    }

    /// Appends a document to the journal, whole or not at all.
    pub(crate) fn append(&mut self, document: &[u8]) -> Result<(), Errno> {
        let journal = self.journal.as_mut().ok_or(Errno::EBADF)?;
        match write_whole(&journal.file, document) {
            Ok(()) => {
                journal.bytes += document.len();
                Ok(())
            }
            Err(errno) => {
                // A part of a document would hide those behind it.
                journal.cut()?;
                Err(errno)
            }
        }
    }

    /// Whether the journal has grown enough since it was last written anew to look at what of it is still held.
    pub(crate) fn may_want_rewrite(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.bytes >= journal.rewrite_at)
    }

    /// Replaces the journal by one that holds these documents only, unless they are most of it.
    pub(crate) fn rewrite_if_shorter(&mut self, documents: &[u8]) -> Result<(), Errno> {
        let rewrite_at = REWRITE_BYTES_MIN.max(documents.len().saturating_mul(REWRITE_FACTOR));
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // Also after a failure, so that it is not tried again with every attempt.
        journal.rewrite_at = rewrite_at.max(journal.bytes.saturating_add(REWRITE_BYTES_MIN));
        if journal.bytes >= rewrite_at {
            let file = self.replace(JOURNAL, documents)?;
            self.journal = Some(JournalFile { file, bytes: documents.len(), rewrite_at });
        }
        Ok(())
    }

    /// Puts a file in place of another at one instant; gives it open for appending.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<OwnedFd, Errno> {
        let draft = format!("{name}.new");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_APPEND | OFlag::O_NOFOLLOW;
        let file = openat(&self.root, draft.as_str(), flags | OFlag::O_CLOEXEC, PRIVATE)?;
        write_whole(&file, bytes)?;
        renameat(&self.root, draft.as_str(), &self.root, name)?;
        Ok(file)
    }

    /// Where an earlier supervisor put the groups; `None` if there is no such file or it cannot be read.
    pub(crate) fn layout(&self) -> Option<Layout> {
        Layout::decode(&read_file(&self.root, "layout").ok()?).ok()
    }

    /// Keeps where the groups are for a later supervisor.
    pub(crate) fn set_layout(&self, layout: &Layout) -> Result<(), Errno> {
        self.replace("layout", &layout.encode()).map(drop)
    }

    /// The lease that was last kept, of whatever boot; `None` if there never was one.
    pub(crate) fn lease(&self) -> io::Result<Option<Lease>> {
        match read_file(&self.root, LEASE) {
            Ok(bytes) => Lease::decode(&bytes).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the lease for a later supervisor.
    pub(crate) fn set_lease(&self, lease: &Lease) -> Result<(), Errno> {
        self.replace(LEASE, &lease.encode()).map(drop)
    }
}

impl JournalFile {
    fn cut(&mut self) -> Result<(), Errno> {
        ftruncate(&self.file, self.bytes.try_into().map_err(|_| Errno::EFBIG)?)
    }
}

fn write_whole(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(0) => return Err(Errno::ENOSPC),
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn read_file(directory: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Layout {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(LAYOUT_KIND, LAYOUT_VERSION);
        writer.text("boot_id", &self.boot_id);
        for place in &self.places {
            // The four fields of a place follow each other; `path` is the last.
            writer.text("version", if place.version == Version::V2 { "2" } else { "1" });
            writer.text("controllers", &place.controllers.names().join(","));
            writer.text("tracks", if place.tracks { "1" } else { "0" });
            writer.bytes("path", place.path.as_os_str().as_encoded_bytes());
        }
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_kind(bytes, LAYOUT_KIND, LAYOUT_VERSION)?;
        let (mut boot_id, mut places) = (None, Vec::new());
        let (mut version, mut controllers, mut tracks) = (None, Controllers::default(), false);
        while let Some(field) = reader.next_field()? {
            match field.name {
                "boot_id" => boot_id = Some(field.text()?.to_owned()),
                "version" => version = Some(if field.value == b"2" { Version::V2 } else { Version::V1 }),
                "controllers" => controllers = Controllers::parse(field.text()?),
                "tracks" => tracks = field.flag()?,
                "path" => {
                    let version = required(version, LAYOUT_KIND, "version")?;
                    places.push(Place { version, controllers, path: field.path(), tracks });
                }
                _ => field.skip()?,
            }
        }
        reader.close()?;
        Ok(Self { boot_id: required(boot_id, LAYOUT_KIND, "boot_id")?, places })
    }
}

/// Why a state directory cannot be used.
#[derive(Debug)]
pub(crate) enum StateDirError {
    Io { operation: &'static str, path: PathBuf, cause: io::Error },
    Unsafe { path: PathBuf, owner: u32, mode: u32, wanted: u32 },
    LongPath { path: PathBuf, bytes: usize },
    Locked { path: PathBuf, pid: Option<u32> },
    Journal { path: PathBuf, cause: DecodeError },
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path, .. } => write!(f, "cannot {operation} {}", path.display()),
            Self::Unsafe { path, owner, mode, wanted } => write!(
                f,
                "{} belongs to user {owner} and has mode {mode:04o}: it must belong to user {wanted} and be writable by \
                 nobody else (chown {wanted} and chmod 0700)",
                path.display()
            ),
            Self::LongPath { path, bytes } => write!(
                f,
                "{} is too long: the socket's path in it has {bytes} bytes, at most {SOCKET_PATH_BYTES_MAX} are possible",
                path.display()
            ),
            Self::Locked { path, pid: Some(pid) } => {
                write!(f, "another supervisor (process {pid}) runs on {}", path.display())
            }
            Self::Journal { path, .. } => {
                write!(f, "{} was written by a later build: start that one, its tasks run on", path.display())
            }
            Self::Locked { path, pid: None } => write!(f, "another supervisor runs on {}", path.display()),
        }
    }
}

impl Error for StateDirError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            Self::Journal { cause, .. } => Some(cause),
            Self::Unsafe { .. } | Self::LongPath { .. } | Self::Locked { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_comes_back_equal() {
        let place = |version, names: &str, path: &str, tracks| Place {
            version,
            controllers: Controllers::parse(names),
            path: path.into(),
            tracks,
        };
        let places =
            vec![place(Version::V2, "", "/a b", true), place(Version::V1, "cpu,cpuacct", "/c", false)];
        let layout = Layout { boot_id: "boot".into(), places };
        assert_eq!(Layout::decode(&layout.encode()), Ok(layout));
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        drop(StateDir::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateDirError::Unsafe { mode: 0o770, .. })));
    }
}
