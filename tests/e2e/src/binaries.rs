//! Where the binaries under test are: beside the tests' own target folder, or where `MUSTER_BIN_DIR` says.
//!
//! No test target builds other packages' binaries by itself; `cargo xtask test` builds them first.

use anyhow::{Context, ensure};
use std::path::PathBuf;

/// The binaries that a cluster is made of.
pub const NAMES: [&str; 4] = ["muster", "muster-controller", "muster-agent", "muster-supervisor"];

/// The folder that holds all of [`NAMES`].
///
/// # Errors
/// When one of them is missing, with the command that builds it.
pub fn folder() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("MUSTER_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => beside_this_test()?,
    };
    for name in NAMES {
        let path = folder.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: build it with `cargo build --workspace --bins`",
            path.display()
        );
    }
    Ok(folder)
}

/// `target/debug` for a test that runs as `target/debug/deps/name-hash`, and for a program that runs as `target/debug/name`.
fn beside_this_test() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("cannot see the path of this test")?;
    let folder = test.parent();
    let profile = folder.filter(|folder| !folder.ends_with("deps")).or(folder.and_then(|deps| deps.parent()));
    profile.map(PathBuf::from).with_context(|| format!("{} lies in no target folder", test.display()))
}
