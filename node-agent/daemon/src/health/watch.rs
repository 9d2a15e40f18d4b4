//! The one timer of the node's health: looks at disk and clock, ends what fills the disk, and tells the core what is wrong.
//!
//! With plenty of room a look is one system call every [`CALM`]; the less there is, the sooner it looks again. Under pressure it also
//! measures the directories of attempts without a limit, for at most a tenth of a processor.

use super::errors::Health;
use super::growth::Growth;
use super::pressure::{Level, Reserve, Space};
use crate::disk::{self, Disks};
use muster_agent_core::input::OverDisk;
use muster_agent_core::{Input, Subject};
use muster_model::node::NodeError;
use muster_model::{AttemptId, Timestamp};
use muster_proto::convert::timestamp_out;
use muster_runtime::clock;
use nix::sys::statvfs::statvfs;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Between two looks while there is plenty of room.
const CALM: Duration = Duration::from_secs(10);
/// Between two looks at least.
const ALERT: Duration = Duration::from_secs(1);
/// What is written in a second at most, in bytes: so long before the reserve can be reached it is looked again.
const BYTES_PER_SECOND: u64 = 4 << 30;
/// While directories are measured, the pause is so many times as long as that took.
const PAUSE_PARTS: u32 = 9;
/// Longest pause under pressure, however much there is to measure.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What the operator says.
#[derive(Debug, Clone)]
pub(crate) struct HealthSettings {
    /// The node's root, of whose disk it is.
    pub(crate) root: PathBuf,
    /// Free bytes below which the node takes no tasks; `None`: a share of the disk.
    pub(crate) reserve_bytes: Option<u64>,
    /// How far the clock may be from the controller's.
    pub(crate) skew_max: Duration,
}

/// Watches for as long as somebody listens.
pub(crate) async fn watch(
    health: Health,
    settings: HealthSettings,
    disks: Arc<Disks>,
    inputs: mpsc::Sender<Input>,
) {
    let mut said = None;
    let mut disk = Disk { settings, disks, growth: Growth::default(), is_pressed: false, freed: None };
    loop {
        check_clock(&health, disk.settings.skew_max);
        let (looked, health_of_disk) = (disk, health.clone());
        let looked = tokio::task::spawn_blocking(move || looked.look(&health_of_disk)).await;
        // A panic there is logged by itself.
        let Ok((back, round)) = looked else { return };
        disk = back;
        let errors = health.all();
        let news = (said.as_ref() != Some(&errors)).then(|| Input::Health(errors.clone()));
        said = Some(errors);
        for input in news.into_iter().chain(round.inputs) {
            if inputs.send(input).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(round.pause) => {}
            () = health.changed() => {}
        }
    }
}

fn check_clock(health: &Health, most: Duration) {
    let Some(anchor) = health.anchor() else { return };
    let skew = anchor.skew(clock::wall_us(), clock::since_boot());
    if !skew.is_too_much(most, health.has(NodeError::CLOCK_SKEW)) {
        health.clear(NodeError::CLOCK_SKEW);
    } else if !health.has(NodeError::CLOCK_SKEW) {
        let text = |micros| timestamp_out(Timestamp::from_micros(micros)).to_string();
        let (node, server) = (text(skew.node_us), text(skew.server_us));
        let words = format!(
            "the node's clock says {node} and the controller's {server}, {:?} apart, more than the {most:?} of \
             clock_skew_max: set the node's clock, best by NTP",
            Duration::from_millis(u64::try_from(skew.by.as_millis()).unwrap_or(u64::MAX)),
        );
        let details = [
            ("node_time", node),
            ("controller_time", server),
            ("skew_seconds", skew.by.as_secs_f64().to_string()),
            ("limit_seconds", most.as_secs_f64().to_string()),
        ];
        health.raise_now(
            NodeError::CLOCK_SKEW,
            words,
            details.map(|(name, value)| (name.to_owned(), value)).into(),
        );
    }
}

/// What is known of the disk from look to look.
struct Disk {
    settings: HealthSettings,
    disks: Arc<Disks>,
    growth: Growth,
    is_pressed: bool,
    /// When directories of ended attempts were asked for last.
    freed: Option<Instant>,
}

