//! How an attempt is separated from its node and from other attempts: a part of the document `muster-spec`.
//!
//! The spec says every step; the supervisor knows no levels and has no defaults of its own. What the kernel of
//! this node can do is in [`crate::status::Capabilities`]; a spec that asks for more is refused in words before
//! anything is started, never weakened. On the wire every field here has a name with `!`: a supervisor that
//! does not know one refuses the spec instead of running it less separated.
//!
//! Invariant: every path passed [`crate::spec::Spec::check`]: absolute, without NUL, without `..`.

use std::error::Error;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::document::{DecodeError, Field, Reader, Writer, required};

/// Most steps of a view: a node has a few dozen directories to hide or show, and each costs a start some 20 µs.
pub const MOUNT_STEPS_MAX: usize = 256;
/// Most extra devices of one step: far more than a machine has accelerators.
pub const DEVICES_MAX: usize = 64;
/// Most filters of system calls: each is run at every system call of the task.
pub const SECCOMP_PROGRAMS_MAX: usize = 4;
/// Most instructions of one filter: the kernel takes no longer one (`BPF_MAXINSNS`).
pub const SECCOMP_INSTRUCTIONS_MAX: usize = 4096;
/// Most paths in the two lists of [`Landlock`] together: each costs a start some 5 µs.
pub const LANDLOCK_PATHS_MAX: usize = 256;
/// Bytes of `struct sock_filter`.
pub const SECCOMP_INSTRUCTION_BYTES: usize = 8;

/// Largest permission bits of a file system in memory: no set-user-id and no set-group-id.
pub const TMPFS_MODE_MAX: u32 = 0o1777;

/// Kind and newest version of the document of one step within a spec.
const MOUNT_KIND: &str = "mount";
const MOUNT_VERSION: u32 = 1;

/// Namespaces, mounts, rights and filters of one attempt. The default separates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Isolation {
    /// A process tree of its own: other processes cannot be seen or signalled.
    pub process_namespace: bool,
    /// System V IPC and POSIX message queues of its own.
    pub ipc_namespace: bool,
    /// A network of its own with nothing but a loopback device.
    pub network_namespace: bool,
    /// A view of the file system of its own, changed by these steps in their order; empty: the node's own view.
    /// With a process namespace it must hold a [`MountStep::Proc`], or `/proc` would tell of other processes.
    pub mounts: Vec<MountStep>,
    /// Gives up every capability, also those that a set-user-id program could get back (the bounding set).
    pub drop_capabilities: bool,
    /// Filters of system calls, each a whole classic BPF program (`struct sock_filter` one after the other, in
    /// the machine's byte order), installed in this order.
    pub seccomp: Vec<Vec<u8>>,
    /// Rules of Landlock; `None` sets none.
    pub landlock: Option<Landlock>,
}

/// One change of an attempt's view of the file system.
///
/// The sources of all `Bind` and `Devices` steps are opened before the first step, in the node's own view: a step
/// may show what an earlier one has hidden. Targets that are missing are made only below a `Tmpfs` of this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountStep {
    /// Makes everything that is mounted now read-only; what later steps mount is not.
    ReadOnly,
    /// An empty file system in memory.
    Tmpfs {
        /// Where.
        at: PathBuf,
        /// Permission bits of its root, at most 0o1777; it belongs to root.
        mode: u32,
        /// Most bytes in it; `None` is the kernel's half of the memory.
        size_bytes: Option<u64>,
    },
    /// Shows a directory or file, with everything that is mounted below it.
    Bind {
        /// What, in the node's own view.
        source: PathBuf,
        /// Where; made if it is missing below a `Tmpfs`.
        at: PathBuf,
        /// Whether it cannot be written to through here.
        read_only: bool,
    },
    /// A `/proc` of the attempt's process namespace.
    Proc,
    /// A small `/dev`: null, zero, full, random, urandom, tty, a pts of its own, the usual links, `shm` as a
    /// `Tmpfs` of mode 0o1777 and this size, and these devices of the node.
    Devices {
        /// Further device files below `/dev` to show where they exist.
        extra: Vec<PathBuf>,
        /// Most bytes in `/dev/shm`; `None` is the kernel's half of the memory.
        shm_bytes: Option<u64>,
    },
}

