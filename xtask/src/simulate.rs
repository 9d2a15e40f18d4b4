//! `cargo xtask simulate`: both cores in virtual time, seed after seed, and then with each fault that can be planted.
//!
//! The simulation itself is tests/sim; this builds it with optimisation and runs it. Its feature `planted`, which puts
//! the faults to be found into the cores, is on here and in one step of the tests, and in nothing that is shipped.

use crate::run::{cargo, check};

/// Which seeds to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many seeds to run; 0 for the planted faults alone
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Begin with this seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Run this one seed and tell its story, as a failing run named it
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Plant faults afterwards and look for them: all, none, or one by its name [default: all, with --seed none]
    #[arg(long, value_name = "NAME|all|none")]
    planted: Option<String>,
    /// How many seeds to run at one time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let build = ["run", "--quiet", "--release", "--package", "muster-sim", "--features", "planted"];
    let mut command = cargo();
    command.args(build).args(["--bin", "simulate", "--"]);
    match options.seed {
        Some(seed) => command.args(["--seed".to_owned(), seed.to_string()]),
        None => {
            let (first, seeds) = (options.first.to_string(), options.seeds.to_string());
            command.args(["--first", &first, "--seeds", &seeds])
        }
    };
    if let Some(planted) = &options.planted {
        command.args(["--planted", planted]);
    }
    check(command.args(["--threads".to_owned(), options.threads.to_string()]))
}
