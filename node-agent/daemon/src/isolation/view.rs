//! Which files a command sees: the row of mounts that makes its view out of the node's.
//!
//! The node's root directory becomes an empty file system into which only what the command may see is shown again; /tmp and
//! /var/tmp become a directory beside its `wd`. Whatever is shown keeps its path, so that variables and command lines mean
//! the same at every level. A place that lies below a private /tmp needs a mount point there, which is made before the
//! launch ([`View::mount_points`]); the supervisor makes those below the emptied root.
//!
//! Invariant: a later step is never hidden by an earlier one: the order is everything, then /tmp, then the operator's
//! places, then the root, then what is shown of it, then what is hidden.

use crate::workdir::Layout;
use muster_agent_core::Subject;
use muster_model::{AttemptId, TaskId};
use muster_supervisor::{Landlock, MountStep};
use std::path::{Path, PathBuf};

/// Most bytes in the file system over the root: it holds directories for mount points and nothing else.
const ROOT_BYTES: u64 = 1 << 20;
/// The same over a hidden directory: one page, for 0 would mean no bound.
const HIDDEN_BYTES: u64 = 4096;
/// Permission bits of a directory that everybody may write to and nobody remove others' files from.
const PUBLIC_MODE: u32 = 0o1777;
/// Permission bits of the emptied root, as of the root itself.
const OPEN_MODE: u32 = 0o755;
/// Permission bits of what stands in for a hidden directory.
const CLOSED_MODE: u32 = 0o700;
/// What stands in for a hidden file.
const NOTHING: &str = "/dev/null";
/// Device files that every program for NVIDIA's GPUs opens, beside those of its own GPUs. Others, those of graphics (dri),
/// sound, FUSE or KVM, are not shown.
const GPU_CONTROLS: [&str; 4] = ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"];

/// What is the same in the view of every command.
#[derive(Debug)]
pub(super) struct View {
    /// The node's root directory.
    pub(super) root: PathBuf,
    /// Directories for temporary files.
    pub(super) private: Vec<PathBuf>,
    /// Directories that show IPC objects.
    pub(super) ipc_folders: Vec<PathBuf>,
    /// Where the operator lets tasks write.
    pub(super) writable: Vec<PathBuf>,
    /// What no command may see.
    pub(super) hidden: Vec<PathBuf>,
}

/// What of the node's root directory a command sees.
#[derive(Debug)]
pub(super) struct Shown {
    /// Its own directory.
    own: PathBuf,
    /// Where it may write, by its user's rights.
    writable: Vec<PathBuf>,
    /// Where it may look.
    readable: Vec<PathBuf>,
}

/// Finds what of the root a command sees.
pub(super) fn shown_to(
    layout: &Layout,
    subject: &Subject,
    preparation: Option<&TaskId>,
    is_release: bool,
) -> Shown {
    let batch = layout.batch_path();
    let mut readable = vec![batch.join("startup"), batch.join("applications")];
    let mut writable = ["shared", "fsmounts", "volatile"].map(|name| batch.join(name)).to_vec();
    if let (Subject::Attempt(attempt), Some(task)) = (subject, preparation)
        && *task != attempt.task
    {
        let preparation = Subject::Attempt(AttemptId { task: task.clone(), ..attempt.clone() });
        // Where it never ran there is nothing to show.
        if layout.existing(&preparation).is_ok() {
            let places = if is_release { &mut writable } else { &mut readable };
            places.push(layout.place_path(&preparation));
        }
    }
    Shown { own: layout.place_path(subject), writable, readable }
}

