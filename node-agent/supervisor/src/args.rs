//! The command line.
//!
//! Small enough to be read by hand: a parser crate would be larger than the rest of the supervisor.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::cgroup::RootSetting;

/// Text of `--help`.
pub(crate) const HELP: &str = "\
muster-supervisor: custodian of task processes, one for each node agent

Usage: muster-supervisor --state-dir DIR [--cgroup-root auto|none|NAME] [--log FILE] [--verbose]

  --state-dir DIR     where the socket, the lock and the records of attempts are kept; made (mode 0700) if absent,
                      and refused if another user could write to it
  --cgroup-root NAME  parent group of tasks: 'auto' (default: below a group that is delegated to the supervisor, for
                      which it asks systemd where that runs, else below its own or at the top), 'none' (no limits can be
                      enforced), a name below the supervisor's own group or the delegated one that this is a leaf of,
                      or with a leading '/' one at the top of each hierarchy
  --log FILE          append the log to FILE instead of standard error
  --verbose           log each start and end of an attempt
  --help              print this
  --version           print the version

Needs Linux 5.11 or later, root or a delegated cgroup to enforce limits, and root and Linux 5.12 to isolate tasks.
Each task has a small parent of its own, 'muster-keeper', which tells how it ended also while no supervisor runs.
Signals: SIGTERM and SIGINT end the supervisor and leave tasks running; the next one on the same directory takes them over.
";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Serve(Settings),
}

/// Settings of a running supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) cgroup_root: RootSetting,
    pub(crate) log: Option<PathBuf>,
    pub(crate) verbose: bool,
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut arguments = arguments.into_iter();
    let (mut state_dir, mut cgroup_root, mut log, mut verbose) = (None, RootSetting::Auto, None, false);
    while let Some(argument) = arguments.next() {
        let mut value = |option| arguments.next().ok_or(ArgsError::NoValue { option });
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--version" | "-V") => return Ok(Command::Version),
            Some("--verbose") => verbose = true,
            Some("--state-dir") => state_dir = Some(PathBuf::from(value("--state-dir")?)),
            Some("--log") => log = Some(PathBuf::from(value("--log")?)),
            Some("--cgroup-root") => cgroup_root = parse_root(value("--cgroup-root")?)?,
            Some(_) | None => return Err(ArgsError::Unknown { argument }),
        }
    }
    let state_dir = state_dir.ok_or(ArgsError::NoStateDir)?;
    Ok(Command::Serve(Settings { state_dir, cgroup_root, log, verbose }))
}

fn parse_root(value: OsString) -> Result<RootSetting, ArgsError> {
    match value.to_str() {
        Some("auto") => return Ok(RootSetting::Auto),
        Some("none") => return Ok(RootSetting::None),
        Some(_) | None => {}
    }
    let path = Path::new(&value);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
    if path.file_name().is_none() || !path.components().all(plain) {
        return Err(ArgsError::CgroupRoot { value });
    }
    Ok(RootSetting::Named(path.to_owned()))
}

/// Why the command line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArgsError {
    NoStateDir,
    NoValue { option: &'static str },
    Unknown { argument: OsString },
    CgroupRoot { value: OsString },
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStateDir => write!(f, "--state-dir is missing (see --help)"),
            Self::NoValue { option } => write!(f, "{option} needs a value (see --help)"),
            Self::Unknown { argument } => write!(f, "unknown argument '{}' (see --help)", argument.display()),
            Self::CgroupRoot { value } => write!(
                f,
                "--cgroup-root '{}' must be auto, none, or a group's name without '.' and '..'",
                value.display()
            ),
        }
    }
}

impl Error for ArgsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, ArgsError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn settings_are_read_and_have_defaults() {
        let settings =
            Settings { state_dir: "/s".into(), cgroup_root: RootSetting::Auto, log: None, verbose: false };
        assert_eq!(read(&["--state-dir", "/s"]), Ok(Command::Serve(settings.clone())));
        let named = RootSetting::Named("/a/b".into());
        let wanted = Settings { cgroup_root: named, verbose: true, ..settings };
        assert_eq!(
            read(&["--verbose", "--cgroup-root", "/a/b", "--state-dir", "/s"]),
            Ok(Command::Serve(wanted))
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(read(&[]), Err(ArgsError::NoStateDir));
        assert_eq!(read(&["--state-dir"]), Err(ArgsError::NoValue { option: "--state-dir" }));
        assert_eq!(read(&["serve"]), Err(ArgsError::Unknown { argument: "serve".into() }));
        for root in ["", "/", "a/../b", ".."] {
            let error = ArgsError::CgroupRoot { value: root.into() };
            assert_eq!(read(&["--cgroup-root", root, "--state-dir", "/s"]), Err(error));
        }
    }
}
