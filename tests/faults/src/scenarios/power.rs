//! The power of a machine fails: the controller's, or a node's, in the middle of what it writes.
//!
//! The disk keeps what was synced and of the rest some or nothing; the file system finds its own way back, as it does on a real
//! machine. What the controller acknowledged rests on what was synced. A node's attempts are gone with its power, and said
//! to be.

use crate::chance::Chance;
use crate::disk::{Image, Kind, cut_power, restore_power};
use crate::plan::Plan;
use crate::round::{Scenario, Turn};
use crate::site::Site;
use nix::sys::signal::Signal;
use std::time::Duration;

/// The controller's machine loses its power.
#[derive(Debug)]
pub struct ControllerPower;

/// A node's machine loses its power.
#[derive(Debug)]
pub struct NodePower;

/// XFS takes no less. Files are sparse.
const MEGABYTES: u64 = 320;

/// From one failure to the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(4));

fn kind(chance: &mut Chance) -> Kind {
    if chance.percent(50) { Kind::Ext4 } else { Kind::Xfs }
}

fn pause(turn: &mut Turn<'_>) {
    let pause = turn.chance.span(PAUSE.0, PAUSE.1);
    turn.pass(pause);
}

impl Scenario for ControllerPower {
    fn name(&self) -> &'static str {
        "controller-power"
    }

    fn lacks(&self) -> Option<String> {
        Image::missing().map(str::to_owned)
    }

    fn prepare(&self, site: &mut Site, chance: &mut Chance) -> anyhow::Result<()> {
        let folder = site.controller_folder();
        site.hold(Image::mount(kind(chance), &folder, MEGABYTES)?);
        Ok(())
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let folder = turn.site.controller_folder();
        while !turn.is_over() {
            pause(turn);
            // A machine without power says nothing more; what it is about to do to its disk has no effect.
            turn.site.controller()?.signal(Signal::SIGSTOP)?;
            cut_power(&folder)?;
            turn.dealt("controller without power", "the controller's machine has no power");
            turn.site.end_controller()?;
            restore_power(&folder)?;
            turn.site.start_controller()?;
            turn.noted("the controller is back");
        }
        Ok(())
    }
}

impl Scenario for NodePower {
    fn name(&self) -> &'static str {
        "node-power"
    }

    fn lacks(&self) -> Option<String> {
        Image::missing().map(str::to_owned)
    }

    fn plan(&self, _chance: &mut Chance) -> Plan {
        let mut plan = Plan::new();
        // What is lost with three nodes is stopped: with so many failures that many a task meets.
        plan.rest *= 2;
        plan
    }

    fn prepare(&self, site: &mut Site, chance: &mut Chance) -> anyhow::Result<()> {
        for number in 0..site.nodes() {
            let root = site.agent_root(number);
            site.hold(Image::mount(kind(chance), &root, MEGABYTES)?);
        }
        Ok(())
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            pause(turn);
            let node = turn.chance.index(turn.site.nodes());
            let root = turn.site.agent_root(node);
            turn.site.agent(node)?.signal(Signal::SIGSTOP)?;
            // There may be none yet.
            let _ = turn.site.signal_supervisor(node, Signal::SIGSTOP);
            cut_power(&root)?;
            turn.dealt("node without power", format!("the machine of node {node} has no power"));
            turn.site.end_machine(node)?;
            restore_power(&root)?;
            // Sometimes it is away for longer than its lease.
            let most = (turn.site.plan().lease + turn.site.plan().margin) * 2;
            let away = turn.chance.span(Duration::ZERO, most);
            if turn.chance.percent(50) {
                turn.pass_fully(away);
            }
            turn.site.boot_machine(node)?;
            turn.noted(format!("the machine of node {node} boots"));
        }
        Ok(())
    }
}
