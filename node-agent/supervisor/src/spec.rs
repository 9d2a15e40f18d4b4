//! What one attempt is to run, and under which limits: the document `muster-spec`.
//!
//! A spec is complete: the supervisor adds nothing to the environment, joins no paths and has no defaults of
//! its own. Paths are absolute, and no component may be a symbolic link, so that a task cannot redirect what
//! root opens: the agent resolves its own root directory once. Fields may be added with an absence that means
//! what it meant before; one whose absence would weaken a promise (isolation) gets a name with `!` (see
//! [`crate::document`]).
//!
//! Invariant: a decoded spec passed [`Spec::check`], so spawning can rely on it: no NUL, no empty argv.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::document::{DecodeError, Field, Reader, Writer, required};
use crate::isolation::{Isolation, IsolationError};
use crate::key::AttemptKey;

/// Kind of the document.
pub const SPEC_KIND: &str = "muster-spec";
/// Newest version of the document that this build writes and reads.
pub const SPEC_VERSION: u32 = 1;

/// Most bytes of argv and environment together, their NULs included: what Linux takes with the usual stack
/// limit of 8 MiB.
pub const ARGUMENT_BYTES_MAX: usize = 2 << 20;
/// Most supplementary groups: far above any real user, and bounds what is passed to the kernel.
pub const GROUPS_MAX: usize = 256;
/// Smallest memory limit: below 1 MiB no program gets as far as its first instruction.
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Smallest CPU quota: the kernel wants at least 1 ms of each period of 100 ms.
pub const CPU_MILLIS_MIN: u32 = 10;
/// Largest CPU quota: a thousand processors of a thousand thousandths.
pub const CPU_MILLIS_MAX: u32 = 1_000_000;
/// Range of a CPU weight, as in cgroup v2; 100 is everyone's default.
pub const CPU_WEIGHT_RANGE: std::ops::RangeInclusive<u32> = 1..=10_000;

/// Limits of one attempt; `None` leaves a resource unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory of all processes together, swap included where the kernel counts it; at least
    /// [`MEMORY_BYTES_MIN`].
    pub memory_bytes: Option<u64>,
    /// CPU time per time in thousandths of one processor, counted over 100 ms.
    pub cpu_millis: Option<u32>,
    /// Share of a busy processor relative to other attempts (default of the kernel: 100).
    pub cpu_weight: Option<u32>,
    /// Most processes and threads at a time; at least 1.
    pub pids_max: Option<u32>,
    /// Time from start until the attempt is ended, in milliseconds.
    pub wall_clock_ms: Option<u64>,
    /// Largest core dump in bytes; 0 writes none.
    pub core_bytes: u64,
    /// Most open files of one process.
    pub open_files: Option<u64>,
}

/// Whom an attempt runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups; exactly these.
    pub groups: Vec<u32>,
}

/// Everything that is needed to run one attempt.
///
/// `Debug` shows names of environment variables, never their values: those may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Spec {
    /// The attempt's name, unique on this node for ever.
    pub key: AttemptKey,
    /// The program and its arguments. A program without `/` is looked up along the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// File that standard output is appended to; `None` discards it.
    pub stdout: Option<PathBuf>,
    /// File that standard error is appended to; `None` discards it.
    pub stderr: Option<PathBuf>,
    /// Whom to run as; `None` keeps the supervisor's own user.
    pub user: Option<TaskUser>,
    /// File mode creation mask, 0 to 0o777.
    pub umask: u32,
    /// The limits.
    pub limits: Limits,
    /// Time between SIGTERM and SIGKILL when the wall clock runs out, in milliseconds; 0 kills at once.
    pub grace_ms: u64,
    /// How it is separated from the node and from others.
    pub isolation: Isolation,
    /// How readily the kernel sacrifices the attempt when the whole node is out of memory, -1000 to 1000.
    pub oom_score_adj: i16,
    /// Whether it runs under the node's lease and ends with it. What nobody would run elsewhere need not.
    pub leased: bool,
}

impl Spec {
    /// A spec with the given command that discards its output, has no limits and runs in `/`.
    #[must_use]
    pub fn new(key: AttemptKey, argv: Vec<OsString>) -> Self {
        Self {
            key,
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            stdout: None,
            stderr: None,
            user: None,
            umask: 0o022,
            limits: Limits::default(),
            grace_ms: 0,
            isolation: Isolation::default(),
            oom_score_adj: 0,
            leased: true,
        }
    }

