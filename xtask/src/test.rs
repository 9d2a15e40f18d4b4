//! `cargo xtask test`: every check and every test, in the order in which they fail fastest.
//!
//! Debug builds, one target folder. cargo-nextest runs the tests where it is installed, cargo test otherwise.

use crate::run::{cargo, check, has, install, say, seconds};
use std::time::Instant;

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Skip the format check and the lints
    #[arg(long)]
    no_lint: bool,
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Programs that the tests run, and the Debian packages that bring them.
const NEEDS: &[(&str, &str)] = &[("cc", "gcc"), ("python3", "python3-minimal"), ("mount", "mount")];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    install(NEEDS)?;
    let start = Instant::now();
    if !options.no_lint {
        step("format", &["fmt", "--all", "--check"])?;
        step("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    }
    // The end-to-end tests run the real binaries, which no test target builds by itself.
    step("binaries", &["build", "--quiet", "--workspace", "--bins"])?;
    let filter: Vec<&str> = options.filter.as_deref().into_iter().collect();
    if has("cargo-nextest") {
        let arguments = ["nextest", "run", "--workspace", "--no-fail-fast"];
        step("tests", &[&arguments[..], &filter].concat())?;
    } else {
        step("tests", &[&["test", "--workspace", "--no-fail-fast", "--"][..], &filter].concat())?;
    }
    if options.filter.is_none() {
        step("documentation tests", &["test", "--quiet", "--workspace", "--doc"])?;
    }
    say(&format!("all checks and tests passed in {}", seconds(start.elapsed())));
    Ok(())
}

fn step(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let start = Instant::now();
    say(&format!("== {name}"));
    check(cargo().args(arguments))?;
    say(&format!("== {name}: {}", seconds(start.elapsed())));
    Ok(())
}