/// What the files of an attempt may be used for: everything that no rule names is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landlock {
    /// Trees to read and execute from. Those that do not exist are passed over.
    pub read: Vec<PathBuf>,
    /// Trees to do anything in. Those that do not exist are passed over.
    pub write: Vec<PathBuf>,
}

/// What this node's kernel lets the supervisor separate; probed once at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Separation {
    /// Process namespaces.
    pub process_namespace: bool,
    /// Mount namespaces with the changes of [`MountStep`].
    pub mount_namespace: bool,
    /// IPC namespaces.
    pub ipc_namespace: bool,
    /// Network namespaces.
    pub network_namespace: bool,
    /// Filters of system calls.
    pub seccomp: bool,
    /// The version of Landlock's interface; 0 without it.
    pub landlock_abi: u32,
}

/// One means of separation, for the words of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeparationKind {
    /// A process namespace.
    ProcessNamespace,
    /// A mount namespace and its steps.
    MountNamespace,
    /// An IPC namespace.
    IpcNamespace,
    /// A network namespace.
    NetworkNamespace,
    /// Filters of system calls.
    Seccomp,
    /// Rules of Landlock.
    Landlock,
}

impl SeparationKind {
    /// Every kind, in no particular order.
    pub const ALL: &'static [Self] = &[
        Self::ProcessNamespace,
        Self::MountNamespace,
        Self::IpcNamespace,
        Self::NetworkNamespace,
        Self::Seccomp,
        Self::Landlock,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProcessNamespace => "process-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::NetworkNamespace => "network-namespace",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ProcessNamespace => "process namespaces",
            Self::MountNamespace => "mount namespaces",
            Self::IpcNamespace => "IPC namespaces",
            Self::NetworkNamespace => "network namespaces",
            Self::Seccomp => "filters of system calls (seccomp)",
            Self::Landlock => "Landlock",
        }
    }
}

impl Separation {
    /// The first thing that is asked for and that this kernel lacks.
    #[must_use]
    pub fn missing(&self, asked: &Isolation) -> Option<SeparationKind> {
        let needs = [
            (asked.process_namespace, self.process_namespace, SeparationKind::ProcessNamespace),
            (!asked.mounts.is_empty(), self.mount_namespace, SeparationKind::MountNamespace),
            (asked.ipc_namespace, self.ipc_namespace, SeparationKind::IpcNamespace),
            (asked.network_namespace, self.network_namespace, SeparationKind::NetworkNamespace),
            (!asked.seccomp.is_empty(), self.seccomp, SeparationKind::Seccomp),
            (asked.landlock.is_some(), self.landlock_abi > 0, SeparationKind::Landlock),
        ];
        needs.into_iter().find_map(|(asked, here, kind)| (asked && !here).then_some(kind))
    }
}

