//! What this node can separate, and how a command's wishes become the supervisor's isolation.
//!
//! Made once at start from the kernel's abilities (as the supervisor found them), the operator's settings and the paths
//! that tasks must not see.

use super::seccomp;
use super::view::{self, View};
use crate::users::RunAs;
use crate::workdir::Layout;
use muster_agent_core::Subject;
use muster_model::Cause;
use muster_model::TaskId;
use muster_model::cause::FailureInfo;
use muster_model::state::{IsolationLevel, TaskNetwork};
use muster_supervisor::{Isolation, Separation};
use std::io;
use std::path::{Path, PathBuf};

/// Directories for temporary files that each command has to itself, where they are directories of the node.
const PRIVATE: [&str; 2] = ["/tmp", "/var/tmp"];
/// Where POSIX shared memory and message queues show, which are emptied with the IPC namespace.
const IPC_FOLDERS: [&str; 2] = ["/dev/shm", "/dev/mqueue"];

/// Why the settings about isolation cannot be used on this node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroundError {
    #[error("isolation.writable names {path}, which is no directory of this node: make it, or leave it out")]
    Writable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Why a command cannot be separated as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IsolationError {
    #[error(
        "the pool asks for isolation level {wanted}, and this node can give {strongest} at most ({missing}): use a node \
         with these means, or a pool with isolation_level {strongest}"
    )]
    Level { wanted: IsolationLevel, strongest: IsolationLevel, missing: String },
    #[error(
        "the pool keeps its tasks from the network, and this node has no network namespaces: use a node that has them, or \
         a pool with task_network host"
    )]
    Network,
}

impl IsolationError {
    /// The failure that is reported: another node may have what this one lacks.
    pub(crate) fn failure(&self) -> FailureInfo {
        FailureInfo::new(Cause::Internal, self.to_string())
    }
}

/// What is asked for a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) subject: &'a Subject,
    /// The pool's level; `None` is the strongest that this node can give.
    pub(crate) level: Option<IsolationLevel>,
    pub(crate) network: TaskNetwork,
    pub(crate) user: RunAs,
    /// The GPUs that are its own.
    pub(crate) gpus: &'a [u32],
    /// The job preparation task of its job.
    pub(crate) preparation: Option<&'a TaskId>,
    /// Whether it is the job's release task, which cleans up after the preparation.
    pub(crate) is_release: bool,
}

/// What is the same for all commands of this node.
#[derive(Debug)]
pub(crate) struct Ground {
    separation: Separation,
    privileged: bool,
    view: View,
    filters: Vec<Vec<u8>>,
}

impl Ground {
    /// Looks at the node. `root` is its root directory, free of links; `secrets` are files that no command may see.
    pub(crate) fn new(
        separation: Separation,
        privileged: bool,
        root: &Path,
        writable: &[PathBuf],
        secrets: &[PathBuf],
    ) -> Result<Self, GroundError> {
        let mut places = Vec::with_capacity(writable.len());
        for path in writable {
            let wrong = |cause| GroundError::Writable { path: path.clone(), cause };
            let real = path.canonicalize().map_err(wrong)?;
            if !real.is_dir() {
                return Err(wrong(io::ErrorKind::NotADirectory.into()));
            }
            places.push(real);
        }
        // A file that is not there needs no hiding.
        let hidden = secrets.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let is_folder =
            |path: &&str| Path::new(path).canonicalize().is_ok_and(|real| real == Path::new(path));
        let folders = |names: [&str; 2]| names.iter().filter(|n| is_folder(n)).map(PathBuf::from).collect();
        let view = View {
            root: root.to_owned(),
            private: folders(PRIVATE),
            ipc_folders: folders(IPC_FOLDERS),
            writable: places,
            hidden,
        };
        Ok(Self { separation, privileged, view, filters: seccomp::filters() })
    }

    /// The strongest level that this node can give.
    pub(crate) fn strongest(&self) -> IsolationLevel {
        if self.missing_for(IsolationLevel::Sandbox).is_empty() {
            IsolationLevel::Sandbox
        } else if self.missing_for(IsolationLevel::Process).is_empty() {
            IsolationLevel::Process
        } else {
            IsolationLevel::None
        }
    }