    /// The value of `PATH` in the attempt's environment.
    #[must_use]
    pub fn search_path(&self) -> Option<&OsStr> {
        self.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str())
    }

    /// Checks every rule of the fields.
    ///
    /// # Errors
    /// [`SpecError`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), SpecError> {
        self.check_strings()?;
        for (field, path) in
            [("cwd", Some(&self.cwd)), ("stdout", self.stdout.as_ref()), ("stderr", self.stderr.as_ref())]
        {
            if path.is_some_and(|path| !path.is_absolute()) {
                return Err(SpecError::RelativePath { field });
            }
        }
        let groups = self.user.as_ref().map_or(0, |user| user.groups.len());
        if groups > GROUPS_MAX {
            return Err(SpecError::Groups { count: groups });
        }
        let limits = &self.limits;
        let ranges = [
            ("memory_bytes", limits.memory_bytes, MEMORY_BYTES_MIN, i64::MAX.unsigned_abs()),
            ("cpu_millis", limits.cpu_millis.map(u64::from), CPU_MILLIS_MIN.into(), CPU_MILLIS_MAX.into()),
            (
                "cpu_weight",
                limits.cpu_weight.map(u64::from),
                (*CPU_WEIGHT_RANGE.start()).into(),
                (*CPU_WEIGHT_RANGE.end()).into(),
            ),
            ("pids_max", limits.pids_max.map(u64::from), 1, i32::MAX.unsigned_abs().into()),
            ("open_files", limits.open_files, 3, 1 << 30),
            ("umask", Some(self.umask.into()), 0, 0o777),
        ];
        for (field, value, least, most) in ranges {
            if let Some(found) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(SpecError::Range { field, found, least, most });
            }
        }
        if !(-1000..=1000).contains(&self.oom_score_adj) {
            return Err(SpecError::OomScore { found: self.oom_score_adj });
        }
        self.isolation.check().map_err(SpecError::Isolation)
    }

    fn check_strings(&self) -> Result<(), SpecError> {
        if self.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(SpecError::NoProgram);
        }
        for (name, _) in &self.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(SpecError::VariableName);
            }
        }
        let paths = [Some(&self.cwd), self.stdout.as_ref(), self.stderr.as_ref()];
        let arguments = self.argv.iter().map(OsString::as_os_str);
        let variables = self.env.iter().flat_map(|(name, value)| [name.as_os_str(), value.as_os_str()]);
        let mut bytes: usize = 0;
        for text in arguments.chain(variables) {
            bytes = bytes.saturating_add(text.len()).saturating_add(1);
            if text.as_bytes().contains(&0) {
                return Err(SpecError::Nul);
            }
        }
        if bytes > ARGUMENT_BYTES_MAX {
            return Err(SpecError::ArgumentsLong { bytes });
        }
        if paths.into_iter().flatten().any(|path| path.as_os_str().as_bytes().contains(&0)) {
            return Err(SpecError::Nul);
        }
        Ok(())
    }

    /// The spec as a document.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(SPEC_KIND, SPEC_VERSION);
        writer.text("key", self.key.as_str());
        for argument in &self.argv {
            writer.bytes("arg", argument.as_bytes());
        }
        for (name, value) in &self.env {
            writer.bytes("env", &[name.as_bytes(), b"=", value.as_bytes()].concat());
        }
        writer.bytes("cwd", self.cwd.as_os_str().as_bytes());
        for (field, path) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if let Some(path) = path {
                writer.bytes(field, path.as_os_str().as_bytes());
            }
        }
        if let Some(user) = &self.user {
            writer.number("uid", user.uid).number("gid", user.gid);
            for group in &user.groups {
                writer.number("group", *group);
            }
        }
        let limits = &self.limits;
        writer
            .number("umask", self.umask)
            .optional("memory_bytes", limits.memory_bytes)
            .optional("cpu_millis", limits.cpu_millis)
            .optional("cpu_weight", limits.cpu_weight)
            .optional("pids_max", limits.pids_max)
            .optional("wall_clock_ms", limits.wall_clock_ms)
            .number("core_bytes", limits.core_bytes)
            .optional("open_files", limits.open_files)
            .number("grace_ms", self.grace_ms)
            .number("oom_score_adj", self.oom_score_adj)
            .flag("unleased", !self.leased);
        self.isolation.write(&mut writer);
        writer.finish()
    }

    /// Reads and checks a spec.
    ///
    /// # Errors
    /// [`SpecError`]: the bytes are no spec of a version that this build knows, or break one of its rules.
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let mut reader = Reader::of_kind(bytes, SPEC_KIND, SPEC_VERSION)?;
        let mut draft = Draft::default();
        while let Some(field) = reader.next_field()? {
            draft.take(&field)?;
        }
        reader.close()?;
        let spec = draft.finish()?;
        spec.check()?;
        Ok(spec)
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Spec")
            .field("key", &self.key)
            .field("argv", &self.argv)
            .field("env_names", &names)
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("limits", &self.limits)
            .field("isolation", &self.isolation)
            .finish_non_exhaustive()
    }
}

