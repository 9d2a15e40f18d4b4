//! Faults that are planted to show that the simulation finds them, each with the promise that it breaks.
//!
//! Those of the two cores are lines of their own code behind their feature `planted`; those of the shells around them are
//! questions in the simulation's own models (`controller`, `machine`). A run has one of them or none, and whoever asks
//! is told which. Without this package's feature `planted` nobody can plant any, and the cores have no such lines.
//!
//! In a run with a fault the cores' own recounts are left out, and mostly the recovery law: they would find most faults first,
//! and what is to be shown is that the promises are enough.

use muster_agent_core::Agent;
use muster_controller_core::Settings;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// The controller counts attempts as lost at the end of a lease, without the margin.
    SkipLeaseMargin,
    /// The agent counts its lease from the answer, not from the asking.
    LeaseFromAnswer,
    /// At the end of a lease neither the agent nor the supervisor kills anything.
    NoKillAtLeaseEnd,
    /// A restarted controller takes every lease for ended.
    RestartWithoutLease,
    /// The engine lets go of what is said to nodes before its records are durable.
    DispatchBeforeCommit,
    /// The engine answers clients before what they asked for is durable.
    AnswerBeforeCommit,
    /// The controller counts the end of an attempt that is not current as that of the one that is.
    AcceptStale,
    /// The controller never puts a task back on the ready list after its attempt was lost.
    ForgetRequeue,
    /// The controller acknowledges all reports of a message and records the last.
    LoseReport,
    /// The agent forgets the reports that wait with the session on which they were said.
    ForgetReports,
    /// The agent leaves what is being staged out of its Hello.
    HelloForgets,
    /// The agent's journal is written after what it is about was done.
    JournalAfterLaunch,
    /// The controller keeps no answers to request ids.
    ForgetRequest,
    /// The controller tries a task that runs at most once again after its node was lost.
    RetryAtMostOnce,
    /// The controller gives what an attempt took of its node back twice.
    ReleaseTwice,
    /// The controller does not record that an attempt is to be stopped.
    ForgetRecord,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::SkipLeaseMargin,
        Self::LeaseFromAnswer,
        Self::NoKillAtLeaseEnd,
        Self::RestartWithoutLease,
        Self::DispatchBeforeCommit,
        Self::AnswerBeforeCommit,
        Self::AcceptStale,
        Self::ForgetRequeue,
        Self::LoseReport,
        Self::ForgetReports,
        Self::HelloForgets,
        Self::JournalAfterLaunch,
        Self::ForgetRequest,
        Self::RetryAtMostOnce,
        Self::ReleaseTwice,
        Self::ForgetRecord,
    ];

    /// What it is called on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SkipLeaseMargin => "skip-lease-margin",
            Self::LeaseFromAnswer => "lease-from-answer",
            Self::NoKillAtLeaseEnd => "no-kill-at-lease-end",
            Self::RestartWithoutLease => "restart-without-lease",
            Self::DispatchBeforeCommit => "dispatch-before-commit",
            Self::AnswerBeforeCommit => "answer-before-commit",
            Self::AcceptStale => "accept-stale",
            Self::ForgetRequeue => "forget-requeue",
            Self::LoseReport => "lose-report",
            Self::ForgetReports => "forget-reports",
            Self::HelloForgets => "hello-forgets",
            Self::JournalAfterLaunch => "journal-after-launch",
            Self::ForgetRequest => "forget-request",
            Self::RetryAtMostOnce => "retry-at-most-once",
            Self::ReleaseTwice => "release-twice",
            Self::ForgetRecord => "forget-record",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|planted| planted.name() == name)
    }

    /// The promises that it breaks: whichever is seen first.
    #[must_use]
    pub const fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::SkipLeaseMargin
            | Self::LeaseFromAnswer
            | Self::NoKillAtLeaseEnd
            | Self::RestartWithoutLease
            | Self::HelloForgets => {
                &["one live attempt", "what is over does not run", "only the current attempt runs"]
            }
            Self::DispatchBeforeCommit => &["only the current attempt runs", "only what exists runs"],
            Self::AnswerBeforeCommit => &["acknowledged means durable"],
            Self::AcceptStale => &[
                "an end that is recorded has happened",
                "what is over does not run",
                "no result is accepted from a fenced attempt",
                "no output is accepted from a fenced attempt",
            ],
            Self::ForgetRequeue => &["what waits can say why", "everything comes to rest"],
            Self::LoseReport | Self::ForgetReports => &["everything comes to rest", "at most once"],
            Self::JournalAfterLaunch => {
                &["at most once", "a release runs once on a node", "what is over does not run"]
            }
            Self::RetryAtMostOnce => &["at most once"],
            Self::ForgetRequest => &["a repeated request is done once"],
            Self::ReleaseTwice => &["nothing is oversubscribed", "who wants a node alone has it alone"],
            Self::ForgetRecord => &["the recovery law", "at most once"],
        }
    }

    /// Whether it is to be found from outside alone: by what processes do and what clients read. What is not recorded is seen
    /// only where the recovery law looks.
    #[must_use]
    pub const fn is_seen_outside(self) -> bool {
        !matches!(self, Self::ForgetRecord)
    }

    /// Within how many seeds it must be found.
    #[must_use]
    pub const fn within(self) -> u64 {
        500
    }
}