    /// What is missing for a level, in words.
    pub(crate) fn missing_for(&self, level: IsolationLevel) -> Vec<&'static str> {
        let has = &self.separation;
        let of_process = [
            (self.privileged, "the agent does not run as root"),
            (has.process_namespace, "no process namespaces"),
            (has.mount_namespace, "no mount namespaces"),
            (has.ipc_namespace, "no IPC namespaces"),
        ];
        let of_sandbox = [(self.filters_calls(), "no filters of system calls")];
        let needs: Vec<_> = match level {
            IsolationLevel::None => Vec::new(),
            IsolationLevel::Process => of_process.to_vec(),
            IsolationLevel::Sandbox => of_process.into_iter().chain(of_sandbox).collect(),
        };
        needs.into_iter().filter(|(has, _)| !has).map(|(_, words)| words).collect()
    }

    /// Whether system calls can be filtered.
    pub(crate) const fn filters_calls(&self) -> bool {
        self.separation.seccomp && !self.filters.is_empty()
    }

    /// Whether commands can have a network of their own.
    pub(crate) const fn isolates_network(&self) -> bool {
        self.privileged && self.separation.network_namespace
    }

    /// The level that holds for tasks of a pool that asks for this one.
    pub(crate) fn level(
        &self,
        wanted: Option<IsolationLevel>,
        network: TaskNetwork,
    ) -> Result<IsolationLevel, IsolationError> {
        if network == TaskNetwork::None && !self.isolates_network() {
            return Err(IsolationError::Network);
        }
        let strongest = self.strongest();
        match wanted {
            Some(wanted) if wanted > strongest => {
                let missing = self.missing_for(wanted).join(", ");
                Err(IsolationError::Level { wanted, strongest, missing })
            }
            Some(wanted) => Ok(wanted),
            None => Ok(strongest),
        }
    }

    /// Directories that must be in the command's own /tmp before it is launched, each below it: places that are shown to
    /// it and that its /tmp would hide.
    pub(crate) fn mount_points(&self) -> Vec<PathBuf> {
        self.view.mount_points()
    }

    /// Everything about a command that the supervisor has to separate.
    pub(crate) fn isolation(
        &self,
        layout: &Layout,
        wanted: &Wanted<'_>,
    ) -> Result<Isolation, IsolationError> {
        let is_admin = wanted.user == RunAs::Administrator;
        let drop_capabilities = self.privileged && !is_admin;
        let level = match wanted.subject {
            Subject::StartTask { .. } => {
                return Ok(Isolation { drop_capabilities, ..Isolation::default() });
            }
            Subject::Attempt(_) => self.level(wanted.level, wanted.network)?,
        };
        let network_namespace = wanted.network == TaskNetwork::None;
        if level == IsolationLevel::None {
            return Ok(Isolation { network_namespace, drop_capabilities, ..Isolation::default() });
        }
        let is_sandboxed = level == IsolationLevel::Sandbox && !is_admin;
        let shown = view::shown_to(layout, wanted.subject, wanted.preparation, wanted.is_release);
        let landlock = (is_sandboxed && self.separation.landlock_abi > 0).then(|| self.view.landlock(&shown));
        Ok(Isolation {
            process_namespace: true,
            ipc_namespace: true,
            network_namespace,
            mounts: self.view.steps(&shown, is_sandboxed.then_some(wanted.gpus)),
            drop_capabilities,
            seccomp: if is_sandboxed { self.filters.clone() } else { Vec::new() },
            landlock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::AttemptId;

    const ALL: Separation = Separation {
        process_namespace: true,
        mount_namespace: true,
        ipc_namespace: true,
        network_namespace: true,
        seccomp: true,
        landlock_abi: 4,
    };
    const USER: RunAs = RunAs::User { uid: 64_000, gid: 64_000 };

    fn ground(separation: Separation, privileged: bool) -> Ground {
        Ground::new(separation, privileged, Path::new("/var/lib/muster-agent"), &[], &[]).unwrap()
    }

    fn subject() -> Subject {
        Subject::Attempt(AttemptId { job: "j".parse().unwrap(), task: "t".parse().unwrap(), number: 1 })
    }

    fn wanted(subject: &Subject, user: RunAs, level: Option<IsolationLevel>) -> Wanted<'_> {
        Wanted {
            subject,
            level,
            network: TaskNetwork::Host,
            user,
            gpus: &[],
            preparation: None,
            is_release: false,
        }
    }

    #[test]
    fn the_strongest_level_is_what_every_means_allows() {
        use IsolationLevel::{None, Process, Sandbox};
        assert_eq!(ground(ALL, true).strongest(), Sandbox);
        assert_eq!(ground(Separation { landlock_abi: 0, ..ALL }, true).strongest(), Sandbox);
        assert_eq!(ground(Separation { seccomp: false, ..ALL }, true).strongest(), Process);
        assert_eq!(ground(Separation { ipc_namespace: false, ..ALL }, true).strongest(), None);
        assert_eq!(ground(ALL, false).strongest(), None);
    }

    #[test]
    fn a_level_that_the_node_cannot_give_is_refused_with_what_is_missing() {
        let ground = ground(Separation { seccomp: false, network_namespace: false, ..ALL }, true);
        let words = ground.level(Some(IsolationLevel::Sandbox), TaskNetwork::Host).unwrap_err().to_string();
        assert!(words.contains("sandbox") && words.contains("no filters of system calls"), "{words}");
        assert_eq!(ground.level(None, TaskNetwork::Host), Ok(IsolationLevel::Process));
        assert_eq!(ground.level(None, TaskNetwork::None), Err(IsolationError::Network));
    }

    #[test]
    fn levels_differ_in_what_they_hold_and_an_administrator_keeps_the_namespaces() {
        let temporary = tempfile::tempdir().unwrap();
        let (layout, subject) = (Layout::open(temporary.path()).unwrap(), subject());
        let ground = ground(ALL, true);
        let of = |user, level| ground.isolation(&layout, &wanted(&subject, user, Some(level))).unwrap();
        let none = of(USER, IsolationLevel::None);
        assert_eq!(none, Isolation { drop_capabilities: true, ..Isolation::default() });
        let process = of(USER, IsolationLevel::Process);
        assert!(process.process_namespace && process.ipc_namespace && !process.network_namespace);
        assert!(process.drop_capabilities && process.seccomp.is_empty() && process.landlock.is_none());
        let sandbox = of(USER, IsolationLevel::Sandbox);
        assert!(!sandbox.seccomp.is_empty() && sandbox.landlock.is_some());
        let admin = of(RunAs::Administrator, IsolationLevel::Sandbox);
        assert_eq!(admin, Isolation { drop_capabilities: false, ..process });
    }

    #[test]
    fn the_start_task_prepares_the_machine_itself() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let wish = Wanted {
            network: TaskNetwork::None,
            ..wanted(&Subject::StartTask { run: 1 }, RunAs::Administrator, Some(IsolationLevel::Sandbox))
        };
        assert_eq!(ground(ALL, true).isolation(&layout, &wish), Ok(Isolation::default()));
    }

    #[test]
    fn a_network_of_its_own_goes_with_every_level() {
        let temporary = tempfile::tempdir().unwrap();
        let (layout, subject) = (Layout::open(temporary.path()).unwrap(), subject());
        for level in [IsolationLevel::None, IsolationLevel::Process, IsolationLevel::Sandbox] {
            let wish = Wanted { network: TaskNetwork::None, ..wanted(&subject, USER, Some(level)) };
            assert!(ground(ALL, true).isolation(&layout, &wish).unwrap().network_namespace, "{level}");
        }
    }

    #[test]
    fn writable_places_must_be_there() {
        let missing = [PathBuf::from("/no/such/place")];
        let error = Ground::new(ALL, true, Path::new("/r"), &missing, &[]).unwrap_err().to_string();
        assert!(error.contains("/no/such/place"), "{error}");
        assert!(Ground::new(ALL, true, Path::new("/r"), &[], &missing).is_ok());
    }
}
