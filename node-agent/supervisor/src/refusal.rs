//! Why a request was not carried out, in types: the document `refused`.
//!
//! The agent maps these to causes (launch failed, not found, ...); the words are for people. A refused
//! `Start` left nothing behind: no process, no group, no record.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::document::{DecodeError, Reader, Writer, required};
use crate::isolation::SeparationKind;
use crate::key::AttemptKey;
use crate::spec::read_key;

/// Kind of the document.
pub(crate) const REFUSED_KIND: &str = "refused";

/// A limit that a node may be unable to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// `memory_bytes`
    Memory,
    /// `cpu_millis` or `cpu_weight`
    Cpu,
    /// `pids_max`
    Pids,
}

impl LimitKind {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

macro_rules! launch_steps {
    ($($(#[$doc:meta])* $step:ident = $code:literal, $name:literal, $words:literal;)*) => {
        /// The step at which a launch failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum LaunchStep { $($(#[$doc])* $step = $code,)* }

        impl LaunchStep {
            /// Every step, in no particular order.
            pub const ALL: &'static [Self] = &[$(Self::$step,)*];

            /// The number by which a child names the step to its parent.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$step => $code,)* }
            }

            /// The name of the step on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$step => $name,)* }
            }

            fn words(self) -> &'static str {
                match self { $(Self::$step => $words,)* }
            }
        }
    };
}

launch_steps! {
    /// Creating the process.
    Clone = 1, "clone", "cannot create a process for";
    /// Joining the control groups.
    JoinGroup = 2, "join-group", "cannot join the control group of";
    /// Becoming leader of a session.
    Session = 3, "session", "cannot start a session for";
    /// Opening the file for standard output.
    Stdout = 4, "stdout", "cannot open for standard output:";
    /// The file for standard output is no regular file with exactly one name.
    StdoutUnsafe = 5, "stdout-unsafe", "standard output must go to a regular file without other links, not to";
    /// Opening the file for standard error.
    Stderr = 6, "stderr", "cannot open for standard error:";
    /// The file for standard error is no regular file with exactly one name.
    StderrUnsafe = 7, "stderr-unsafe", "standard error must go to a regular file without other links, not to";
    /// Putting the three standard descriptors in place, and closing all others.
    Descriptors = 8, "descriptors", "cannot arrange the descriptors of";
    /// Setting resource limits or the OOM score.
    Resources = 9, "resources", "cannot set the resource limits of";
    /// The working directory is missing, no directory, or reached through a symbolic link.
    WorkingDirectory = 10, "cwd", "cannot enter the working directory";
    /// Becoming the user: groups, group id, user id.
    User = 11, "user", "cannot become the user of";
    /// Giving up the means to gain privileges.
    NoNewPrivileges = 12, "no-new-privileges", "cannot set no_new_privs for";
    /// The program does not exist, by its path or along PATH.
    ProgramNotFound = 13, "program-not-found", "no such program:";
    /// The program exists and may not be executed, or is in no executable format.
    ProgramNotExecutable = 14, "program-not-executable", "not executable:";
    /// The program is a script, or dynamically linked, and its interpreter does not exist.
    InterpreterNotFound = 15, "interpreter-not-found", "its interpreter or loader does not exist:";
    /// Executing failed otherwise, for instance because the arguments are too long.
    Execute = 16, "execute", "cannot execute";
    /// Making its namespaces.
    Namespaces = 17, "namespaces", "cannot make namespaces for";
    /// Bringing up the loopback device of its network namespace.
    Loopback = 18, "loopback", "cannot bring up the loopback device of";
    /// Parting its mounts from the node's.
    PartMounts = 19, "part-mounts", "cannot part from the node's mounts those of";
    /// Opening what its view is to show: missing, or reached through a symbolic link.
    MountSource = 20, "mount-source", "cannot open, to show it in the task's view:";
    /// Reaching or making the place of a mount in its view: missing, or reached through a symbolic link.
    MountTarget = 21, "mount-target", "cannot reach without symbolic links, to mount there in the task's view:";
    /// Mounting in its view.
    Mount = 22, "mount", "cannot mount in the task's view:";
    /// Making its view read-only.
    ReadOnly = 23, "read-only", "cannot make read-only the view of";
    /// Giving up capabilities.
    Capabilities = 24, "capabilities", "cannot give up the capabilities of";
    /// Setting the rules of Landlock.
    Landlock = 25, "landlock", "cannot set a rule of Landlock for";
    /// Installing its filters of system calls: the kernel refuses the program.
    Seccomp = 26, "seccomp", "cannot install the filter of system calls of";
}