/// The settings of a controller's core, with as short a margin as the configuration allows: a tenth of the lease.
fn strict() -> Settings {
    let settings = Settings::default();
    Settings { lease_margin: settings.lease_ttl / 10, ..settings }
}

/// The settings of a controller's core with a fault.
#[cfg(feature = "planted")]
pub(crate) fn settings(planted: Option<Planted>) -> Settings {
    use muster_controller_core::{Plant, Planted as Fault};
    let fault = match planted {
        Some(Planted::SkipLeaseMargin) => Some(Fault::SkipLeaseMargin),
        Some(Planted::RestartWithoutLease) => Some(Fault::RestartWithoutLease),
        Some(Planted::AcceptStale) => Some(Fault::AcceptStale),
        Some(Planted::ForgetRequeue) => Some(Fault::ForgetRequeue),
        Some(Planted::LoseReport) => Some(Fault::LoseReport),
        Some(Planted::ForgetRequest) => Some(Fault::ForgetRequest),
        Some(Planted::RetryAtMostOnce) => Some(Fault::RetryAtMostOnce),
        Some(Planted::ReleaseTwice) => Some(Fault::ReleaseTwice),
        Some(Planted::ForgetRecord) => Some(Fault::ForgetRecord),
        Some(
            Planted::LeaseFromAnswer
            | Planted::NoKillAtLeaseEnd
            | Planted::DispatchBeforeCommit
            | Planted::AnswerBeforeCommit
            | Planted::ForgetReports
            | Planted::HelloForgets
            | Planted::JournalAfterLaunch,
        )
        | None => None,
    };
    Settings { planted: fault.map_or_else(Plant::default, Plant::of), ..strict() }
}

/// The settings of a controller's core.
#[cfg(not(feature = "planted"))]
pub(crate) fn settings(_planted: Option<Planted>) -> Settings {
    strict()
}

/// An agent's core with a fault.
#[cfg(feature = "planted")]
pub(crate) fn in_agent(agent: Agent, planted: Option<Planted>) -> Agent {
    use muster_agent_core::{Plant, Planted as Fault};
    let fault = match planted {
        Some(Planted::LeaseFromAnswer) => Fault::LeaseFromAnswer,
        Some(Planted::NoKillAtLeaseEnd) => Fault::NoKillAtLeaseEnd,
        Some(Planted::ForgetReports) => Fault::ForgetReports,
        Some(Planted::HelloForgets) => Fault::HelloForgets,
        Some(
            Planted::SkipLeaseMargin
            | Planted::RestartWithoutLease
            | Planted::DispatchBeforeCommit
            | Planted::AnswerBeforeCommit
            | Planted::AcceptStale
            | Planted::ForgetRequeue
            | Planted::LoseReport
            | Planted::JournalAfterLaunch
            | Planted::ForgetRequest
            | Planted::RetryAtMostOnce
            | Planted::ReleaseTwice
            | Planted::ForgetRecord,
        )
        | None => return agent,
    };
    agent.with_planted(Plant::of(fault))
}

/// An agent's core.
#[cfg(not(feature = "planted"))]
pub(crate) fn in_agent(agent: Agent, _planted: Option<Planted>) -> Agent {
    agent
}
