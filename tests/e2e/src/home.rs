//! The folder of one cluster, and the promise that nothing of it stays: neither files nor processes nor groups.
//!
//! Every user of the machine may pass through the folder, because tasks run as users of their own.
//!
//! Invariant: the folder is removed last, after everything that works in it has ended.

use crate::leftovers::remove_all;
use crate::tmpfs::Tmpfs;
use anyhow::Context;
use std::any::Any;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder that ends what lives in it.
pub(crate) struct Home {
    path: PathBuf,
    /// Detached after everything that worked on them has ended, before the folder goes.
    disks: Vec<Box<dyn Any + Send>>,
    is_quiet: bool,
    _folder: TempDir,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Home({})", self.path.display())
    }
}

impl Home {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("muster-e2e-").tempdir().context("cannot make a folder")?;
        let path = folder.path().canonicalize()?;
        open_to_all(&path, 0o755)?;
        fs::create_dir(path.join("logs"))?;
        // Tasks of any user write here: ledgers, marks, what a test wants to see outside of the task's folder.
        fs::create_dir(path.join("shared"))?;
        open_to_all(&path.join("shared"), 0o777)?;
        Ok(Self { path, disks: Vec::new(), is_quiet: false, _folder: folder })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a folder of the home on a small file system of its own.
    pub(crate) fn mount(&mut self, folder: &Path, megabytes: u32) -> anyhow::Result<()> {
        self.disks.push(Box::new(Tmpfs::mount(folder, megabytes)?));
        Ok(())
    }

    /// Keeps something until everything that works in the folder has ended.
    pub(crate) fn hold(&mut self, thing: Box<dyn Any + Send>) {
        self.disks.push(thing);
    }

    /// Shows no logs at the end.
    pub(crate) fn quiet(&mut self) {
        self.is_quiet = true;
    }

    /// The folder that tasks of any user and isolation may write to.
    pub(crate) fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// Shows the ends of all logs. The test runner keeps what a test prints to itself unless the test fails.
    fn print_logs(&self) {
        // `muster dev` keeps the logs of its daemons in its data folder.
        let folders = [self.path.join("logs"), self.path.join("data/logs")];
        for entry in folders.iter().flat_map(fs::read_dir).flatten().flatten() {
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = crate::daemon::tail(&String::from_utf8_lossy(&text));
            eprintln!("==> {} <==\n{text}", entry.file_name().to_string_lossy());
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let removed = remove_all(&self.path);
        if !self.is_quiet {
            self.print_logs();
        }
        self.disks.clear();
        if std::thread::panicking() {
            return;
        }
        assert!(removed.is_ok(), "the cluster could not be removed: {:?}", removed.err());
    }
}

fn open_to_all(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot open {} to other users", path.display()))
}
