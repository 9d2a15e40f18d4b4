//! The project's chores: `cargo xtask demo`, `test`, `bench`, `simulate`.
//!
//! Two of them are the README's promise: `demo` and `test` do all the set-up that they need on a fresh machine. Each
//! chore is a file; what they share (running programs, timing) is in `run` and `cluster`.

mod bench;
mod bulk;
mod cluster;
mod demo;
mod monitoring;
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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Demo(options) => demo::run(&options),
        Chore::Test(options) => test::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Simulate(options) => simulate::run(&options),
    }
}
