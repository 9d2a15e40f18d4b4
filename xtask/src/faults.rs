//! `cargo xtask faults`: real faults on real binaries for some minutes, and a check of what was told against what was done.
//!
//! The scenarios themselves are tests/faults; this installs what they run, builds the binaries as the tests do, and runs them.

use crate::run::{cargo, check, install, target};
use crate::test::{BINARIES, NEEDS};
use std::process::Command;

/// What faults to deal, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// For how many minutes
    #[arg(long, default_value_t = 15)]
    minutes: u64,
    /// Only scenarios whose names contain this
    #[arg(long)]
    scenario: Option<String>,
    /// From which everything that is chosen follows, as a failing run named it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    install(NEEDS)?;
    check(cargo().args(BINARIES))?;
    let mut command = Command::new(target().join("debug/faults"));
    command.args(["--minutes".to_owned(), options.minutes.to_string()]);
    command.args(["--seed".to_owned(), options.seed.to_string()]);
    command.arg("--keep").arg(target().join("faults"));
    if let Some(scenario) = &options.scenario {
        command.args(["--scenario", scenario]);
    }
    check(&mut command)
}
