//! Which task directories there are, how each is bounded, and how full it is: the one door of this module.
//!
//! A directory is made by [`Disks::make`] and goes by [`Disks::clear`]; between them it is live until [`Disks::rest`], then kept for
//! reading. A bound that is a file system of its own stays mounted while its attempt is live; of ended ones, the [`RESTING_MAX`]
//! that were read last stay mounted too, and others are mounted again when somebody reads ([`Disks::wake`]).
//!
//! Work on one directory is never done twice at a time: whoever comes second waits (see `Turn`).
//!
//! Invariant: every bound has a record on disk, so [`Disks::take_over`] finds it whatever became of the agent.

use super::choose::{self, Choice};
use super::error::DiskError;
use super::image;
use super::look::{DiskUsage, Look};
use super::means::{Means, Spot};
use super::mounts;
use super::record;
use muster_model::AttemptId;
use muster_model::state::DiskLimit;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most file systems of ended attempts that stay mounted: every mount is copied into each task's namespace.
const RESTING_MAX: usize = 64;

/// How deep below all of them a task's directory is: schedule or job, job, task.
const TASK_DEPTH: usize = 3;

/// All task directories of the node.
#[derive(Debug)]
pub(crate) struct Disks {
    /// The agent's own folder: records and images.
    folder: PathBuf,
    /// Below which the directories of tasks are.
    tasks: PathBuf,
    means: Option<Arc<dyn Means>>,
    notes: Vec<String>,
    state: Mutex<State>,
    /// Told when a turn is over.
    turned: Condvar,
    /// Told when there is something to look at.
    pub(super) begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<String, Held>,
    busy: BTreeSet<String>,
    /// Grows with each time that something rests or wakes.
    clock: u64,
}

/// A directory.
#[derive(Debug, Clone)]
struct Held {
    attempt: AttemptId,
    path: PathBuf,
    /// Its attempt has not ended.
    is_live: bool,
    bound: Option<Bound>,
}

/// How a directory is bounded.
#[derive(Debug, Clone)]
struct Bound {
    means: Arc<dyn Means>,
    spot: Spot,
    /// Of a file system of its own: whether it is in its place.
    is_mounted: bool,
    /// When it was last of use to somebody, by the state's clock.
    used_at: u64,
    seen: Look,
    peak_bytes: u64,
}

/// What the node holds of an attempt, for taking over.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    /// Which.
    pub(crate) attempt: AttemptId,
    /// Its directory.
    pub(crate) path: PathBuf,
    /// Whether it has not ended.
    pub(crate) is_live: bool,
}

/// Somebody's turn to work on a directory.
pub(crate) struct Turn {
    disks: Arc<Disks>,
    name: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.disks.state().busy.remove(&self.name);
        self.disks.turned.notify_all();
    }
}