impl Isolation {
    /// Checks every rule.
    ///
    /// # Errors
    /// [`IsolationError`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), IsolationError> {
        at_most("mount", self.mounts.len(), MOUNT_STEPS_MAX)?;
        at_most("seccomp", self.seccomp.len(), SECCOMP_PROGRAMS_MAX)?;
        self.mounts.iter().try_for_each(MountStep::check)?;
        let own_proc = self.mounts.contains(&MountStep::Proc);
        if own_proc != self.process_namespace {
            return Err(IsolationError::ProcWithNamespace);
        }
        for program in &self.seccomp {
            let instructions = program.len() / SECCOMP_INSTRUCTION_BYTES;
            let whole = program.len().is_multiple_of(SECCOMP_INSTRUCTION_BYTES);
            if !whole || !(1..=SECCOMP_INSTRUCTIONS_MAX).contains(&instructions) {
                return Err(IsolationError::SeccompLength { bytes: program.len() });
            }
        }
        if let Some(landlock) = &self.landlock {
            at_most("landlock", landlock.read.len() + landlock.write.len(), LANDLOCK_PATHS_MAX)?;
            landlock.read.iter().chain(&landlock.write).try_for_each(|path| check_path("landlock", path))?;
        }
        Ok(())
    }

    /// Adds the fields to a spec; none for the default.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .flag("!process_namespace", self.process_namespace)
            .flag("!ipc_namespace", self.ipc_namespace)
            .flag("!network_namespace", self.network_namespace)
            .flag("!drop_capabilities", self.drop_capabilities);
        for step in &self.mounts {
            writer.bytes("!mount", &step.encode());
        }
        for program in &self.seccomp {
            writer.bytes("!seccomp", program);
        }
        if let Some(landlock) = &self.landlock {
            writer.flag("!landlock", true);
            for path in &landlock.read {
                writer.bytes("!landlock_read", path.as_os_str().as_bytes());
            }
            for path in &landlock.write {
                writer.bytes("!landlock_write", path.as_os_str().as_bytes());
            }
        }
    }

    /// Takes a field of a spec if it is one of ours, else skips it.
    pub(crate) fn take(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.name {
            "!process_namespace" => self.process_namespace = field.flag()?,
            "!ipc_namespace" => self.ipc_namespace = field.flag()?,
            "!network_namespace" => self.network_namespace = field.flag()?,
            "!drop_capabilities" => self.drop_capabilities = field.flag()?,
            "!mount" => self.mounts.push(MountStep::decode(field.value)?),
            "!seccomp" => self.seccomp.push(field.value.to_vec()),
            "!landlock" if field.flag()? => drop(self.landlock.get_or_insert_default()),
            "!landlock" => {}
            "!landlock_read" => self.landlock.get_or_insert_default().read.push(field.path()),
            "!landlock_write" => self.landlock.get_or_insert_default().write.push(field.path()),
            _ => field.skip()?,
        }
        Ok(())
    }
}

