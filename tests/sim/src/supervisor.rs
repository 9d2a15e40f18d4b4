//! A machine's supervisor: the processes that live on without their agent, and their dead man's switch.
//!
//! Processes belong to the machine. They live on when the agent or the supervisor itself dies, and how they ended is kept
//! until it is acknowledged. The lease that the agent last told of is kept by the keeper of each process, which ends it with
//! the lease whoever else is dead or frozen; wall-clock limits are kept by the supervisor. While that is down nothing can be
//! asked or started, and nothing is told.

use muster_agent_core::Subject;
use muster_agent_core::input::{Ended, EndedBy, Exit};
use muster_model::{Timestamp, Usage};
use std::collections::BTreeMap;

/// A command, and of which of the tasks that have had its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Keyed {
    pub(crate) subject: Subject,
    pub(crate) incarnation: u64,
}

/// A process, or what is left of it. Times are true ones, but for those of the record, which are the machine's.
#[derive(Debug, Clone)]
pub(crate) enum Process {
    /// It runs since then (and, by the machine's clock, since `start`), and may until then.
    Running { since: Timestamp, start: Timestamp, until: Option<Timestamp>, dying: Option<EndedBy> },
    /// It ended and its record waits.
    Exited(Exit),
}

/// A supervisor and what it holds.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) is_up: bool,
    /// Whether the agent is connected to it.
    pub(crate) is_heard: bool,
    pub(crate) processes: BTreeMap<Keyed, Process>,
    /// Until when processes may run.
    pub(crate) lease_until: Option<Timestamp>,
    /// It ends nothing when the lease ends: a fault that is planted.
    pub(crate) is_blind: bool,
}

/// Leases are for attempts; a start task needs no controller.
const fn is_attempt(key: &Keyed) -> bool {
    matches!(key.subject, Subject::Attempt(_))
}

impl Supervisor {
    pub(crate) const fn new(is_blind: bool) -> Self {
        Self { is_up: true, is_heard: false, processes: BTreeMap::new(), lease_until: None, is_blind }
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let lease = self.lease_until.filter(|_| !self.is_blind);
        let due = self.processes.iter().filter_map(|(key, process)| match process {
            Process::Running { until, dying: None, .. } => {
                let lease = lease.filter(|_| is_attempt(key));
                until.iter().copied().filter(|_| self.is_up).chain(lease).min()
            }
            Process::Running { dying: Some(_), .. } | Process::Exited(_) => None,
        });
        due.min()
    }

    /// The processes that are ended now, and why.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<(Keyed, EndedBy)> {
        let lease_over = !self.is_blind && self.lease_until.is_some_and(|at| at <= now);
        let due = self.processes.iter().filter_map(|(key, process)| match process {
            Process::Running { dying: None, .. } if lease_over && is_attempt(key) => {
                Some((key.clone(), EndedBy::LeaseEnded))
            }
            Process::Running { until: Some(until), dying: None, .. } if self.is_up && *until <= now => {
                Some((key.clone(), EndedBy::WallClock))
            }
            Process::Running { .. } | Process::Exited(_) => None,
        });
        due.collect()
    }

    /// A process is being ended: the first reason counts. Answers whether this is the first.
    pub(crate) fn begin_end(&mut self, key: &Keyed, by: EndedBy) -> bool {
        match self.processes.get_mut(key) {
            Some(Process::Running { dying, .. }) if dying.is_none() => {
                *dying = Some(by);
                true
            }
            Some(Process::Running { .. } | Process::Exited(_)) | None => false,
        }
    }

    /// Ends a process, if it still runs; its exit record, by the machine's clock.
    pub(crate) fn end(&mut self, key: &Keyed, ended: Ended, by: EndedBy, wall: Timestamp) -> Option<Exit> {
        let Some(Process::Running { start, dying, .. }) = self.processes.get(key) else { return None };
        let exit = Exit {
            ended,
            by: dying.unwrap_or(by),
            start_time: Some(*start),
            end_time: wall,
            usage: Usage::default(),
            oom_kills: u64::from(by == EndedBy::OutOfMemory),
            refused_processes: 0,
        };
        self.processes.insert(key.clone(), Process::Exited(exit.clone()));
        Some(exit)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Keyed> {
        self.processes.iter().filter_map(|(key, process)| match process {
            Process::Running { .. } => Some(key),
            Process::Exited(_) => None,
        })
    }
}
