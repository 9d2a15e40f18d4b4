//! A spec's isolation as memory that is ready for a child: every path a C string, every step its own entry.
//!
//! `Devices` of a spec becomes a row of plain steps here, so that the child has few kinds of them and each
//! failure names its own path. Where a mount point may be made is decided here, too: only below a `Tmpfs`
//! that an earlier step has mounted, and never in a directory that is shown from elsewhere.
//!
//! Invariant: a failure's item number means the same entry here, in the child, and in [`subject`].

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;

use muster_supervisor::isolation::SECCOMP_INSTRUCTION_BYTES;
use muster_supervisor::spec::SpecError;
use muster_supervisor::{Isolation, LaunchStep, MountStep};

/// Devices that every small `/dev` has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links that every small `/dev` has: name and target.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Most bytes in a small `/dev` itself, which holds mount points and links only.
const DEVICES_BYTES: u64 = 64 << 10;

/// Why a step of a launch failed, and on which of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: LaunchStep,
    /// The entry's number within the step; 0 where there is but one.
    pub(crate) item: u16,
    /// [`Errno::UnknownErrno`] if the step has none.
    pub(crate) errno: Errno,
}

impl Failure {
    pub(crate) fn at(step: LaunchStep, item: usize) -> impl Fn(Errno) -> Self + Copy {
        // A spec has at most a few thousand entries, so the number always fits.
        let item = u16::try_from(item).unwrap_or(u16::MAX);
        move |errno| Self { step, item, errno }
    }
}

/// Everything that separates one task.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(super) ipc_namespace: bool,
    pub(super) network_namespace: bool,
    pub(crate) actions: Vec<Action>,
    pub(crate) drop_capabilities: bool,
    pub(crate) landlock: Option<LandlockPaths>,
    pub(crate) filters: Vec<Vec<libc::sock_filter>>,
}

/// The paths of Landlock's rules.
#[derive(Debug, Default)]
pub(crate) struct LandlockPaths {
    pub(crate) read: Vec<CString>,
    pub(crate) write: Vec<CString>,
}

/// One change of the view.
#[derive(Debug)]
pub(crate) enum Action {
    ReadOnly,
    Tmpfs {
        at: Place,
        mode: CString,
        size: Option<CString>,
    },
    Bind {
        source: CString,
        /// A source that does not exist is passed over.
        optional: bool,
        read_only: bool,
        /// The opened source, once it is.
        tree: Option<OwnedFd>,
        at: Place,
    },
    Proc {
        at: Place,
    },
    Terminals {
        at: Place,
    },
    Link {
        target: CString,
        directory: CString,
        name: CString,
    },
}

/// Where something is mounted.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: CString,
    /// The components of the path that may be made, the first one first.
    pub(crate) makings: Vec<Making>,
}

/// One component of a path.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) parent: CString,
    pub(crate) name: CString,
}

impl Prepared {
    pub(crate) fn new(isolation: &Isolation) -> Result<Self, SpecError> {
        let mut steps = Steps::default();
        for step in &isolation.mounts {
            steps.add(step)?;
        }
        let strings = |paths: &[PathBuf]| -> Result<Vec<_>, _> {
            paths.iter().map(|path| c_string(path.as_os_str())).collect()
        };
        let landlock = match &isolation.landlock {
            None => None,
            Some(landlock) => {
                Some(LandlockPaths { read: strings(&landlock.read)?, write: strings(&landlock.write)? })
            }
        };
        Ok(Self {
            ipc_namespace: isolation.ipc_namespace,
            network_namespace: isolation.network_namespace,
            actions: steps.actions,
            drop_capabilities: isolation.drop_capabilities,
            landlock,
            filters: isolation.seccomp.iter().map(|program| instructions(program)).collect(),
        })
    }
}

/// The steps of a view while they are put together.
#[derive(Default)]
struct Steps {
    actions: Vec<Action>,
    /// What is mounted so far, and whether things may be made in it.
    mounted: Vec<(PathBuf, bool)>,
}

