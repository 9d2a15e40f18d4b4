//! File systems in files: made by mkfs.ext4 from a folder.
//!
//! Nothing is mounted on the host for it, and a file takes only the room of what is in it.

use crate::tool::{run, tool};
use anyhow::Context;
use std::fs::File;
use std::path::Path;

/// Makes an ext4 file system of so many megabytes in the sparse file `path`, with what `content` holds.
///
/// # Errors
/// When it does not fit, or cannot be written.
pub fn make(path: &Path, megabytes: u64, content: Option<&Path>, options: &[&str]) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.set_len(megabytes << 20)?;
    let mut command = tool("mkfs.ext4");
    command.args(["-q", "-F"]).args(options);
    if let Some(folder) = content {
        command.arg("-d").arg(folder);
    }
    run(command.arg(path)).map(drop)
}
