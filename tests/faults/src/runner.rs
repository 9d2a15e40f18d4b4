//! Round after round until time is up or a promise is broken: one line for each round, a table at the end.
//!
//! Scenarios come in an order drawn from the seed, each once before any comes again. `short` is the same for one scenario and some
//! seconds, as a test.

use crate::chance::Chance;
use crate::round::{Order, Report, Scenario};
use crate::scenarios;
use anyhow::{bail, ensure};
use muster_e2e::machine::{Need, has};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long faults are dealt in one round of a long run.
const ROUND: Duration = Duration::from_secs(20);

/// The same in a test: some faults of each kind.
const SHORT_ROUND: Duration = Duration::from_secs(4);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For how long; the round that is under way then is played to its end.
    pub span: Duration,
    /// Only scenarios whose names contain this.
    pub scenario: Option<String>,
    /// From which everything that is chosen follows.
    pub seed: u64,
    /// Where the evidence of broken promises is kept.
    pub keep: PathBuf,
}

/// What was seen of one scenario.
#[derive(Debug, Default)]
struct Sum {
    rounds: u32,
    told: u64,
    ended: u64,
    lives: u64,
    cut: u64,
    faults: BTreeMap<&'static str, u32>,
    rest_max: Duration,
}

/// Runs scenarios until time is up; whether every promise was kept.
///
/// # Errors
/// When there is no such scenario, or a round could not be played.
#[expect(clippy::print_stdout, reason = "it talks to the person who runs it")]
pub fn run(wanted: &Wanted) -> anyhow::Result<bool> {
    let all = scenarios::all();
    let named = |scenario: &&dyn Scenario| {
        wanted.scenario.as_deref().is_none_or(|name| scenario.name().contains(name))
    };
    let chosen: Vec<&dyn Scenario> = all.into_iter().filter(named).collect();
    let names = || scenarios::all().iter().map(|scenario| scenario.name()).collect::<Vec<_>>().join(", ");
    ensure!(!chosen.is_empty(), "there is no such scenario; there are: {}", names());
    let mut able = Vec::new();
    for scenario in chosen {
        match lacks(scenario) {
            None => able.push(scenario),
            Some(lacks) => println!("skipped {}: this machine has no {lacks}", scenario.name()),
        }
    }
    ensure!(!able.is_empty(), "this machine can play none of them");
    let start = Instant::now();
    let mut sums: BTreeMap<&'static str, Sum> = BTreeMap::new();
    let mut chance = Chance::of(wanted.seed, "rounds");
    let mut hand: Vec<&dyn Scenario> = Vec::new();
    let mut round = 0;
    let mut is_kept = true;
    while is_kept && (start.elapsed() < wanted.span || round == 0) {
        if hand.is_empty() {
            hand.clone_from(&able);
        }
        let scenario = hand.swap_remove(chance.index(hand.len()));
        // The first round has the seed itself, so that one round is played again by its seed and its scenario's name.
        let seed = wanted.seed.wrapping_add(round);
        round += 1;
        let begun = Instant::now();
        let report = scenario.run(&order(scenario, seed, ROUND, &wanted.keep))?;
        println!("{}", line(scenario.name(), seed, &report, begun.elapsed()));
        is_kept = report.violations.is_empty();
        if !is_kept {
            println!("{}", verdict(scenario.name(), seed, &report, &wanted.keep));
        }
        sums.entry(scenario.name()).or_default().add(&report);
    }
    println!("{}", table(&sums, start.elapsed()));
    Ok(is_kept)
}

