//! One attempt in custody: where it is in its life, and when it next needs a look.
//!
//! Values only; what is done to processes and files is the custodian's. An attempt goes Launching, Running,
//! Sweeping, Ended and never back; a failed launch leaves from Launching, a recovered one enters at any later
//! stage.

use std::os::fd::OwnedFd;

use muster_supervisor::record::Usage;
use muster_supervisor::{
    AttemptKey, EndedBy, ExitRecord, LostReason, Outcome, Phase, Refusal, Spec, TaskStatus,
};

use crate::clock::{monotonic_us, wall_us};
use crate::reap;
use crate::slots::{End, Slip, Slot};
use crate::spawn::Launch;

/// Pause between repeated kills of a process that does not go: long enough to be no load, short enough not to
/// be noticed.
const KILL_AGAIN_US: u64 = 100_000;
/// Longest pause between two sweeps of a group that is being killed.
const SWEEP_PAUSE_MAX_US: u64 = 100_000;
/// After this long with processes that SIGKILL does not end (stuck in the kernel), the end is reported all
/// the same.
const LEFTOVER_AFTER_US: u64 = 10_000_000;
/// Pause between sweeps of a group whose end was reported.
const LEFTOVER_PAUSE_US: u64 = 10_000_000;

/// One attempt.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) key: AttemptKey,
    pub(crate) stage: Stage,
    /// Whether it has control groups.
    pub(crate) grouped: bool,
    /// The keeper, or the main process of an attempt without one; 0 if there never was either.
    pub(crate) pid: i32,
    /// The main process, as far as it is known.
    pub(crate) main_pid: Option<i32>,
    /// Where the keeper says how the attempt ended; `None` without a keeper.
    pub(crate) slot: Option<Slot>,
    /// Whether the process is not our child, for another supervisor started it.
    pub(crate) foreign: bool,
    /// Start time of the process in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Microseconds since the epoch.
    pub(crate) started_at_us: Option<i64>,
    /// The same on the monotonic clock; 0 if there never was a process.
    pub(crate) started_monotonic_us: u64,
    pub(crate) grace_ms: u64,
    /// Whether it has a memory limit.
    pub(crate) memory_limited: bool,
    /// Whether it ends with the node's lease.
    pub(crate) leased: bool,
    /// The first reason to end it.
    pub(crate) ended_by: Option<EndedBy>,
    /// Its documents in the journal, kept for when that is rewritten.
    pub(crate) documents: Vec<u8>,
    /// Becomes readable when a process of it is about to be killed for want of memory.
    pub(crate) memory_watch: Option<OwnedFd>,
    pub(crate) due: Due,
}

/// When the attempt next needs a look, each in microseconds on the monotonic clock.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Due {
    /// The wall-clock limit.
    pub(crate) wall_clock: Option<u64>,
    /// SIGKILL.
    pub(crate) kill: Option<u64>,
    /// How often it was sent already.
    pub(crate) kills: u32,
    /// Another look at the count of OOM kills, and how many more looks after it.
    pub(crate) memory: Option<(u64, u32)>,
    /// The next sweep.
    pub(crate) sweep: Option<u64>,
    /// The end of waiting for a foreign parent to reap the process.
    pub(crate) unreaped: Option<u64>,
    /// The earliest of them, as it stands in the custodian's queue.
    pub(crate) queued: Option<u64>,
}

/// Where the attempt is in its life.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Cloned; the program does not execute yet.
    Launching(Box<Launching>),
    /// The main process runs.
    Running {
        /// Set if it is not our child.
        pidfd: Option<OwnedFd>,
    },
    /// The main process is over.
    Sweeping(Sweep),
    /// Over and recorded.
    Ended {
        record: Box<ExitRecord>,
        /// Its groups still have processes.
        leftovers: bool,
        /// The record is of no further use; only the leftovers are.
        acknowledged: bool,
    },
}

/// A launch that is under way.
#[derive(Debug)]
pub(crate) struct Launching {
    pub(crate) launch: Launch,
    pub(crate) spec: Box<Spec>,
    /// Who asked, and under which number.
    pub(crate) client: u64,
    pub(crate) request: u64,
    /// Why it failed, if it did; told once the process is reaped.
    pub(crate) failure: Option<Refusal>,
}

/// An attempt whose main process is over, while what it left behind is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    pub(crate) outcome: Outcome,
    pub(crate) ended_at_us: i64,
    pub(crate) usage: Usage,
    /// When the sweep began, on the monotonic clock.
    pub(crate) since_us: u64,
    pub(crate) rounds: u32,
}

/// How a main process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MainEnd {
    pub(crate) outcome: Outcome,
    /// Microseconds since the epoch.
    pub(crate) ended_at_us: i64,
    pub(crate) usage: Usage,
    /// Whether its keeper ended it, at the end of a lease at which nobody else did.
    pub(crate) lease_ended: bool,
}

