//! A machine of the simulation: the real agent core over its journal, and the processes that it starts.
//!
//! Processes belong to the machine, not to the agent: they live on when the agent crashes, as under a real supervisor, and
//! their exit records wait until they are acknowledged. The supervisor also keeps the lease that the agent last told it
//! of, and ends every process when it runs out: a dead agent cannot.

use muster_agent_core::input::{Ended, EndedBy, Exit, Supervised, SupervisedState};
use muster_agent_core::{Agent, Effect, Input, Monotonic, Now, Record, Subject};
use muster_model::{AttemptId, NodeId, Timestamp, Usage};
use std::collections::BTreeMap;

/// A process, or what is left of it.
#[derive(Debug, Clone)]
pub(crate) enum Process {
    /// It runs since then.
    Running(Timestamp),
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
    pub(crate) processes: BTreeMap<AttemptId, Process>,
    /// Until when processes may run, as the supervisor was told.
    pub(crate) lease_until: Option<Timestamp>,
    pub(crate) gone: bool,
}

/// The moment on a machine whose clock runs as the world's does.
pub(crate) fn moment(now: Timestamp) -> Now {
    let micros = u64::try_from(now.as_micros()).unwrap_or(0);
    Now { monotonic: Monotonic::since_boot(std::time::Duration::from_micros(micros)), wall: now }
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
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.agent.is_some() && !self.gone
    }

    /// Starts the agent on its journal and tells it what the supervisor holds.
    pub(crate) fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        self.incarnation += 1;
        self.agent = Some(Agent::load(self.journal.iter().cloned(), false, moment(now)));
        let held = self.processes.iter().map(|(attempt, process)| Supervised {
            subject: Subject::Attempt(attempt.clone()),
            state: match process {
                Process::Running(since) => SupervisedState::Running(*since),
                Process::Exited(exit) => SupervisedState::Exited(exit.clone()),
            },
        });
        let held = held.collect();
        self.handle(Input::Supervised(held), now)
    }

    /// kill -9 of the agent; its processes go on.
    pub(crate) fn crash(&mut self) {
        self.agent = None;
        self.session = None;
    }

    /// Tells the agent something and keeps its journal; what else is to be done is returned.
    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let Some(agent) = &mut self.agent else { return Vec::new() };
        let mut effects = Vec::new();
        for effect in agent.handle(input, moment(now)) {
            match effect {
                Effect::Append(record) => {
                    if let Record::Lease(until) = &record {
                        self.lease_until = until.map(|until| Timestamp::EPOCH.after(until.as_duration()));
                    }
                    self.journal.push(record);
                }
                other @ (Effect::Send { .. }
                | Effect::CloseSession(_)
                | Effect::Stage(_)
                | Effect::Launch { .. }
                | Effect::Cancel(_)
                | Effect::Kill { .. }
                | Effect::AcknowledgeExit(_)
                | Effect::Collect { .. }
                | Effect::RemoveDirectories(_)
                | Effect::Leave
                | Effect::Stopped) => effects.push(other),
            }
        }
        effects
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let agent = self.agent.as_ref().and_then(Agent::next_deadline);
        let agent = agent.map(|(at, _)| Timestamp::EPOCH.after(at.as_duration()));
        let supervisor = self.lease_until.filter(|_| self.running().next().is_some());
        agent.into_iter().chain(supervisor).min()
    }

    /// Ends a process, if it still runs; its exit record.
    pub(crate) fn end_process(
        &mut self,
        attempt: &AttemptId,
        ended: Ended,
        by: EndedBy,
        now: Timestamp,
    ) -> Option<Exit> {
        let Some(Process::Running(since)) = self.processes.get(attempt) else { return None };
        let exit = Exit {
            ended,
            by,
            start_time: Some(*since),
            end_time: now,
            usage: Usage::default(),
            oom_kills: 0,
        };
        self.processes.insert(attempt.clone(), Process::Exited(exit.clone()));
        Some(exit)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &AttemptId> {
        self.processes.iter().filter_map(|(attempt, process)| match process {
            Process::Running(_) => Some(attempt),
            Process::Exited(_) => None,
        })
    }
}
