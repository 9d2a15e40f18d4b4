//! Test programs of other packages that run in the guest too: they meet a kernel there that has what the host's lacks.
//!
//! They are built as for the host, by the cargo that runs this test, and lie on the guest's drive beside the binaries.

use crate::tool::run;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A test program.
#[derive(Debug, Clone, Copy)]
pub struct Borrowed {
    /// Its name in the guest.
    pub name: &'static str,
    /// The manifest of its package.
    manifest: &'static str,
    /// What names it to cargo; another package may have a target of this name.
    target: [&'static str; 2],
}

/// The supervisor's tests of its processes.
pub const CUSTODY: Borrowed =
    Borrowed { name: "custody", manifest: "node-agent/supervisor/Cargo.toml", target: ["--test", "custody"] };

/// The agent's own tests, of which those of disk limits need a kernel with quotas.
pub const AGENT: Borrowed = Borrowed {
    name: "agent-unit",
    manifest: "node-agent/daemon/Cargo.toml",
    target: ["--bin", "muster-agent"],
};

/// All of them.
pub const ALL: [Borrowed; 2] = [CUSTODY, AGENT];

impl Borrowed {
    /// Builds it; where it is.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build(self) -> anyhow::Result<PathBuf> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        // Of the whole workspace, as all tests, so that nothing is built a second time with other features.
        cargo.args(["test", "--quiet", "--workspace", "--no-run", "--message-format=json"]).args(self.target);
        let said = run(cargo.stdin(Stdio::null()))?;
        let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_ours = |message: &Value| {
            let manifest = message["manifest_path"].as_str().unwrap_or_default();
            message["profile"]["test"] == true && Path::new(manifest).ends_with(self.manifest)
        };
        let tests = messages.filter(is_ours);
        let program = tests.filter_map(|test| test["executable"].as_str().map(PathBuf::from)).next_back();
        program.with_context(|| format!("cargo built no test program for {:?}", self.target))
    }
}

/// Requires that a run of a test program in the guest was a success in which tests ran; how many.
///
/// # Errors
/// With all that it said.
pub fn ensure_passed(said: &str) -> anyhow::Result<u32> {
    let line = said.lines().rev().find(|line| line.starts_with("test result: ok. "));
    let words = line.and_then(|line| line.strip_prefix("test result: ok. "));
    let count = words.and_then(|words| words.split(' ').next()?.parse().ok()).unwrap_or(0);
    ensure!(count > 0, "no success with tests in it:\n{said}");
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_without_tests_is_none() {
        assert_eq!(ensure_passed("running 2 tests\n\ntest result: ok. 2 passed; 0 failed;\n\n").unwrap(), 2);
        for said in ["", "test result: ok. 0 passed; 0 failed", "test result: FAILED. 1 passed; 1 failed"] {
            assert!(ensure_passed(said).is_err(), "{said}");
        }
    }
}
