//! Finds the hierarchies of this node and makes our root group in each that can be used.
//!
//! Pure v2 with delegated controllers is taken as it is. Otherwise each useful v1 hierarchy is taken, and
//! beside them a v2 tree without controllers, if there is one, to keep track of processes and kill them as
//! one. The root group is named after the setting and the state directory, below this process's own group:
//! limits that the node's owner set on the agent hold for its tasks too. Where that group cannot be used (on
//! v2, because the agent's other processes are in it) the default falls back to the top of the hierarchy.
//!
//! What cannot be used is said in notes, never silently passed over.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::files::{GroupDir, GroupError};
use super::groups::Groups;
use super::hierarchy::{Controllers, Hierarchy, Place, Version};
use super::mounts::{Mount, parse};
use super::v1::V1;
use super::v2::V2;

/// The `--cgroup-root` setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootSetting {
    /// Use no control groups.
    None,
    /// Use a group named `muster`, below our own group if that can be used, else at the top of each hierarchy.
    Auto,
    /// Use a group of this name: below our own group if relative, at the top of each hierarchy if absolute.
    Named(PathBuf),
}

/// Name of the root group unless another is set.
const AUTO_NAME: &str = "muster";

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) groups: Option<Groups>,
    pub(crate) notes: Vec<String>,
}

/// Finds and makes what can be used; `suffix` tells this supervisor's root groups from those of others.
pub(crate) fn detect(setting: &RootSetting, suffix: &str) -> Found {
    let names = match setting {
        RootSetting::None => {
            let note = "control groups are switched off by --cgroup-root none".to_owned();
            return Found { groups: None, notes: vec![note] };
        }
        RootSetting::Auto => vec![PathBuf::from(AUTO_NAME), Path::new("/").join(AUTO_NAME)],
        RootSetting::Named(name) => vec![name.clone()],
    };
    let mounts = match (fs::read("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup")) {
        (Ok(mountinfo), Ok(cgroup)) => parse(&mountinfo, &cgroup),
        (Err(error), _) | (_, Err(error)) => {
            return Found {
                groups: None,
                notes: vec![format!("cannot see this process's control groups: {error}")],
            };
        }
    };
    let mut search = Search { names, suffix, notes: Vec::new() };
    let hierarchies = search.hierarchies(&mounts);
    let mut notes = search.notes;
    if hierarchies.is_empty() && notes.is_empty() {
        notes.push("no cgroup hierarchy is mounted".to_owned());
    }
    Found { groups: Groups::new(hierarchies), notes }
}

/// Opens the root groups that an earlier supervisor made under the same boot.
pub(crate) fn reopen(places: &[Place]) -> Result<Option<Groups>, GroupError> {
    let open = |place: &Place| Ok(hierarchy(GroupDir::open(&place.path)?, place));
    Ok(Groups::new(places.iter().map(open).collect::<Result<_, GroupError>>()?))
}

fn hierarchy(root: GroupDir, place: &Place) -> Box<dyn Hierarchy> {
    match place.version {
        Version::V1 => Box::new(V1::new(root, place.controllers, place.tracks)),
        Version::V2 => Box::new(V2::new(root, place.controllers)),
    }
}

struct Search<'a> {
    /// Names of the root group to try, in order.
    names: Vec<PathBuf>,
    suffix: &'a str,
    notes: Vec<String>,
}