/// The fields of a spec while they are read.
#[derive(Default)]
struct Draft {
    key: Option<AttemptKey>,
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    stdout: Option<PathBuf>,
    stderr: Option<PathBuf>,
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Vec<u32>,
    umask: Option<u32>,
    limits: Limits,
    grace_ms: u64,
    oom_score_adj: i16,
    unleased: bool,
    isolation: Isolation,
}

impl Draft {
    fn take(&mut self, field: &Field<'_>) -> Result<(), DecodeError> {
        match field.name {
            "key" => self.key = Some(read_key(field)?),
            "arg" => self.argv.push(field.os_string()),
            "env" => self.env.push(split_variable(field)?),
            "cwd" => self.cwd = Some(field.path()),
            "stdout" => self.stdout = Some(field.path()),
            "stderr" => self.stderr = Some(field.path()),
            "uid" => self.uid = Some(field.number()?),
            "gid" => self.gid = Some(field.number()?),
            "group" => self.groups.push(field.number()?),
            "umask" => self.umask = Some(field.number()?),
            "memory_bytes" => self.limits.memory_bytes = Some(field.number()?),
            "cpu_millis" => self.limits.cpu_millis = Some(field.number()?),
            "cpu_weight" => self.limits.cpu_weight = Some(field.number()?),
            "pids_max" => self.limits.pids_max = Some(field.number()?),
            "wall_clock_ms" => self.limits.wall_clock_ms = Some(field.number()?),
            "core_bytes" => self.limits.core_bytes = field.number()?,
            "open_files" => self.limits.open_files = Some(field.number()?),
            "grace_ms" => self.grace_ms = field.number()?,
            "oom_score_adj" => self.oom_score_adj = field.number()?,
            "unleased" => self.unleased = field.flag()?,
            _ => self.isolation.take(field)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Spec, DecodeError> {
        let user = match (self.uid, self.gid) {
            (None, None) => None,
            (uid, gid) => Some(TaskUser {
                uid: required(uid, SPEC_KIND, "uid")?,
                gid: required(gid, SPEC_KIND, "gid")?,
                groups: self.groups,
            }),
        };
        Ok(Spec {
            key: required(self.key, SPEC_KIND, "key")?,
            argv: self.argv,
            env: self.env,
            cwd: required(self.cwd, SPEC_KIND, "cwd")?,
            stdout: self.stdout,
            stderr: self.stderr,
            user,
            umask: required(self.umask, SPEC_KIND, "umask")?,
            limits: self.limits,
            grace_ms: self.grace_ms,
            isolation: self.isolation,
            oom_score_adj: self.oom_score_adj,
            leased: !self.unleased,
        })
    }
}

/// Reads a field that holds an attempt's key.
///
/// # Errors
/// [`DecodeError::Value`] if it breaks a rule of keys.
pub fn read_key(field: &Field<'_>) -> Result<AttemptKey, DecodeError> {
    AttemptKey::new(field.text()?).map_err(|_| field.wrong("an attempt key (1 to 200 of A-Z a-z 0-9 _ . -)"))
}

fn split_variable(field: &Field<'_>) -> Result<(OsString, OsString), DecodeError> {
    let at = field.value.iter().position(|byte| *byte == b'=').ok_or(field.wrong("NAME=VALUE"))?;
    Ok((OsString::from_vec(field.value[..at].to_vec()), OsString::from_vec(field.value[at + 1..].to_vec())))
}

/// Says whether a program's name is a path, which is not looked up along `PATH`.
#[must_use]
pub fn is_path(program: &OsStr) -> bool {
    Path::new(program).as_os_str().as_bytes().contains(&b'/')
}

/// Why a spec is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecError {
    /// The bytes are not a spec that this build reads.
    Decode(DecodeError),
    /// No program, or an empty one.
    NoProgram,
    /// A NUL byte in an argument, a variable or a path.
    Nul,
    /// An environment variable's name is empty or holds `=`.
    VariableName,
    /// Arguments and environment above [`ARGUMENT_BYTES_MAX`].
    ArgumentsLong {
        /// How many bytes they have.
        bytes: usize,
    },
    /// A path that is not absolute.
    RelativePath {
        /// Which one.
        field: &'static str,
    },
    /// More than [`GROUPS_MAX`] supplementary groups.
    Groups {
        /// How many.
        count: usize,
    },
    /// A number outside its range.
    Range {
        /// Which one.
        field: &'static str,
        /// Its value.
        found: u64,
        /// Smallest allowed.
        least: u64,
        /// Largest allowed.
        most: u64,
    },
    /// An OOM score outside -1000 to 1000.
    OomScore {
        /// Its value.
        found: i16,
    },
    /// The isolation breaks a rule.
    Isolation(IsolationError),
}

impl From<DecodeError> for SpecError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(_) => write!(f, "the spec cannot be read"),
            Self::NoProgram => write!(f, "the command is empty: it needs at least a program"),
            Self::Nul => write!(f, "arguments, environment and paths may not hold a NUL byte"),
            Self::VariableName => write!(f, "an environment variable needs a name without '='"),
            Self::ArgumentsLong { bytes } => write!(
                f,
                "arguments and environment have {bytes} bytes, at most {ARGUMENT_BYTES_MAX} fit: put the rest into a file"
            ),
            Self::RelativePath { field } => write!(f, "'{field}' must be an absolute path"),
            Self::Groups { count } => {
                write!(f, "{count} supplementary groups, at most {GROUPS_MAX} are taken")
            }
            Self::Range { field, found, least, most } => {
                write!(f, "'{field}' is {found}, it must be {least} to {most}")
            }
            Self::OomScore { found } => write!(f, "'oom_score_adj' is {found}, it must be -1000 to 1000"),
            Self::Isolation(_) => write!(f, "the isolation cannot be used"),
        }
    }
}