impl MainEnd {
    /// What a keeper says.
    pub(crate) fn told(slip: &Slip) -> Self {
        let outcome = match slip.end {
            End::Status(status) | End::LeaseEnded(status) => reap::outcome(status),
            End::NotExecuted => Outcome::Lost { reason: LostReason::LaunchInterrupted },
        };
        let lease_ended = matches!(slip.end, End::LeaseEnded(_));
        Self { outcome, ended_at_us: slip.ended_at_us, usage: slip.usage, lease_ended }
    }

    /// What was found out just now.
    pub(crate) fn found(outcome: Outcome, usage: Usage) -> Self {
        Self { outcome, ended_at_us: wall_us(), usage, lease_ended: false }
    }

    /// It ended, and how cannot be known.
    pub(crate) fn lost(reason: LostReason) -> Self {
        Self::found(Outcome::Lost { reason }, Usage::default())
    }
}

impl Sweep {
    /// The first sweep after an end.
    pub(crate) fn begin(end: MainEnd) -> Self {
        Self {
            outcome: end.outcome,
            ended_at_us: end.ended_at_us,
            usage: end.usage,
            since_us: monotonic_us(),
            rounds: 0,
        }
    }

    /// When to sweep again: soon at first, for a killed process is gone within a millisecond.
    pub(crate) fn next(&self, now: u64) -> u64 {
        now + 1_000_u64.saturating_mul(1 << self.rounds.min(10)).min(SWEEP_PAUSE_MAX_US)
    }

    /// Whether its end is to be reported although processes are left.
    pub(crate) fn is_overdue(&self, now: u64) -> bool {
        now.saturating_sub(self.since_us) >= LEFTOVER_AFTER_US
    }
}

impl Due {
    /// The earliest.
    pub(crate) fn next(&self) -> Option<u64> {
        let memory = self.memory.map(|(at, _)| at);
        [self.wall_clock, self.kill, memory, self.sweep, self.unreaped].into_iter().flatten().min()
    }

    /// Forgets what concerns a running process.
    pub(crate) fn main_is_over(&mut self) {
        *self = Self { queued: self.queued, ..Self::default() };
    }

    /// Plans the next kill of something that was just killed.
    pub(crate) fn kill_again(&mut self, now: u64) {
        self.kill = Some(now + KILL_AGAIN_US);
        self.kills = self.kills.saturating_add(1);
    }

    /// Plans the next sweep of a group whose end was reported.
    pub(crate) fn sweep_leftovers(&mut self, now: u64) {
        self.sweep = Some(now + LEFTOVER_PAUSE_US);
    }
}

/// Whether a deadline has come.
pub(crate) fn is_due(deadline: Option<u64>, now: u64) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

impl Task {
    /// Plans the end by a wall-clock limit, in milliseconds from the start; `None` is no limit.
    pub(crate) fn limit_wall_clock(&mut self, wall_clock_ms: Option<u64>) {
        let end = |ms: u64| self.started_monotonic_us.saturating_add(ms.saturating_mul(1_000));
        self.due.wall_clock = wall_clock_ms.map(end);
    }

    /// Takes note of what its keeper says of the reason; the first reason stays.
    pub(crate) fn note_reason(&mut self, end: &MainEnd) {
        if end.lease_ended {
            self.ended_by.get_or_insert(EndedBy::LeaseEnded);
        }
    }

    /// Whether its main process may still run.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Launching(_) | Stage::Running { .. })
    }

    /// Whether nothing remains to be done but to report it.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// The record, if it waits for its acknowledgement.
    pub(crate) fn unacknowledged(&self) -> Option<&ExitRecord> {
        match &self.stage {
            Stage::Ended { record, acknowledged: false, .. } => Some(record),
            Stage::Ended { .. } | Stage::Launching(_) | Stage::Running { .. } | Stage::Sweeping(_) => None,
        }
    }

    /// The record of an end.
    pub(crate) fn record(&self, sweep: &Sweep, leftovers: bool) -> ExitRecord {
        let killed = sweep.usage.oom_kills.is_some_and(|kills| kills > 0);
        // Without a limit of its own it was the node that ran short, and a task that coped with the loss
        // ended by itself.
        let coped = !self.memory_limited && sweep.outcome == Outcome::Exited { code: 0 };
        let own = if killed && !coped { EndedBy::OutOfMemory } else { EndedBy::Itself };
        ExitRecord {
            key: self.key.clone(),
            outcome: sweep.outcome,
            ended_by: self.ended_by.clone().unwrap_or(own),
            started_at_us: self.started_at_us,
            ended_at_us: sweep.ended_at_us,
            usage: sweep.usage,
            leftovers,
        }
    }

    /// Its line in a list.
    pub(crate) fn status(&self) -> TaskStatus {
        let phase = match self.stage {
            Stage::Launching(_) => Phase::Launching,
            Stage::Running { .. } => Phase::Running,
            Stage::Sweeping(_) => Phase::Sweeping,
            Stage::Ended { .. } => Phase::Ended,
        };
        TaskStatus { key: self.key.clone(), phase, pid: self.shown_pid(), started_at_us: self.started_at_us }
    }

    /// The process that people are told of.
    pub(crate) fn shown_pid(&self) -> i32 {
        self.main_pid.unwrap_or(self.pid)
    }
}
