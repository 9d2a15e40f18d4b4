//! Disks that are full for a while: the controller's, and a node's.
//!
//! Nothing that was acknowledged may be lost for it, what runs goes on, and what ended meanwhile is recorded when there is room
//! again. Daemons are killed and started on full disks too.

use crate::chance::Chance;
use crate::disk::{Ballast, Image, Kind};
use crate::plan::Plan;
use crate::round::{Scenario, Turn};
use crate::site::Site;
use anyhow::ensure;
use muster_e2e::Tmpfs;
use std::path::Path;
use std::time::Duration;

/// The disk under the controller's data is full.
#[derive(Debug)]
pub struct FullController;

/// The disk under a node's directory is full.
#[derive(Debug)]
pub struct FullNode;

/// Room for a log at its largest and what a round adds; files are sparse.
const CONTROLLER_MEGABYTES: u32 = 256;
/// Room for what a node takes ahead, and for tasks.
const NODE_MEGABYTES: u32 = 128;

/// From one full disk to the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// Puts a small disk on a folder: in memory, or ext4 in a file.
fn small_disk(site: &mut Site, folder: &Path, megabytes: u32, chance: &mut Chance) -> anyhow::Result<()> {
    if Image::missing().is_none() && chance.percent(60) {
        site.hold(Image::mount(Kind::Ext4, folder, u64::from(megabytes))?);
    } else {
        site.hold(Tmpfs::mount(folder, megabytes)?);
    }
    Ok(())
}

fn lacks_root() -> Option<String> {
    (!nix::unistd::geteuid().is_root()).then(|| "root (run the tests as root)".to_owned())
}

/// How long a disk is full: sometimes for longer than a lease, which it must not cost.
fn full_span(turn: &mut Turn<'_>) -> Duration {
    let most = (turn.site.plan().lease + turn.site.plan().margin) * 2;
    turn.chance.span(Duration::from_millis(500), most)
}

fn pause(turn: &mut Turn<'_>) {
    let pause = turn.chance.span(PAUSE.0, PAUSE.1);
    turn.pass(pause);
}

impl Scenario for FullController {
    fn name(&self) -> &'static str {
        "full-controller"
    }

    fn lacks(&self) -> Option<String> {
        lacks_root()
    }

    fn prepare(&self, site: &mut Site, chance: &mut Chance) -> anyhow::Result<()> {
        let folder = site.controller_folder();
        small_disk(site, &folder, CONTROLLER_MEGABYTES, chance)
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let folder = turn.site.controller_folder();
        while !turn.is_over() {
            let span = full_span(turn);
            let ballast = Ballast::fill(&folder)?;
            turn.dealt("controller's disk full", format!("the controller's disk is full for {span:?}"));
            if turn.chance.percent(35) {
                turn.pass_fully(span / 2);
                start_while_full(turn, ballast, span / 2)?;
            } else {
                turn.pass_fully(span);
                drop(ballast);
            }
            turn.noted("the controller's disk has room");
            ensure!(turn.site.controller()?.is_running(), "a full disk has ended the controller");
            pause(turn);
        }
        Ok(())
    }
}

/// Kills the controller and starts it on the full disk, which gets room after `span`. It may wait for that, or say what is
/// wrong and end: then it is started again as a service manager does.
fn start_while_full(turn: &mut Turn<'_>, ballast: Ballast, span: Duration) -> anyhow::Result<()> {
    turn.site.kill_controller()?;
    turn.dealt("controller killed on a full disk", "the controller is killed and started on its full disk");
    let freed = std::thread::spawn(move || {
        std::thread::park_timeout(span);
        drop(ballast);
    });
    let started = turn.site.start_controller();
    freed.join().map_err(|_| anyhow::anyhow!("the thread that frees the disk panicked"))?;
    if let Err(error) = started {
        turn.dealt("controller started in vain", format!("no start on a full disk: {error:#}"));
        turn.site.start_controller()?;
    }
    Ok(())
}

impl Scenario for FullNode {
    fn name(&self) -> &'static str {
        "full-node"
    }

    fn lacks(&self) -> Option<String> {
        lacks_root()
    }

    fn plan(&self, _chance: &mut Chance) -> Plan {
        let mut plan = Plan::new();
        // Room runs out for tasks too: what fails for it is put elsewhere, with pauses that grow.
        plan.rest *= 2;
        plan
    }

    fn prepare(&self, site: &mut Site, chance: &mut Chance) -> anyhow::Result<()> {
        for number in 0..site.nodes() {
            let root = site.agent_root(number);
            small_disk(site, &root, NODE_MEGABYTES, chance)?;
        }
        Ok(())
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let node = turn.chance.index(turn.site.nodes());
            let span = full_span(turn);
            let ballast = Ballast::fill(&turn.site.agent_root(node))?;
            turn.dealt("node's disk full", format!("the disk of node {node} is full for {span:?}"));
            turn.pass_fully(span / 2);
            ensure!(turn.site.agent(node)?.is_running(), "a full disk has ended agent {node}");
            if turn.chance.percent(35) {
                turn.dealt(
                    "agent killed on a full disk",
                    format!("agent {node} is killed and started on its full disk"),
                );
                turn.site.end_agent(node)?;
                turn.site.start_agent(node)?;
            }
            turn.pass_fully(span / 2);
            drop(ballast);
            turn.noted(format!("the disk of node {node} has room"));
            revive(turn, node)?;
            pause(turn);
        }
        Ok(())
    }
}

/// Starts an agent again that could not start on its full disk, as a service manager does.
fn revive(turn: &mut Turn<'_>, node: usize) -> anyhow::Result<()> {
    if turn.site.agent(node)?.is_running() {
        return Ok(());
    }
    turn.dealt("agent started in vain", format!("agent {node} has ended on its full disk"));
    turn.site.end_agent(node)?;
    turn.site.start_agent(node)
}