impl View {
    /// The steps to a command's view. `sandbox` holds the command's GPUs where everything else is read-only.
    pub(super) fn steps(&self, shown: &Shown, sandbox: Option<&[u32]>) -> Vec<MountStep> {
        let mut steps = Vec::new();
        if sandbox.is_some() {
            steps.push(MountStep::ReadOnly);
        }
        steps.push(MountStep::Proc);
        match sandbox {
            Some(gpus) => steps.push(MountStep::Devices { extra: gpu_devices(gpus), shm_bytes: None }),
            None => steps.extend(self.ipc_folders.iter().map(|at| empty(at, PUBLIC_MODE, None))),
        }
        let own_tmp = shown.own.join("tmp");
        steps.extend(self.private.iter().map(|at| bind(&own_tmp, at, false)));
        let below_root = |path: &&PathBuf| path.starts_with(&self.root);
        steps.extend(self.writable.iter().filter(|path| !below_root(path)).map(|at| bind(at, at, false)));
        steps.push(empty(&self.root, OPEN_MODE, Some(ROOT_BYTES)));
        steps.push(bind(&shown.own, &shown.own, false));
        steps.extend(shown.writable.iter().map(|at| bind(at, at, false)));
        steps.extend(shown.readable.iter().map(|at| bind(at, at, true)));
        steps.extend(self.writable.iter().filter(below_root).map(|at| bind(at, at, false)));
        for path in &self.hidden {
            if is_visible(&steps, path) {
                steps.push(if path.is_dir() {
                    empty(path, CLOSED_MODE, Some(HIDDEN_BYTES))
                } else {
                    bind(Path::new(NOTHING), path, true)
                });
            }
        }
        steps
    }

    /// What a command in the sandbox may do where: look everywhere, write where its view lets it. The rules hold on top of
    /// the read-only mounts, and also for whatever a mistake there leaves open.
    pub(super) fn landlock(&self, shown: &Shown) -> Landlock {
        let system = ["/dev", "/proc"].map(PathBuf::from);
        let write = system.iter().chain([&shown.own]).chain(&shown.writable);
        let write = write.chain(&self.private).chain(&self.writable).cloned().collect();
        Landlock { read: vec![PathBuf::from("/")], write }
    }

    /// Directories, relative to a command's own /tmp, at which something is to be shown below a private directory.
    pub(super) fn mount_points(&self) -> Vec<PathBuf> {
        let places = self.writable.iter().filter(|path| !path.starts_with(&self.root)).chain([&self.root]);
        let below = |place: &PathBuf| {
            self.private.iter().find_map(|private| Some(place.strip_prefix(private).ok()?.to_owned()))
        };
        places.filter_map(below).filter(|path| !path.as_os_str().is_empty()).collect()
    }
}

fn bind(source: &Path, at: &Path, read_only: bool) -> MountStep {
    MountStep::Bind { source: source.to_owned(), at: at.to_owned(), read_only }
}

fn empty(at: &Path, mode: u32, size_bytes: Option<u64>) -> MountStep {
    MountStep::Tmpfs { at: at.to_owned(), mode, size_bytes }
}

/// Whether a path of the node is still there after these steps: nothing lies over it, or it is shown again.
fn is_visible(steps: &[MountStep], path: &Path) -> bool {
    let covers = |step: &MountStep| match step {
        MountStep::Tmpfs { at, .. } => path.starts_with(at).then_some(false),
        MountStep::Bind { source, at, .. } => path.starts_with(at).then_some(source == at),
        MountStep::Devices { .. } => path.starts_with("/dev").then_some(false),
        MountStep::Proc => path.starts_with("/proc").then_some(false),
        MountStep::ReadOnly => None,
    };
    steps.iter().rev().find_map(covers).unwrap_or(true)
}

