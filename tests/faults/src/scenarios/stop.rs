//! SIGSTOP: processes that are there and do nothing, for a moment or for longer than a lease, and then go on as if nothing had been.
//!
//! The hard case of fencing: a frozen agent holds sessions open that nobody reads, and when it wakes it believes in leases that have
//! long ended. By then the supervisor must have ended its tasks, or, if it was frozen too, each task's keeper.

use crate::round::{Scenario, Turn};
use nix::sys::signal::Signal;
use std::time::Duration;

/// Between two stops.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1500));

/// How much longer than lease and margin a long stop is.
const BEYOND: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(2500));

/// In how many of a hundred cases a stop is longer than the lease.
const LONG_PERCENT: u64 = 60;

/// Stops agents.
#[derive(Debug)]
pub struct StopAgents;

/// Stops supervisors.
#[derive(Debug)]
pub struct StopSupervisors;

/// Stops an agent and its supervisor together: the keepers of the tasks are all that is left to end them.
#[derive(Debug)]
pub struct StopGuards;

/// Stops the controller.
#[derive(Debug)]
pub struct StopController;

impl Scenario for StopAgents {
    fn name(&self) -> &'static str {
        "stop-agents"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let number = turn.chance.index(turn.site.nodes());
            let (span, is_long) = how_long(turn);
            let fault = if is_long { "stop of an agent past its lease" } else { "stop of an agent" };
            turn.dealt(fault, format!("SIGSTOP of agent {number}"));
            turn.site.agent(number)?.signal(Signal::SIGSTOP)?;
            turn.pass_fully(span);
            turn.site.agent(number)?.signal(Signal::SIGCONT)?;
            turn.noted(format!("SIGCONT of agent {number}"));
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
        }
        Ok(())
    }
}

impl Scenario for StopSupervisors {
    fn name(&self) -> &'static str {
        "stop-supervisors"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let number = turn.chance.index(turn.site.nodes());
            let (span, is_long) = how_long(turn);
            let fault = if is_long { "stop of a supervisor past its lease" } else { "stop of a supervisor" };
            let supervisor = turn.site.wait_for_supervisor(number)?;
            turn.dealt(fault, format!("SIGSTOP of supervisor {number}"));
            nix::sys::signal::kill(supervisor, Signal::SIGSTOP)?;
            turn.pass_fully(span);
            // Its agent may have taken it for dead and ended it, which is as good.
            let _ = nix::sys::signal::kill(supervisor, Signal::SIGCONT);
            turn.noted(format!("SIGCONT of supervisor {number}"));
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
        }
        Ok(())
    }
}

impl Scenario for StopGuards {
    fn name(&self) -> &'static str {
        "stop-guards"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let number = turn.chance.index(turn.site.nodes());
            let (span, is_long) = how_long(turn);
            let fault = if is_long {
                "stop of agent and supervisor past the lease"
            } else {
                "stop of agent and supervisor"
            };
            let supervisor = turn.site.wait_for_supervisor(number)?;
            turn.dealt(fault, format!("SIGSTOP of agent and supervisor {number}"));
            nix::sys::signal::kill(supervisor, Signal::SIGSTOP)?;
            turn.site.agent(number)?.signal(Signal::SIGSTOP)?;
            turn.pass_fully(span);
            let agent_first = turn.chance.percent(50);
            if agent_first {
                turn.site.agent(number)?.signal(Signal::SIGCONT)?;
            }
            // Nobody else has ended it: its agent was as still as itself.
            nix::sys::signal::kill(supervisor, Signal::SIGCONT)?;
            if !agent_first {
                turn.site.agent(number)?.signal(Signal::SIGCONT)?;
            }
            turn.noted(format!("SIGCONT of agent and supervisor {number}"));
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
        }
        Ok(())
    }
}

impl Scenario for StopController {
    fn name(&self) -> &'static str {
        "stop-controller"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let (span, is_long) = how_long(turn);
            let fault =
                if is_long { "stop of the controller past all leases" } else { "stop of the controller" };
            turn.dealt(fault, "SIGSTOP of the controller");
            turn.site.controller()?.signal(Signal::SIGSTOP)?;
            turn.pass_fully(span);
            turn.site.controller()?.signal(Signal::SIGCONT)?;
            turn.noted("SIGCONT of the controller");
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
        }
        Ok(())
    }
}

/// How long the next stop is, and whether that is longer than lease and margin.
fn how_long(turn: &mut Turn<'_>) -> (Duration, bool) {
    let plan = turn.site.plan();
    let (lease, margin) = (plan.lease, plan.margin);
    if turn.chance.percent(LONG_PERCENT) {
        (lease + margin + turn.chance.span(BEYOND.0, BEYOND.1), true)
    } else {
        (turn.chance.span(Duration::from_millis(100), lease / 2), false)
    }
}
