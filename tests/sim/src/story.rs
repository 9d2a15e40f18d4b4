//! Runs a seed to its end and, when a promise is broken, tells the shortest story that still breaks it.
//!
//! A story is a seed and the lines of its script that are told. Everything else is drawn from the seed, so the same story
//! always goes the same way.

use crate::broken::{Broken, Kept, broken};
use crate::rest;
use crate::script::{CALM_AFTER, Happening, Script, script};
use crate::words;
use crate::world::{Event, World};
use muster_agent_core::Input as AgentInput;
use muster_controller_core::input::Input;
use muster_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// By then everything must have come to rest.
const END: Duration = Duration::from_secs(4_000);
/// Sessions and agents are back by then.
const ALL_BACK: Duration = Duration::from_secs(100);
/// How many lines of a shrunk story are told.
const LINES_TOLD: usize = 120;
/// How many events pass between two looks at whether the world is at rest.
const LOOK_EVERY: u64 = 64;

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
    /// Why it failed, and, once told, what happened before; `None` if every promise was kept.
    pub failure: Option<String>,
}

/// Runs one seed to its end; a failure is told as a story.
#[must_use]
pub fn simulate(seed: u64) -> Story {
    let script = script(seed);
    let (mut story, failed) = run(seed, &script, None);
    if let Some(broken) = failed {
        story.failure = Some(tell(seed, script, &broken));
    }
    story
}

/// Runs one seed to its end; of a failure only the promise is told.
#[must_use]
pub fn glance(seed: u64) -> Story {
    let (mut story, failed) = run(seed, &script(seed), None);
    story.failure = failed.map(|broken| broken.to_string());
    story
}

/// Runs a script to its end; into `log` goes what happens.
fn run(seed: u64, script: &Script, log: Option<&mut Vec<String>>) -> (Story, Option<Broken>) {
    let seen = BTreeMap::new();
    let mut story =
        Story { seed, events: 0, starts: 0, faults: 0, refused: 0, tasks: 0, seen, failure: None };
    let mut world = match World::new(seed, script.clone(), log.is_some()) {
        Ok(world) => world,
        Err(broken) => return (story, Some(broken)),
    };
    let failed = loop {
        match world.is_over() {
            Ok(true) => break None,
            Ok(false) => {}
            Err(broken) => break Some(broken),
        }
        story.events += 1;
        if let Err(broken) = world.step(story.events) {
            break Some(broken);
        }
    };
    story.starts = world.oracle.starts_in_all;
    story.faults = world.faults;
    story.refused = world.refused;
    for job in world.book.jobs.values() {
        match job.reason.as_deref() {
            Some("JMComplete") => world.oracle.saw("a manager takes its job along"),
            Some("TaskFailed") => world.oracle.saw("a failed task ends its job"),
            Some("MaxWallClockTimeExpiry") => world.oracle.saw("a wall clock ends a job"),
            Some("AllTasksComplete") => world.oracle.saw("a job ends with its last task"),
            Some(_) | None => {}
        }
    }
    story.tasks = world.book.jobs.values().map(|job| job.tasks.len()).sum();
    story.seen = std::mem::take(&mut world.oracle.seen);
    if let (Some(log), Some(lines)) = (log, world.log) {
        *log = lines;
    }
    (story, failed)
}

/// Leaves out of a script what the failure does not need, and tells what happens then.
fn tell(seed: u64, mut script: Script, first: &Broken) -> String {
    let mut last = first.clone();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut length = script.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        while from < script.len() {
            let mut shorter = script.clone();
            drop(shorter.drain(from..(from + length).min(script.len())));
            match run(seed, &shorter, None) {
                (_, Some(broken)) if broken.promise == first.promise => (script, last) = (shorter, broken),
                (_, Some(_) | None) => from += length,
            }
        }
        if length == 1 {
            break;
        }
        length = length.div_ceil(2);
    }
    let mut log = Vec::new();
    drop(run(seed, &script, Some(&mut log)));
    std::panic::set_hook(hook);
    let kept = script.len();
    let lines = log.split_off(log.len().saturating_sub(LINES_TOLD)).join("\n  ");
    format!("{last}\nthe shortest story that breaks it has {kept} lines of its script:\n  {lines}\n{last}")
}

impl World {
    /// Whether all promises are kept and nothing more is to come.
    fn is_over(&mut self) -> Result<bool, Broken> {
        if !self.number.is_multiple_of(LOOK_EVERY) || !self.closed {
            return Ok(false);
        }
        let calm = Timestamp::EPOCH.after(CALM_AFTER).after(ALL_BACK);
        if self.now < calm {
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

    fn step(&mut self, events: u64) -> Kept {
        let Some(event) = self.next() else {
            return Err(broken("everything comes to rest", "nothing will ever happen again"));
        };
        self.dispatch(event)?;
        let machine = usize::try_from(events).unwrap_or(0) % self.machines.len();
        self.machines[machine].check().map_err(|words| broken("the agent's own recount", words))
    }

    fn dispatch(&mut self, event: Event) -> Kept {
        if self.log.is_some()
            && let Some(words) = words::event(&event)
        {
            self.say(|| words);
        }
        match event {
            Event::ToController { machine, session, message } => self.hear(machine, session, message),
            Event::ToAgent { machine, session, message } => self.deliver(machine, session, message),
            Event::Answer { machine, incarnation, input } => {
                if self.machines[machine].incarnation == incarnation && self.machines[machine].is_up() {
                    return self.tell_agent(machine, *input);
                }
                Ok(())
            }
            Event::ProcessEnds { machine, boot, subject, ended, by } => {
                if self.machines[machine].boot == boot {
                    return self.end_process(machine, &subject, ended, by);
                }
                Ok(())
            }
            Event::Connect { machine } => self.connect(machine),
            Event::StartAgent { machine } => self.start_agent(machine),
            Event::Recovers { machine, code } => self.recovers(machine, code),
            Event::StartController if self.controller.is_up() => Ok(()),
            Event::StartController => self.controller.start(self.now),
            Event::Happens(line) => match self.script[line].1 {
                Happening::Wish { wish, stale } => self.wish(wish, stale),
                Happening::Fault(fault) => self.breaks(fault),
            },
            Event::Close => self.close(),
            Event::Look => self.look(),
        }
    }

    /// Wakes every core whose deadline has come, and lets the supervisors do what is due.
    fn look(&mut self) -> Kept {
        if self.controller.next_deadline().is_some_and(|at| at <= self.now) {
            self.tell_controller(Input::DeadlinePassed)?;
        }
        for machine in 0..self.machines.len() {
            for (subject, by) in self.machines[machine].overdue(self.now) {
                self.end_process(machine, &subject, muster_agent_core::input::Ended::Signaled(9), by)?;
            }
            if self.machines[machine].next_deadline().is_some_and(|at| at <= self.now) {
                self.tell_agent(machine, AgentInput::DeadlinePassed)?;
            }
        }
        Ok(())
    }
}
