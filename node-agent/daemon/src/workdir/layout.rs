//! Where everything of a node lies below its root directory, in the names of the reference (azure-batch.md 3.10).
//!
//! ```text
//! ROOT/batch/                         AZ_BATCH_NODE_ROOT_DIR, with startup/ (the start task) and shared/ for all tasks
//! ROOT/batch/workitems/<job>/job-1/<task>/     a task: stdout.txt, stderr.txt, wd/, tmp/ (its own /tmp, see isolation)
//! ROOT/agent/  ROOT/supervisor/       their own: identity, journal, cache; nobody else may look
//! ROOT/trash/                         trees that wait for their removal
//! ```
//!
//! A task owns its `wd` and nothing above it, so it can neither replace it nor its output files. While it lives, only its
//! group passes its directory; after its end nobody but the agent does, so that its user's id may come to another task.
//! The directories of the start task and of job preparations stay open: other tasks read them.

use super::dir::{Dir, give};
use super::trash::Trash;
use crate::disk::{Choice, DiskError, Disks, Holding};
use muster_agent_core::Subject;
use muster_model::{AttemptId, FilePath};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Permission bits of directories that tasks pass through: they may look and not change.
const OPEN_MODE: u32 = 0o755;
/// Permission bits of the directories that only the agent uses.
const PRIVATE_MODE: u32 = 0o700;
/// Permission bits of a live task's directory and of its working directory: its files are not other users' business.
const WORK_MODE: u32 = 0o750;
/// Permission bits of the directory that all tasks of the node share: each may add files, none may remove another user's.
const SHARED_MODE: u32 = 0o1777;
/// The directory of a task that shows as its own /tmp, where it has a view of its own.
const TMP_NAME: &str = "tmp";
/// The id of root and of its group.
const ROOT_ID: u32 = 0;
/// Where trees wait for their removal.
const TRASH_NAME: &str = "trash";
/// Below which the directories of tasks are.
const TASKS_FOLDER: &str = "batch/workitems";
/// What is kept of their bounds.
const DISKS_FOLDER: &str = "agent/disks";

/// Why the node's directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("cannot make the directory {path}: choose another --root or give its owner the right to write")]
    Make {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot open {path} safely (openat2): the node needs Linux 5.6 or later")]
    Open {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// Why the directory of a subject cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The node's directories.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    batch: Dir,
    workitems: Dir,
    agent: Dir,
    trash: Arc<Trash>,
    disks: Arc<Disks>,
}

/// The directory of a task or of the start task, made for one attempt.
#[derive(Debug)]
pub(crate) struct TaskPlace {
    /// The `wd`, which belongs to the task.
    wd: Dir,
    /// Its own /tmp; the start task has none.
    tmp: Option<Dir>,
    owner: Option<(u32, u32)>,
    /// Permission bits of it and of the directories in it.
    mode: u32,
}

/// Who may look into a working directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner, and whoever shares its group.
    Owner,
    /// All tasks of the node, whatever user they run as: the start task's and the job preparation's (reference 3.10).
    Tasks,
}

/// The path of a task's directory below the node's root, in three parts that are each a safe name: the ids have no
/// '/', no leading dot and at most 64 characters.
fn task_parts(attempt: &AttemptId) -> (&str, &str, &str) {
    match attempt.job.as_str().split_once(':') {
        Some((schedule, job)) => (schedule, job, attempt.task.as_str()),
        None => (attempt.job.as_str(), "job-1", attempt.task.as_str()),
    }
}

