//! Log lines on a thread of their own, for a process that must not wait for where they go.
//!
//! A full pipe behind standard error, or a disk that hangs under a log file, holds up this thread and nobody else. Lines that find
//! no room in its queue are left out; how many is the next line.
//!
//! Invariant: whoever logs never waits.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait: a burst of some seconds, a megabyte or so.
const WAITING_MAX: usize = 8_192;
/// How long the end of the process waits for the last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// What the thread is given.
enum Job {
    Line(Vec<u8>),
    /// Everything before this is written.
    Flush(SyncSender<()>),
}

/// Takes lines. Each clone is a way to the same thread.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

/// Waits at its drop, for a bounded time, until the last lines are written. To be kept until the end of `main`.
#[derive(Debug)]
#[must_use = "the last lines are written when this is dropped"]
pub struct LogThread(SyncSender<Job>);

impl Lines {
    /// Starts the thread, which writes to `place`.
    pub(super) fn begin(place: Box<dyn Write + Send>) -> io::Result<(Self, LogThread)> {
        let (jobs, receiver) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || work(&receiver, place, &counter))?;
        Ok((Self { jobs: jobs.clone(), lost }, LogThread(jobs)))
    }
}

impl Write for Lines {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.jobs.try_send(Job::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(jobs: &Receiver<Job>, mut place: Box<dyn Write + Send>, lost: &AtomicU64) {
    for job in jobs {
        // Nobody is left to tell when a log cannot be written.
        match job {
            Job::Line(line) => {
                let count = lost.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let _unheard = writeln!(
                        place,
                        "{count} log lines were left out: the log was not written as fast as they came"
                    );
                }
                let _unheard = place.write_all(&line);
            }
            Job::Flush(done) => {
                let _unheard = place.flush();
                let _nobody = done.try_send(());
            }
        }
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        let (done, flushed) = sync_channel(1);
        // With a full queue the log has other troubles.
        if self.0.try_send(Job::Flush(done)).is_ok() {
            let _too_late = flushed.recv_timeout(FLUSH_LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Writes nothing before it is told to.
    struct Stuck {
        go: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.go.recv();
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_not_written_and_what_was_left_out_is_told() {
        let (go, waits) = mpsc::channel();
        let (written, seen) = mpsc::channel();
        let (mut lines, thread) = Lines::begin(Box::new(Stuck { go: waits, written })).unwrap();
        let more = 100;
        for number in 0..WAITING_MAX + more {
            lines.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        // All later writes go through.
        drop(go);
        let mut text = Vec::new();
        while !text.ends_with(b"the last\n") {
            if text.ends_with(format!("line {}\n", WAITING_MAX - 1).as_bytes()) {
                lines.write_all(b"the last\n").unwrap();
            }
            text.extend(seen.recv_timeout(Duration::from_secs(30)).unwrap());
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().any(|line| line == "line 0"), "the first ones are not those that are left out");
        let told: usize = text
            .lines()
            .filter_map(|line| line.split_once(" log lines were left out")?.0.parse::<usize>().ok())
            .sum();
        let lines_of_all = text.lines().filter(|line| line.starts_with("line ")).count();
        assert_eq!(told + lines_of_all, WAITING_MAX + more);
        drop(thread);
    }

    #[test]
    fn the_last_lines_are_there_at_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut lines, thread) = Lines::begin(Box::new(file.reopen().unwrap())).unwrap();
        for _ in 0..1_000 {
            lines.write_all(b"line\n").unwrap();
        }
        drop(thread);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), 1_000);
    }
}
