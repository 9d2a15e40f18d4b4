//! Faults that can be planted into this core, so that the simulation can show that it finds them.
//!
//! Only with the feature `planted`, which no shipped package enables (tests/tidy sees to that). Without it there is nothing
//! to set, [`Plant::has`] is a constant false, and what hangs on it is not there. Each fault is one line where
//! the rule stands that it breaks; which promise that breaks, and within how many seeds it is found, is in tests/sim.

/// A fault of the controller's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The attempts of a node are counted as lost at the end of its lease, without the margin.
    SkipLeaseMargin,
    /// A restarted controller takes every lease for ended.
    RestartWithoutLease,
    /// The end of an attempt that is not current counts as the end of the one that is.
    AcceptStale,
    /// A task whose attempt was lost is never put back on the ready list.
    ForgetRequeue,
    /// Of the reports of one message only the last one is recorded; all are acknowledged.
    LoseReport,
    /// The answer to a request id is not kept.
    ForgetRequest,
    /// A task that runs at most once is tried again after its node was lost.
    RetryAtMostOnce,
    /// What an attempt took of its node is given back twice.
    ReleaseTwice,
    /// That an attempt is to be stopped is not recorded.
    ForgetRecord,
}

/// Which fault is planted, if one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plant(#[cfg(feature = "planted")] Option<Planted>);

impl Plant {
    /// This fault.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn of(fault: Planted) -> Self {
        Self(Some(fault))
    }

    /// Whether this fault is planted.
    #[cfg(feature = "planted")]
    pub(crate) fn has(self, fault: Planted) -> bool {
        self.0 == Some(fault)
    }

    /// Whether this fault is planted: none is.
    #[cfg(not(feature = "planted"))]
    pub(crate) const fn has(self, _fault: Planted) -> bool {
        false
    }
}
