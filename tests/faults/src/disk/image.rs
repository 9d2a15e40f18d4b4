//! A small disk of its own: a file system in a file, mounted below a folder, whose power can be cut.
//!
//! The cut is the file system's own (`xfs_io`, command `shutdown`): from one moment on nothing more reaches the disk, neither
//! data nor journal, and every access fails. What is mounted afterwards is what a machine finds that lost its power then:
//! all that was synced, and of the rest some or nothing.
//!
//! It takes root. Invariant: the mount goes with the value, the loop device with the mount, the file with the folder beside which it lies.

use anyhow::{Context, bail, ensure};
use muster_e2e::wait::{SOON, wait_until, when};
use nix::mount::{MntFlags, umount2};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The usual one.
    Ext4,
    /// Delays allocation the longest, and leaves zeros where data never came.
    Xfs,
}

/// Least size of a disk: XFS refuses less than 300 MB. Files are sparse.
const MEGABYTES_MIN: u64 = 16;
const XFS_MEGABYTES_MIN: u64 = 300;

/// A mounted disk, until it is dropped.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// What a machine lacks for such disks, in words.
    #[must_use]
    pub fn missing() -> Option<&'static str> {
        let programs = ["mkfs.ext4", "mkfs.xfs", "xfs_io", "mount"];
        let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new);
        let has = |program: &&str| folders.iter().any(|folder| folder.join(program).is_file());
        match (
            nix::unistd::geteuid().is_root(),
            programs.iter().all(has),
            Path::new("/dev/loop-control").exists(),
        ) {
            (false, _, _) => Some("root (run the tests as root)"),
            (true, false, _) => {
                Some("mkfs.ext4, mkfs.xfs, xfs_io and mount (packages e2fsprogs, xfsprogs, mount)")
            }
            (true, true, false) => Some("loop devices"),
            (true, true, true) => None,
        }
    }

    /// Makes one and mounts it on the folder `path`, which is made if it is not there. The file lies beside the folder.
    ///
    /// # Errors
    /// When a program of the system refuses.
    pub fn mount(kind: Kind, path: &Path, megabytes: u64) -> anyhow::Result<Self> {
        let least = match kind {
            Kind::Ext4 => MEGABYTES_MIN,
            Kind::Xfs => XFS_MEGABYTES_MIN,
        };
        ensure!(megabytes >= least, "a disk of {megabytes} MB; {kind:?} takes at least {least}");
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let file = file_of(path);
        File::create(&file)?.set_len(megabytes * 1024 * 1024)?;
        match kind {
            // No room kept for root, who runs the daemons.
            Kind::Ext4 => run("mkfs.ext4", &["-q", "-F", "-m", "0"], &[&file])?,
            Kind::Xfs => run("mkfs.xfs", &["-q", "-f"], &[&file])?,
        }
        attach(path)?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Cuts the power of the disk on a folder: nothing that is not on it gets there any more.
///
/// # Errors
/// When the file system does not obey.
pub fn cut_power(path: &Path) -> anyhow::Result<()> {
    run("xfs_io", &["-x", "-c", "shutdown"], &[path])?;
    ensure!(std::fs::write(path.join("after"), "x").is_err(), "the disk has power still");
    Ok(())
}

/// Mounts the disk of a folder anew, as a machine does that has power again: everything that used it must have ended.
///
/// # Errors
/// When something still uses it, or it cannot be mounted.
pub fn restore_power(path: &Path) -> anyhow::Result<()> {
    // Not detached: a process that still had it open would keep a second life of it. What has just ended takes a moment to
    // let go.
    let mut last = None;
    let gone = wait_until(SOON, "the disk to be let go", || {
        last = umount2(path, MntFlags::empty()).err();
        Ok(when(last.is_none()))
    });
    gone.with_context(|| format!("something still uses {}: {last:?}", path.display()))?;
    // Tasks of other nodes may still have it in views of the file system of their own; a copy of what is on it cannot be
    // reached from there.
    let (file, copy) = (file_of(path), path.with_extension("copy"));
    run("cp", &["--sparse=always"], &[&file, &copy])?;
    std::fs::rename(&copy, &file)?;
    attach(path)
}

/// Mounts the file beside a folder on it. The loop device goes away by itself when nothing uses it any more.
fn attach(path: &Path) -> anyhow::Result<()> {
    let file = file_of(path);
    let mut magic = [0; 4];
    File::open(&file)?.read_exact(&mut magic)?;
    // XFS takes a copy for the original otherwise, and refuses to mount one file system twice.
    let options = if &magic == b"XFSB" { "loop,nouuid" } else { "loop" };
    run("mount", &["-o", options], &[&file, path])
}

fn file_of(path: &Path) -> PathBuf {
    path.with_extension("disk")
}

impl Drop for Image {
    fn drop(&mut self) {
        // Detaching always succeeds, also while a process that is being killed still has a file open.
        if umount2(&self.path, MntFlags::MNT_DETACH).is_err() {
            // Whoever cleans up a site by its folder may have been first.
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            if table.contains(&*self.path.to_string_lossy()) {
                eprintln!("left behind: the mount {}", self.path.display());
            }
        }
    }
}

fn run(program: &str, flags: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).args(flags).args(paths).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn what_was_synced_is_there_after_a_power_cut_and_the_rest_is_not() -> anyhow::Result<()> {
        if let Some(missing) = Image::missing() {
            eprintln!("skipped: this machine has no {missing}");
            return Ok(());
        }
        for kind in [Kind::Ext4, Kind::Xfs] {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("disk");
            let disk = Image::mount(kind, &path, 300)?;
            let mut synced = File::create(path.join("synced"))?;
            synced.write_all(b"kept")?;
            synced.sync_all()?;
            synced.write_all(b" and more")?;
            fs::write(path.join("unsynced"), "lost")?;
            cut_power(&path)?;
            ensure!(fs::read(path.join("synced")).is_err(), "{kind:?}: a disk without power answers");
            drop(synced);
            restore_power(&path)?;
            assert_eq!(fs::read_to_string(path.join("synced"))?, "kept", "{kind:?}");
            assert!(fs::read_to_string(path.join("unsynced")).unwrap_or_default().is_empty(), "{kind:?}");
            drop(disk);
            assert_eq!(fs::read_dir(&path)?.count(), 0, "{kind:?}: it is unmounted");
        }
        Ok(())
    }
}
