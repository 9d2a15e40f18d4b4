//! A machine of the simulation: the real agent core over its journal, beside its supervisor and with its own clocks.
//!
//! What survives an agent is in `journal`, what lives on without it in `supervisor`. An agent can die in the middle of a turn:
//! before its records are written, or after that and amid what it then does. While it is frozen, what happens waits for it.

use crate::clocks::MachineClock;
use crate::event::Event;
use crate::journal::{Journal, Turn};
use crate::names::node;
use crate::planted::{self, Planted};
use crate::supervisor::{Keyed, Process, Supervisor};
use muster_agent_core::input::{Ended, EndedBy, Exit, Supervised, SupervisedState};
use muster_agent_core::{Agent, Effect, Input, Record, Subject};
use muster_model::node::{Capabilities, MachineFacts, NodeError};
use muster_model::{FailureInfo, NamedCounts, NodeId, Resources, Timestamp};
use std::collections::BTreeMap;

/// GPUs of each machine.
pub(crate) const GPUS: u32 = 2;
/// Licences of each machine.
const LICENCES: u64 = 2;

/// Where in a turn an agent dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Nothing of the turn is written.
    BeforeWriting,
    /// All is written, and so many of its effects are carried out.
    After(u8),
}

/// A machine and its agent.
#[derive(Debug)]
pub(crate) struct Machine {
    /// As which node it was told to have joined.
    pub(crate) id: NodeId,
    pub(crate) pool: u8,
    pub(crate) has_joined: bool,
    agent: Option<Agent>,
    pub(crate) journal: Journal,
    /// Counts starts of the agent, so that answers to an earlier one are known as such.
    pub(crate) incarnation: u64,
    pub(crate) session: Option<u64>,
    pub(crate) supervisor: Supervisor,
    pub(crate) clock: MachineClock,
    /// It left its pool.
    pub(crate) gone: bool,
    /// It is off for ever.
    pub(crate) lost: bool,
    /// It never reaches the controller again.
    pub(crate) is_exiled: bool,
    /// How often it was booted.
    pub(crate) boot: u32,
    /// What is wrong with it now.
    pub(crate) errors: Vec<NodeError>,
    /// Until then it starts no process.
    pub(crate) sick_until: Timestamp,
    /// Until then there is no room on its disk.
    pub(crate) full_until: Timestamp,
    /// From then on until there is room, nothing is safe any more: what the journal kept in reserve is used up.
    pub(crate) reserve_until: Timestamp,
    /// Until then it takes long until something is safe.
    pub(crate) slow_until: Timestamp,
    /// The agent is stopped, and this waits for it.
    pub(crate) frozen: Option<Vec<Event>>,
    /// After so many more turns the agent dies.
    pub(crate) dies: Option<(u8, Death)>,
    /// Which process last wrote into the directory of a task.
    pub(crate) marks: BTreeMap<Subject, u32>,
    /// The journal is of an earlier boot.
    rebooted: bool,
    planted: Option<Planted>,
}

/// What a machine offers beside slots.
pub(crate) fn capacity() -> Resources {
    Resources {
        slots: 0,
        cpu_millis: 2_000,
        memory_bytes: 1 << 30,
        disk_bytes: 1 << 40,
        gpus: GPUS,
        named: NamedCounts::new([("licence".to_owned(), LICENCES)]),
    }
}

impl Machine {
    /// The machine of this number in a pool; it has not joined yet.
    pub(crate) fn new(seed: u64, machine: usize, pool: u8, planted: Option<Planted>) -> Self {
        Self {
            id: node(machine),
            pool,
            has_joined: false,
            agent: None,
            journal: Journal::default(),
            incarnation: 0,
            session: None,
            supervisor: Supervisor::new(planted == Some(Planted::NoKillAtLeaseEnd)),
            clock: MachineClock::of(seed, machine),
            gone: false,
            lost: false,
            is_exiled: false,
            boot: 0,
            errors: Vec::new(),
            sick_until: Timestamp::EPOCH,
            full_until: Timestamp::EPOCH,
            reserve_until: Timestamp::EPOCH,
            slow_until: Timestamp::EPOCH,
            frozen: None,
            dies: None,
            marks: BTreeMap::new(),
            rebooted: false,
            planted,
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.agent.is_some() && !self.gone && !self.lost
    }

    pub(crate) fn facts(&self) -> MachineFacts {
        MachineFacts {
            machine_id: format!("machine of {}", self.id),
            boot_id: format!("boot {}", self.boot),
            hostname: "host".to_owned(),
            ip_address: "192.0.2.1".to_owned(),
            agent_version: "sim".to_owned(),
            os: "sim".to_owned(),
            capacity: capacity(),
            capabilities: Capabilities { reboot: true, reimage: true, ..Capabilities::default() },
            boot_time: self.clock.boot_time(),
        }
    }

    /// Starts the agent on its journal, which is written anew. It learns from the supervisor by itself what runs.
    pub(crate) fn start(&mut self, now: Timestamp) {
        self.incarnation += 1;
        let rebooted = std::mem::take(&mut self.rebooted);
        let agent = Agent::load(self.journal.take(), rebooted, self.clock.moment(now)).with_gpus(GPUS);
        self.journal = Journal::of(agent.ledger().snapshot());
        self.agent = Some(planted::in_agent(agent, self.planted));
    }

    /// kill -9 of the agent; its processes go on.
    pub(crate) fn crash(&mut self) {
        self.journal.agent_dies(self.planted == Some(Planted::JournalAfterLaunch));
        self.agent = None;
        self.dies = None;
        self.frozen = None;
        self.supervisor.is_heard = false;
    }

    /// Power off and on: no process survives it, and of the journal `more` of what was not synced, in thousandths. Answers the
    /// processes that ran.
    pub(crate) fn reboot(&mut self, now: Timestamp, more: usize) -> Vec<(Keyed, Exit)> {
        self.crash();
        self.journal.machine_dies(more);
        self.boot += 1;
        self.clock.boot(now);
        self.rebooted = true;
        self.supervisor.lease_until = None;
        self.supervisor.is_up = true;
        let wall = self.clock.wall(now);
        let running: Vec<Keyed> = self.supervisor.running().cloned().collect();
        let ends = running.into_iter().filter_map(|key| {
            let exit = self.supervisor.end(&key, Ended::Rebooted, EndedBy::Itself, wall)?;
            Some((key, exit))
        });
        ends.collect()
    }

    /// Tells the agent something: what is urgent is returned, the rest of the step waits until its records are safe.
    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let moment = self.clock.moment(now);
        let Some(agent) = &mut self.agent else { return Vec::new() };
        let is_news = matches!(input, Input::Supervised(_));
        let done = agent.handle(input, moment);
        let (mut urgent, mut turn) = (Vec::new(), Turn { records: Vec::new(), effects: Vec::new() });
        let mut tells_lease = is_news;
        for effect in done {
            if let Effect::Append(record) = effect {
                tells_lease |= matches!(record, Record::Lease(Some(_)));
                turn.records.push(record);
            } else if effect.is_urgent() {
                urgent.push(effect);
            } else {
                turn.effects.push(effect);
            }
        }
        if tells_lease {
            self.tell_lease();
        }
        if !turn.records.is_empty() || !turn.effects.is_empty() {
            self.journal.wait(turn);
        }
        urgent
    }

