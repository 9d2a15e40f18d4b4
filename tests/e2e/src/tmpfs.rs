//! A small file system in memory, mounted below a folder, gone when dropped: how a test fills a disk without harm.
//!
//! It needs root. What still has a file open in it at the end is ended by `home.rs`, before this is dropped.

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

/// What the kernel's table of mounts calls one, so that it can be told from what daemons mount.
pub(crate) const SOURCE: &str = "muster-e2e-disk";

/// A mounted tmpfs.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `megabytes` on the new folder `path`.
    ///
    /// # Errors
    /// When the folder cannot be made or the system refuses: it takes root.
    pub fn mount(path: &Path, megabytes: u32) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let options = format!("size={megabytes}m,mode=0755");
        mount(Some(SOURCE), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("cannot mount a tmpfs on {}", path.display()))?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Detaching always succeeds, also while a process that is being killed still has a file open.
        if let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            eprintln!("left behind: the mount {} ({error})", self.path.display());
        }
    }
}
