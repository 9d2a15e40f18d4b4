//! The node's lease: taken from the agent, kept for a later supervisor, and what is done at its end.
//!
//! The agent may be killed or frozen while its tasks run on; the controller places them elsewhere once the
//! lease is over. So they are ended here, without the agent and at once: the agent had its time to be gentle
//! before. A lease that cannot be read counts as over, for that harms only this node.
//!
//! Invariant: while the lease in force has ended, no attempt is live but those being killed.

use muster_supervisor::EndedBy;
use muster_supervisor::lease::Lease;

use super::Custodian;
use crate::log;
use crate::task::Task;

/// An end that has passed under any boot.
const OVER: Option<u64> = Some(0);

impl Custodian {
    /// Takes a lease in place of the earlier one.
    pub(super) fn lease(&mut self, until_us: Option<u64>) {
        let lease = Lease { boot_id: self.ground.boot_id.clone(), until_us };
        if let Err(errno) = self.ground.state.set_lease(&lease) {
            // It holds for this supervisor. To refuse it would end the tasks of a node for want of space.
            log::warn("cannot record the lease; a restart finds the one before", &[("error", &errno)]);
        }
        self.put_in_force(until_us);
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
        self.end_all_if_over();
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
        let live = self.numbers(Task::is_live);
        if !live.is_empty() {
            log::warn("the lease has ended: ending all tasks", &[("attempts", &live.len())]);
        }
        for number in live {
            self.end(number, EndedBy::LeaseEnded, 0);
        }
    }
}
