//! A machine of the simulation: the real agent core over its journal, and the processes that it starts.
//!
//! Processes belong to the machine, not to the agent: they live on when the agent crashes, as under a real supervisor, and
//! their exit records wait until they are acknowledged. The supervisor also keeps the lease that the agent last told it
//! of, and each process's wall-clock limit, and ends what outlives them: a dead agent cannot. A boot ends everything, and
//! the clock that leases count on begins anew.

use muster_agent_core::input::{Ended, EndedBy, Exit, Supervised, SupervisedState};
use muster_agent_core::{Agent, Effect, Input, Monotonic, Now, Record, Subject};
use muster_model::node::{Capabilities, MachineFacts, NodeError};
use muster_model::{NamedCounts, NodeId, Resources, Timestamp, Usage};
use std::collections::BTreeMap;
use std::time::Duration;

/// GPUs of each machine.
pub(crate) const GPUS: u32 = 2;
/// Licences of each machine.
const LICENCES: u64 = 2;

/// A process, or what is left of it.
#[derive(Debug, Clone)]
pub(crate) enum Process {
    /// It runs since then, and may until then.
    Running { since: Timestamp, until: Option<Timestamp> },
    /// It ended and its record waits.
    Exited(Exit),
}

/// A machine and its agent.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    agent: Option<Agent>,
    journal: Vec<Record>,
    /// Counts starts of the agent, so that answers to an earlier one are known as such.
    pub(crate) incarnation: u64,
    pub(crate) session: Option<u64>,
    pub(crate) processes: BTreeMap<Subject, Process>,
    /// Until when processes may run, as the supervisor was told.
    pub(crate) lease_until: Option<Timestamp>,
    pub(crate) gone: bool,
    /// How often it was booted.
    pub(crate) boot: u32,
    booted_at: Timestamp,
    /// What is wrong with it now.
    pub(crate) errors: Vec<NodeError>,
    /// Until then it starts no process.
    pub(crate) sick_until: Timestamp,
    /// The journal is of an earlier boot.
    rebooted: bool,
}