impl Layout {
    /// Makes what is missing below `root`, and opens it.
    pub(crate) fn open(root: &Path) -> Result<Self, LayoutError> {
        let make = |path: &Path, mode: u32| {
            let made = DirBuilder::new().recursive(true).mode(mode).create(path);
            made.map_err(|cause| LayoutError::Make { path: path.to_owned(), cause })
        };
        make(root, OPEN_MODE)?;
        let root = root.canonicalize().map_err(|cause| LayoutError::Open { path: root.to_owned(), cause })?;
        make(&root.join("supervisor"), PRIVATE_MODE)?;
        let opened = |path: PathBuf, mode: u32| {
            make(&path, mode)?;
            let dir = Dir::root(&path).map_err(|cause| LayoutError::Open { path: path.clone(), cause })?;
            dir.give_to(None, mode).map_err(|cause| LayoutError::Make { path, cause })?;
            Ok::<_, LayoutError>(dir)
        };
        let batch_path = root.join("batch");
        let batch = opened(batch_path.clone(), OPEN_MODE)?;
        for name in ["startup", "applications", "fsmounts", "volatile"] {
            opened(batch_path.join(name), OPEN_MODE)?;
        }
        opened(batch_path.join("shared"), SHARED_MODE)?;
        let workitems = opened(batch_path.join("workitems"), OPEN_MODE)?;
        let trash = Trash::new(opened(root.join(TRASH_NAME), PRIVATE_MODE)?);
        let agent = opened(root.join("agent"), PRIVATE_MODE)?;
        let disks = Disks::open(Choice::None, &root.join(DISKS_FOLDER), &root.join(TASKS_FOLDER))?;
        Ok(Self { root, batch, workitems, agent, trash, disks })
    }

    /// The same with task directories bounded: tries the means out, so only one agent at a time may do so.
    pub(crate) fn bounded_by(self, choice: Choice) -> Result<Self, LayoutError> {
        let disks = Disks::open(choice, &self.root.join(DISKS_FOLDER), &self.root.join(TASKS_FOLDER))?;
        Ok(Self { disks, ..self })
    }

    /// The bounds of task directories.
    pub(crate) const fn disks(&self) -> &Arc<Disks> {
        &self.disks
    }

    /// At start: takes over the bounds of these attempts' directories, and puts away bounded ones that are nobody's.
    pub(crate) fn take_over(&self, held: impl Iterator<Item = (AttemptId, bool)>) -> Result<(), LayoutError> {
        let holdings = held.map(|(attempt, is_live)| {
            let path = self.place_path(&Subject::Attempt(attempt.clone()));
            Holding { attempt, path, is_live }
        });
        for stray in self.disks.take_over(holdings.collect())? {
            let put_away = |path: &Path| {
                let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
                let parent = parent.strip_prefix(self.root.join(TASKS_FOLDER)).ok()?.to_str()?;
                let parent = self.workitems.open_dir(parent).ok()?;
                self.trash.put(&parent, name).ok()
            };
            if put_away(&stray).is_none() {
                tracing::debug!(path = %stray.display(), "a directory that nobody holds is gone");
            }
        }
        Ok(())
    }

    /// The absolute path of the root, free of links.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// AZ_BATCH_NODE_ROOT_DIR.
    pub(crate) fn batch_path(&self) -> PathBuf {
        self.root.join("batch")
    }

    /// The same, opened.
    pub(crate) const fn batch(&self) -> &Dir {
        &self.batch
    }

    /// The agent's own directory.
    pub(crate) const fn agent(&self) -> &Dir {
        &self.agent
    }

    /// The path of the agent's own directory, for files that only the agent can put there.
    pub(crate) fn agent_path(&self) -> PathBuf {
        self.root.join("agent")
    }

    /// The supervisor's state directory.
    pub(crate) fn supervisor_path(&self) -> PathBuf {
        self.root.join("supervisor")
    }

    /// Removes what was put away, when there is time for it.
    pub(crate) fn empty_trash(&self) {
        self.trash.empty();
    }

    /// The absolute path of a subject's directory: for the supervisor, which follows no links, and for variables.
    pub(crate) fn place_path(&self, subject: &Subject) -> PathBuf {
        match subject {
            Subject::StartTask { .. } => self.root.join("batch/startup"),
            Subject::Attempt(attempt) => {
                let (folder, job, task) = task_parts(attempt);
                self.root.join(TASKS_FOLDER).join(folder).join(job).join(task)
            }
        }
    }

