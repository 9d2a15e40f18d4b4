//! That a broken promise would be seen: a fault that Muster does not claim to survive, and the story that is told of it.
//!
//! Agent, supervisor and, should both hang, each task's keeper end tasks when a lease is over. Frozen all together, while the tasks go on,
//! they cannot: the same tasks begin elsewhere, and both lives are in the ledger.

use anyhow::ensure;
use muster_e2e::machine::{Need, has};
use muster_e2e::wait::{SOON, wait_until, when};
use muster_faults::asker::Asker;
use muster_faults::deed::Deed;
use muster_faults::ledger;
use muster_faults::wire_call::{Caller, Skew};
use muster_faults::{Chance, Order, Plan, Scenario, Turn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::time::Duration;

/// Freezes what guards two long tasks, and not the tasks.
struct Unguarded;

/// They run for far longer than a lease and what is waited beyond it.
const LONG: Deed = Deed { span_ms: 10_000, exit_code: 0, retries: 5, writes: false };

impl Scenario for Unguarded {
    fn name(&self) -> &'static str {
        "unguarded"
    }

    fn plan(&self, _chance: &mut Chance) -> Plan {
        let mut plan = Plan::new();
        // The one client is the scenario itself, so that two nodes at most are busy and the third is free.
        plan.load.clients = 0;
        plan
    }

    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let caller = Caller::new(turn.site, Skew::default(), Duration::from_secs(20))?;
        let mut client = Asker::new(caller, 0, turn.load.told().clone(), 0);
        ensure!(client.create_job("j"), "no job");
        for task in ["a", "b"] {
            ensure!(client.create_task(&turn.site.labour(), "j", task, LONG), "no task");
        }
        let lives = |turn: &Turn<'_>| anyhow::Ok(ledger::lives(&ledger::read(&turn.site.ledger())?).len());
        wait_until(SOON, "both tasks to run", || Ok(when(lives(turn)? == 2)))?;
        let busy: Vec<usize> = (0..turn.site.nodes()).filter(|number| is_busy(turn, *number)).collect();
        ensure!(!busy.is_empty() && busy.len() < 3, "wanted a busy node and a free one: {busy:?} are busy");
        let guards: Vec<BTreeSet<Pid>> = busy.iter().map(|number| guards(turn, *number)).collect();
        for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
            for (number, guards) in busy.iter().zip(&guards) {
                turn.dealt("freeze of guards", format!("{signal} of all of node {number} but its tasks"));
                for guard in guards {
                    kill(*guard, signal)?;
                }
            }
            if signal == Signal::SIGSTOP {
                wait_until(SOON, "a task to run elsewhere", || Ok(when(lives(turn)? > 2)))?;
            }
        }
        Ok(())
    }
}

/// Whether a process runs the program of the tasks: a keeper has its task's name, and its supervisor's program.
fn is_labour(process: Pid) -> bool {
    std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|program| program.ends_with("labour"))
}

fn is_busy(turn: &Turn<'_>, number: usize) -> bool {
    turn.site.processes(number).into_iter().any(is_labour)
}

/// Every process of a node that is no task's own, and the keepers, who are the tasks' parents.
fn guards(turn: &Turn<'_>, number: usize) -> BTreeSet<Pid> {
    let all = turn.site.processes(number);
    let keepers: Vec<Pid> =
        all.iter().filter(|process| is_labour(**process)).filter_map(|task| parent(*task)).collect();
    all.into_iter().filter(|process| !is_labour(*process)).chain(keepers).collect()
}

fn parent(process: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything: the state and the parent.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

#[test]
fn tasks_that_outlive_their_lease_are_seen_and_told() -> anyhow::Result<()> {
    if !has("tasks_that_outlive_their_lease_are_seen_and_told", &[Need::Root, Need::Cgroups]) {
        return Ok(());
    }
    let keep = tempfile::tempdir()?;
    let order = Order { seed: 11, span: Duration::from_secs(5), keep: keep.path().join("evidence") };
    let report = Unguarded.run(&order)?;
    let promises: Vec<&str> = report.violations.iter().map(|violation| violation.promise).collect();
    ensure!(promises.contains(&"attempts of a task never overlap"), "{promises:?}\n{}", report.story);
    ensure!(report.story.contains("SIGSTOP") && report.story.contains("start"), "{}", report.story);
    for file in ["told", "stories", "ledger", "faults", "controller.log"] {
        ensure!(order.keep.join(file).is_file(), "{file} was not kept");
    }
    Ok(())
}
