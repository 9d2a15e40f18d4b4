//! A peer that stalls: between a node and the controller everything is connected, and nothing is handed on any more.
//!
//! Each agent goes to the controller by a proxy that stops reading, throws away what it reads, or closes what is there and
//! what comes. The kernels at both ends answer for each other all the while, so only the protocol's own heartbeats can tell.

use crate::net::{Flow, Proxy};
use crate::round::{Scenario, Turn};
use crate::scenarios::partition::cut_span;
use anyhow::Context;
use std::time::Duration;

/// What is between nodes and controller stalls.
#[derive(Debug)]
pub struct Stall;

const FLOWS: [(&str, Flow); 3] =
    [("stalled", Flow::Stall), ("swallowed", Flow::Swallow), ("closed", Flow::Close)];

impl Scenario for Stall {
    fn name(&self) -> &'static str {
        "stall"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let endpoint = turn.site.ready()?.node_endpoint.clone();
        let target = endpoint.strip_prefix("https://").and_then(|address| address.parse().ok());
        let target = target.with_context(|| format!("'{endpoint}' names no address"))?;
        let mut proxies = Vec::new();
        for number in 0..turn.site.nodes() {
            let proxy = Proxy::start("127.0.0.1", target)?;
            turn.site.route(number, format!("https://{}", proxy.address()));
            proxies.push(proxy);
            restart(turn, number)?;
        }
        turn.site.wait_for_all_nodes()?;
        while !turn.is_over() {
            let node = turn.chance.index(proxies.len());
            let (kind, flow) = turn.chance.one_of(&FLOWS).copied().unwrap_or(FLOWS[0]);
            let (length, span) = cut_span(turn);
            proxies[node].set(flow);
            turn.dealt(
                kind,
                format!(
                    "what passes between node {node} and the controller is {kind} for {span:?}, {length}"
                ),
            );
            turn.pass_fully(span);
            proxies[node].set(Flow::Pass);
            turn.noted("it passes again");
            let (least, most) = (Duration::from_millis(200), turn.site.plan().lease);
            let pause = turn.chance.span(least, most);
            turn.pass(pause);
        }
        for number in 0..turn.site.nodes() {
            turn.site.route(number, endpoint.clone());
            restart(turn, number)?;
        }
        Ok(())
    }
}

/// An agent learns its way to the controller when it starts.
fn restart(turn: &mut Turn<'_>, number: usize) -> anyhow::Result<()> {
    turn.site.kill_agent(number)?;
    turn.site.start_agent(number)
}
