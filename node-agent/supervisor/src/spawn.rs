//! From a spec to a cloned process: prepares all that its keeper and its own process need, clones, and reads
//! the report.
//!
//! The supervisor never waits for them. A connection joins the three: over it goes the word that the start is
//! recorded, without which nothing is executed, and back comes a report that names the step that failed. It
//! closes at exec, so its end without a report means that the program executes. A program on a hung file
//! system hangs its own process, not the custodian.
//!
//! Invariant: everything is allocated before the clone; what follows it is in `keeper.rs` and `child.rs`.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};

use muster_supervisor::spec::{Spec, SpecError, is_path};
use muster_supervisor::{LaunchStep, Refusal};

use crate::birth::{Birth, Cloned, clone_process};
use crate::cgroup::Doors;
use crate::child::{Identity, Plan, REPORT_BYTES, pointers};
use crate::footprint::Layout;
use crate::isolate::{self, Prepared};
use crate::keeper::{Keeping, Leash, keep};
use crate::remains::Fence;
use crate::slots::{Slot, Slots};

/// Where programs are looked up if the task's environment has no PATH: what the C library uses then.
const DEFAULT_SEARCH_PATH: &str = "/bin:/usr/bin";

/// What is the same for every launch.
#[derive(Debug)]
pub(crate) struct Launcher {
    null: OwnedFd,
    own_oom_score_adj: i16,
    layout: Layout,
}

/// What a keeper gets besides the task.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    pub(crate) slots: &'a Slots,
    pub(crate) slot: Slot,
    /// The task's group, where there are groups.
    pub(crate) fence: Option<Fence<'a>>,
    pub(crate) leash: Leash,
}

/// A task between clone and exec.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Its keeper.
    pub(crate) pid: i32,
    /// Our end of the connection; readable once the program executes or a step has failed.
    pub(crate) report: OwnedFd,
}

/// What the connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nothing yet.
    Pending,
    /// The program executes, or the process was killed before it could.
    Executed,
    /// A step failed; the process is exiting.
    Failed {
        /// Which.
        step: LaunchStep,
        /// On which of its entries.
        item: u16,
        /// Why; 0 if the step has no errno.
        errno: i32,
    },
}

impl Launcher {
    /// Opens what every launch uses.
    pub(crate) fn new() -> Result<Self, Errno> {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        let own =
            fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok());
        let layout = Layout::of_this_process();
        Ok(Self { null, own_oom_score_adj: own.unwrap_or(0), layout })
    }

    /// Clones a keeper for a spec. It waits for [`Launch::go`].
    pub(crate) fn launch(&self, spec: &Spec, doors: &Doors, kept: &Kept<'_>) -> Result<Launch, Refusal> {
        let process_namespace = spec.isolation.process_namespace;
        let step = if process_namespace { LaunchStep::Namespaces } else { LaunchStep::Clone };
        let clone_failed =
            |errno: Errno| Refusal::Launch { step, subject: spec.key.as_str().into(), errno: errno as i32 };
        let flags = SockFlag::SOCK_CLOEXEC;
        let (report, other) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, flags).map_err(clone_failed)?;
        fcntl(&report, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(clone_failed)?;
        let mut plan =
            self.plan(spec, doors, other).map_err(|error| Refusal::BadSpec { words: error.to_string() })?;
        let (argv, env) = (pointers(&plan.argv), pointers(&plan.env));
        let title = format!("muster-keeper {}", spec.key);
        let keeping = Keeping {
            slots: kept.slots.file(),
            slot: kept.slot,
            group: doors.into.as_ref().map(AsFd::as_fd),
            process_namespace,
            fence: kept.fence,
            leash: kept.leash,
            layout: self.layout,
            title: title.as_bytes(),
        };
        match clone_process(Birth { process_namespace, group: None }).map_err(clone_failed)? {
            Cloned::Child => {
                // Ours alone: as long as the keeper held it, it would hear no end of the supervisor.
                drop(report);
                keep(&keeping, &mut plan, &argv, &env)
            }
            Cloned::Parent(pid) => Ok(Launch { pid, report }),
        }
    }

    fn plan<'a>(&'a self, spec: &Spec, doors: &'a Doors, report: OwnedFd) -> Result<Plan<'a>, SpecError> {
        let mut variable = Vec::new();
        let env = spec.env.iter().map(|(name, value)| {
            variable.clear();
            variable.extend_from_slice(name.as_bytes());
            variable.push(b'=');
            variable.extend_from_slice(value.as_bytes());
            c_string(OsStr::from_bytes(&variable))
        });
        let identity = spec.user.as_ref().map(|user| Identity {
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
        });
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map(|path| c_string(path.as_os_str())).transpose()
        };
        Ok(Plan {
            joins: &doors.joins,
            null: self.null.as_fd(),
            stdout: path(&spec.stdout)?,
            stderr: path(&spec.stderr)?,
            cwd: c_string(spec.cwd.as_os_str())?,
            identity,
            umask: spec.umask,
            core_bytes: spec.limits.core_bytes,
            open_files: spec.limits.open_files,
            oom_score_adj: (spec.oom_score_adj != self.own_oom_score_adj)
                .then(|| spec.oom_score_adj.to_string()),
            isolation: Prepared::new(&spec.isolation)?,
            programs: programs(spec)?,
            env: env.collect::<Result<_, _>>()?,
            argv: spec.argv.iter().map(|argument| c_string(argument)).collect::<Result<_, _>>()?,
            report,
        })
    }
}