struct Round {
    inputs: Vec<Input>,
    pause: Duration,
}

impl Disk {
    fn look(mut self, health: &Health) -> (Self, Round) {
        let round = match space_of(&self.settings.root) {
            Ok(space) => self.judge(health, space),
            Err(error) => {
                tracing::warn!(root = %self.settings.root.display(), %error, "cannot look at the node's disk");
                Round { inputs: Vec::new(), pause: CALM }
            }
        };
        (self, round)
    }

    fn judge(&mut self, health: &Health, space: Space) -> Round {
        let reserve = Reserve::of(space, self.settings.reserve_bytes);
        let measured = reserve.level(space, self.is_pressed);
        // A quota may be used up where the file system has room.
        let level = if health.journal_full() { measured.max(Level::Pressed) } else { measured };
        self.is_pressed = level >= Level::Pressed;
        if !self.is_pressed {
            health.clear(NodeError::DISK_PRESSURE);
        } else if !health.has(NodeError::DISK_PRESSURE) {
            let root = self.settings.root.display().to_string();
            let words = if measured == Level::Enough {
                format!(
                    "the disk of {root} has no room for the agent's own records, though the file system has some: the node \
                     takes no tasks until it has; free some space, or raise the quota of the agent's user"
                )
            } else {
                reserve.words(space, &root)
            };
            let details = [
                ("free_bytes", space.free_bytes),
                ("reserve_bytes", reserve.bytes),
                ("total_bytes", space.total_bytes),
                ("free_files", space.free_files),
            ];
            let details = details.map(|(name, value)| (name.to_owned(), value.to_string()));
            health.raise_now(NodeError::DISK_PRESSURE, words, details.into());
        }
        if level == Level::Enough {
            self.growth.forget();
            return Round { inputs: Vec::new(), pause: pause(space.free_bytes, reserve.bytes) };
        }
        let begun = Instant::now();
        let grown = self.growth.look(sizes(&self.disks));
        let pause = begun.elapsed().saturating_mul(PAUSE_PARTS).clamp(ALERT, PAUSE_MAX);
        let mut inputs = Vec::new();
        // As often as in a calm: what goes takes a while to be gone.
        if self.freed.is_none_or(|freed| freed.elapsed() >= CALM) {
            self.freed = Some(Instant::now());
            inputs.push(Input::FreeDisk);
        }
        if let Some((attempt, used_bytes)) = grown.filter(|_| level == Level::Drowning) {
            tracing::warn!(%attempt, used_bytes, free_bytes = space.free_bytes, "the disk runs full: ending what grew most");
            let over = OverDisk { limit_bytes: space.free_bytes, used_bytes };
            inputs.push(Input::OverDisk { subject: Subject::Attempt(attempt), over });
        }
        Round { inputs, pause }
    }
}

/// How long it takes at least until the reserve is reached.
fn pause(free_bytes: u64, reserve_bytes: u64) -> Duration {
    Duration::from_secs(free_bytes.saturating_sub(reserve_bytes) / BYTES_PER_SECOND).clamp(ALERT, CALM)
}

/// The sizes of the directories of live attempts without a limit.
fn sizes(disks: &Disks) -> BTreeMap<AttemptId, u64> {
    let size = |(attempt, path): (AttemptId, PathBuf)| {
        // One that has just gone takes nothing.
        Some((attempt, disk::size_of(&path, disk::ENTRIES_MAX).ok()?.bytes))
    };
    disks.unbounded().into_iter().filter_map(size).collect()
}

fn space_of(root: &Path) -> io::Result<Space> {
    let facts = statvfs(root)?;
    let bytes = |blocks: u64| blocks.saturating_mul(facts.fragment_size());
    Ok(Space {
        free_bytes: bytes(facts.blocks_available()),
        total_bytes: bytes(facts.blocks()),
        free_files: facts.files_available(),
        total_files: facts.files(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_room_there_is_the_sooner_it_is_looked_again() {
        let gib = 1 << 30;
        assert_eq!((pause(2_000 * gib, gib), pause(gib, 2 * gib)), (CALM, ALERT));
        assert_eq!(pause(21 * gib, gib), Duration::from_secs(5));
    }
}
