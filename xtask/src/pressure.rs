//! `cargo xtask pressure`: a hundred thousand hostile connections against one controller, and what honest ones notice.
//!
//! The connections themselves are made in tests/e2e; this builds everything with optimisation and runs it. Figures only;
//! what must hold is in the tests.

use crate::cluster::build;
use crate::run::{cargo, check};

/// What to press with.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Connections that say nothing; a tenth as many make the TLS handshake
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let binaries = build()?;
    let program = ["run", "--quiet", "--release", "--package", "muster-e2e", "--bin", "pressure", "--"];
    check(cargo().args(program).arg(options.connections.to_string()).env("MUSTER_BIN_DIR", binaries))
}
