//! Runs a seed to its end and, when a promise is broken, tells the shortest story that still breaks it.
//!
//! A story is a seed, the fault that is planted if one is, and the lines of its script that are told. Everything else is drawn
//! from the seed, so the same story always goes the same way, to the byte. What of it is printed is decided in `tale`.

use crate::broken::{Broken, broken};
use crate::planted::Planted;
use crate::quiet::quietly;
use crate::rest;
use crate::script::{CALM_AFTER, Script, script};
use crate::tale;
use crate::world::World;
use muster_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// By then everything must have come to rest.
const END: Duration = Duration::from_secs(4_000);
/// Sessions and agents are back by then.
const ALL_BACK: Duration = Duration::from_secs(100);
/// How many events pass between two looks at whether the world is at rest.
const LOOK_EVERY: u64 = 64;
/// Most runs that the shortening of one story may take: a few seconds, and what is left then is told.
const RUNS_MAX: u32 = 1_500;

/// What a run came to.
#[derive(Debug)]
pub struct Story {
    /// The seed that replays it.
    pub seed: u64,
    /// Events that were handled.
    pub events: u64,
    /// Processes that were started.
    pub starts: u32,
    /// Faults that were injected.
    pub faults: u32,
    /// Wishes of clients that were refused.
    pub refused: u32,
    /// Tasks that there were at the end.
    pub tasks: usize,
    /// What was seen to happen, and how often.
    pub seen: BTreeMap<&'static str, u32>,
    /// What went wrong; `None` if every promise was kept.
    pub failure: Option<Failure>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The promise that was broken.
    pub promise: &'static str,
    /// What was seen.
    pub seen: String,
    /// What happened before, if that was told.
    pub tale: Option<String>,
}

/// Runs one seed to its end; a failure is told as a story.
#[must_use]
pub fn simulate(seed: u64) -> Story {
    told(seed, None)
}

/// Runs one seed to its end; of a failure only the promise is told.
#[must_use]
pub fn glance(seed: u64) -> Story {
    glanced(seed, None)
}

/// As [`simulate`], with a fault planted.
#[cfg(feature = "planted")]
#[must_use]
pub fn simulate_planted(seed: u64, planted: Planted) -> Story {
    told(seed, Some(planted))
}

/// As [`glance`], with a fault planted.
#[cfg(feature = "planted")]
#[must_use]
pub fn glance_planted(seed: u64, planted: Planted) -> Story {
    glanced(seed, Some(planted))
}

fn glanced(seed: u64, planted: Option<Planted>) -> Story {
    let (mut story, failed) = run(seed, planted, &script(seed), None);
    story.failure = failed.map(|Broken { promise, seen }| {
        let seen = tale::plain(&seen);
        Failure { promise, seen, tale: None }
    });
    story
}

fn told(seed: u64, planted: Option<Planted>) -> Story {
    let script = script(seed);
    let (mut story, failed) = run(seed, planted, &script, None);
    story.failure = failed.map(|first| {
        let (script, Broken { promise, seen }) = shortest(seed, planted, script, first);
        let (seen, mut log) = (tale::plain(&seen), Vec::new());
        drop(run(seed, planted, &script, Some(&mut log)));
        let tale = tale::told(seed, planted, &script, &log, &seen);
        Failure { promise, seen, tale: Some(tale) }
    });
    story
}

/// Runs a script to its end; into `log` goes what happens.
fn run(
    seed: u64,
    planted: Option<Planted>,
    script: &Script,
    log: Option<&mut Vec<String>>,
) -> (Story, Option<Broken>) {
    quietly(|| {
        let seen = BTreeMap::new();
        let mut story =
            Story { seed, events: 0, starts: 0, faults: 0, refused: 0, tasks: 0, seen, failure: None };
        let mut world = match World::new(seed, script.clone(), planted, log.is_some()) {
            Ok(world) => world,
            Err(broken) => return (story, Some(broken)),
        };
        let failed = to_the_end(&mut world, &mut story.events);
        story.starts = world.oracle.starts_in_all;
        story.faults = world.faults;
        story.refused = world.refused;
        world.note_ends();
        story.tasks = world.book.jobs.values().map(|job| job.tasks.len()).sum();
        story.seen = std::mem::take(&mut world.oracle.seen);
        if let (Some(log), Some(lines)) = (log, world.log) {
            *log = lines;
        }
        (story, failed)
    })
}

fn to_the_end(world: &mut World, events: &mut u64) -> Option<Broken> {
    loop {
        match world.is_over() {
            Ok(true) => return None,
            Ok(false) => {}
            Err(broken) => return Some(broken),
        }
        *events += 1;
        if let Err(broken) = world.step(*events) {
            return Some(broken);
        }
    }
}

/// Leaves out of a script what the failure does not need: halves first, then ever smaller parts, single lines until none can
/// go any more.
fn shortest(seed: u64, planted: Option<Planted>, mut script: Script, first: Broken) -> (Script, Broken) {
    let mut last = first;
    let mut length = script.len().div_ceil(2).max(1);
    let mut runs = 0;
    loop {
        let (mut from, before) = (0, script.len());
        while from < script.len() && runs < RUNS_MAX {
            let mut shorter = script.clone();
            drop(shorter.drain(from..(from + length).min(script.len())));
            runs += 1;
            match run(seed, planted, &shorter, None) {
                (_, Some(broken)) if broken.promise == last.promise => (script, last) = (shorter, broken),
                (_, Some(_) | None) => from += length,
            }
        }
        if length == 1 && (script.len() == before || runs >= RUNS_MAX) {
            return (script, last);
        }
        length = length.div_ceil(2);
    }
}

impl World {
    /// Whether all promises are kept and nothing more is to come.
    fn is_over(&mut self) -> Result<bool, Broken> {
        if !self.number.is_multiple_of(LOOK_EVERY) || !self.closed {
            return Ok(false);
        }
        let calm = Timestamp::EPOCH.after(CALM_AFTER).after(ALL_BACK);
        // What is being committed is known to the core and not yet to the book.
        if self.now < calm || !self.controller.engine.is_idle() {
            return Ok(false);
        }
        self.oracle.within_limits(&self.book, calm, self.now)?;
        let to_come = rest::to_come(&self.book, &self.oracle, &self.controller, self.now)?;
        match to_come {
            Some(words) if self.now > Timestamp::EPOCH.after(END) => {
                Err(broken("everything comes to rest", words))
            }
            Some(_) => Ok(false),
            None => rest::is_stored(&self.book, &self.controller).map(|()| true),
        }
    }

    /// Notes why jobs have ended.
    fn note_ends(&mut self) {
        for job in self.book.jobs.values() {
            match job.reason.as_deref() {
                Some("JMComplete") => self.oracle.saw("a manager takes its job along"),
                Some("TaskFailed") => self.oracle.saw("a failed task ends its job"),
                Some("MaxWallClockTimeExpiry") => self.oracle.saw("a wall clock ends a job"),
                Some("AllTasksComplete") => self.oracle.saw("a job ends with its last task"),
                Some(_) | None => {}
            }
        }
    }
}
