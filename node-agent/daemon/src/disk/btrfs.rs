//! A btrfs subvolume with a limit of its quota group for each directory.
//!
//! Quotas are a property of the whole file system and cost it something, so they are switched on only when the operator names this
//! means; `auto` takes it where they are on already. The kernel tells how full a group is in sysfs. A deleted subvolume is cleaned up by
//! the kernel in the background; groups that an older kernel leaves behind are removed at the next start.

use super::error::DiskError;
use super::look::Look;
use super::means::{Means, Spot};
use super::mounts;
use super::tool::Tool;
use muster_model::state::DiskLimit;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel tells of mounted btrfs file systems.
const SYSFS: &str = "/sys/fs/btrfs";

/// See the module.
#[derive(Debug)]
pub(super) struct Btrfs {
    /// Some directory on the file system.
    below: PathBuf,
    tool: Tool,
    /// The folder of its quota groups in sysfs.
    groups: PathBuf,
}

fn unavailable(why: String) -> DiskError {
    DiskError::Unavailable { means: DiskLimit::Btrfs, why }
}

impl Btrfs {
    /// Subvolumes below a directory. `may_enable` switches quotas on where they are off.
    pub(super) fn new(below: &Path, may_enable: bool) -> Result<Self, DiskError> {
        let mount = mounts::of(below)?;
        if mount.kind != "btrfs" {
            return Err(unavailable(format!("{} is {}", mount.point.display(), mount.kind)));
        }
        let tool = Tool::find("btrfs", "btrfs-progs")?;
        let device = Path::new(&mount.source).canonicalize().map_err(DiskError::io("find", &mount.source))?;
        let groups = groups_of(&device)?;
        if !groups.is_dir() {
            if !may_enable {
                return Err(unavailable(format!(
                    "quotas are off: run `btrfs quota enable {}`, or set disk_limit = btrfs",
                    mount.point.display()
                )));
            }
            tool.run(&["quota".as_ref(), "enable".as_ref(), below.as_os_str()])?;
        }
        let means = Self { below: below.to_owned(), tool, groups };
        means.clear_stale();
        Ok(means)
    }

    fn run(&self, words: &[&str], path: &Path) -> Result<String, DiskError> {
        let words = words.iter().map(OsStr::new).chain([path.as_os_str()]);
        Ok(self.tool.run(&words.collect::<Vec<_>>())?)
    }

    /// Removes groups whose subvolume is gone. Newer kernels do so by themselves, and older programs cannot.
    fn clear_stale(&self) {
        if let Err(error) = self.run(&["qgroup", "clear-stale"], &self.below) {
            tracing::debug!(%error, "cannot remove quota groups of subvolumes that are gone");
        }
    }

    /// A number that the kernel tells of a group.
    fn read(&self, spot: &Spot, what: &str) -> Result<u64, DiskError> {
        let file = self.groups.join(format!("0_{}", spot.id)).join(what);
        let text = fs::read_to_string(&file).map_err(DiskError::io("read", &file))?;
        text.trim().parse().map_err(|_| DiskError::io("understand", &file)(io::ErrorKind::InvalidData.into()))
    }
}

/// The folder of quota groups of the file system on a device, whether it is there or not.
fn groups_of(device: &Path) -> Result<PathBuf, DiskError> {
    let Some(device) = device.file_name() else {
        return Err(unavailable("its device has no name".to_owned()));
    };
    let systems = fs::read_dir(SYSFS).map_err(DiskError::io("list", SYSFS))?;
    let on_device = |folder: &PathBuf| folder.join("devices").join(device).exists();
    let found = systems.flatten().map(|entry| entry.path()).find(on_device);
    let found = found.ok_or_else(|| unavailable(format!("{SYSFS} does not tell of {}", device.display())));
    Ok(found?.join("qgroups"))
}

impl Means for Btrfs {
    fn kind(&self) -> DiskLimit {
        DiskLimit::Btrfs
    }

    fn make(&self, spot: &Spot) -> Result<u64, DiskError> {
        self.run(&["subvolume", "create"], &spot.path)?;
        let id = self.run(&["inspect-internal", "rootid"], &spot.path)?;
        self.run(&["qgroup", "limit", &spot.limit_bytes.to_string()], &spot.path)?;
        let id = id.trim().parse();
        let id =
            id.map_err(|_| unavailable("`btrfs inspect-internal rootid` answers no number".to_owned()))?;
        let found = self.read(&Spot { id, ..spot.clone() }, "max_referenced")?;
        if found != spot.limit_bytes {
            return Err(DiskError::NoEffect { path: spot.path.clone(), wanted: spot.limit_bytes, found });
        }
        Ok(id)
    }

    fn look(&self, spot: &Spot) -> Result<Look, DiskError> {
        // What is referenced is counted when a transaction ends; until then data is reserved.
        let used = self.read(spot, "referenced")?.saturating_add(self.read(spot, "rsv_data")?);
        Ok(Look::watched(used, spot.limit_bytes))
    }

    fn lift(&self, spot: &Spot) -> Result<(), DiskError> {
        if !spot.path.exists() {
            return Ok(());
        }
        self.run(&["subvolume", "delete"], &spot.path).map(drop)
    }
}