    /// Opens the directory of a subject as it is. That of an ended attempt may have to be mounted first.
    pub(crate) fn existing(&self, subject: &Subject) -> io::Result<Dir> {
        match subject {
            Subject::StartTask { .. } => self.batch.open_dir("startup"),
            Subject::Attempt(attempt) => {
                let (folder, job, task) = task_parts(attempt);
                self.disks.wake(&self.place_path(subject)).map_err(io::Error::other)?;
                self.workitems.open_dir(&format!("{folder}/{job}/{task}"))
            }
        }
    }

    /// Makes the directory of a subject anew. What an earlier attempt or run left there is put away first; the `wd` of
    /// the start task stays, because it must be safe to run again and may rely on what it did before. With `disk_bytes` the
    /// directory of an attempt is bounded, which takes milliseconds and may wait; without, it is a handful of system calls.
    pub(crate) fn make_place(
        &self,
        subject: &Subject,
        owner: Option<(u32, u32)>,
        readers: Readers,
        disk_bytes: Option<u64>,
    ) -> Result<TaskPlace, PlaceError> {
        let dir = match subject {
            Subject::StartTask { .. } => {
                let dir = self.batch.make_dir("startup", OPEN_MODE)?;
                for name in ["stdout.txt", "stderr.txt"] {
                    dir.remove_file(name)?;
                }
                dir
            }
            Subject::Attempt(attempt) => {
                let (folder, job, _) = task_parts(attempt);
                let parent = match self.workitems.open_dir(&format!("{folder}/{job}")) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.workitems.make_dir(folder, OPEN_MODE)?.make_dir(job, OPEN_MODE)?
                    }
                    opened => opened?,
                };
                self.make_task_dir(&parent, attempt, disk_bytes)?
            }
        };
        let mode = match readers {
            Readers::Tasks => OPEN_MODE,
            Readers::Owner => WORK_MODE,
        };
        // The agent's umask may have taken bits away.
        dir.give_to(owner.map(|(_, gid)| (ROOT_ID, gid)), mode)?;
        let wd = dir.make_dir("wd", mode)?;
        wd.give_to(owner, mode)?;
        let tmp = match subject {
            Subject::StartTask { .. } => None,
            Subject::Attempt(_) => {
                let tmp = dir.make_dir(TMP_NAME, SHARED_MODE)?;
                tmp.give_to(None, SHARED_MODE)?;
                Some(tmp)
            }
        };
        Ok(TaskPlace { wd, tmp, owner, mode })
    }

    /// Makes the directory of an attempt in place of an earlier one's.
    fn make_task_dir(
        &self,
        parent: &Dir,
        attempt: &AttemptId,
        disk_bytes: Option<u64>,
    ) -> Result<Dir, PlaceError> {
        let (_, _, name) = task_parts(attempt);
        let path = self.place_path(&Subject::Attempt(attempt.clone()));
        let turn = self.disks.turn(&path);
        self.disks.clear(&turn)?;
        let Some(bytes) = disk_bytes else {
            let dir = match parent.make_new_dir(name, OPEN_MODE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.trash.put(parent, name)?;
                    parent.make_new_dir(name, OPEN_MODE)?
                }
                made => made?,
            };
            self.disks.hold(&turn, attempt, &path);
            return Ok(dir);
        };
        self.trash.put(parent, name)?;
        self.disks.make(&turn, attempt, &path, bytes)?;
        Ok(parent.open_dir(name)?)
    }

    /// Closes the directory of an ended attempt to everybody but the agent; one that other tasks read stays open. None is
    /// fine too.
    pub(crate) fn seal(&self, attempt: &AttemptId) -> io::Result<()> {
        let dir = match self.existing(&Subject::Attempt(attempt.clone())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        if dir.facts(".")?.mode & 0o7 != 0 {
            return Ok(());
        }
        dir.give_to(nix::unistd::geteuid().is_root().then_some((ROOT_ID, ROOT_ID)), PRIVATE_MODE)
    }

    /// The user who owns the working directory of a subject, as the disk has it.
    pub(crate) fn owner_of(&self, subject: &Subject) -> io::Result<u32> {
        Ok(self.existing(subject)?.facts("wd")?.owner)
    }

    /// Puts the directory of an ended attempt away. Where a bound has to be lifted first, that goes on by itself, and whoever
    /// makes the directory anew waits for it.
    pub(crate) fn discard(&self, attempt: &AttemptId) -> io::Result<()> {
        let (folder, job, task) = task_parts(attempt);
        let parent = self.workitems.open_dir(&format!("{folder}/{job}"))?;
        let path = self.place_path(&Subject::Attempt(attempt.clone()));
        if !self.disks.is_bounded(&path) {
            return self.trash.put(&parent, task);
        }
        let turn = self.disks.turn(&path);
        let (disks, trash, task) = (Arc::clone(&self.disks), Arc::clone(&self.trash), task.to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = disks.clear(&turn) {
                tracing::warn!(path = %path.display(), %error, "cannot lift the limit of a task directory");
            } else if let Err(error) = trash.put(&parent, &task) {
                tracing::warn!(path = %path.display(), %error, "cannot put a task directory away");
            }
            drop(turn);
            trash.empty();
        });
        Ok(())
    }
}

