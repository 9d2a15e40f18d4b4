//! Programs of the host that the harness runs to their end.
//!
//! A failure names the whole command and repeats what it said. Nothing here installs anything; `means.rs` has the list of what
//! is needed.

use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Folders of an administrator's programs, which not every PATH has.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A command whose PATH has an administrator's programs.
#[must_use]
pub fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    if let Ok(path) = std::env::join_paths(folders()) {
        command.env("PATH", path);
    }
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Whether there is a program of this name.
#[must_use]
pub fn has(program: &str) -> bool {
    folders().iter().any(|folder| folder.join(program).is_file())
}

/// Runs a command that must succeed; its stdout.
///
/// # Errors
/// With everything that it said, when it fails.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let words = format!("{command:?}");
    let output = command.output().with_context(|| format!("cannot start {words}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{words} ended with {}:\n{stdout}{stderr}", output.status);
    }
    Ok(stdout)
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from)).collect()
}
