//! One round of one scenario: a site under load, faults until time is up, rest, and judgement.
//!
//! A scenario only says which site it wants, deals faults and takes them back; load, rest and judgement are the same for all.
//! What was written down stays only when a promise was broken or the round could not be played.

use super::evidence::{self, Evidence};
use super::report::{Order, Report};
use super::turn::{Dealt, Turn};
use crate::chance::Chance;
use crate::check;
use crate::ledger;
use crate::load::Load;
use crate::plan::Plan;
use crate::read;
use crate::site::Site;
use crate::told::Answer;
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Instant;

/// One way to disturb a site.
pub trait Scenario: Sync {
    /// Its name, as `--scenario` takes it.
    fn name(&self) -> &'static str;

    /// What this machine lacks for it, in words. `None` when it has everything.
    fn lacks(&self) -> Option<String> {
        None
    }

    /// The site and the load that it wants.
    fn plan(&self, _chance: &mut Chance) -> Plan {
        Plan::new()
    }

    /// What is done to the site before anything of it is started: dresses, disks, routes.
    ///
    /// # Errors
    /// When that cannot be done.
    fn prepare(&self, _site: &mut Site, _chance: &mut Chance) -> anyhow::Result<()> {
        Ok(())
    }

    /// Deals faults until the turn is over, and takes them all back: when it answers, every process runs and reaches every
    /// other.
    ///
    /// # Errors
    /// When a fault cannot be dealt or something does not come back.
    fn act(&self, turn: &mut Turn<'_>) -> anyhow::Result<()>;

    /// One round. Another place to run it (a thread with a network of its own) is the reason to write this anew.
    ///
    /// # Errors
    /// When the round could not be played. A broken promise is no error: the report has it.
    fn run(&self, order: &Order) -> anyhow::Result<Report> {
        play(self, order)
    }
}

/// Into how many parts of a turn the longest task fits.
const LONG_PARTS: u32 = 3;

/// Plays a round.
///
/// # Errors
/// When the site does not start, a fault cannot be dealt, or something does not come back: with its logs kept.
pub fn play<S: Scenario + ?Sized>(scenario: &S, order: &Order) -> anyhow::Result<Report> {
    let mut chance = Chance::of(order.seed, "plan");
    let mut plan = scenario.plan(&mut chance);
    // A task that is much longer than the turn would only be waited for.
    plan.load.long = plan.load.long.min(order.span / LONG_PARTS);
    let mut site = Site::prepare(&plan)?;
    scenario.prepare(&mut site, &mut chance)?;
    let mut dealt = Vec::new();
    let played = play_on(scenario, order, &mut site, &mut dealt);
    played.with_context(|| match evidence::keep_logs(&site, &order.keep, &dealt) {
        Ok(()) => {
            format!("scenario {} seed {}: logs are in {}", scenario.name(), order.seed, order.keep.display())
        }
        Err(error) => {
            format!("scenario {} seed {}: logs could not be kept: {error:#}", scenario.name(), order.seed)
        }
    })
}

fn play_on<S: Scenario + ?Sized>(
    scenario: &S,
    order: &Order,
    site: &mut Site,
    dealt: &mut Vec<Dealt>,
) -> anyhow::Result<Report> {
    site.begin()?;
    let plan = site.plan().clone();
    let load = Load::start(site, order.seed)?;
    let until = Instant::now() + order.span;
    let chance = Chance::of(order.seed, "faults");
    let mut turn = Turn { site, load: &load, chance, until, dealt: Vec::new(), faults: BTreeMap::new() };
    turn.noted("the turn begins");
    let acted = scenario.act(&mut turn);
    turn.noted("the turn is over");
    let faults = std::mem::take(&mut turn.faults);
    *dealt = std::mem::take(&mut turn.dealt);
    acted.context("while faults were dealt")?;

    let healed = Instant::now();
    site.wait_for_all_nodes().context("after the last fault")?;
    let told = load.finish()?;
    read::wait_for_rest(site, &told, plan.rest)?;
    let rest = healed.elapsed();
    let record = read::record(site, &told).context("reading what is recorded")?;
    let lines = ledger::read(&site.ledger())?;
    let mut report = Report { faults, rest, ..Report::default() };
    report.told = told.acknowledged();
    report.calls = size(told.count(|_| true));
    report.refused = size(told.count(|entry| matches!(entry.answer, Answer::Refused(_))));
    report.unanswered = size(told.count(|entry| matches!(entry.answer, Answer::Unknown(_))));
    report.ended = record.completed();
    let lives = ledger::lives(&lines);
    report.lives = size(lives.len());
    report.cut = size(lives.iter().filter(|life| life.exit_code.is_none()).count());
    let entries = told.entries();
    report.violations = check::check(&entries, &record, &lines);
    if let Some(first) = report.violations.first() {
        let evidence = Evidence { entries: &entries, record: &record, lines: &lines, dealt };
        report.story = evidence.story(first);
        evidence.keep(site, &order.keep, &report.violations)?;
    }
    Ok(report)
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