impl MountStep {
    fn check(&self) -> Result<(), IsolationError> {
        match self {
            Self::ReadOnly | Self::Proc => Ok(()),
            Self::Tmpfs { at, mode, .. } => {
                check_target(at)?;
                if *mode > TMPFS_MODE_MAX {
                    return Err(IsolationError::Mode { found: *mode });
                }
                Ok(())
            }
            Self::Bind { source, at, .. } => check_path("source", source).and_then(|()| check_target(at)),
            Self::Devices { extra, .. } => {
                at_most("device", extra.len(), DEVICES_MAX)?;
                extra.iter().try_for_each(|path| {
                    if path.starts_with("/dev") && path != Path::new("/dev") {
                        check_path("device", path)
                    } else {
                        Err(IsolationError::Path { field: "device", path: path.clone() })
                    }
                })
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(MOUNT_KIND, MOUNT_VERSION);
        let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
        match self {
            Self::ReadOnly => writer.text("step", "read-only"),
            Self::Proc => writer.text("step", "proc"),
            Self::Tmpfs { at, mode, size_bytes } => writer
                .text("step", "tmpfs")
                .bytes("at", &path(at))
                .number("mode", *mode)
                .optional("size_bytes", *size_bytes),
            Self::Bind { source, at, read_only } => writer
                .text("step", "bind")
                .bytes("source", &path(source))
                .bytes("at", &path(at))
                .flag("!read_only", *read_only),
            Self::Devices { extra, shm_bytes } => {
                writer.text("step", "devices").optional("size_bytes", *shm_bytes);
                for device in extra {
                    writer.bytes("device", &path(device));
                }
                &mut writer
            }
        };
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_kind(bytes, MOUNT_KIND, MOUNT_VERSION)?;
        let (mut step, mut at, mut source, mut mode, mut size_bytes) = (None, None, None, None, None);
        let (mut read_only, mut extra) = (false, Vec::new());
        while let Some(field) = reader.next_field()? {
            match field.name {
                "step" => step = Some(field),
                "at" => at = Some(field.path()),
                "source" => source = Some(field.path()),
                "mode" => mode = Some(field.number()?),
                "size_bytes" => size_bytes = Some(field.number()?),
                "!read_only" => read_only = field.flag()?,
                "device" => extra.push(field.path()),
                _ => field.skip()?,
            }
        }
        reader.close()?;
        let step = required(step, MOUNT_KIND, "step")?;
        let at = required(at, MOUNT_KIND, "at");
        match step.text()? {
            "read-only" => Ok(Self::ReadOnly),
            "proc" => Ok(Self::Proc),
            "tmpfs" => Ok(Self::Tmpfs { at: at?, mode: required(mode, MOUNT_KIND, "mode")?, size_bytes }),
            "bind" => Ok(Self::Bind { source: required(source, MOUNT_KIND, "source")?, at: at?, read_only }),
            "devices" => Ok(Self::Devices { extra, shm_bytes: size_bytes }),
            _ => Err(step.wrong("read-only, tmpfs, bind, proc or devices")),
        }
    }
}

fn at_most(field: &'static str, count: usize, most: usize) -> Result<(), IsolationError> {
    if count > most { Err(IsolationError::TooMany { field, count, most }) } else { Ok(()) }
}

/// Absolute, no NUL, no `..`: what a name says is what is reached.
fn check_path(field: &'static str, path: &Path) -> Result<(), IsolationError> {
    let bytes = path.as_os_str().as_bytes();
    let plain = bytes.split(|byte| *byte == b'/').all(|part| part != b"..");
    if path.is_absolute() && plain && !bytes.contains(&0) {
        return Ok(());
    }
    Err(IsolationError::Path { field, path: path.to_owned() })
}

/// The root itself cannot be mounted over: those who are in it already would not see it.
fn check_target(path: &Path) -> Result<(), IsolationError> {
    check_path("at", path)?;
    if path.parent().is_none() {
        return Err(IsolationError::Path { field: "at", path: path.to_owned() });
    }
    Ok(())
}

/// Why an isolation is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsolationError {
    /// A path that is not absolute, holds NUL or `..`, or may not stand in its field.
    Path {
        /// In which field.
        field: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// More entries than are taken.
    TooMany {
        /// Of which kind.
        field: &'static str,
        /// How many.
        count: usize,
        /// Most that are taken.
        most: usize,
    },
    /// Permission bits above [`TMPFS_MODE_MAX`].
    Mode {
        /// The bits.
        found: u32,
    },
    /// A process namespace without a `/proc` of its own, or the reverse.
    ProcWithNamespace,
    /// A filter of system calls that is no row of 1 to [`SECCOMP_INSTRUCTIONS_MAX`] whole instructions.
    SeccompLength {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for IsolationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { field, path } => write!(
                f,
                "'{field}' is '{}', it must be an absolute path without '..', and one that may stand there",
                path.display()
            ),
            Self::TooMany { field, count, most } => {
                write!(f, "{count} entries of '{field}', at most {most} are taken")
            }
            Self::Mode { found } => {
                write!(f, "'mode' of a tmpfs is {found:#o}, it must be at most {TMPFS_MODE_MAX:#o}")
            }
            Self::ProcWithNamespace => {
                write!(f, "a process namespace needs a mount step 'proc', and that step a process namespace")
            }
            Self::SeccompLength { bytes } => write!(
                f,
                "a filter of system calls has {bytes} bytes, it must be 1 to {SECCOMP_INSTRUCTIONS_MAX} instructions of \
                 {SECCOMP_INSTRUCTION_BYTES} bytes"
            ),
        }
    }
}

impl Error for IsolationError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(at: &str) -> MountStep {
        MountStep::Tmpfs { at: at.into(), mode: 0o755, size_bytes: None }
    }