/// The device files of a command's GPUs; those that the node does not have are passed over by the supervisor.
fn gpu_devices(gpus: &[u32]) -> Vec<PathBuf> {
    let controls = GPU_CONTROLS.iter().filter(|_| !gpus.is_empty()).map(ToString::to_string);
    let own = gpus.iter().map(|number| format!("nvidia{number}"));
    own.chain(controls).map(|name| Path::new("/dev").join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(root: &str, writable: &[&str], hidden: &[&str]) -> View {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        View {
            root: root.into(),
            private: paths(&["/tmp", "/var/tmp"]),
            ipc_folders: paths(&["/dev/shm"]),
            writable: paths(writable),
            hidden: paths(hidden),
        }
    }

    fn shown(root: &str) -> Shown {
        let below = |name: &str| Path::new(root).join(name);
        Shown { own: below("own"), writable: vec![below("shared")], readable: vec![below("startup")] }
    }

    fn place(step: &MountStep) -> Option<&Path> {
        match step {
            MountStep::Tmpfs { at, .. } | MountStep::Bind { at, .. } => Some(at),
            MountStep::ReadOnly | MountStep::Proc | MountStep::Devices { .. } => None,
        }
    }

    /// Whether a path shows what the node has there.
    fn sees(steps: &[MountStep], path: &str) -> bool {
        is_visible(steps, Path::new(path))
    }

    #[test]
    fn of_the_root_only_what_is_shown_is_there() {
        let steps = view("/r", &[], &[]).steps(&shown("/r"), Some(&[]));
        for path in ["/r/own/wd/x", "/r/shared", "/r/startup/wd", "/etc/passwd"] {
            assert!(sees(&steps, path), "{path}");
        }
        for path in ["/r/agent/identity.json", "/r/supervisor", "/r/batch/workitems/j", "/tmp/x", "/var/tmp"]
        {
            assert!(!sees(&steps, path), "{path}");
        }
        assert_eq!(steps.first(), Some(&MountStep::ReadOnly));
        assert!(steps.contains(&bind(Path::new("/r/startup"), Path::new("/r/startup"), true)));
    }

    #[test]
    fn places_below_a_private_directory_are_shown_there_and_have_their_mount_points() {
        let view = view("/tmp/x/n", &["/tmp/y", "/tmp/x", "/tmp/x/n/inside", "/srv"], &[]);
        let steps = view.steps(&shown("/tmp/x/n"), None);
        for path in ["/tmp/y/a", "/tmp/x/a", "/tmp/x/n/own", "/tmp/x/n/inside", "/srv"] {
            assert!(sees(&steps, path), "{path}");
        }
        assert!(!sees(&steps, "/tmp/x/n/agent") && !sees(&steps, "/tmp/z"));
        let points = view.mount_points();
        let wanted = ["y", "x", "x/n"].map(PathBuf::from);
        assert_eq!(points, wanted);
        for step in &steps {
            let at = place(step);
            let target = at.filter(|at| at.starts_with("/tmp") && *at != Path::new("/tmp"));
            let Some(target) = target.and_then(|at| at.strip_prefix("/tmp").ok()) else { continue };
            let made = points.iter().any(|point| target.starts_with(point));
            assert!(made, "nothing to mount {} on", target.display());
        }
    }

    #[test]
    fn what_is_hidden_is_covered_where_it_would_show_and_nowhere_else() {
        let temporary = tempfile::tempdir_in("/var").unwrap();
        let (folder, file) = (temporary.path().join("folder"), temporary.path().join("file"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "secret").unwrap();
        let hidden = [folder.to_str().unwrap(), file.to_str().unwrap(), "/tmp/token", "/r/agent/x"];
        let steps = view("/r", &[], &hidden).steps(&shown("/r"), None);
        assert!(hidden.iter().all(|path| !sees(&steps, path)));
        let last: Vec<_> = steps.iter().rev().take(2).filter_map(place).collect();
        assert_eq!(last, [file.as_path(), folder.as_path()]);
    }

    #[test]
    fn a_sandbox_has_the_devices_of_its_own_gpus() {
        let view = view("/r", &[], &[]);
        let devices = |gpus: &[u32]| {
            let steps = view.steps(&shown("/r"), Some(gpus));
            steps.into_iter().find_map(|step| match step {
                MountStep::Devices { extra, .. } => Some(extra),
                MountStep::ReadOnly | MountStep::Tmpfs { .. } | MountStep::Bind { .. } | MountStep::Proc => {
                    None
                }
            })
        };
        assert_eq!(devices(&[]), Some(Vec::new()));
        let own = devices(&[1, 3]).unwrap();
        assert!(own.starts_with(&["/dev/nvidia1".into(), "/dev/nvidia3".into()]));
        assert!(own.contains(&"/dev/nvidiactl".into()) && !own.contains(&"/dev/nvidia0".into()));
    }

    #[test]
    fn landlock_lets_write_where_the_view_does() {
        let rules = view("/r", &["/srv"], &[]).landlock(&shown("/r"));
        for path in ["/r/own", "/r/shared", "/tmp", "/srv", "/dev"] {
            assert!(rules.write.contains(&PathBuf::from(path)), "{path}");
        }
        assert!(!rules.write.contains(&PathBuf::from("/r/startup")));
        assert_eq!(rules.read, [PathBuf::from("/")]);
    }
}