/// The paths at which the program may be. Empty elements of PATH, which would mean the working directory, are
/// passed over: a task that wants that can say `./program`.
fn programs(spec: &Spec) -> Result<Vec<CString>, SpecError> {
    let program = spec.argv.first().ok_or(SpecError::NoProgram)?;
    if is_path(program) {
        return Ok(vec![c_string(program)?]);
    }
    let search = spec.search_path().unwrap_or(OsStr::new(DEFAULT_SEARCH_PATH));
    let directories = search.as_bytes().split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
    directories
        .map(|directory| c_string(OsStr::from_bytes(&[directory, b"/", program.as_bytes()].concat())))
        .collect()
}

fn c_string(text: &OsStr) -> Result<CString, SpecError> {
    CString::new(text.as_bytes()).map_err(|_| SpecError::Nul)
}

impl Launch {
    /// Lets the program be executed: its start is recorded.
    pub(crate) fn go(&self) -> Result<(), Errno> {
        write(&self.report, &[1]).map(drop)
    }

    /// Ends the connection: what was not told to go exits.
    pub(crate) fn hang_up(&self) {
        // It fails only where the other side is gone already.
        let _ = shutdown(self.report.as_raw_fd(), Shutdown::Both);
    }

    /// Looks at the connection.
    pub(crate) fn look(&self) -> Report {
        let mut message = [0; REPORT_BYTES];
        match read(&self.report, &mut message) {
            Err(Errno::EAGAIN | Errno::EINTR) => Report::Pending,
            Ok(REPORT_BYTES) => {
                let [code, _, item_low, item_high, errno @ ..] = message;
                let step = LaunchStep::from_code(code).unwrap_or(LaunchStep::Execute);
                let item = u16::from_le_bytes([item_low, item_high]);
                Report::Failed { step, item, errno: i32::from_le_bytes(errno) }
            }
            // A report is written whole or not at all, so anything else is the connection's end.
            Ok(_) | Err(_) => Report::Executed,
        }
    }
}

/// What a failed step was about, for the refusal: a path where there is one.
pub(crate) fn subject(spec: &Spec, step: LaunchStep, item: u16) -> OsString {
    let path = |path: &Option<std::path::PathBuf>| path.clone().unwrap_or_default().into_os_string();
    match step {
        LaunchStep::Stdout | LaunchStep::StdoutUnsafe => path(&spec.stdout),
        LaunchStep::Stderr | LaunchStep::StderrUnsafe => path(&spec.stderr),
        LaunchStep::WorkingDirectory => spec.cwd.clone().into_os_string(),
        LaunchStep::ProgramNotFound
        | LaunchStep::ProgramNotExecutable
        | LaunchStep::InterpreterNotFound
        | LaunchStep::Execute => spec.argv.first().cloned().unwrap_or_default(),
        LaunchStep::MountSource | LaunchStep::MountTarget | LaunchStep::Mount | LaunchStep::Landlock => {
            isolate::subject(&spec.isolation, step, item).unwrap_or_else(|| spec.key.as_str().into())
        }
        LaunchStep::Clone
        | LaunchStep::JoinGroup
        | LaunchStep::Session
        | LaunchStep::Descriptors
        | LaunchStep::Resources
        | LaunchStep::User
        | LaunchStep::NoNewPrivileges
        | LaunchStep::Namespaces
        | LaunchStep::Loopback
        | LaunchStep::PartMounts
        | LaunchStep::ReadOnly
        | LaunchStep::Capabilities
        | LaunchStep::Seccomp => spec.key.as_str().into(),
    }
}
