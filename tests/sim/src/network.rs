//! What is between machines and the controller: links that fail one way or both, and sessions that are half open.
//!
//! A session is a stream each way. Messages of one stream keep their order and none comes twice; but each side learns by
//! itself that the other is gone, and what was sent before may come long after, also when a newer session is open. While a
//! link is cut in one direction, what is sent in it is held; when the link is whole again it comes, unless the connection
//! was reset meanwhile.
//!
//! Invariant: nothing reaches a side that has closed, and nothing comes after the end of its stream.

use crate::chance::Chance;
use muster_agent_core::effect::AgentMessage;
use muster_agent_core::input::ControllerMessage;
use muster_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The two directions of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the machine to the controller.
    Up,
    /// From the controller to the machine.
    Down,
}

/// One thing in a stream.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    FromAgent(AgentMessage),
    FromController(Box<ControllerMessage>),
    /// Nothing more comes.
    End,
}

/// One direction of a session.
#[derive(Debug, Default)]
struct Pipe {
    /// Nothing arrives before what was sent before it.
    last: Timestamp,
    /// What is on its way and arrives later than this is lost.
    lost_after: Option<Timestamp>,
    held: Vec<Load>,
}

/// One connection of an agent.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) machine: usize,
    /// Whether the agent's end is open.
    pub(crate) agent: bool,
    /// Whether the controller's end is open.
    pub(crate) controller: bool,
    up: Pipe,
    down: Pipe,
}

/// How a machine's link is cut.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cut {
    pub(crate) up: bool,
    pub(crate) down: bool,
}

/// All links and sessions.
#[derive(Debug)]
pub(crate) struct Network {
    /// Begins anew at each event (`world`).
    pub(crate) chance: Chance,
    pub(crate) sessions: BTreeMap<u64, Session>,
    /// By machine; those that are whole are not here.
    pub(crate) cuts: BTreeMap<usize, Cut>,
    last: u64,
}

impl Session {
    const fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// Whether the receiver of this direction still listens.
    pub(crate) const fn listens(&self, way: Way) -> bool {
        match way {
            Way::Up => self.controller,
            Way::Down => self.agent,
        }
    }
}

impl Network {
    pub(crate) fn of(seed: u64) -> Self {
        Self {
            chance: Chance::of(seed, "network"),
            sessions: BTreeMap::new(),
            cuts: BTreeMap::new(),
            last: 0,
        }
    }

    /// How long one message takes: mostly milliseconds, sometimes longer than the margin of a lease.
    pub(crate) fn delay(&mut self) -> Duration {
        let micros = match self.chance.below(300) {
            0 | 1 => self.chance.below(12_000_000),
            2..=16 => self.chance.below(400_000),
            _ => self.chance.below(30_000),
        };
        Duration::from_micros(micros + 100)
    }

    pub(crate) fn is_cut(&self, machine: usize, way: Way) -> bool {
        self.cuts.get(&machine).is_some_and(|cut| match way {
            Way::Up => cut.up,
            Way::Down => cut.down,
        })
    }

    /// Opens a session, if the link lets a handshake through.
    pub(crate) fn open(&mut self, machine: usize) -> Option<u64> {
        if self.is_cut(machine, Way::Up) || self.is_cut(machine, Way::Down) {
            return None;
        }
        self.last += 1;
        let (up, down) = (Pipe::default(), Pipe::default());
        self.sessions.insert(self.last, Session { machine, agent: true, controller: true, up, down });
        Some(self.last)
    }

    /// Sends in a session: when it arrives, or `None` if nobody will ever hear it.
    pub(crate) fn send(
        &mut self,
        id: u64,
        way: Way,
        now: Timestamp,
        load: Load,
    ) -> Option<(Timestamp, Load)> {
        let delay = self.delay();
        let is_cut = self.is_cut(self.sessions.get(&id)?.machine, way);
        let session = self.sessions.get_mut(&id)?;
        let listens = session.listens(way);
        let pipe = session.pipe(way);
        if !listens || pipe.lost_after.is_some() {
            return None;
        }
        if is_cut {
            pipe.held.push(load);
            return None;
        }
        let at = now.after(delay).max(pipe.last);
        pipe.last = at;
        Some((at, load))
    }

    /// Whether what arrives now is heard.
    pub(crate) fn is_heard(&self, id: u64, way: Way, now: Timestamp) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            let pipe = match way {
                Way::Up => &session.up,
                Way::Down => &session.down,
            };
            session.listens(way) && pipe.lost_after.is_none_or(|after| now <= after)
        })
    }

    /// Whether nothing comes through a session now: its link is cut, its connection lost, or something stalls it.
    pub(crate) fn is_silent(&self, id: u64, now: Timestamp) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            let is_lost = |pipe: &Pipe| pipe.last > now || pipe.lost_after.is_some_and(|after| after < now);
            self.is_cut(session.machine, Way::Up)
                || self.is_cut(session.machine, Way::Down)
                || is_lost(&session.up)
                || is_lost(&session.down)
        })
    }

    /// The connection is lost: nothing more is sent in it, and of what is on its way in each direction only the first part
    /// arrives.
    pub(crate) fn reset(&mut self, id: u64, now: Timestamp) {
        let (up, down) = (self.chance.below(60_000), self.chance.below(60_000));
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for (pipe, micros) in [(&mut session.up, up), (&mut session.down, down)] {
            pipe.lost_after.get_or_insert(now.after(Duration::from_micros(micros)));
            pipe.held.clear();
        }
    }

    /// Closes one end. Answers whether it was open.
    pub(crate) fn close(&mut self, id: u64, of_agent: bool) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let end = if of_agent { &mut session.agent } else { &mut session.controller };
        let was_open = std::mem::take(end);
        if !session.agent && !session.controller {
            self.sessions.remove(&id);
        }
        was_open
    }

    /// The sessions of a machine of which an end is open.
    pub(crate) fn of_machine(&self, machine: usize) -> Vec<u64> {
        let of_it = self.sessions.iter().filter(|(_, session)| session.machine == machine);
        of_it.map(|(id, _)| *id).collect()
    }

    /// The link of a machine is whole again: what was held in its sessions, in order.
    pub(crate) fn heal(&mut self, machine: usize, now: Timestamp) -> Vec<(Timestamp, u64, Way, Load)> {
        self.cuts.remove(&machine);
        let mut sent = Vec::new();
        for id in self.of_machine(machine) {
            for way in [Way::Up, Way::Down] {
                let held =
                    self.sessions.get_mut(&id).map(|session| std::mem::take(&mut session.pipe(way).held));
                for load in held.unwrap_or_default() {
                    sent.extend(self.send(id, way, now, load).map(|(at, load)| (at, id, way, load)));
                }
            }
        }
        sent
    }
}