/// One round of one scenario, as a test.
///
/// # Errors
/// With the story, when a promise was broken; or when the round could not be played.
pub fn short(name: &str) -> anyhow::Result<()> {
    let all = scenarios::all();
    let Some(scenario) = all.into_iter().find(|scenario| scenario.name() == name) else {
        bail!("there is no scenario {name}");
    };
    if let Some(lacks) = lacks(scenario) {
        eprintln!("skipped: {name}: this machine has no {lacks}");
        return Ok(());
    }
    // A moment's seed: a test that runs often sees many; the line tells which.
    let seed = crate::clock::boottime_us();
    let keep = std::env::temp_dir().join("muster-faults");
    let begun = Instant::now();
    let report = scenario.run(&order(scenario, seed, SHORT_ROUND, &keep))?;
    eprintln!("{}", line(name, seed, &report, begun.elapsed()));
    ensure!(report.violations.is_empty(), "{}", verdict(name, seed, &report, &keep));
    ensure!(report.lives > 0, "nothing ran, so nothing was shown");
    ensure!(!report.faults.is_empty(), "no fault was dealt, so nothing was shown");
    Ok(())
}

fn order(scenario: &dyn Scenario, seed: u64, span: Duration, keep: &std::path::Path) -> Order {
    Order { seed, span, keep: keep.join(format!("{}-{seed}", scenario.name())) }
}

/// What the machine lacks for any scenario, or for this one.
fn lacks(scenario: &dyn Scenario) -> Option<String> {
    if !has(scenario.name(), &[Need::Root, Need::Cgroups]) {
        return Some("root and writable control groups".to_owned());
    }
    scenario.lacks()
}

fn faults(faults: &BTreeMap<&'static str, u32>) -> String {
    faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect::<Vec<_>>().join(", ")
}

fn line(name: &str, seed: u64, report: &Report, span: Duration) -> String {
    let verdict = match report.violations.len() {
        0 => "kept".to_owned(),
        count => format!("BROKEN {count} times"),
    };
    format!(
        "{name:<20} seed {seed:<11} {:>5} calls ({} refused, {} unanswered) {:>4} told {:>4} ended {:>4} attempts ({} cut)  \
         rest {:>4.1} s  {:>5.1} s  {verdict}  [{}]",
        report.calls,
        report.refused,
        report.unanswered,
        report.told,
        report.ended,
        report.lives,
        report.cut,
        report.rest.as_secs_f64(),
        span.as_secs_f64(),
        faults(&report.faults),
    )
}

fn verdict(name: &str, seed: u64, report: &Report, keep: &std::path::Path) -> String {
    let others: Vec<String> =
        report.violations.iter().skip(1).take(9).map(|violation| format!("  also {violation}")).collect();
    format!(
        "{}{}\nkept in {}\nagain: cargo xtask faults --scenario {name} --seed {seed} --minutes 1",
        report.story,
        others.join("\n"),
        keep.join(format!("{name}-{seed}")).display()
    )
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.rounds += 1;
        self.told += report.told;
        self.ended += report.ended;
        self.lives += report.lives;
        self.cut += report.cut;
        for (fault, count) in &report.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.rest_max = self.rest_max.max(report.rest);
    }
}

fn table(sums: &BTreeMap<&'static str, Sum>, span: Duration) -> String {
    let mut rows = vec![format!(
        "\n{:<20} {:>6} {:>7} {:>7} {:>8} {:>6} {:>10}  faults",
        "scenario", "rounds", "told", "ended", "attempts", "cut", "rest max"
    )];
    let mut all = Sum::default();
    for (name, sum) in sums {
        rows.push(format!(
            "{name:<20} {:>6} {:>7} {:>7} {:>8} {:>6} {:>8.1} s  {}",
            sum.rounds,
            sum.told,
            sum.ended,
            sum.lives,
            sum.cut,
            sum.rest_max.as_secs_f64(),
            faults(&sum.faults)
        ));
        all.rounds += sum.rounds;
        all.told += sum.told;
        all.ended += sum.ended;
        all.lives += sum.lives;
        all.cut += sum.cut;
        all.rest_max = all.rest_max.max(sum.rest_max);
    }
    let dealt: u32 = sums.values().flat_map(|sum| sum.faults.values()).sum();
    rows.push(format!(
        "{:<20} {:>6} {:>7} {:>7} {:>8} {:>6} {:>8.1} s  {dealt} faults in {:.0} s",
        "all",
        all.rounds,
        all.told,
        all.ended,
        all.lives,
        all.cut,
        all.rest_max.as_secs_f64(),
        span.as_secs_f64()
    ));
    rows.join("\n")
}