impl LaunchStep {
    /// The step with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|step| step.code() == code)
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The peer speaks a version of the protocol that this build does not.
    Protocol {
        /// The version it asked for.
        asked: u32,
        /// The newest that this build speaks.
        newest: u32,
    },
    /// The request could not be read.
    Unreadable {
        /// What is wrong with it.
        words: String,
    },
    /// The spec breaks a rule.
    BadSpec {
        /// Which one.
        words: String,
    },
    /// The key runs already, or has ended and was not acknowledged.
    KeyInUse {
        /// The key.
        key: AttemptKey,
    },
    /// No attempt of this key is held.
    UnknownKey {
        /// The key.
        key: AttemptKey,
    },
    /// As many attempts are held as may be.
    Full {
        /// The most that are held.
        limit: u32,
    },
    /// The supervisor is about to exit.
    Stopping,
    /// The lease in force has ended, so no task may start.
    LeaseEnded,
    /// The node has no means to enforce a limit that the spec asks for.
    NotEnforceable {
        /// Which one.
        limit: LimitKind,
    },
    /// The node has no means for a separation that the spec asks for.
    NotSeparable {
        /// Which one.
        kind: SeparationKind,
    },
    /// A control group could not be made or set up.
    Group {
        /// What was tried.
        operation: String,
        /// On which file or directory.
        path: PathBuf,
        /// The error number of the operating system.
        errno: i32,
    },
    /// The attempt's record could not be written.
    Record {
        /// What was tried.
        operation: String,
        /// The error number of the operating system.
        errno: i32,
    },
    /// The program could not be started.
    Launch {
        /// At which step.
        step: LaunchStep,
        /// What the step was about: a path, the program, or the key.
        subject: OsString,
        /// The error number of the operating system; 0 if the step has none.
        errno: i32,
    },
}