impl Disks {
    /// Chooses the means and tries them out. `folder` is made if it is missing; `tasks` is where tasks' directories are.
    pub(crate) fn open(choice: Choice, folder: &Path, tasks: &Path) -> Result<Arc<Self>, DiskError> {
        std::fs::create_dir_all(folder).map_err(DiskError::io("make", folder))?;
        let chosen = choose::choose(choice, folder, tasks)?;
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            tasks: tasks.to_owned(),
            means: chosen.means,
            notes: chosen.notes,
            state: Mutex::default(),
            turned: Condvar::new(),
            begun: Notify::new(),
        }))
    }

    /// By which means task directories are bounded; `None` if they are not.
    pub(crate) fn means(&self) -> Option<DiskLimit> {
        self.means.as_ref().map(|means| means.kind())
    }

    /// What is missing and why, for people; a few lines at most.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made in one step, so what a panic left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a task's directory: its path below all of them, as one file name.
    fn name_of(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.tasks).unwrap_or(path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("~")
    }

    /// Waits for whoever works on this directory, and takes the turn.
    pub(crate) fn turn(self: &Arc<Self>, path: &Path) -> Turn {
        let name = self.name_of(path);
        let mut state = self.state();
        while state.busy.contains(&name) {
            state = self.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy.insert(name.clone());
        Turn { disks: Arc::clone(self), name }
    }

    /// Whether a bound has to be lifted before the directory can go.
    pub(crate) fn is_bounded(&self, path: &Path) -> bool {
        let name = self.name_of(path);
        self.state().held.get(&name).is_some_and(|held| held.bound.is_some())
    }

    /// Lifts the bound of what an earlier attempt left there, and forgets it. What is in the directory may be there still.
    pub(crate) fn clear(&self, turn: &Turn) -> Result<(), DiskError> {
        let held = self.state().held.get(&turn.name).cloned();
        if let Some(bound) = held.and_then(|held| held.bound) {
            bound.means.lift(&bound.spot)?;
            record::remove(&self.folder, &turn.name)?;
        }
        self.state().held.remove(&turn.name);
        Ok(())
    }

    /// Notes the directory of an attempt that has no limit.
    pub(crate) fn hold(&self, turn: &Turn, attempt: &AttemptId, path: &Path) {
        let held = Held { attempt: attempt.clone(), path: path.to_owned(), is_live: true, bound: None };
        self.state().held.insert(turn.name.clone(), held);
    }

    /// Makes the directory of an attempt, which must not exist, with a limit.
    pub(crate) fn make(
        &self,
        turn: &Turn,
        attempt: &AttemptId,
        path: &Path,
        limit_bytes: u64,
    ) -> Result<(), DiskError> {
        let means = self.means.clone().ok_or(DiskError::NotBounded { bytes: limit_bytes })?;
        let spot = Spot { name: turn.name.clone(), path: path.to_owned(), limit_bytes, id: 0 };
        let bound = Some(Bound::new(Arc::clone(&means), self.bind(&*means, spot)?, true));
        let held = Held { attempt: attempt.clone(), path: path.to_owned(), is_live: true, bound };
        self.state().held.insert(turn.name.clone(), held);
        self.begun.notify_one();
        Ok(())
    }

    fn bind(&self, means: &dyn Means, spot: Spot) -> Result<Spot, DiskError> {
        record::write(&self.folder, &spot, means.kind())?;
        let made = means.make(&spot).and_then(|id| {
            let spot = Spot { id, ..spot.clone() };
            if id != 0 {
                record::write(&self.folder, &spot, means.kind())?;
            }
            Ok(spot)
        });
        made.inspect_err(|_| {
            // The record stays with what cannot be lifted, for the next start.
            let lifted = means.lift(&spot).and_then(|()| record::remove(&self.folder, &spot.name));
            if let Err(error) = lifted {
                tracing::warn!(path = %spot.path.display(), %error, "cannot lift a limit that could not be made");
            }
        })
    }

    /// The attempt has ended: its directory is only read from now on.
    pub(crate) fn rest(self: &Arc<Self>, attempt: &AttemptId, path: &Path) {
        let name = self.name_of(path);
        let mut state = self.state();
        state.clock = state.clock.saturating_add(1);
        let clock = state.clock;
        let Some(held) = state.held.get_mut(&name).filter(|held| held.attempt == *attempt) else { return };
        held.is_live = false;
        match &mut held.bound {
            Some(bound) => bound.used_at = clock,
            None => {
                state.held.remove(&name);
            }
        }
        drop(state);
        self.unmount_beyond(RESTING_MAX);
    }

    /// Puts the file system of an ended attempt back into its place, if it is not there.
    pub(crate) fn wake(self: &Arc<Self>, path: &Path) -> Result<(), DiskError> {
        let name = self.name_of(path);
        let sleeps = |state: &mut State| {
            state.clock = state.clock.saturating_add(1);
            let clock = state.clock;
            let bound = state.held.get_mut(&name)?.bound.as_mut()?;
            bound.used_at = clock;
            (bound.means.is_file_system() && !bound.is_mounted).then(|| bound.clone())
        };
        if sleeps(&mut self.state()).is_none() {
            return Ok(());
        }
        let turn = self.turn(path);
        // Somebody else may have been faster.
        let Some(bound) = sleeps(&mut self.state()) else { return Ok(()) };
        bound.means.wake(&bound.spot)?;
        self.set_mounted(&turn.name, true);
        drop(turn);
        self.unmount_beyond(RESTING_MAX);
        Ok(())
    }

    fn set_mounted(&self, name: &str, is_mounted: bool) {
        if let Some(bound) = self.state().held.get_mut(name).and_then(|held| held.bound.as_mut()) {
            bound.is_mounted = is_mounted;
        }
    }

    /// Unmounts file systems of ended attempts but for so many, on a thread that may block.
    fn unmount_beyond(self: &Arc<Self>, most: usize) {
        let count = self.resting().len();
        if count > most {
            let disks = Arc::clone(self);
            tokio::task::spawn_blocking(move || disks.unmount_resting(most));
        }
    }

    /// The same at once: for the end of the agent.
    pub(crate) fn unmount_resting(self: &Arc<Self>, most: usize) {
        let resting = self.resting();
        let over = resting.len().saturating_sub(most);
        for (_, path) in resting.into_iter().take(over) {
            let turn = self.turn(&path);
            let held = self.state().held.get(&turn.name).filter(|held| !held.is_live).cloned();
            let Some(bound) = held.and_then(|held| held.bound).filter(|bound| bound.is_mounted) else {
                continue;
            };
            match bound.means.rest(&bound.spot) {
                Ok(()) => self.set_mounted(&turn.name, false),
                // Somebody reads it: it stays until the next one ends.
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "a file system of an ended task stays mounted")
                }
            }
        }
    }

    /// Mounted file systems of ended attempts, the one that was used longest ago first.
    fn resting(&self) -> Vec<(u64, PathBuf)> {
        let state = self.state();
        let resting = state.held.values().filter(|held| !held.is_live).filter_map(|held| {
            let bound =
                held.bound.as_ref().filter(|bound| bound.is_mounted && bound.means.is_file_system())?;
            Some((bound.used_at, held.path.clone()))
        });
        let mut resting: Vec<_> = resting.collect();
        resting.sort();
        resting
    }

    /// Lifts all bounds of ended attempts: for a node that leaves its pool, of which nobody reads any more.
    pub(crate) fn clear_all(self: &Arc<Self>) {
        let paths: Vec<_> = self.state().held.values().map(|held| held.path.clone()).collect();
        for path in paths {
            let turn = self.turn(&path);
            if let Err(error) = self.clear(&turn) {
                tracing::warn!(path = %path.display(), %error, "cannot lift the limit of a task directory");
            }
        }
    }

    /// At start: takes over what is bounded of these attempts, and lifts all other bounds that an earlier agent left. Answers
    /// the directories of those others, which are nobody's.
    pub(crate) fn take_over(self: &Arc<Self>, holdings: Vec<Holding>) -> Result<Vec<PathBuf>, DiskError> {
        let mut known: BTreeMap<String, Holding> =
            holdings.into_iter().map(|holding| (self.name_of(&holding.path), holding)).collect();
        let mut strays = Vec::new();
        for found in record::all(&self.folder)? {
            let path = self.tasks.join(found.name.replace('~', "/"));
            let bound = found.content.map(|content| self.found(&found.name, &path, content)).transpose();
            let bound = bound.unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "cannot use the means by which a directory is limited");
                None
            });
            match (known.remove(&found.name), bound) {
                (Some(Holding { attempt, path, is_live }), Some(bound)) => {
                    self.state().held.insert(found.name, Held { attempt, path, is_live, bound: Some(bound) });
                }
                (_, bound) => {
                    tracing::info!(path = %path.display(), "removing a task directory that nobody holds");
                    image::detach(&path)?;
                    if let Some(bound) = bound {
                        bound.means.lift(&bound.spot)?;
                    }
                    record::remove(&self.folder, &found.name)?;
                    strays.push(path);
                }
            }
        }
        let live = known.into_iter().filter(|(_, holding)| holding.is_live);
        let unbounded = live.map(|(name, Holding { attempt, path, is_live })| {
            (name, Held { attempt, path, is_live, bound: None })
        });
        self.state().held.extend(unbounded);
        self.unmount_strays()?;
        self.begun.notify_one();
        Ok(strays)
    }

    /// Unmounts what is mounted among the directories of tasks without being anybody's bound.
    fn unmount_strays(&self) -> Result<(), DiskError> {
        let ours =
            |path: &Path| self.state().held.values().any(|held| held.path == path && held.bound.is_some());
        let below = mounts::all()?.into_iter().map(|mount| mount.point);
        // What is deeper goes with what it is mounted on.
        let below = below.filter(|point| {
            point.strip_prefix(&self.tasks).is_ok_and(|rest| rest.iter().count() == TASK_DEPTH)
        });
        for point in below.filter(|point| !ours(point)) {
            tracing::info!(path = %point.display(), "unmounting what nobody holds");
            image::detach(&point)?;
        }
        Ok(())
    }

    fn found(&self, name: &str, path: &Path, content: record::Content) -> Result<Bound, DiskError> {
        let record::Content { means, limit_bytes, id } = content;
        let means = match &self.means {
            Some(own) if own.kind() == means => Arc::clone(own),
            Some(_) | None => choose::named(means, &self.folder, &self.tasks, false)?,
        };
        let is_mounted = !means.is_file_system() || mounts::is_mounted(path)?;
        let spot = Spot { name: name.to_owned(), path: path.to_owned(), limit_bytes, id };
        Ok(Bound::new(means, spot, is_mounted))
    }

    /// Attempts that have not ended and have no limit, with their directories.
    pub(crate) fn unbounded(&self) -> Vec<(AttemptId, PathBuf)> {
        let state = self.state();
        let live = state.held.values().filter(|held| held.is_live && held.bound.is_none());
        live.map(|held| (held.attempt.clone(), held.path.clone())).collect()
    }

    /// What an attempt has in its directory, as it was seen last; `None` without a limit.
    pub(crate) fn usage(&self, path: &Path) -> Option<DiskUsage> {
        let name = self.name_of(path);
        self.state().held.get(&name)?.bound.as_ref().map(Bound::usage)
    }

    /// The same with a look now, if that is quick: for the end of a command.
    pub(crate) fn last_look(&self, path: &Path) -> Option<DiskUsage> {
        let name = self.name_of(path);
        let bound = self.state().held.get(&name)?.bound.clone()?;
        match bound.means.glance(&bound.spot) {
            Some(look) => self.saw(&name, look),
            None => Some(bound.usage()),
        }
    }

    /// Live attempts with a limit.
    pub(super) fn bounded(&self) -> Vec<Watched> {
        let state = self.state();
        let live = state.held.iter().filter(|(_, held)| held.is_live);
        live.filter_map(|(name, held)| {
            let bound = held.bound.as_ref()?;
            let (means, spot, seen) = (Arc::clone(&bound.means), bound.spot.clone(), bound.seen);
            Some(Watched { name: name.clone(), attempt: held.attempt.clone(), means, spot, seen })
        })
        .collect()
    }

    /// Notes what was seen.
    pub(super) fn saw(&self, name: &str, look: Look) -> Option<DiskUsage> {
        let mut state = self.state();
        let bound = state.held.get_mut(name)?.bound.as_mut()?;
        bound.seen = look;
        bound.peak_bytes = bound.peak_bytes.max(look.used_bytes);
        Some(bound.usage())
    }

    /// The directory below which those of tasks are.
    pub(super) fn tasks(&self) -> &Path {
        &self.tasks
    }
}

/// A live attempt with a limit, for the monitor.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) attempt: AttemptId,
    pub(super) means: Arc<dyn Means>,
    pub(super) spot: Spot,
    /// As it was seen last.
    pub(super) seen: Look,
}

impl Bound {
    fn new(means: Arc<dyn Means>, spot: Spot, is_mounted: bool) -> Self {
        let seen = Look::watched(0, spot.limit_bytes);
        Self { means, spot, is_mounted, used_at: 0, seen, peak_bytes: 0 }
    }

    fn usage(&self) -> DiskUsage {
        let limit_bytes = self.spot.limit_bytes;
        let is_full = match self.means.kind() {
            // Nothing keeps it from using all of it, so it may.
            DiskLimit::Watch => self.seen.used_bytes > limit_bytes,
            DiskLimit::Tmpfs | DiskLimit::Loop | DiskLimit::Btrfs | DiskLimit::ProjectQuota => {
                self.seen.is_at(limit_bytes)
            }
        };
        DiskUsage { limit_bytes, used_bytes: self.seen.used_bytes, peak_bytes: self.peak_bytes, is_full }
    }
}