    fn refused(isolation: &Isolation) -> IsolationError {
        isolation.check().unwrap_err()
    }

    #[test]
    fn paths_that_say_one_thing_and_reach_another_are_refused() {
        for at in ["tmp", "/a/../b", "/", "//", "/a\0b", ""] {
            let isolation = Isolation { mounts: vec![tmpfs(at)], ..Isolation::default() };
            assert_eq!(refused(&isolation), IsolationError::Path { field: "at", path: at.into() }, "{at:?}");
        }
        let devices = |extra: &str| MountStep::Devices { extra: vec![extra.into()], shm_bytes: None };
        for extra in ["/dev", "/etc/passwd", "/dev/../etc/passwd", "/device"] {
            let isolation = Isolation { mounts: vec![devices(extra)], ..Isolation::default() };
            assert_eq!(refused(&isolation), IsolationError::Path { field: "device", path: extra.into() });
        }
        let fine = vec![tmpfs("/a..b/.."), tmpfs("/tmp")];
        assert!(Isolation { mounts: fine[1..].to_vec(), ..Isolation::default() }.check().is_ok());
        assert!(Isolation { mounts: fine, ..Isolation::default() }.check().is_err());
    }

    #[test]
    fn a_process_namespace_goes_with_a_proc_of_its_own() {
        let alone = Isolation { process_namespace: true, ..Isolation::default() };
        assert_eq!(refused(&alone), IsolationError::ProcWithNamespace);
        let proc = Isolation { mounts: vec![MountStep::Proc], ..Isolation::default() };
        assert_eq!(refused(&proc), IsolationError::ProcWithNamespace);
        assert!(Isolation { process_namespace: true, ..proc }.check().is_ok());
    }

    #[test]
    fn counts_and_lengths_are_bounded() {
        let many = Isolation { mounts: vec![tmpfs("/tmp"); MOUNT_STEPS_MAX + 1], ..Isolation::default() };
        assert!(matches!(refused(&many), IsolationError::TooMany { field: "mount", .. }));
        for bytes in [0, 7, (SECCOMP_INSTRUCTIONS_MAX + 1) * 8] {
            let isolation = Isolation { seccomp: vec![vec![0; bytes]], ..Isolation::default() };
            assert_eq!(refused(&isolation), IsolationError::SeccompLength { bytes });
        }
        let read = vec![PathBuf::from("/usr"); LANDLOCK_PATHS_MAX + 1];
        let landlock = Some(Landlock { read, write: Vec::new() });
        let open = MountStep::Tmpfs { at: "/tmp".into(), mode: 0o4777, size_bytes: None };
        let isolation = Isolation { mounts: vec![open], ..Isolation::default() };
        assert_eq!(refused(&isolation), IsolationError::Mode { found: 0o4777 });
        let many = Isolation { landlock, ..Isolation::default() };
        assert!(matches!(refused(&many), IsolationError::TooMany { field: "landlock", .. }));
    }

    #[test]
    fn what_is_missing_is_told_by_what_is_asked_for() {
        let none = Separation::default();
        assert_eq!(none.missing(&Isolation::default()), None);
        let landlock = Isolation { landlock: Some(Landlock::default()), ..Isolation::default() };
        assert_eq!(none.missing(&landlock), Some(SeparationKind::Landlock));
        assert_eq!(Separation { landlock_abi: 1, ..none }.missing(&landlock), None);
        let mounts = Isolation { mounts: vec![tmpfs("/tmp")], ..Isolation::default() };
        assert_eq!(none.missing(&mounts), Some(SeparationKind::MountNamespace));
    }
}
