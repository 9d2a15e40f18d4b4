//! Partitions: nodes whose cable lets nothing through, one way or both, silently or with resets, for less and more than a lease.
//!
//! A node that is cut off ends its attempts before they may start elsewhere; when it is heard again, what it says of
//! them is too late. A cut that is shorter than the lease costs nothing.

use crate::chance::Chance;
use crate::net::{CONTROLLER, Line, Manner, Room, Way, in_a_room};
use crate::plan::Plan;
use crate::round::{Order, Report, Scenario, Turn, play};
use crate::site::Site;
use muster_e2e::disguise::Who;
use std::time::Duration;

/// Nodes are cut off.
#[derive(Debug)]
pub struct Partition;

/// Which way, with the word for the report.
const WAYS: [(&str, Way); 3] = [
    ("both ways", Way::Both),
    ("to the controller", Way::ToController),
    ("from the controller", Way::FromController),
];

/// A plan for a site whose nodes are at the ends of a room's cables.
#[must_use]
pub fn wired(mut plan: Plan) -> Plan {
    plan.node_listen = Some(format!("{CONTROLLER}:0"));
    plan.controller_flags.extend(["--names", CONTROLLER].map(str::to_owned));
    plan
}

/// Puts every agent of a site at the end of a cable of the room that the calling thread is in.
///
/// # Errors
/// When it is in no room.
pub fn wire(site: &mut Site) -> anyhow::Result<()> {
    let room = Room::current()?;
    site.disguise(move |who, command| match who {
        Who::Controller => command,
        Who::Agent(number) => room.at(number, &command),
    });
    Ok(())
}

/// A span that is well below a lease, or so long that the controller gives the node up.
pub(super) fn cut_span(turn: &mut Turn<'_>) -> (&'static str, Duration) {
    let (lease, margin) = (turn.site.plan().lease, turn.site.plan().margin);
    if turn.chance.percent(40) {
        ("shorter than the lease", turn.chance.span(lease / 10, lease / 2))
    } else {
        let least = lease + margin;
        ("longer than the lease", turn.chance.span(least, least + lease))
    }
}

impl Scenario for Partition {
    fn name(&self) -> &'static str {
        "partition"
    }

    fn lacks(&self) -> Option<String> {
        Room::missing().map(str::to_owned)
    }

    fn plan(&self, _chance: &mut Chance) -> Plan {
        wired(Plan::new())
    }

    fn prepare(&self, site: &mut Site, _chance: &mut Chance) -> anyhow::Result<()> {
        wire(site)
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let room = Room::current()?;
        while !turn.is_over() {
            let nodes = turn.site.nodes();
            let first = turn.chance.index(nodes);
            // Sometimes two at once: then the third has all the work.
            let second = (nodes > 1 && turn.chance.percent(25))
                .then(|| (first + 1 + turn.chance.index(nodes - 1)) % nodes);
            let mut cuts = Vec::new();
            let (length, span) = cut_span(turn);
            for node in [Some(first), second].into_iter().flatten() {
                let (words, way) = turn.chance.one_of(&WAYS).copied().unwrap_or(WAYS[0]);
                let (kind, manner) = if turn.chance.percent(30) {
                    ("partition with resets", Manner::Reset)
                } else {
                    ("silent partition", Manner::Silent)
                };
                cuts.push(room.cut(Line::Node(node), way, manner)?);
                turn.dealt(kind, format!("{kind} of node {node}, {words}, for {span:?}, {length}"));
            }
            turn.pass_fully(span);
            for cut in cuts {
                cut.heal()?;
            }
            turn.noted("all cables are whole");
            let (least, most) = (Duration::from_millis(200), turn.site.plan().lease);
            let pause = turn.chance.span(least, most);
            turn.pass(pause);
        }
        Ok(())
    }

    fn run(&self, order: &Order) -> anyhow::Result<Report> {
        let nodes = usize::try_from(self.plan(&mut Chance::of(order.seed, "plan")).nodes)?;
        in_a_room(nodes, || play(self, order))
    }
}
