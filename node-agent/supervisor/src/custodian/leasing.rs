//! The node's lease: taken from the agent, handed on to the keepers, kept for a later supervisor, and what is done at
//! its end.
//!
//! The agent may be killed or frozen while its tasks run on; the controller places them elsewhere once the
//! lease is over. So they are ended here, without the agent and at once: the agent had its time to be gentle
//! before. Where the supervisor is dead or frozen as well, their keepers do it a moment later (`keeper.rs`). A lease
//! that cannot be read counts as over, for that harms only this node. What runs without a lease (a start task, say) is
//! left alone.
//!
//! Invariant: while the lease in force has ended, no attempt that has one is live but those being killed.

use nix::sys::signal::Signal;

use muster_supervisor::EndedBy;
use muster_supervisor::lease::Lease;

use super::Custodian;
use crate::clock::boottime_us;
use crate::keeper::Leash;
use crate::lease_word;
use crate::log;
use crate::processes;
use crate::task::Task;

/// An end that has passed under any boot.
const OVER: Option<u64> = Some(0);

/// What keepers can read of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeepersLease {
    /// Nothing of this supervisor's.
    Untold,
    /// When they act, in microseconds of `CLOCK_BOOTTIME`; `None` is never.
    Told(Option<u64>),
}

impl Custodian {
    /// Takes a lease in place of the earlier one.
    pub(super) fn lease(&mut self, until_us: Option<u64>) {
        self.put_in_force(until_us);
        let lease = Lease { boot_id: self.ground.boot_id.clone(), until_us };
        if let Err(errno) = self.ground.state.set_lease(&lease) {
            // It holds for this supervisor. To refuse it would end the tasks of a node for want of space.
            log::warn("cannot record the lease; a restart finds the one before", &[("error", &errno)]);
        }
    }

    /// Takes the lease that an earlier supervisor kept. To be called once everything is taken over, before
    /// anything is asked or waited for.
    pub(super) fn recover_lease(&mut self) {
        let until_us = match self.ground.state.lease() {
            Ok(Some(lease)) if lease.boot_id == self.ground.boot_id => lease.until_us,
            Ok(_) => None,
            Err(error) => {
                log::error("the lease cannot be read and counts as ended", &[("error", &error)]);
                OVER
            }
        };
        self.put_in_force(until_us);
    }

    fn put_in_force(&mut self, until_us: Option<u64>) {
        if let Err(errno) = self.ground.expiry.set(until_us) {
            log::error("cannot set the timer of the lease", &[("error", &errno)]);
        }
        self.tell_keepers(until_us);
        self.end_all_if_over();
    }

    /// Hands the lease on to the keepers. They read it when the one that they know ends; only of one that ends before
    /// that must they hear.
    fn tell_keepers(&mut self, until_us: Option<u64>) {
        let act_at_us = until_us.map(|until_us| lease_word::act_at(until_us, boottime_us()));
        if let Err(errno) = lease_word::write(self.ground.slots.file(), act_at_us) {
            let words = match self.keepers_lease {
                KeepersLease::Untold => "cannot take the space for the lease: keepers will not hold it",
                KeepersLease::Told(_) => {
                    "cannot hand on the lease: keepers will end their tasks by the one before"
                }
            };
            log::error(words, &[("error", &errno)]);
            return;
        }
        let end = |act_at_us: Option<u64>| act_at_us.unwrap_or(u64::MAX);
        let is_earlier = match self.keepers_lease {
            // What keepers of an earlier supervisor know is not known here.
            KeepersLease::Untold => true,
            KeepersLease::Told(before) => end(act_at_us) < end(before),
        };
        self.keepers_lease = KeepersLease::Told(act_at_us);
        if !is_earlier {
            return;
        }
        let holds_lease = |task: &&Task| task.leased && task.is_live() && task.slot.is_some() && task.pid > 1;
        let keepers: Vec<_> = self.tasks.values().filter(holds_lease).map(|task| task.pid).collect();
        // They wait for it, those of earlier builds block it, and to everybody else it means nothing.
        processes::signal(&keepers, Signal::SIGCHLD);
    }

    /// What the keeper of an attempt that is about to be cloned knows of the lease.
    pub(super) fn leash(&self, leased: bool) -> Leash {
        match self.keepers_lease {
            KeepersLease::Told(act_at_us) if leased => Leash::Held { act_at_us },
            KeepersLease::Told(_) | KeepersLease::Untold => Leash::Free,
        }
    }

    /// The timer of the lease has rung.
    pub(crate) fn lease_ready(&mut self) {
        self.ground.expiry.rang();
        self.end_all_if_over();
    }

    fn end_all_if_over(&mut self) {
        if !self.ground.expiry.is_over() {
            return;
        }
        let live = self.numbers(|task| task.leased && task.is_live());
        if !live.is_empty() {
            log::warn("the lease has ended: ending all attempts", &[("attempts", &live.len())]);
        }
        self.end_at_once(&live, &EndedBy::LeaseEnded);
    }
}
