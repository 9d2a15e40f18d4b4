//! Wall clocks that jump by minutes and days, forwards and back, under the running controller and under running agents.
//!
//! The daemons read their wall clock through a library that puts it off (`wall/`); monotonic clocks and timers stay the kernel's.
//! Leases count monotonic time and must not care. Clients keep the right time for the controller that they talk to.

use crate::chance::Chance;
use crate::plan::Plan;
use crate::round::{Scenario, Turn};
use crate::site::Site;
use crate::wall::{WallClock, compiler};
use muster_e2e::disguise::Who;
use std::time::Duration;

/// How far clocks jump, in seconds: seconds, minutes, an hour, days, each way, and back to the right time.
const JUMPS: [i64; 11] = [2, -2, 90, -90, 600, -600, 3600, -3600, 200_000, -200_000, 0];

/// How far behind a controller's clock may be when it is started, in seconds: it refuses to start at a time before its own certificate
/// authority was made, which begins an hour before that.
const RESTART_MIN: i64 = -600;

/// Between two jumps.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2500));

/// Jumps of the controller's clock.
#[derive(Debug)]
pub struct ControllerClock;

/// Jumps of the agents' clocks.
#[derive(Debug)]
pub struct AgentClocks;

impl Scenario for ControllerClock {
    fn name(&self) -> &'static str {
        "clock-of-controller"
    }

    fn lacks(&self) -> Option<String> {
        lacks()
    }

    fn plan(&self, chance: &mut Chance) -> Plan {
        // A node whose clock differs takes no tasks, which is to end by itself. In half of the rounds work flows while the clock jumps.
        if chance.percent(50) {
            return Plan::new();
        }
        Plan { agent_flags: vec!["--set".to_owned(), "clock_skew_max=1000h".to_owned()], ..Plan::new() }
    }

    fn prepare(&self, site: &mut Site, _chance: &mut Chance) -> anyhow::Result<()> {
        let clock = WallClock::new(site.folder(), "controller")?;
        site.disguise(move |who, command| match who {
            Who::Controller => clock.dressed(command),
            Who::Agent(_) => command,
        });
        Ok(())
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let clock = WallClock::of(turn.site.folder(), "controller");
        while !turn.is_over() {
            let seconds = turn.chance.one_of(&JUMPS).copied().unwrap_or_default();
            turn.dealt(
                "jump of the controller's clock",
                format!("the controller's clock is off by {seconds} s"),
            );
            clock.jump(seconds)?;
            turn.load.controller_is_ahead(seconds);
            if seconds >= RESTART_MIN && turn.chance.percent(25) {
                turn.dealt("kill of the controller", "kill -9 of the controller");
                turn.site.kill_controller()?;
                turn.site.start_controller()?;
                turn.noted("the controller is back");
            }
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
        }
        clock.jump(0)?;
        turn.load.controller_is_ahead(0);
        turn.noted("the controller's clock is right again");
        Ok(())
    }
}

impl Scenario for AgentClocks {
    fn name(&self) -> &'static str {
        "clock-of-agents"
    }

    fn lacks(&self) -> Option<String> {
        lacks()
    }

    fn prepare(&self, site: &mut Site, _chance: &mut Chance) -> anyhow::Result<()> {
        let clocks = (0..site.nodes()).map(|number| WallClock::new(site.folder(), &name_of(number)));
        let clocks = clocks.collect::<anyhow::Result<Vec<_>>>()?;
        site.disguise(move |who, command| match who {
            Who::Controller => command,
            Who::Agent(number) => match clocks.get(number) {
                Some(clock) => clock.dressed(command),
                None => command,
            },
        });
        Ok(())
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let folder = turn.site.folder().to_path_buf();
        let clock = |number: usize| WallClock::of(&folder, &name_of(number));
        while !turn.is_over() {
            let number = turn.chance.index(turn.site.nodes());
            let seconds = turn.chance.one_of(&JUMPS).copied().unwrap_or_default();
            turn.dealt(
                "jump of an agent's clock",
                format!("the clock of agent {number} is off by {seconds} s"),
            );
            clock(number).jump(seconds)?;
            if turn.chance.percent(25) {
                turn.dealt("kill of an agent", format!("kill -9 of agent {number}"));
                turn.site.kill_agent(number)?;
                turn.site.start_agent(number)?;
            }
            let pause = turn.chance.span(BETWEEN.0, BETWEEN.1);
            turn.pass(pause);
        }
        for number in 0..turn.site.nodes() {
            clock(number).jump(0)?;
        }
        turn.noted("the agents' clocks are right again");
        Ok(())
    }
}

fn name_of(number: usize) -> String {
    format!("agent-{number}")
}

fn lacks() -> Option<String> {
    (!compiler()).then(|| "C compiler (cc)".to_owned())
}
