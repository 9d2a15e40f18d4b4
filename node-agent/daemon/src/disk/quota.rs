//! A project quota for each directory, of ext4 or xfs: the strongest bound and the cheapest, where the file system was mounted
//! with `prjquota`.
//!
//! The directory becomes a project of its own, which everything made in it joins. Its number comes from the directory's inode, which
//! nothing else on the file system has while it exists. A bounded project shows its limit as the size of the file system to whoever
//! asks from inside, so how full it is is read like any other file system.

use super::error::DiskError;
use super::image::look_at;
use super::look::Look;
use super::means::{Means, Spot, make_directory};
use super::mounts::{self, Mount};
use super::tool::Tool;
use muster_model::state::DiskLimit;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Mount options that switch project quotas on.
const OPTIONS: [&str; 2] = ["prjquota", "pquota"];
/// Set in all numbers of projects, above those that people choose.
const PROJECT_BIT: u64 = 1 << 30;
/// Limits of ext4 are set in units of so many bytes.
const KIB: u64 = 1024;
/// How far the size that a project shows may be from its limit, in bytes: both file systems round to blocks.
const ROUNDING: u64 = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct ProjectQuota {
    point: PathBuf,
    mark: Tool,
    limit: Limiter,
}

/// The program that sets limits.
#[derive(Debug)]
enum Limiter {
    Ext4(Tool),
    Xfs(Tool),
}

impl ProjectQuota {
    /// Quotas of the file system below a directory.
    pub(super) fn new(below: &Path) -> Result<Self, DiskError> {
        let mount = mounts::of(below)?;
        let limit = match mount.kind.as_str() {
            "ext4" => Limiter::Ext4(Tool::find("setquota", "quota")?),
            "xfs" => Limiter::Xfs(Tool::find("xfs_quota", "xfsprogs")?),
            other => {
                return Err(unavailable(format!("{} is {other}, not ext4 or xfs", mount.point.display())));
            }
        };
        if !has_quotas(&mount) {
            return Err(unavailable(format!("{} is not mounted with prjquota", mount.point.display())));
        }
        Ok(Self { point: mount.point, mark: Tool::find("chattr", "e2fsprogs")?, limit })
    }

    /// Sets the limit of a project; 0 lifts it.
    fn set(&self, project: u64, bytes: u64) -> Result<(), DiskError> {
        match &self.limit {
            Limiter::Ext4(setquota) => {
                let (project, blocks) = (project.to_string(), bytes.div_ceil(KIB).to_string());
                let words = ["-P", &project, "0", &blocks, "0", "0"].map(OsStr::new);
                setquota.run(&words.into_iter().chain([self.point.as_os_str()]).collect::<Vec<_>>())?;
            }
            Limiter::Xfs(xfs_quota) => {
                let command = format!("limit -p bsoft=0 bhard={bytes} {project}");
                let words = ["-x", "-c", &command].map(OsStr::new);
                xfs_quota.run(&words.into_iter().chain([self.point.as_os_str()]).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}

fn unavailable(why: String) -> DiskError {
    DiskError::Unavailable { means: DiskLimit::ProjectQuota, why }
}

fn has_quotas(mount: &Mount) -> bool {
    OPTIONS.iter().any(|option| mount.has(option))
}

/// The number of a directory's project.
const fn project_of(inode: u64) -> u64 {
    PROJECT_BIT | (inode & (PROJECT_BIT - 1))
}

impl Means for ProjectQuota {
    fn kind(&self) -> DiskLimit {
        DiskLimit::ProjectQuota
    }

    fn make(&self, spot: &Spot) -> Result<u64, DiskError> {
        make_directory(spot)?;
        let inode = spot.path.symlink_metadata().map_err(DiskError::io("look at", &spot.path))?.ino();
        let project = project_of(inode);
        let number = project.to_string();
        // Before the mark, so that nothing is ever in the project without its limit.
        self.set(project, spot.limit_bytes)?;
        self.mark.run(&["-p".as_ref(), number.as_ref(), "+P".as_ref(), spot.path.as_os_str()])?;
        let look = look_at(spot)?;
        let found = look.used_bytes.saturating_add(look.room_bytes);
        // A quota that counts and does not bound would be no bound.
        if found > spot.limit_bytes.saturating_add(ROUNDING) {
            self.set(project, 0)?;
            return Err(DiskError::NoEffect { path: spot.path.clone(), wanted: spot.limit_bytes, found });
        }
        Ok(project)
    }

    fn look(&self, spot: &Spot) -> Result<Look, DiskError> {
        look_at(spot)
    }

    fn lift(&self, spot: &Spot) -> Result<(), DiskError> {
        if spot.id == 0 { Ok(()) } else { self.set(spot.id, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_projects_are_above_those_of_people_and_fit_the_kernel_s_32_bits() {
        for inode in [1, 77, u64::MAX] {
            assert!((PROJECT_BIT..PROJECT_BIT * 2).contains(&project_of(inode)), "{inode}");
        }
        assert_ne!(project_of(1), project_of(2));
    }
}
