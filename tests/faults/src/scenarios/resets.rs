//! Connections that break all the time, and answers that are lost: what was asked is done, and nobody hears of it.
//!
//! Nodes come back within their lease each time, so nothing may be lost or run again for it. Clients try again with the same
//! request id, and what was done the first time is not done twice.

use crate::chance::Chance;
use crate::net::{Line, Manner, Room, Way, in_a_room};
use crate::plan::Plan;
use crate::round::{Order, Report, Scenario, Turn, play};
use crate::scenarios::partition::{wire, wired};
use crate::site::Site;
use anyhow::Context;
use std::time::Duration;

/// Connections are reset, and answers to clients lost.
#[derive(Debug)]
pub struct Resets;

/// Long enough for every open stream to send something, short beside a lease.
const BURST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(600));
/// For how long clients hear nothing.
const DEAFNESS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));
/// From one to the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));

impl Scenario for Resets {
    fn name(&self) -> &'static str {
        "resets"
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
        let (_, port) = turn.site.ready()?.endpoint.rsplit_once(':').context("an endpoint without a port")?;
        let clients = Line::Clients(port.parse().context("a port")?);
        while !turn.is_over() {
            let node = Line::Node(turn.chance.index(turn.site.nodes()));
            let (kind, line, way, manner, (least, most)) = match turn.chance.below(5) {
                0 => ("answers to clients lost", clients, Way::FromController, Manner::Silent, DEAFNESS),
                1 => ("connections of clients reset", clients, Way::Both, Manner::Reset, BURST),
                2 => ("half a connection of a node reset", node, Way::FromController, Manner::Reset, BURST),
                3 => ("half a connection of a node reset", node, Way::ToController, Manner::Reset, BURST),
                _ => ("connections of a node reset", node, Way::Both, Manner::Reset, BURST),
            };
            let span = turn.chance.span(least, most);
            let cut = room.cut(line, way, manner)?;
            turn.dealt(kind, format!("{kind}: {line:?} {way:?} for {span:?}"));
            turn.pass_fully(span);
            cut.heal()?;
            let pause = turn.chance.span(PAUSE.0, PAUSE.1);
            turn.pass(pause);
        }
        Ok(())
    }

    fn run(&self, order: &Order) -> anyhow::Result<Report> {
        let nodes = usize::try_from(self.plan(&mut Chance::of(order.seed, "plan")).nodes)?;
        in_a_room(nodes, || play(self, order))
    }
}
