//! One wall clock: the library that a process is started with, and the file that says how far its clock is off.
//!
//! The library is compiled for each site, into its folder, and goes with it.

use anyhow::{Context, ensure};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library.
const SOURCE: &str = include_str!("wall_clock.c");

/// A wall clock that can be put off.
#[derive(Debug, Clone)]
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

/// Whether this machine has what compiles the library.
#[must_use]
pub fn compiler() -> bool {
    Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl WallClock {
    /// A clock that is right, with its files in a folder that outlives the processes of it.
    ///
    /// # Errors
    /// When the library cannot be compiled or a file not be written.
    pub fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let (source, library) = (folder.join("wall_clock.c"), folder.join("wall_clock.so"));
        if !library.exists() {
            fs::write(&source, SOURCE).context("cannot write the source of the wall clock")?;
            let mut command = Command::new("cc");
            command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
            let output = command.output().context("cannot run cc")?;
            ensure!(output.status.success(), "cc failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let clock = Self::of(folder, name);
        fs::write(&clock.file, 0_i64.to_ne_bytes()).context("cannot write a clock's file")?;
        Ok(clock)
    }

    /// A clock that was made before.
    #[must_use]
    pub fn of(folder: &Path, name: &str) -> Self {
        Self { library: folder.join("wall_clock.so"), file: folder.join(format!("clock-{name}")) }
    }

    /// Puts the clock so many seconds off the right time, also under a process that runs.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn jump(&self, seconds: i64) -> anyhow::Result<()> {
        // In place, because processes have it mapped; eight bytes at once, so nobody sees half of a jump.
        let mut file =
            OpenOptions::new().write(true).open(&self.file).context("cannot open a clock's file")?;
        file.write_all(&seconds.to_ne_bytes()).context("cannot write a clock's file")
    }

    /// A command with this clock.
    #[must_use]
    pub fn dressed(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", &self.library).env("WALL_CLOCK_FILE", &self.file);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn wall_clock_is_off_by_what_its_file_says() {
        if !compiler() {
            eprintln!("skipped: this machine has no C compiler");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let clock = WallClock::new(folder.path(), "test").unwrap();
        let date = |clock: &WallClock| {
            let mut command = Command::new("date");
            command.arg("+%s");
            let output = clock.dressed(command).stdin(Stdio::null()).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().parse::<i64>().unwrap()
        };
        let before = date(&clock);
        clock.jump(-200_000).unwrap();
        let back = date(&clock);
        clock.jump(3600).unwrap();
        let ahead = date(&clock);
        assert!((199_000..=200_000).contains(&(before - back)), "{before} {back}");
        assert!((203_600..=204_000).contains(&(ahead - back)), "{back} {ahead}");
    }
}
