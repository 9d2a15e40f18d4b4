//! Every scenario, in the order in which they are listed to who asks for one that is not there.
//!
//! A new one is a file beside this, a line here, and a test of some seconds in `tests/short*.rs`. What comes next in a long run is
//! drawn from its seed (`runner.rs`), not from this order.

use super::{clock, full_disk, kill, partition, power, readers, reboot, resets, stall, stop, torn};
use crate::round::Scenario;

/// Every scenario.
#[must_use]
pub fn all() -> Vec<&'static dyn Scenario> {
    vec![
        &kill::KillController,
        &kill::KillAgents,
        &kill::KillSupervisors,
        &kill::KillAll,
        &reboot::Reboot,
        &stop::StopAgents,
        &stop::StopSupervisors,
        &stop::StopGuards,
        &stop::StopController,
        &clock::ControllerClock,
        &clock::AgentClocks,
        &partition::Partition,
        &resets::Resets,
        &stall::Stall,
        &readers::Readers,
        &full_disk::FullController,
        &full_disk::FullNode,
        &power::ControllerPower,
        &power::NodePower,
        &torn::Torn,
    ]
}
