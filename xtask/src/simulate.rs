//! `cargo xtask simulate`: both cores in virtual time, seed after seed, until one breaks a promise.
//!
//! The simulation itself is tests/sim; this builds it with optimisation and runs it.

use crate::run::{cargo, check};

/// Which seeds to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many seeds to run
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Run this one seed, as a failing run named it
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (first, count) = options.seed.map_or((0, options.seeds), |seed| (seed, 1));
    let program = ["run", "--quiet", "--release", "--package", "muster-sim", "--bin", "simulate", "--"];
    check(cargo().args(program).args([first.to_string(), count.to_string()]))
}
