//! Running one command to its end, with a deadline, and saying what must be true of how it ended.
//!
//! Both outputs are read while the command runs, so that a full pipe never stops it. A command that passes its deadline is
//! killed and reported with what it had said until then.

use crate::pipe::Pipe;
use crate::wait::wait_until;
use anyhow::{Context, anyhow, ensure};
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it wrote to stdout.
    pub stdout: Vec<u8>,
    /// All that it wrote to stderr.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub span: Duration,
}

impl Outcome {
    /// Its exit code; as a shell has it, 128 + n for one that signal n ended.
    #[must_use]
    pub fn code(&self) -> i32 {
        let signal = self.status.signal().map_or(-1, |signal| 128 + signal);
        self.status.code().unwrap_or(signal)
    }

    /// Its stdout as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its stderr as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Requires an exit code.
    ///
    /// # Errors
    /// With the whole outcome, when it is another one.
    pub fn with_code(self, code: i32) -> anyhow::Result<Self> {
        ensure!(self.code() == code, "wanted exit code {code}: {self}");
        Ok(self)
    }

    /// Requires success.
    ///
    /// # Errors
    /// With the whole outcome, when it failed.
    pub fn ok(self) -> anyhow::Result<Self> {
        self.with_code(0)
    }

    /// Requires a failure with `code`, said on stderr in words: each of `words` must be there, in any case.
    ///
    /// # Errors
    /// With the whole outcome, when it is not so.
    pub fn refused(self, code: i32, words: &[&str]) -> anyhow::Result<Self> {
        self.with_code(code)?.saying(words)
    }

    /// Requires words on stderr, in any case.
    ///
    /// # Errors
    /// With the whole outcome, when one is missing.
    pub fn saying(self, words: &[&str]) -> anyhow::Result<Self> {
        let said = self.err().to_lowercase();
        for word in words {
            ensure!(said.contains(&word.to_lowercase()), "stderr lacks '{word}': {self}");
        }
        ensure!(!said.contains("panicked"), "it panicked: {self}");
        Ok(self)
    }

    /// Its stdout as one JSON value.
    ///
    /// # Errors
    /// With the whole outcome, when it is not JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.stdout).map_err(|error| anyhow!("stdout is no JSON ({error}): {self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| {
            let shown = bytes.get(..bytes.len().min(SHOWN_BYTES_MAX)).unwrap_or_default();
            String::from_utf8_lossy(shown).trim_end().to_owned()
        };
        write!(
            f,
            "`{}` ended with code {} after {:.2} s\n  stdout ({} bytes): {}\n  stderr ({} bytes): {}",
            self.command,
            self.code(),
            self.span.as_secs_f64(),
            self.stdout.len(),
            text(&self.stdout),
            self.stderr.len(),
            text(&self.stderr),
        )
    }
}

/// How much of an output a message shows: a screen.
const SHOWN_BYTES_MAX: usize = 4000;

/// Runs a command to its end. Its stdin is empty unless the command says otherwise before.
///
/// # Errors
/// When it cannot be started, or has not ended after `deadline`: it is killed then.
pub fn run(command: &mut Command, deadline: Duration) -> anyhow::Result<Outcome> {
    let words = describe(command);
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let stdout = Pipe::read(child.stdout.take());
    let stderr = Pipe::read(child.stderr.take());
    let ended = wait_until(deadline, "the end of a command", || Ok(child.try_wait()?));
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = ended.with_context(|| {
        let said = |pipe: &Pipe| String::from_utf8_lossy(&pipe.so_far()).into_owned();
        format!("`{words}` has not ended\n  stdout: {}\n  stderr: {}", said(&stdout), said(&stderr))
    })?;
    let span = start.elapsed();
    Ok(Outcome { command: words, status, stdout: stdout.all(deadline)?, stderr: stderr.all(deadline)?, span })
}

/// A command line for messages: the program's name and its arguments.
#[must_use]
pub fn describe(command: &Command) -> String {
    let name = command.get_program().to_string_lossy();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}
