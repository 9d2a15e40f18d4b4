//! The clock, the queue of events, and both sides of the cluster.
//!
//! One event is handled at a time, in order of time. Delays are drawn from the seed. Here things are only kept and put in
//! order; what an event does is in `wire` (messages and processes), `fault` and `client`.

use crate::book::Book;
use crate::broken::Broken;
use crate::chance::Chance;
use crate::controller::Controller;
use crate::machine::Machine;
use crate::names::MACHINES;
use crate::oracle::Oracle;
use crate::script::Script;
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::{ControllerMessage, Ended, EndedBy};
use muster_agent_core::{Input as AgentInput, Subject};
use muster_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum Event {
    ToController {
        machine: usize,
        session: u64,
        message: AgentMessage,
    },
    /// Without a message the controller closes the stream.
    ToAgent {
        machine: usize,
        session: u64,
        message: Option<Box<ControllerMessage>>,
    },
    Answer {
        machine: usize,
        incarnation: u64,
        input: Box<AgentInput>,
    },
    ProcessEnds {
        machine: usize,
        boot: u32,
        subject: Subject,
        ended: Ended,
        by: EndedBy,
    },
    Connect {
        machine: usize,
    },
    StartAgent {
        machine: usize,
    },
    /// Something is no longer wrong with a machine.
    Recovers {
        machine: usize,
        code: &'static str,
    },
    StartController,
    /// The next line of the script.
    Happens(usize),
    /// All wishes have been told: whatever was held up is let go.
    Close,
    /// Somebody's deadline has come.
    Look,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Timestamp,
    pub(crate) chance: Chance,
    queue: BTreeMap<(Timestamp, u64), Event>,
    pub(crate) number: u64,
    pub(crate) next_session: u64,
    pub(crate) controller: Controller,
    pub(crate) machines: Vec<Machine>,
    pub(crate) book: Book,
    pub(crate) oracle: Oracle,
    pub(crate) script: Script,
    pub(crate) closed: bool,
    pub(crate) faults: u32,
    pub(crate) refused: u32,
    /// What happened, if somebody wants to know.
    pub(crate) log: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, script: Script, with_log: bool) -> Result<Self, Broken> {
        let now = Timestamp::from_micros(1_000_000);
        let mut controller = Controller::new(now)?;
        let machines =
            (0..MACHINES).map(|machine| controller.join(machine, now)).collect::<Result<_, _>>()?;
        let mut world = Self {
            seed,
            now,
            chance: Chance::of(seed, "delays"),
            queue: BTreeMap::new(),
            number: 0,
            next_session: 1,
            controller,
            machines,
            book: Book::default(),
            oracle: Oracle::default(),
            script,
            closed: false,
            faults: 0,
            refused: 0,
            log: with_log.then(Vec::new),
        };
        for machine in 0..MACHINES {
            world.later(100, Event::StartAgent { machine });
        }
        for line in 0..world.script.len() {
            world.at(world.script[line].0, Event::Happens(line));
        }
        world.at(Timestamp::EPOCH.after(crate::script::CALM_AFTER), Event::Close);
        Ok(world)
    }

    /// Puts an event up to `millis_max` milliseconds ahead.
    pub(crate) fn later(&mut self, millis_max: u64, event: Event) {
        let delay = Duration::from_micros(self.chance.below(millis_max * 1_000) + 1);
        self.at(self.now.after(delay), event);
    }

    pub(crate) fn at(&mut self, time: Timestamp, event: Event) {
        self.number += 1;
        self.queue.insert((time, self.number), event);
    }

    /// Messages of one session keep their order: a fixed delay for each session.
    pub(crate) fn send(&mut self, session: u64, event: Event) {
        let delay = Duration::from_micros(200 + (session.wrapping_mul(7_919) % 40_000));
        self.at(self.now.after(delay), event);
    }

    /// Goes on to what happens next, and answers it; `None` if nothing ever will.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let agents = self.machines.iter().filter_map(Machine::next_deadline);
        let deadline = agents.chain(self.controller.next_deadline()).min();
        match self.queue.first_key_value() {
            Some(((time, _), _)) if deadline.is_none_or(|at| *time <= at) => {
                let ((time, _), event) = self.queue.pop_first()?;
                self.now = self.now.max(time);
                Some(event)
            }
            Some(_) | None => {
                self.now = self.now.max(deadline?);
                Some(Event::Look)
            }
        }
    }

    /// Keeps a line of the story.
    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(log) = &mut self.log {
            let millis = now.as_micros() / 1_000;
            log.push(format!("{:>4}.{:03} s  {}", millis / 1_000, millis % 1_000, words()));
        }
    }
}