impl Steps {
    fn add(&mut self, step: &MountStep) -> Result<(), SpecError> {
        match step {
            MountStep::ReadOnly => self.actions.push(Action::ReadOnly),
            MountStep::Tmpfs { at, mode, size_bytes } => self.tmpfs(at, *mode, *size_bytes)?,
            MountStep::Bind { source, at, read_only } => self.bind(source, at, *read_only, false)?,
            MountStep::Proc => {
                let at = self.place(Path::new("/proc"), false)?;
                self.actions.push(Action::Proc { at });
            }
            MountStep::Devices { extra, shm_bytes } => self.devices(extra, *shm_bytes)?,
        }
        Ok(())
    }

    fn tmpfs(&mut self, at: &Path, mode: u32, size: Option<u64>) -> Result<(), SpecError> {
        let text = |text: String| c_string(OsStr::new(&text));
        let at = self.place(at, true)?;
        let size = size.map(|bytes| text(bytes.to_string())).transpose()?;
        self.actions.push(Action::Tmpfs { at, mode: text(format!("{mode:o}"))?, size });
        Ok(())
    }

    fn bind(&mut self, source: &Path, at: &Path, read_only: bool, optional: bool) -> Result<(), SpecError> {
        let source = c_string(source.as_os_str())?;
        let at = self.place(at, false)?;
        self.actions.push(Action::Bind { source, optional, read_only, tree: None, at });
        Ok(())
    }

    fn devices(&mut self, extra: &[PathBuf], shm_bytes: Option<u64>) -> Result<(), SpecError> {
        let dev = Path::new("/dev");
        self.tmpfs(dev, 0o755, Some(DEVICES_BYTES))?;
        for name in DEVICES {
            let path = dev.join(name);
            self.bind(&path, &path, false, true)?;
        }
        for path in extra {
            self.bind(path, path, false, true)?;
        }
        let at = self.place(&dev.join("pts"), false)?;
        self.actions.push(Action::Terminals { at });
        for (name, target) in DEVICE_LINKS {
            let (target, name) = (c_string(OsStr::new(target))?, c_string(OsStr::new(name))?);
            self.actions.push(Action::Link { target, directory: c_string(dev.as_os_str())?, name });
        }
        self.tmpfs(&dev.join("shm"), 0o1777, shm_bytes)
    }

    fn place(&mut self, at: &Path, empty: bool) -> Result<Place, SpecError> {
        // Components drop what says nothing: doubled slashes, a slash at the end, `.`.
        let at: PathBuf = at.components().collect();
        let below = self.mounted.iter().filter(|(mount, _)| at.starts_with(mount) && *mount != at);
        let innermost = below.max_by_key(|(mount, _)| mount.components().count());
        let mut makings = Vec::new();
        if let Some((mount, true)) = innermost {
            let made: Vec<&Path> = at.ancestors().take_while(|path| path != mount).collect();
            for path in made.into_iter().rev() {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
                makings.push(Making { parent: c_string(parent.as_os_str())?, name: c_string(name)? });
            }
        }
        let path = c_string(at.as_os_str())?;
        // A later mount at the same place covers an earlier one.
        self.mounted.retain(|(mount, _)| *mount != at);
        self.mounted.push((at, empty));
        Ok(Place { path, makings })
    }
}

fn c_string(text: &OsStr) -> Result<CString, SpecError> {
    CString::new(text.as_bytes()).map_err(|_| SpecError::Nul)
}

/// A checked program as the kernel takes it.
fn instructions(program: &[u8]) -> Vec<libc::sock_filter> {
    let (rows, _) = program.as_chunks::<SECCOMP_INSTRUCTION_BYTES>();
    let instruction =
        |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; SECCOMP_INSTRUCTION_BYTES]| libc::sock_filter {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        };
    rows.iter().map(instruction).collect()
}

/// What a failed step of the isolation was about: a path where there is one.
pub(crate) fn subject(isolation: &Isolation, step: LaunchStep, item: u16) -> Option<OsString> {
    let prepared = Prepared::new(isolation).ok()?;
    let item = usize::from(item);
    let text = |text: &CString| OsStr::from_bytes(text.as_bytes()).to_owned();
    if step == LaunchStep::Landlock {
        let paths = prepared.landlock?;
        return paths.read.iter().chain(&paths.write).nth(item).map(text);
    }
    match prepared.actions.get(item)? {
        Action::ReadOnly => None,
        Action::Bind { source, .. } if step == LaunchStep::MountSource => Some(text(source)),
        Action::Tmpfs { at, .. }
        | Action::Bind { at, .. }
        | Action::Proc { at }
        | Action::Terminals { at } => Some(text(&at.path)),
        Action::Link { directory, name, .. } => {
            Some(Path::new(&text(directory)).join(text(name)).into_os_string())
        }
    }
}