impl Search<'_> {
    fn hierarchies(&mut self, mounts: &[Mount]) -> Vec<Box<dyn Hierarchy>> {
        let mut found: Vec<Box<dyn Hierarchy>> = Vec::new();
        let v2 = mounts.iter().find(|mount| mount.version == Version::V2);
        if let Some((place, root)) = v2.and_then(|mount| self.v2(mount)) {
            let limits = place.controllers.memory || place.controllers.pids;
            found.push(hierarchy(root, &place));
            if limits {
                return found;
            }
        }
        let mut v1: Vec<&Mount> = mounts.iter().filter(|mount| mount.version == Version::V1).collect();
        // The freezer leads, so that it is the keeper where there is no v2.
        v1.sort_by_key(|mount| (!mount.controllers.freezer, !mount.controllers.memory));
        let v2_keeps = !found.is_empty();
        for mount in v1 {
            if v2_keeps && !Self::limits_or_measures(mount.controllers) {
                continue;
            }
            let tracks = found.is_empty();
            if let Some((place, root)) = self.v1(mount, tracks) {
                found.push(hierarchy(root, &place));
            }
        }
        found
    }

    /// v2 kills and counts CPU time better than v1's freezer and cpuacct, so beside it these alone are not
    /// worth a group.
    fn limits_or_measures(controllers: Controllers) -> bool {
        controllers.memory || controllers.cpu || controllers.pids
    }

    /// The paths at which the root group may be made, in order.
    fn root_paths(&self, mount: &Mount) -> Vec<PathBuf> {
        let path = |name: &PathBuf| {
            let base = match name.strip_prefix("/") {
                Ok(below) => mount.at.join(below),
                Err(_) => mount.own.join(name),
            };
            let mut path = base.into_os_string();
            path.push("-");
            path.push(self.suffix);
            PathBuf::from(path)
        };
        let mut paths: Vec<_> = self.names.iter().map(path).collect();
        paths.dedup();
        paths
    }

    fn v1(&mut self, mount: &Mount, tracks: bool) -> Option<(Place, GroupDir)> {
        let mut notes = Vec::new();
        for path in self.root_paths(mount) {
            match make_root(&path) {
                Ok(root) => {
                    return Some((
                        Place { version: Version::V1, controllers: mount.controllers, path, tracks },
                        root,
                    ));
                }
                Err(error) => notes.push(error.to_string()),
            }
        }
        self.notes.append(&mut notes);
        None
    }

    /// The first place with controllers, else the first that can be made at all.
    fn v2(&mut self, mount: &Mount) -> Option<(Place, GroupDir)> {
        let mut notes = Vec::new();
        let mut second_best = None;
        for path in self.root_paths(mount) {
            match self.v2_at(mount, &path) {
                Ok((controllers, root)) => {
                    let place = Place { version: Version::V2, controllers, path, tracks: true };
                    if controllers != Controllers::default() {
                        discard(second_best);
                        return Some((place, root));
                    }
                    match second_best {
                        None => second_best = Some((place, root)),
                        Some(_) => discard(Some((place, root))),
                    }
                }
                Err(error) => notes.push(error.to_string()),
            }
        }
        self.notes.append(&mut notes);
        second_best
    }

    fn v2_at(&mut self, mount: &Mount, path: &Path) -> Result<(Controllers, GroupDir), GroupError> {
        let root = make_root(path)?;
        let parent = GroupDir::open(path.parent().unwrap_or(&mount.at))?;
        let available = parent.get("cgroup.controllers").unwrap_or_default();
        let wanted: Vec<_> =
            available.split_whitespace().filter(|name| matches!(*name, "memory" | "cpu" | "pids")).collect();
        if !wanted.is_empty()
            && let Err(error) = self.enable(&parent, &root, &wanted)
        {
            self.notes.push(format!(
                "{error}: start the supervisor in a cgroup of its own that is delegated to it"
            ));
        }
        let enabled = Controllers::parse(&root.get("cgroup.subtree_control").unwrap_or_default());
        Ok((enabled, root))
    }

    /// Enables controllers for the groups of tasks. The kernel refuses while the parent has processes of its
    /// own: if we are the only one, we step aside into a leaf next to our root.
    fn enable(&self, parent: &GroupDir, root: &GroupDir, wanted: &[&str]) -> Result<(), GroupError> {
        let words: Vec<_> = wanted.iter().map(|name| format!("+{name}")).collect();
        let words = words.join(" ");
        match parent.set("cgroup.subtree_control", &words) {
            Err(GroupError { errno: Errno::EBUSY, .. }) => {
                let leaf = format!("supervisor-{}", self.suffix);
                match parent.make(&leaf) {
                    Ok(()) | Err(GroupError { errno: Errno::EEXIST, .. }) => {}
                    Err(error) => return Err(error),
                }
                parent.set(&format!("{leaf}/cgroup.procs"), "0")?;
                parent.set("cgroup.subtree_control", &words)?;
            }
            result => result?,
        }
        root.set("cgroup.subtree_control", &words)
    }
}

/// Makes our root group, or takes the one that an earlier supervisor on the same state directory made.
fn make_root(path: &Path) -> Result<GroupDir, GroupError> {
    let failed = |errno| GroupError { operation: "make the group", path: path.to_owned(), errno };
    match nix::unistd::mkdir(path, nix::sys::stat::Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => GroupDir::open(path),
        Err(errno) => Err(failed(errno)),
    }
}

/// Removes a root group that turned out to be of no use.
fn discard(unused: Option<(Place, GroupDir)>) {
    if let Some((place, _)) = unused {
        // It may be in use by running tasks of an earlier supervisor, and then it stays.
        let _ = fs::remove_dir(place.path);
    }
}
