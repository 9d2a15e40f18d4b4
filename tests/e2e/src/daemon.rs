//! One long-lived process under test: started with its output in a log file, signalled, killed, waited for.
//!
//! It knows nothing of what the process does. Dropping it kills the process, and only that: what the process has started
//! itself is for `leftovers.rs` to find.

use crate::outcome::describe;
use crate::pipe::Pipe;
use crate::wait::wait_until;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running process.
#[derive(Debug)]
pub struct Daemon {
    words: String,
    child: Child,
    log: PathBuf,
    stdout: Pipe,
}

impl Daemon {
    /// Starts a command. Its stderr is appended to `log`, its stdout is kept, its stdin is empty.
    ///
    /// # Errors
    /// When the log cannot be opened or the command not be started.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let words = describe(command);
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot open {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{words}`"))?;
        let stdout = Pipe::read(child.stdout.take());
        Ok(Self { words, child, log: log.to_path_buf(), stdout })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its stdout.
    #[must_use]
    pub fn stdout(&self) -> &Pipe {
        &self.stdout
    }

    /// What it has logged, by it and by those before it on the same log.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `condition` answers something.
    ///
    /// # Errors
    /// When the process ends before, with the end of its log; or the condition's and the deadline's own.
    pub fn wait_while_running<T>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut condition: impl FnMut(&Pipe) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let answer = wait_until(deadline, what, || {
            // The end is looked for first, so that what was said before it still counts.
            let ended = self.child.try_wait()?;
            match (condition(&self.stdout)?, ended) {
                (Some(answer), _) => Ok(Some(answer)),
                (None, None) => Ok(None),
                (None, Some(status)) => bail!("`{}` ended with {status} before: {what}", self.words),
            }
        });
        answer.with_context(|| format!("its log:\n{}", tail(&self.log())))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("`{}` has ended with {status} already; its log:\n{}", self.words, tail(&self.log()));
        }
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to `{}`", self.words))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let ended = wait_until(deadline, "the end of a daemon", || Ok(self.child.try_wait()?));
        ended.with_context(|| format!("`{}` goes on; its log:\n{}", self.words, tail(&self.log())))
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// When it was gone before: then the test has not tested what it says.
    pub fn kill_9(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait(crate::wait::SOON).map(drop)
    }

    /// Kills it as `kill -9` does unless it has ended already.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> anyhow::Result<()> {
        // One that has ended meanwhile is as good.
        let _ = self.child.kill();
        self.wait(crate::wait::SOON).map(drop)
    }

    /// Asks it to stop with SIGTERM and waits.
    ///
    /// # Errors
    /// When it does not stop, or not with success.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(crate::wait::SOON)?;
        anyhow::ensure!(
            status.success(),
            "`{}` stopped with {status}; its log:\n{}",
            self.words,
            tail(&self.log())
        );
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The end of a log: what a message shows.
#[must_use]
pub fn tail(text: &str) -> String {
    /// As much as a terminal scrolls back to gladly.
    const LINES: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
