//! kill -9, again and again, under load: of the controller, of agents, of supervisors, and of all of them in any mixture.
//!
//! What was killed comes back after a moment, some agents only after their lease has ended.

use crate::round::{Scenario, Turn};
use std::time::Duration;

/// Between two blows.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2500));

/// For how long something killed stays away.
const AWAY: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(1200));

/// Kills the controller.
#[derive(Debug)]
pub struct KillController;

/// Kills agents.
#[derive(Debug)]
pub struct KillAgents;

/// Kills supervisors.
#[derive(Debug)]
pub struct KillSupervisors;

/// Kills anything, also several at one time.
#[derive(Debug)]
pub struct KillAll;

impl Scenario for KillController {
    fn name(&self) -> &'static str {
        "kill-controller"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
            kill_controller(turn)?;
        }
        Ok(())
    }
}

impl Scenario for KillAgents {
    fn name(&self) -> &'static str {
        "kill-agents"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
            let is_long = turn.chance.percent(25);
            kill_agent(turn, is_long)?;
        }
        Ok(())
    }
}

impl Scenario for KillSupervisors {
    fn name(&self) -> &'static str {
        "kill-supervisors"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
            kill_supervisor(turn)?;
        }
        Ok(())
    }
}

impl Scenario for KillAll {
    fn name(&self) -> &'static str {
        "kill-all"
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        while !turn.is_over() {
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
            match turn.chance.below(6) {
                0 => kill_controller(turn)?,
                1 => kill_agent(turn, false)?,
                2 => kill_supervisor(turn)?,
                3 => kill_agent(turn, true)?,
                4 => kill_node(turn)?,
                _ => kill_both_daemons(turn)?,
            }
        }
        Ok(())
    }
}

/// Kills the controller and starts it again.
fn kill_controller(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    turn.dealt("kill of the controller", "kill -9 of the controller");
    turn.site.kill_controller()?;
    let away = turn.chance.span(AWAY.0, AWAY.1);
    turn.pass_fully(away);
    turn.site.start_controller()?;
    turn.noted("the controller is back");
    Ok(())
}

/// Kills an agent and starts it again, after its lease has ended if `is_long`.
fn kill_agent(turn: &mut Turn<'_>, is_long: bool) -> anyhow::Result<()> {
    let number = turn.chance.index(turn.site.nodes());
    let fault = if is_long { "kill of an agent past its lease" } else { "kill of an agent" };
    turn.dealt(fault, format!("kill -9 of agent {number}"));
    turn.site.kill_agent(number)?;
    let plan = turn.site.plan();
    let (lease, margin) = (plan.lease, plan.margin);
    let away = turn.chance.span(AWAY.0, AWAY.1) + if is_long { lease + margin } else { Duration::ZERO };
    turn.pass_fully(away);
    turn.site.start_agent(number)?;
    turn.noted(format!("agent {number} is started"));
    Ok(())
}

/// Kills a supervisor; its agent starts another one.
fn kill_supervisor(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let number = turn.chance.index(turn.site.nodes());
    turn.site.wait_for_supervisor(number)?;
    turn.dealt("kill of a supervisor", format!("kill -9 of supervisor {number}"));
    turn.site.kill_supervisor(number)
}

/// Kills an agent and its supervisor; the tasks go on.
fn kill_node(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let number = turn.chance.index(turn.site.nodes());
    turn.site.wait_for_supervisor(number)?;
    turn.dealt("kill of agent and supervisor", format!("kill -9 of agent {number} and its supervisor"));
    turn.site.kill_agent(number)?;
    turn.site.kill_supervisor(number)?;
    let away = turn.chance.span(AWAY.0, AWAY.1);
    turn.pass_fully(away);
    turn.site.start_agent(number)?;
    turn.noted(format!("agent {number} is started"));
    Ok(())
}

/// Kills the controller and an agent, which come back in any order.
fn kill_both_daemons(turn: &mut Turn<'_>) -> anyhow::Result<()> {
    let number = turn.chance.index(turn.site.nodes());
    turn.dealt("kill of controller and agent", format!("kill -9 of the controller and agent {number}"));
    turn.site.kill_controller()?;
    turn.site.kill_agent(number)?;
    let away = turn.chance.span(AWAY.0, AWAY.1);
    turn.pass_fully(away);
    if turn.chance.percent(50) {
        turn.site.start_agent(number)?;
        turn.site.start_controller()?;
    } else {
        turn.site.start_controller()?;
        turn.site.start_agent(number)?;
    }
    turn.noted(format!("the controller is back, agent {number} is started"));
    Ok(())
}
