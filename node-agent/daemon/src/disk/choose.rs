//! Which means the node has: each is tried out once at start, on a small directory of its own, strongest first.
//!
//! What is named by the operator has to work, or the agent does not start; with `auto` the strongest that works is taken, and
//! what is missing is noted for people. A file system in memory is never chosen by itself.

use super::btrfs::Btrfs;
use super::error::{DiskError, words};
use super::image::Image;
use super::means::{Means, Spot};
use super::memory::Memory;
use super::quota::ProjectQuota;
use super::watch::Watch;
use muster_model::state::DiskLimit;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The limit of the directory on which a means is tried out.
const PROBE_BYTES: u64 = 2 * 1024 * 1024;
/// The name of that directory: no task has it, because it does not have its three parts.
const PROBE_NAME: &str = "probe";
/// What `auto` tries, strongest first; what is last always works.
const TRIED: [DiskLimit; 4] = [DiskLimit::ProjectQuota, DiskLimit::Btrfs, DiskLimit::Loop, DiskLimit::Watch];

/// The operator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The strongest that works.
    Auto,
    /// This one.
    Named(DiskLimit),
    /// None: tasks that ask for a limit are refused.
    None,
}

impl Choice {
    /// Reads the setting `disk_limit`.
    pub(crate) fn parse(text: &str) -> Result<Self, DiskError> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            other => DiskLimit::parse(other)
                .map(Self::Named)
                .map_err(|error| DiskError::UnknownChoice { given: error.given, allowed: error.allowed }),
        }
    }
}

/// What was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) means: Option<Arc<dyn Means>>,
    /// What is missing and why, for people.
    pub(super) notes: Vec<String>,
}

/// Chooses. `folder` is the agent's own, `tasks` the directory below which those of tasks are.
pub(super) fn choose(choice: Choice, folder: &Path, tasks: &Path) -> Result<Chosen, DiskError> {
    let mut notes = Vec::new();
    match choice {
        Choice::None => Ok(Chosen { means: None, notes }),
        Choice::Named(kind) => {
            let means = named(kind, folder, tasks, true)?;
            try_out(&*means, tasks)?;
            Ok(Chosen { means: Some(means), notes })
        }
        Choice::Auto => {
            for kind in TRIED {
                let tried = named(kind, folder, tasks, false)
                    .and_then(|means| try_out(&*means, tasks).map(|()| means));
                match tried {
                    Ok(means) => {
                        if kind == DiskLimit::Watch {
                            notes.push(
                                "task directories are watched and not bounded: no stronger means works"
                                    .to_owned(),
                            );
                        }
                        return Ok(Chosen { means: Some(means), notes });
                    }
                    // That a disk has another file system is nothing to note.
                    Err(DiskError::Unavailable { .. }) => {}
                    Err(error) => notes.push(format!("no disk limits by {kind}: {}", words(&error))),
                }
            }
            Ok(Chosen { means: None, notes })
        }
    }
}

/// The means of a kind, for use; also of one that was in use when a directory was made.
pub(super) fn named(
    kind: DiskLimit,
    folder: &Path,
    tasks: &Path,
    may_enable: bool,
) -> Result<Arc<dyn Means>, DiskError> {
    if kind != DiskLimit::Watch && !nix::unistd::geteuid().is_root() {
        return Err(DiskError::Unavailable { means: kind, why: "the agent is not root".to_owned() });
    }
    Ok(match kind {
        DiskLimit::ProjectQuota => Arc::new(ProjectQuota::new(tasks)?),
        DiskLimit::Btrfs => Arc::new(Btrfs::new(tasks, may_enable)?),
        DiskLimit::Loop => Arc::new(Image::new(folder)?),
        DiskLimit::Tmpfs => Arc::new(Memory),
        DiskLimit::Watch => Arc::new(Watch),
    })
}

/// Bounds a directory, looks at it and lifts the bound again, whatever comes of it.
fn try_out(means: &dyn Means, tasks: &Path) -> Result<(), DiskError> {
    let spot =
        Spot { name: PROBE_NAME.to_owned(), path: tasks.join(PROBE_NAME), limit_bytes: PROBE_BYTES, id: 0 };
    // An agent may have been killed while it tried.
    clear(means, &spot)?;
    let made = means.make(&spot);
    let spot = Spot { id: made.as_ref().copied().unwrap_or(0), ..spot };
    let looked = made.and_then(|_| means.look(&spot));
    clear(means, &spot)?;
    let look = looked?;
    let size = look.used_bytes.saturating_add(look.room_bytes);
    if size > PROBE_BYTES.saturating_mul(2) {
        return Err(DiskError::NoEffect { path: spot.path, wanted: PROBE_BYTES, found: size });
    }
    Ok(())
}

fn clear(means: &dyn Means, spot: &Spot) -> Result<(), DiskError> {
    means.lift(spot)?;
    match std::fs::remove_dir(&spot.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DiskError::io("remove", &spot.path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_a_means_auto_or_none() {
        assert_eq!(Choice::parse("auto").unwrap(), Choice::Auto);
        assert_eq!(Choice::parse("none").unwrap(), Choice::None);
        assert_eq!(Choice::parse("loop").unwrap(), Choice::Named(DiskLimit::Loop));
        let error = Choice::parse("quota").unwrap_err().to_string();
        assert!(error.contains("'quota'") && error.contains("project-quota"), "{error}");
    }

    #[test]
    fn trying_out_leaves_nothing_behind_and_something_always_works() {
        let root = tempfile::tempdir().unwrap();
        let (folder, tasks) = (root.path().join("agent"), root.path().canonicalize().unwrap().join("tasks"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::create_dir(&tasks).unwrap();
        let chosen = choose(Choice::Auto, &folder, &tasks).unwrap();
        assert!(chosen.means.is_some(), "{chosen:?}");
        assert_eq!(std::fs::read_dir(&tasks).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert!(choose(Choice::None, &folder, &tasks).unwrap().means.is_none());
    }

    #[test]
    fn a_means_that_is_named_and_does_not_work_is_an_error_with_a_way_out() {
        let root = tempfile::tempdir().unwrap();
        if super::super::mounts::of(root.path()).unwrap().kind == "btrfs" {
            return;
        }
        let error =
            choose(Choice::Named(DiskLimit::Btrfs), root.path(), root.path()).unwrap_err().to_string();
        assert!(error.contains("btrfs") && error.contains("auto"), "{error}");
    }
}
