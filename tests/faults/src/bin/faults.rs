//! Real faults on real binaries for some minutes: `faults [--minutes M] [--scenario NAME] [--seed S] [--keep FOLDER]`.
//!
//! Exit code 0 when every promise was kept, 1 when one was broken, 2 when a round could not be played. `cargo xtask faults` builds
//! what it needs and runs it.

use clap::Parser;
use muster_faults::runner::{Wanted, run};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Real faults on real binaries.
#[derive(Debug, Parser)]
#[command(name = "faults", about)]
struct Arguments {
    /// For how many minutes
    #[arg(long, default_value_t = 15)]
    minutes: u64,
    /// Only scenarios whose names contain this
    #[arg(long)]
    scenario: Option<String>,
    /// From which everything that is chosen follows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the evidence of broken promises is kept
    #[arg(long, default_value = "target/faults")]
    keep: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { minutes, scenario, seed, keep } = Arguments::parse();
    let span = Duration::from_secs(minutes.saturating_mul(60));
    match run(&Wanted { span, scenario, seed, keep }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
