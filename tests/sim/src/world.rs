//! The clock, the queue of events, and both sides of the cluster.
//!
//! One event is handled at a time, in order of time. Delays are drawn from the seed. Here things are only kept and put in
//! order; which function handles an event stands in `events`.

use crate::book::Book;
use crate::broken::Broken;
use crate::call::Call;
use crate::chance::Chance;
use crate::controller::Controller;
use crate::event::Event;
use crate::machine::Machine;
use crate::names::{MACHINES, pool_of};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::planted::Planted;
use crate::script::{CALM_AFTER, Script};
use muster_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// By then everybody who is left is back, and what was held up is let go.
const OPEN_AFTER: Duration = Duration::from_secs(40);

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Timestamp,
    pub(crate) chance: Chance,
    queue: BTreeMap<(Timestamp, u64), Event>,
    pub(crate) number: u64,
    pub(crate) network: Network,
    pub(crate) controller: Controller,
    pub(crate) machines: Vec<Machine>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) book: Book,
    pub(crate) oracle: Oracle,
    pub(crate) script: Script,
    pub(crate) planted: Option<Planted>,
    /// Nothing breaks any more.
    pub(crate) calm: bool,
    pub(crate) closed: bool,
    pub(crate) faults: u32,
    pub(crate) refused: u32,
    /// What happened, if somebody wants to know.
    pub(crate) log: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        script: Script,
        planted: Option<Planted>,
        with_log: bool,
    ) -> Result<Self, Broken> {
        let now = Timestamp::from_micros(500_000);
        let machines = (0..MACHINES).map(|machine| Machine::new(seed, machine, pool_of(machine), planted));
        let mut world = Self {
            seed,
            now,
            chance: Chance::of(seed, "delays"),
            queue: BTreeMap::new(),
            number: 0,
            network: Network::of(seed),
            controller: Controller::new(seed, now, planted)?,
            machines: machines.collect(),
            calls: BTreeMap::new(),
            book: Book::default(),
            oracle: Oracle::default(),
            script,
            planted,
            calm: false,
            closed: false,
            faults: 0,
            refused: 0,
            log: with_log.then(Vec::new),
        };
        for machine in 0..MACHINES {
            world.later(100, Event::Joins { machine });
        }
        for line in 0..world.script.len() {
            world.at(world.script[line].0, Event::Happens(line));
        }
        let calm = Timestamp::EPOCH.after(CALM_AFTER);
        world.at(calm, Event::Calm);
        world.at(calm.after(OPEN_AFTER), Event::Close);
        world.at(calm.after(OPEN_AFTER), Event::Bury);
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

    /// A moment from now, at least so much and at most so much more, but not after everything has become calm.
    pub(crate) fn before_calm(&mut self, least: Duration, more: Duration) -> Timestamp {
        let more = self.chance.below(u64::try_from(more.as_micros()).unwrap_or(u64::MAX).max(1));
        let until = self.now.after(least).after(Duration::from_micros(more));
        until.min(Timestamp::EPOCH.after(CALM_AFTER).max(self.now))
    }

    /// Goes on to what happens next, and answers it; `None` if nothing ever will.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let event = self.next_event()?;
        self.chance = Chance::at(self.seed, "delays", self.now);
        self.network.chance = Chance::at(self.seed, "network", self.now);
        self.controller.engine.chance = Chance::at(self.seed, "commits", self.now);
        Some(event)
    }

    fn next_event(&mut self) -> Option<Event> {
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
