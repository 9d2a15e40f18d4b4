//! Machines that lose power: every process of a node is gone at once, and the agent that comes back finds another boot.
//!
//! The folder stays as the processes left it; what a real loss of power does to a disk is for the tests of the journal.

use crate::round::{Scenario, Turn};
use std::time::Duration;

/// Between two reboots.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(4));

/// Reboots nodes.
#[derive(Debug)]
pub struct Reboot;

impl Scenario for Reboot {
    fn name(&self) -> &'static str {
        "reboot"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
            let number = turn.chance.index(turn.site.nodes());
            turn.dealt("reboot of a node", format!("power loss of node {number}"));
            turn.site.reboot_machine(number)?;
            turn.noted(format!("node {number} boots"));
        }
        Ok(())
    }
}
