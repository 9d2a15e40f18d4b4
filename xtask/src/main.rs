//! The project's chores: `cargo xtask demo`, `test`, `bench`, `simulate`, `faults`, `pressure`.
//!
//! Two of them are the README's promise: `demo` and `test` do all the set-up that they need on a fresh machine. Each
//! chore is a file; what they share (running programs, timing) is in `run` and `cluster`.

mod bench;
mod bulk;
mod cluster;
mod demo;
mod faults;
mod monitoring;
mod pressure;
mod run;
mod simulate;
mod test;

use clap::{Parser, Subcommand};

/// Muster's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Render a film on a local cluster of three agents: target/demo/film.mp4
    Demo(demo::Options),
    /// Run every check and test: format, lints, unit, property and end-to-end tests
    Test(test::Options),
    /// Measure the local cluster against a floor taken in the same run; prints figures, judges nothing
    Bench(bench::Options),
    /// Run both cores in virtual time with faults drawn from seeds, and check the promises after every step
    Simulate(simulate::Options),
    /// Deal real faults to real binaries under load, and check what was told against what was done
    Faults(faults::Options),
    /// Press a controller with a hundred thousand hostile connections; prints figures, judges nothing
    Pressure(pressure::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Demo(options) => demo::run(&options),
        Chore::Test(options) => test::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Simulate(options) => simulate::run(&options),
        Chore::Faults(options) => faults::run(&options),
        Chore::Pressure(options) => pressure::run(&options),
    }
}