    /// The agent dies now, if that was to be: where in its turn.
    pub(crate) fn dies_now(&mut self) -> Option<Death> {
        match &mut self.dies {
            Some((0, death)) => Some(*death),
            Some((turns, _)) => {
                *turns -= 1;
                None
            }
            None => None,
        }
    }

    /// Tells the supervisor until when processes may run.
    fn tell_lease(&mut self) {
        let until = self.agent.as_ref().and_then(|agent| agent.ledger().lease_until());
        if let Some(until) = until
            && self.hears()
        {
            self.supervisor.lease_until = Some(self.clock.when(until));
        }
    }

    /// Whether nothing that the agent decides can become safe.
    pub(crate) fn is_stuck(&self, now: Timestamp) -> bool {
        now < self.full_until && now >= self.reserve_until
    }

    /// Whether the supervisor hears the agent.
    pub(crate) const fn hears(&self) -> bool {
        self.supervisor.is_up && self.supervisor.is_heard
    }

    /// Whether a start that waited for its records is still wanted.
    pub(crate) fn may_launch(&self, subject: &Subject) -> Result<(), FailureInfo> {
        self.agent.as_ref().map_or(Ok(()), |agent| agent.ledger().may_launch(subject))
    }

    /// The command that the agent means by a subject, if it still holds it and is heard.
    pub(crate) fn asks_about(&self, subject: &Subject) -> Option<Keyed> {
        let incarnation = self.incarnation_of(subject)?;
        self.hears().then(|| Keyed { subject: subject.clone(), incarnation })
    }

    fn incarnation_of(&self, subject: &Subject) -> Option<u64> {
        match subject {
            Subject::Attempt(attempt) => Some(self.agent.as_ref()?.ledger().attempt(attempt)?.incarnation()),
            Subject::StartTask { .. } => Some(0),
        }
    }

    /// Whether the agent holds this command under its name.
    pub(crate) fn holds(&self, key: &Keyed) -> bool {
        self.incarnation_of(&key.subject) == Some(key.incarnation)
    }

    /// What the supervisor says that it holds, as the agent is told of it: the end of what has ended follows by itself.
    pub(crate) fn held(&self) -> Input {
        let known = self.supervisor.processes.iter().filter(|(key, _)| self.holds(key));
        let held = known.map(|(key, process)| Supervised {
            subject: key.subject.clone(),
            state: SupervisedState::Running(match process {
                Process::Running { start, .. } => *start,
                Process::Exited(exit) => exit.start_time.unwrap_or(exit.end_time),
            }),
        });
        Input::Supervised(held.collect())
    }

    /// What the agent's own recount finds.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.agent.as_ref().map_or(Ok(()), |agent| agent.check().map_err(|violation| violation.to_string()))
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.agent_deadline().into_iter().chain(self.supervisor.next_deadline()).min()
    }

    /// When the agent is to be woken; never while it is stopped.
    pub(crate) fn agent_deadline(&self) -> Option<Timestamp> {
        let agent = self.agent.as_ref().filter(|_| self.frozen.is_none() && self.is_up())?;
        agent.next_deadline().map(|(at, _)| self.clock.when(at))
    }

    /// Whether a process that the supervisor does not know of cannot be started now.
    pub(crate) fn refuses(&self, key: &Keyed, now: Timestamp) -> bool {
        now < self.sick_until && !self.supervisor.processes.contains_key(key)
    }
}