impl Refusal {
    fn name(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "protocol",
            Self::Unreadable { .. } => "unreadable",
            Self::BadSpec { .. } => "bad-spec",
            Self::KeyInUse { .. } => "key-in-use",
            Self::UnknownKey { .. } => "unknown-key",
            Self::Full { .. } => "full",
            Self::Stopping => "stopping",
            Self::LeaseEnded => "lease-ended",
            Self::NotEnforceable { .. } => "not-enforceable",
            Self::NotSeparable { .. } => "not-separable",
            Self::Group { .. } => "group",
            Self::Record { .. } => "record",
            Self::Launch { .. } => "launch",
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.text("code", self.name());
        match self {
            Self::Protocol { asked, newest } => writer.number("asked", *asked).number("newest", *newest),
            Self::Unreadable { words } | Self::BadSpec { words } => writer.text("words", words),
            Self::KeyInUse { key } | Self::UnknownKey { key } => writer.text("key", key.as_str()),
            Self::Full { limit } => writer.number("limit", *limit),
            Self::Stopping | Self::LeaseEnded => writer,
            Self::NotEnforceable { limit } => writer.text("kind", limit.name()),
            Self::NotSeparable { kind } => writer.text("separation", kind.name()),
            Self::Group { operation, path, errno } => writer
                .text("operation", operation)
                .bytes("path", path.as_os_str().as_bytes())
                .number("errno", *errno),
            Self::Record { operation, errno } => writer.text("operation", operation).number("errno", *errno),
            Self::Launch { step, subject, errno } => {
                writer.text("step", step.name()).bytes("path", subject.as_bytes()).number("errno", *errno)
            }
        };
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(u64, Self), DecodeError> {
        let (mut id, mut code, mut words, mut key, mut operation) = (None, None, None, None, None);
        let (mut asked, mut newest, mut limit, mut errno) = (None, None, None, None);
        let (mut path, mut step, mut kind, mut separation) = (None, None, None, None);
        while let Some(field) = reader.next_field()? {
            match field.name {
                "request" => id = Some(field.number()?),
                "code" => code = Some(field),
                "words" => words = Some(field.text()?.to_owned()),
                "key" => key = Some(read_key(&field)?),
                "operation" => operation = Some(field.text()?.to_owned()),
                "asked" => asked = Some(field.number()?),
                "newest" => newest = Some(field.number()?),
                "limit" => limit = Some(field.number()?),
                "errno" => errno = Some(field.number()?),
                "path" => path = Some(field.os_string()),
                "step" => {
                    step =
                        Some(by_name(LaunchStep::ALL, LaunchStep::name, field.value, &field.wrong("a step"))?)
                }
                "kind" => {
                    kind =
                        Some(by_name(&LimitKind::ALL, LimitKind::name, field.value, &field.wrong("a limit"))?)
                }
                "separation" => {
                    let wrong = field.wrong("a means of separation");
                    let all = SeparationKind::ALL;
                    separation = Some(by_name(all, SeparationKind::name, field.value, &wrong)?);
                }
                _ => field.skip()?,
            }
        }
        let code = required(code, REFUSED_KIND, "code")?;
        let refusal = match code.text()? {
            "protocol" => Self::Protocol { asked: need(asked, "asked")?, newest: need(newest, "newest")? },
            "unreadable" => Self::Unreadable { words: need(words, "words")? },
            "bad-spec" => Self::BadSpec { words: need(words, "words")? },
            "key-in-use" => Self::KeyInUse { key: need(key, "key")? },
            "unknown-key" => Self::UnknownKey { key: need(key, "key")? },
            "full" => Self::Full { limit: need(limit, "limit")? },
            "stopping" => Self::Stopping,
            "lease-ended" => Self::LeaseEnded,
            "not-enforceable" => Self::NotEnforceable { limit: need(kind, "kind")? },
            "not-separable" => Self::NotSeparable { kind: need(separation, "separation")? },
            "group" => Self::Group {
                operation: need(operation, "operation")?,
                path: need(path, "path")?.into(),
                errno: need(errno, "errno")?,
            },
            "record" => {
                Self::Record { operation: need(operation, "operation")?, errno: need(errno, "errno")? }
            }
            "launch" => Self::Launch {
                step: need(step, "step")?,
                subject: need(path, "path")?,
                errno: need(errno, "errno")?,
            },
            _ => return Err(code.wrong("a reason that this build knows")),
        };
        Ok((need(id, "request")?, refusal))
    }
}

fn need<T>(value: Option<T>, field: &'static str) -> Result<T, DecodeError> {
    required(value, REFUSED_KIND, field)
}

fn by_name<T: Copy>(
    all: &[T],
    name: fn(T) -> &'static str,
    found: &[u8],
    error: &DecodeError,
) -> Result<T, DecodeError> {
    all.iter().copied().find(|item| name(*item).as_bytes() == found).ok_or_else(|| error.clone())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { asked, newest } => write!(
                f,
                "protocol version {asked} is not spoken here, 1 to {newest} are: restart muster-supervisor after an upgrade"
            ),
            Self::Unreadable { words } => write!(f, "the request cannot be read: {words}"),
            Self::BadSpec { words } => write!(f, "the spec is refused: {words}"),
            Self::KeyInUse { key } => {
                write!(f, "attempt '{key}' is already held: acknowledge it, or use another number")
            }
            Self::UnknownKey { key } => write!(f, "no attempt '{key}' is held"),
            Self::Full { limit } => {
                write!(f, "{limit} attempts are held, which is the most: acknowledge ended ones")
            }
            Self::Stopping => write!(f, "the supervisor is about to exit"),
            Self::LeaseEnded => {
                write!(
                    f,
                    "the node's lease has ended and no task may start: renew it, or say that none is in force"
                )
            }
            Self::NotEnforceable { limit } => write!(
                f,
                "this node cannot enforce a {} limit: give it the cgroup controller, or leave the limit out",
                limit.name()
            ),
            Self::NotSeparable { kind } => write!(
                f,
                "this node cannot separate tasks by {}: see the notes of its capabilities, or ask for less isolation",
                kind.words()
            ),
            Self::Group { operation, path, errno } => {
                write!(f, "cannot {operation} {}: {}", path.display(), Errno::from_raw(*errno).desc())
            }
            Self::Record { operation, errno } => {
                write!(f, "cannot {operation} the attempt's record: {}", Errno::from_raw(*errno).desc())
            }
            Self::Launch { step, subject, errno } => {
                write!(f, "{} '{}'", step.words(), subject.display())?;
                match errno {
                    0 => Ok(()),
                    errno => write!(f, ": {}", Errno::from_raw(*errno).desc()),
                }
            }
        }
    }
}

impl Error for Refusal {}