impl Error for SpecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Decode(cause) => Some(cause),
            Self::Isolation(cause) => Some(cause),
            Self::NoProgram
            | Self::Nul
            | Self::VariableName
            | Self::ArgumentsLong { .. }
            | Self::RelativePath { .. }
            | Self::Groups { .. }
            | Self::Range { .. }
            | Self::OomScore { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Spec {
        let mut spec = Spec::new("job.task.1".parse().unwrap(), vec!["echo".into(), "a\nb".into()]);
        spec.env =
            vec![("PATH".into(), "/bin".into()), ("EMPTY".into(), "".into()), ("E".into(), "a=b".into())];
        spec.stdout = Some("/tmp/out".into());
        spec.stderr = Some(OsString::from_vec(b"/tmp/\xff".to_vec()).into());
        spec.user = Some(TaskUser { uid: 1000, gid: 100, groups: vec![4, 24] });
        spec.limits = Limits {
            memory_bytes: Some(64 << 20),
            cpu_millis: Some(1500),
            cpu_weight: Some(50),
            pids_max: Some(64),
            wall_clock_ms: Some(60_000),
            core_bytes: 0,
            open_files: Some(1024),
        };
        spec.grace_ms = 5_000;
        spec.oom_score_adj = -5;
        spec
    }

    #[test]
    fn a_spec_with_every_field_comes_back_equal() {
        assert_eq!(Spec::decode(&full().encode()), Ok(full()));
        let small = Spec::new("k".parse().unwrap(), vec!["true".into()]);
        assert_eq!(Spec::decode(&small.encode()), Ok(small));
    }

    #[test]
    fn broken_rules_are_named() {
        let check = |change: fn(&mut Spec), wanted: SpecError| {
            let mut spec = full();
            change(&mut spec);
            assert_eq!(Spec::decode(&spec.encode()), Err(wanted));
        };
        check(|spec| spec.argv.clear(), SpecError::NoProgram);
        check(|spec| spec.argv.push("a\0b".into()), SpecError::Nul);
        check(|spec| spec.env.push(("".into(), "x".into())), SpecError::VariableName);
        check(|spec| spec.cwd = "wd".into(), SpecError::RelativePath { field: "cwd" });
        check(|spec| spec.oom_score_adj = 1001, SpecError::OomScore { found: 1001 });
        check(
            |spec| spec.limits.pids_max = Some(0),
            SpecError::Range { field: "pids_max", found: 0, least: 1, most: i32::MAX.unsigned_abs().into() },
        );
        check(
            |spec| spec.argv.push("x".repeat(2 << 20).into()),
            SpecError::ArgumentsLong { bytes: 2_097_185 },
        );
    }

    #[test]
    fn debug_output_holds_no_environment_values() {
        let mut spec = full();
        spec.env.push(("TOKEN".into(), "hunter2".into()));
        let text = format!("{spec:?}");
        assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
    }
}