impl TaskPlace {
    /// Makes the directories before a file of the working directory, owned by the task, and opens the last one. A file of
    /// that name that is there already is removed.
    pub(crate) fn parent_of<'a>(&self, path: &'a FilePath) -> io::Result<(Dir, &'a str)> {
        let mut parent = self.wd.open_dir(".")?;
        let (folders, name) = match path.as_str().rsplit_once('/') {
            Some((folders, name)) => (Some(folders), name),
            None => (None, path.as_str()),
        };
        for folder in folders.into_iter().flat_map(|folders| folders.split('/')) {
            parent = match parent.make_new_dir(folder, self.mode) {
                Ok(made) => {
                    made.give_to(self.owner, self.mode)?;
                    made
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => parent.open_dir(folder)?,
                Err(error) => return Err(error),
            };
        }
        parent.remove_file(name)?;
        Ok((parent, name))
    }

    /// Makes directories in the task's own /tmp, at which something will be shown to it. They belong to the agent's user.
    pub(crate) fn make_mount_points(&self, points: &[PathBuf]) -> io::Result<()> {
        let Some(tmp) = &self.tmp else { return Ok(()) };
        for point in points {
            let mut parent = tmp.open_dir(".")?;
            for name in point.iter() {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                parent = parent.make_dir(name, OPEN_MODE)?;
            }
        }
        Ok(())
    }

    /// Makes a file belong to the task.
    pub(crate) fn give(&self, file: &File) -> io::Result<()> {
        give(file.as_fd(), self.owner)
    }

    /// Who owns the working directory; `None` is the agent's own user.
    pub(crate) const fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(job: &str, number: u32) -> AttemptId {
        AttemptId { job: job.parse().unwrap(), task: "t1".parse().unwrap(), number }
    }

    #[test]
    fn directories_have_the_names_of_the_reference() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let path = |job: &str| layout.place_path(&Subject::Attempt(attempt(job, 1)));
        assert!(path("film").ends_with("batch/workitems/film/job-1/t1"));
        assert!(path("nightly:job-3").ends_with("batch/workitems/nightly/job-3/t1"));
        assert!(layout.place_path(&Subject::StartTask { run: 2 }).ends_with("batch/startup"));
    }

    #[test]
    fn a_second_attempt_begins_with_an_empty_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let subject = Subject::Attempt(attempt("film", 1));
        layout.make_place(&subject, None, Readers::Owner, None).unwrap();
        let left = layout.place_path(&subject).join("wd/left");
        std::fs::write(&left, "x").unwrap();
        layout.make_place(&Subject::Attempt(attempt("film", 2)), None, Readers::Owner, None).unwrap();
        assert!(!left.exists() && left.parent().is_some_and(Path::exists));
    }

    #[test]
    fn what_tasks_may_read_is_open_to_them_with_the_folders_of_its_files() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let subject = Subject::Attempt(attempt("film", 1));
        for (readers, wanted) in [(Readers::Owner, WORK_MODE), (Readers::Tasks, OPEN_MODE)] {
            let place = layout.make_place(&subject, None, readers, None).unwrap();
            place.parent_of(&FilePath::parse("a/b").unwrap()).unwrap();
            let wd = layout.place_path(&subject).join("wd");
            for folder in [wd.join("a"), wd] {
                let mode = folder.metadata().unwrap().permissions().mode() & 0o7777;
                assert_eq!(mode, wanted, "{readers:?} {}", folder.display());
            }
        }
    }

    #[test]
    fn an_ended_task_s_directory_is_closed_and_that_of_a_preparation_stays_open() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let is_root = nix::unistd::geteuid().is_root();
        let user = is_root.then_some((64_000, 64_001));
        let subject = Subject::Attempt(attempt("film", 1));
        let facts = || layout.place_path(&subject).metadata().unwrap();
        for (readers, live, ended) in [(Readers::Owner, 0o750, 0o700), (Readers::Tasks, 0o755, 0o755)] {
            layout.make_place(&subject, user, readers, None).unwrap();
            assert_eq!(facts().permissions().mode() & 0o7777, live);
            if is_root {
                assert_eq!((facts().uid(), facts().gid()), (0, 64_001));
                assert_eq!(layout.owner_of(&subject).unwrap(), 64_000);
            }
            layout.seal(&attempt("film", 1)).unwrap();
            assert_eq!(facts().permissions().mode() & 0o7777, ended, "{readers:?}");
        }
        layout.seal(&attempt("never", 1)).unwrap();
    }

    #[test]
    fn mount_points_are_made_in_the_task_s_own_tmp_and_never_through_links() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let subject = Subject::Attempt(attempt("film", 1));
        let place = layout.make_place(&subject, None, Readers::Owner, None).unwrap();
        place.make_mount_points(&["a/b".into(), "a/c".into()]).unwrap();
        let tmp = layout.place_path(&subject).join("tmp");
        assert!(tmp.join("a/b").is_dir() && tmp.join("a/c").is_dir());
        std::os::unix::fs::symlink("/var", tmp.join("out")).unwrap();
        assert!(place.make_mount_points(&["out/x".into()]).is_err());
        let start = layout.make_place(&Subject::StartTask { run: 1 }, None, Readers::Tasks, None).unwrap();
        start.make_mount_points(&["a".into()]).unwrap();
        assert!(!layout.place_path(&Subject::StartTask { run: 1 }).join("tmp").exists());
    }

    #[test]
    fn files_go_below_the_working_directory_and_never_through_links() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::open(temporary.path()).unwrap();
        let subject = Subject::Attempt(attempt("film", 1));
        let place = layout.make_place(&subject, None, Readers::Owner, None).unwrap();
        let path = FilePath::parse("a/b/c.txt").unwrap();
        let (parent, name) = place.parent_of(&path).unwrap();
        parent.create_file(name, 0o640).unwrap();
        let wd = layout.place_path(&subject).join("wd");
        assert!(wd.join("a/b/c.txt").exists());
        std::os::unix::fs::symlink("/tmp", wd.join("out")).unwrap();
        assert!(place.parent_of(&FilePath::parse("out/x").unwrap()).is_err());
    }
}