/// The directory that all paths here are relative to; they are absolute, so it never matters.
pub(super) const ANYWHERE: std::os::fd::BorrowedFd<'static> = AT_FDCWD;

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(at: &str) -> MountStep {
        MountStep::Tmpfs { at: at.into(), mode: 0o755, size_bytes: None }
    }

    fn bind(source: &str, at: &str) -> MountStep {
        MountStep::Bind { source: source.into(), at: at.into(), read_only: false }
    }

    /// What may be made for the last of these steps.
    fn makings(steps: &[MountStep]) -> Vec<String> {
        let prepared = Prepared::new(&Isolation { mounts: steps.to_vec(), ..Isolation::default() }).unwrap();
        let (Action::Tmpfs { at, .. } | Action::Bind { at, .. }) = prepared.actions.last().unwrap() else {
            panic!("the last step has no place")
        };
        let text = |text: &CString| text.to_str().unwrap().to_owned();
        at.makings.iter().map(|making| format!("{}:{}", text(&making.parent), text(&making.name))).collect()
    }

    #[test]
    fn mount_points_are_made_below_a_tmpfs_and_nowhere_else() {
        assert_eq!(makings(&[bind("/x", "/a/b")]), [""; 0]);
        assert_eq!(makings(&[tmpfs("/a"), bind("/x", "/a")]), [""; 0]);
        assert_eq!(
            makings(&[bind("/x", "/a/b"), tmpfs("/a")]),
            [""; 0],
            "a later step makes nothing possible"
        );
        assert_eq!(makings(&[tmpfs("/a"), bind("/x", "/a//b/./c/")]), ["/a:b", "/a/b:c"]);
        assert_eq!(makings(&[tmpfs("/a"), bind("/x", "/ab/c")]), [""; 0]);
    }

    #[test]
    fn nothing_is_made_in_a_directory_that_is_shown_from_elsewhere() {
        assert_eq!(makings(&[tmpfs("/a"), bind("/x", "/a/b"), bind("/y", "/a/b/c")]), [""; 0]);
        assert_eq!(
            makings(&[tmpfs("/a"), bind("/x", "/a/b"), tmpfs("/a/b"), bind("/y", "/a/b/c")]),
            ["/a/b:c"]
        );
        assert_eq!(makings(&[tmpfs("/a"), bind("/x", "/a"), bind("/y", "/a/b")]), [""; 0]);
    }

    #[test]
    fn a_failure_names_the_path_of_its_own_entry() {
        let mounts = vec![
            MountStep::ReadOnly,
            bind("/from", "/to"),
            MountStep::Devices { extra: vec!["/dev/kvm".into()], shm_bytes: None },
        ];
        let isolation = Isolation { mounts, ..Isolation::default() };
        let named = |step, item| subject(&isolation, step, item).map(|path| path.into_string().unwrap());
        assert_eq!(named(LaunchStep::ReadOnly, 0), None);
        assert_eq!(named(LaunchStep::MountSource, 1).as_deref(), Some("/from"));
        assert_eq!(named(LaunchStep::MountTarget, 1).as_deref(), Some("/to"));
        assert_eq!(named(LaunchStep::Mount, 2).as_deref(), Some("/dev"));
        assert_eq!(named(LaunchStep::MountSource, 3).as_deref(), Some("/dev/null"));
        assert_eq!(named(LaunchStep::Mount, u16::MAX), None);
    }

    #[test]
    fn instructions_are_read_in_the_machines_order() {
        let bytes = [0x0015_u16.to_ne_bytes().as_slice(), &[1, 2], &7_u32.to_ne_bytes()].concat();
        let [instruction] = instructions(&bytes)[..] else { panic!("one instruction") };
        assert_eq!((instruction.code, instruction.jt, instruction.jf, instruction.k), (0x15, 1, 2, 7));
    }
}
