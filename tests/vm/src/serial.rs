//! The control channel into the guest: scripts in, what they said and their exit codes out, over the second serial port.
//!
//! A line of each direction stands for one command, marked with a number, and everything of any size is in base64, so neither
//! console messages nor the bytes of an answer can be taken for something else. The guest's half is `guest-shell`; it
//! says `ready` with the boot's id when it begins, which is how a reboot is seen.

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one read waits before the deadline is looked at.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// Longest line that is believed: far more than any answer of the tests.
const LINE_BYTES_MAX: usize = 8 << 20;

/// How a script in the guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// All that it wrote, without the line breaks at the end.
    pub said: String,
}

/// One line of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// The shell has started under the boot of this id.
    Ready(String),
    /// The command of this number has ended.
    Done(u64, Answer),
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.trim().split(' ');
        match words.next()? {
            "ready" => Some(Self::Ready(words.next()?.to_owned())),
            "done" => {
                let (number, code) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let said = BASE64.decode(words.next().unwrap_or_default()).ok()?;
                Some(Self::Done(number, Answer { code, said: String::from_utf8_lossy(&said).into_owned() }))
            }
            _ => None,
        }
    }
}

/// The host's end of the channel.
#[derive(Debug)]
pub struct Serial {
    stream: UnixStream,
    unread: Vec<u8>,
    commands: u64,
}

impl Serial {
    /// Connects to the socket of the serial port.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream, unread: Vec::new(), commands: 0 })
    }

    /// Waits until the guest's shell starts; the id of its boot.
    ///
    /// # Errors
    /// When it does not start in time, or the machine ends.
    pub fn wait_for_ready(&mut self, deadline: Duration) -> anyhow::Result<String> {
        let start = Instant::now();
        loop {
            if let Line::Ready(boot) = self.line(start, deadline, "the guest's shell to start")? {
                return Ok(boot);
            }
        }
    }

    /// Runs a script with the guest's `sh -c`.
    ///
    /// # Errors
    /// When it does not end in time, or the guest is gone or starts anew meanwhile.
    pub fn run(&mut self, script: &str, deadline: Duration) -> anyhow::Result<Answer> {
        let number = self.send(script)?;
        let start = Instant::now();
        loop {
            match self.line(start, deadline, script)? {
                Line::Done(done, answer) if done == number => return Ok(answer),
                // An earlier command that was not waited for.
                Line::Done(..) => {}
                Line::Ready(boot) => bail!("the guest started anew (boot {boot}) during: {script}"),
            }
        }
    }

    /// Sends a script whose end nobody will see, because it ends the guest.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn send(&mut self, script: &str) -> anyhow::Result<u64> {
        self.commands += 1;
        let line = format!("{} {}\n", self.commands, BASE64.encode(script));
        self.stream.write_all(line.as_bytes()).context("the guest's serial port")?;
        Ok(self.commands)
    }

    /// The next line that means something.
    fn line(&mut self, start: Instant, deadline: Duration, what: &str) -> anyhow::Result<Line> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                // What is no line of ours was written by the firmware or the kernel.
                if let Some(line) = Line::parse(&String::from_utf8_lossy(&line)) {
                    return Ok(line);
                }
                continue;
            }
            if start.elapsed() >= deadline {
                bail!("the guest has not answered within {} s: {what}", deadline.as_secs());
            }
            if self.unread.len() > LINE_BYTES_MAX {
                bail!("the guest answers more than {LINE_BYTES_MAX} bytes to: {what}");
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => bail!("the machine ended during: {what}"),
                Ok(count) => self.unread.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("the guest's serial port"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_noise_is_not() {
        assert_eq!(Line::parse("ready 11-22\r\n"), Some(Line::Ready("11-22".to_owned())));
        let answer = |code, said: &str| Answer { code, said: said.to_owned() };
        assert_eq!(Line::parse("done 7 0 aGk=\n"), Some(Line::Done(7, answer(0, "hi"))));
        assert_eq!(Line::parse("done 8 137 \n"), Some(Line::Done(8, answer(137, ""))));
        for noise in ["", "done", "done x 0 aGk=", "done 1 0 %", "[ 1.0] Linux version", "ready"] {
            assert_eq!(Line::parse(noise), None, "{noise}");
        }
    }

    #[test]
    fn answers_are_told_apart_by_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let guest = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"noise\nready b1\ndone 1 0 bGF0ZQ==\ndone 2 3 bm93\n").unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            all
        });
        let mut serial = Serial::connect(&socket).unwrap();
        let soon = Duration::from_secs(10);
        assert_eq!(serial.wait_for_ready(soon).unwrap(), "b1");
        serial.send("reboot").unwrap();
        assert_eq!(serial.run("echo now; exit 3", soon).unwrap(), Answer { code: 3, said: "now".to_owned() });
        drop(serial);
        let sent = guest.join().unwrap();
        assert_eq!(sent.lines().count(), 2, "{sent}");
        assert!(sent.starts_with(&format!("1 {}\n", BASE64.encode("reboot"))), "{sent}");
    }
}
