//! Finds the hierarchies of this node and makes our root group in each that can be used.
//!
//! Pure v2 with delegated controllers is taken as it is. Otherwise each useful v1 hierarchy is taken, and
//! beside them a v2 tree without controllers, if there is one, to keep track of processes and kill them as
//! one. The root group is named after the setting and the state directory, below this process's own group:
//! limits that the node's owner set on the agent hold for its tasks too. On v2 it is made in the group that is delegated
//! to us (`delegation`), which under systemd is a scope of our own (`scope`). Where none of them can be used the default
//! falls back to the top of the hierarchy.
//!
//! What cannot be used is said in notes, never silently passed over.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::delegation;
use super::files::{GroupDir, GroupError};
use super::groups::Groups;
use super::hierarchy::{Controllers, Hierarchy, Place, Version};
use super::mounts::{Mount, parse};
use super::scope;
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
/// The controllers of v2 that tasks have a use for. Memory comes first: with it no process can get into our parent.
const V2_CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "io"];

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
    let auto = *setting == RootSetting::Auto;
    let mut search = Search { names, auto, suffix, notes: Vec::new() };
    let hierarchies = search.hierarchies(&mounts);
    let mut notes = search.notes;
    if hierarchies.is_empty() && notes.is_empty() {
        notes.push("no cgroup hierarchy is mounted".to_owned());
    }
    Found { groups: Groups::new(hierarchies), notes }
}

/// Opens the root groups that an earlier supervisor made under the same boot, and steps aside where it did.
pub(crate) fn reopen(places: &[Place], suffix: &str) -> Result<Option<Groups>, GroupError> {
    let open = |place: &Place| Ok(hierarchy(GroupDir::open(&place.path)?, place));
    let with_leaf = |above: &&Path| above.join(leaf(suffix)).is_dir();
    if let Some(above) = places.iter().filter_map(|place| place.path.parent()).find(with_leaf) {
        // Staying where the agent started us is no worse than before: tasks are where they were.
        let _ = GroupDir::open(above).and_then(|group| delegation::enter(&group, &leaf(suffix), "0"));
    }
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
    /// Whether a delegated group may be looked for, or the names are all there is.
    auto: bool,
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

    /// The paths at which the root group may be made in a hierarchy mounted at `top`, in order; relative names are
    /// below `base`.
    fn root_paths(&self, top: &Path, base: &Path) -> Vec<PathBuf> {
        let path = |name: &PathBuf| {
            let mut path = name
                .strip_prefix("/")
                .map_or_else(|_| base.join(name), |below| top.join(below))
                .into_os_string();
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
        for path in self.root_paths(&mount.at, &mount.own) {
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
        let (mut notes, mut second_best) = (Vec::new(), None);
        for path in self.v2_paths(mount) {
            match self.v2_at(mount, &path) {
                Ok((controllers, root, lacks)) => {
                    let place = Place { version: Version::V2, controllers, path, tracks: true };
                    if controllers != Controllers::default() {
                        discard(second_best);
                        // What was wrong with places that are not used is of no interest.
                        self.notes.extend(lacks);
                        return Some((place, root));
                    }
                    notes.extend(lacks);
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

    /// The paths at which the root group may be made on v2, in order; relative names are below the group that is
    /// delegated to us, or our own.
    fn v2_paths(&mut self, mount: &Mount) -> Vec<PathBuf> {
        let domain = delegation::domain(mount, &delegation::is_marked);
        let top = GroupDir::open(&mount.at).ok().and_then(|top| top.get("cgroup.controllers"));
        let controllers = Controllers::parse(&top.unwrap_or_default());
        // The next start of a service would fail while tasks are in its own group. A scope is never started again,
        // and in a leaf we are not in systemd's way.
        let is_service = |path: &Path| path.extension().is_some_and(|end| end == "service");
        let in_the_way = domain.as_ref().is_none_or(|path| *path == mount.own && is_service(path));
        let in_service = domain.is_some();
        let mut base = domain.unwrap_or_else(|| mount.own.clone());
        if self.auto && in_the_way && (controllers.memory || controllers.pids) && scope::is_possible() {
            match scope::open(mount, self.suffix, &leaf(self.suffix)) {
                Ok(scope) => base = scope,
                Err(error) => {
                    let outcome = if in_service {
                        "systemd cannot start this service again while tasks are in its own group"
                    } else {
                        "tasks are in a group that systemd does not know of"
                    };
                    self.notes.push(format!(
                        "{error}: {outcome}: name a group of another unit with Delegate=yes by --cgroup-root"
                    ));
                }
            }
        }
        self.root_paths(&mount.at, &base)
    }

    /// Makes the root group at a path, and tells which controllers it has and why others are missing.
    fn v2_at(&self, mount: &Mount, path: &Path) -> Result<(Controllers, GroupDir, Vec<String>), GroupError> {
        let parent = GroupDir::open(path.parent().unwrap_or(&mount.at))?;
        let root = make_root(path)?;
        let available = parent.get("cgroup.controllers").unwrap_or_default();
        let mut lacks = Vec::new();
        let is_available = |name: &&str| available.split_whitespace().any(|here| here == *name);
        for name in V2_CONTROLLERS.into_iter().filter(is_available) {
            let enabled = delegation::enable(&parent, name, &leaf(self.suffix), mount)
                .and_then(|()| root.set("cgroup.subtree_control", &format!("+{name}")));
            if let Err(error) = enabled {
                lacks.push(format!(
                    "no {name} controller, {error}: start the supervisor in a cgroup of its own that is delegated to it"
                ));
            }
        }
        let enabled = Controllers::parse(&root.get("cgroup.subtree_control").unwrap_or_default());
        Ok((enabled, root, lacks))
    }
}

/// The leaf into which we step aside, next to our root group.
fn leaf(suffix: &str) -> String {
    format!("supervisor-{suffix}")
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
