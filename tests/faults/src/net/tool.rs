//! The system's own programs for networks, run to their end: `ip` and `nft`.
//!
//! They act in the network of the thread that starts them, or in another one that is given as an open namespace. A failure
//! names the command and repeats what it said; nothing is installed here.

use anyhow::{Context, bail};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Folders of an administrator's programs, which not every PATH has.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A path under which any process of this user can open one of our descriptors.
pub(super) fn path_of(namespace: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

/// Runs a program that must succeed, with words that are parted by blanks.
pub(super) fn run(words: &str) -> anyhow::Result<()> {
    finish(command(words, None), words)
}

/// The same in another network.
pub(super) fn run_in(namespace: &File, words: &str) -> anyhow::Result<()> {
    finish(command(words, Some(namespace)), words)
}

fn command(words: &str, namespace: Option<&File>) -> Command {
    let mut words = words.split_whitespace();
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", path_of(namespace))).arg("--");
            command
        }
        None => Command::new(words.next().unwrap_or_default()),
    };
    command.args(words);
    if let Ok(path) = std::env::join_paths(folders()) {
        command.env("PATH", path);
    }
    command
}

fn finish(mut command: Command, words: &str) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{words}` ended with {}: {}", output.status, said.trim_end());
    }
    Ok(())
}

/// Whether there is a program of this name.
pub(super) fn has(program: &str) -> bool {
    folders().iter().any(|folder| folder.join(program).is_file())
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from)).collect()
}
