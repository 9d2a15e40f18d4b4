//! Each kind of fault for some seconds, in every run of the tests. `cargo xtask faults` deals the same for minutes.
//!
//! A round here is some faults and ten seconds. What each scenario does is in `src/scenarios/`; a broken promise is told as a story, with
//! the command that deals the same faults for longer.

use muster_faults::runner::short;

#[test]
fn controller_killed_again_and_again_breaks_no_promise() -> anyhow::Result<()> {
    short("kill-controller")
}

#[test]
fn anything_killed_in_any_mixture_breaks_no_promise() -> anyhow::Result<()> {
    short("kill-all")
}

#[test]
fn machines_that_lose_power_break_no_promise() -> anyhow::Result<()> {
    short("reboot")
}

#[test]
fn agents_frozen_past_their_lease_break_no_promise() -> anyhow::Result<()> {
    short("stop-agents")
}

#[test]
fn supervisors_frozen_break_no_promise() -> anyhow::Result<()> {
    short("stop-supervisors")
}

#[test]
fn agent_and_supervisor_frozen_together_break_no_promise() -> anyhow::Result<()> {
    short("stop-guards")
}

#[test]
fn controller_frozen_past_all_leases_breaks_no_promise() -> anyhow::Result<()> {
    short("stop-controller")
}

#[test]
fn clock_of_the_controller_that_jumps_breaks_no_promise() -> anyhow::Result<()> {
    short("clock-of-controller")
}

#[test]
fn clocks_of_agents_that_jump_break_no_promise() -> anyhow::Result<()> {
    short("clock-of-agents")
}