/// Leases are for attempts; a start task needs no controller.
const fn is_attempt(subject: &Subject) -> bool {
    matches!(subject, Subject::Attempt(_))
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
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            id,
            agent: None,
            journal: Vec::new(),
            incarnation: 0,
            session: None,
            processes: BTreeMap::new(),
            lease_until: None,
            gone: false,
            boot: 0,
            booted_at: Timestamp::EPOCH,
            errors: Vec::new(),
            sick_until: Timestamp::EPOCH,
            rebooted: false,
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.agent.is_some() && !self.gone
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
            boot_time: self.booted_at,
        }
    }

    /// This moment on the machine's two clocks.
    fn moment(&self, now: Timestamp) -> Now {
        Now { monotonic: Monotonic::since_boot(now.since(self.booted_at)), wall: now }
    }

    /// When a time of the machine's own clock comes.
    fn when(&self, at: Monotonic) -> Timestamp {
        self.booted_at.after(at.as_duration())
    }

    /// Starts the agent on its journal and tells it what the supervisor holds.
    pub(crate) fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        self.incarnation += 1;
        let journal = std::mem::take(&mut self.journal);
        let rebooted = std::mem::take(&mut self.rebooted);
        let agent = Agent::load(journal, rebooted, self.moment(now)).with_gpus(GPUS);
        self.journal = agent.ledger().snapshot();
        self.agent = Some(agent);
        let held = self.processes.iter().map(|(subject, process)| Supervised {
            subject: subject.clone(),
            state: match process {
                Process::Running { since, .. } => SupervisedState::Running(*since),
                Process::Exited(exit) => SupervisedState::Exited(exit.clone()),
            },
        });
        let held = held.collect();
        let mut effects = self.handle(Input::Health(self.errors.clone()), now);
        effects.extend(self.handle(Input::Supervised(held), now));
        effects
    }

    /// kill -9 of the agent; its processes go on.
    pub(crate) fn crash(&mut self) {
        self.agent = None;
        self.session = None;
    }

    /// Power off and on: no process survives it. Answers those that ran.
    pub(crate) fn reboot(&mut self, now: Timestamp) -> Vec<(Subject, Exit)> {
        self.crash();
        self.boot += 1;
        self.booted_at = now;
        self.rebooted = true;
        self.lease_until = None;
        let running: Vec<Subject> = self.running().cloned().collect();
        let ends = running.into_iter().filter_map(|subject| {
            let exit = self.end_process(&subject, Ended::Rebooted, EndedBy::Itself, now)?;
            Some((subject, exit))
        });
        ends.collect()
    }

    /// Tells the agent something and keeps its journal; what else is to be done is returned.
    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let moment = self.moment(now);
        let Some(agent) = &mut self.agent else { return Vec::new() };
        let done = agent.handle(input, moment);
        let mut effects = Vec::new();
        for effect in done {
            if let Effect::Append(record) = effect {
                if let Record::Lease(until) = &record {
                    self.lease_until = until.map(|until| self.when(until));
                }
                self.journal.push(record);
            } else {
                effects.push(effect);
            }
        }
        effects
    }

    /// What the agent's own recount finds.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.agent.as_ref().map_or(Ok(()), |agent| agent.check().map_err(|violation| violation.to_string()))
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let agent = self.agent.as_ref().and_then(Agent::next_deadline);
        let agent = agent.map(|(at, _)| self.when(at));
        let lease = self.lease_until.filter(|_| self.running().any(is_attempt));
        let limits = self.processes.values().filter_map(|process| match process {
            Process::Running { until, .. } => *until,
            Process::Exited(_) => None,
        });
        agent.into_iter().chain(lease).chain(limits.min()).min()
    }

    /// Whether a process that the supervisor does not know of cannot be started now.
    pub(crate) fn refuses(&self, subject: &Subject, now: Timestamp) -> bool {
        now < self.sick_until && !self.processes.contains_key(subject)
    }

    /// Starts a process, unless the supervisor knows of it: then this was asked before.
    pub(crate) fn launch(&mut self, subject: &Subject, wall_clock: Option<Duration>, now: Timestamp) -> bool {
        if self.processes.contains_key(subject) {
            return false;
        }
        let until = wall_clock.map(|limit| now.after(limit));
        self.processes.insert(subject.clone(), Process::Running { since: now, until });
        true
    }

    /// Sets another wall-clock limit, counted from the start of the process.
    pub(crate) fn limit(&mut self, subject: &Subject, wall_clock: Option<Duration>) {
        if let Some(Process::Running { since, until }) = self.processes.get_mut(subject) {
            *until = wall_clock.map(|limit| since.after(limit));
        }
    }

    /// The processes that the supervisor ends now, and why.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<(Subject, EndedBy)> {
        let lease_over = self.lease_until.is_some_and(|at| at <= now);
        let due = self.processes.iter().filter_map(|(subject, process)| match process {
            Process::Running { .. } if lease_over && is_attempt(subject) => {
                Some((subject.clone(), EndedBy::LeaseEnded))
            }
            Process::Running { until: Some(until), .. } if *until <= now => {
                Some((subject.clone(), EndedBy::WallClock))
            }
            Process::Running { .. } | Process::Exited(_) => None,
        });
        due.collect()
    }

    /// Ends a process, if it still runs; its exit record.
    pub(crate) fn end_process(
        &mut self,
        subject: &Subject,
        ended: Ended,
        by: EndedBy,
        now: Timestamp,
    ) -> Option<Exit> {
        let Some(Process::Running { since, .. }) = self.processes.get(subject) else { return None };
        let exit = Exit {
            ended,
            by,
            start_time: Some(*since),
            end_time: now,
            usage: Usage::default(),
            oom_kills: u64::from(by == EndedBy::OutOfMemory),
            refused_processes: 0,
        };
        self.processes.insert(subject.clone(), Process::Exited(exit.clone()));
        Some(exit)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Subject> {
        self.processes.iter().filter_map(|(subject, process)| match process {
            Process::Running { .. } => Some(subject),
            Process::Exited(_) => None,
        })
    }
}
