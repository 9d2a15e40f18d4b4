//! Faults that can be planted into this core, so that the simulation can show that it finds them.
//!
//! Only with the feature `planted`, which no shipped package enables (tests/tidy sees to that). Without it there is nothing
//! to set, [`Plant::has`] is a constant false, and what hangs on it is not there. Each fault is one line where the
//! rule stands that it breaks; which promise that breaks, and within how many seeds it is found, is in tests/sim.

/// A fault of the agent's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The lease is counted from the answer, not from the asking.
    LeaseFromAnswer,
    /// When the lease ends nothing is killed.
    NoKillAtLeaseEnd,
    /// Reports that wait are forgotten with the session on which they were said.
    ForgetReports,
    /// What is being staged is left out of the Hello.
    HelloForgets,
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
