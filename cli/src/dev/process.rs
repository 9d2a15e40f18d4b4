//! One process of a local cluster: started with its log, found again after a crash, stopped within a deadline.
//!
//! Each has a process group of its own, so that Ctrl-C in the terminal reaches only `muster dev`, which then stops them in
//! order. A file says which process runs under which name, with the time at which it started: a process id alone may
//! belong to someone else by the time it is looked at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use super::error::DevError;
use super::folder::{CONTROLLER, Folder};

/// How long a process may take to stop in order before it is killed: agents end their tasks first.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How much of the end of a log is shown when its process fails at the start.
const START_TAIL_LINES: usize = 15;

/// The same for a process that is started again: a hint, for the log has it all.
pub(super) const RESTART_TAIL_LINES: usize = 4;

/// Where the search for these lines begins, in bytes before the end.
const TAIL_BYTES: u64 = 8 * 1024;

/// Between two looks whether a process of an earlier run has gone, or a file has come.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is written down about a process that runs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    pid: i32,
    start_ticks: u64,
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    pid: Option<Pid>,
    log: PathBuf,
    note: PathBuf,
}

impl Process {
    /// Starts a program under a name. Its output goes to the end of its log.
    pub(super) fn start(
        folder: &Folder,
        name: &str,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self, DevError> {
        let log = folder.logs().join(format!("{name}.log"));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DevError::Folder { path, source }
        };
        let out =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(failed(&log))?;
        let err = out.try_clone().map_err(failed(&log))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| DevError::Spawn { program: program.to_owned(), source })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let note = folder.run().join(format!("{name}.json"));
        if let Some(pid) = pid
            && let Some(start_ticks) = start_ticks(pid.as_raw())
        {
            let text = serde_json::json!(Note { pid: pid.as_raw(), start_ticks }).to_string();
            fs::write(&note, text).map_err(failed(&note))?;
        }
        Ok(Self { name: name.to_owned(), child, pid, log, note })
    }

    /// Waits until it ends. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // It is gone: its number may soon be another's.
        self.pid = None;
        let _gone = fs::remove_file(&self.note);
        Ok(status)
    }

    /// Asks it to stop.
    pub(super) fn ask(&self) {
        if let Some(pid) = self.pid {
            // It may have ended meanwhile: then there is nothing to ask.
            let _gone = kill(pid, Signal::SIGTERM);
        }
    }

    /// Stops it: asks, waits, and kills it when it takes too long. `hurry` ends the waiting early.
    pub(super) async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        self.ask();
        let is_over = tokio::select! {
            _ended = self.ended() => true,
            () = tokio::time::sleep(STOP_LIMIT) => false,
            () = hurry => false,
        };
        if !is_over {
            let _gone = self.child.start_kill();
            let _ended = self.ended().await;
        }
    }

    /// Waits until it has written a file. Fails when it ends before, or takes longer than `limit`.
    pub(super) async fn until_written(&mut self, file: &Path, limit: Duration) -> Result<(), DevError> {
        let deadline = Instant::now() + limit;
        while !file.exists() {
            tokio::select! {
                ended = self.ended() => {
                    let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    return Err(self.died(status));
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if Instant::now() > deadline {
                let (name, log, tail) = (self.name.clone(), self.log.clone(), self.tail(START_TAIL_LINES));
                return Err(DevError::Late { name, limit, log, tail });
            }
        }
        Ok(())
    }

    /// What to say when it ended before it was ready.
    pub(super) fn died(&self, status: String) -> DevError {
        let (name, log, tail) = (self.name.clone(), self.log.clone(), self.tail(START_TAIL_LINES));
        DevError::Died { name, status, log, tail }
    }

    /// The last lines of its log.
    pub(super) fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

/// Stops what an earlier `muster dev` that was killed has left running in this folder.
pub(super) async fn stop_leftovers(folder: &Folder) -> Result<Vec<String>, DevError> {
    let run = folder.run();
    let failed = |source| DevError::Folder { path: run.clone(), source };
    let mut left = Vec::new();
    for entry in fs::read_dir(&run).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let note = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match note {
            Some(note) if start_ticks(note.pid) == Some(note.start_ticks) => left.push((name, path, note)),
            Some(_) | None => {
                let _gone = fs::remove_file(&path);
            }
        }
    }
    // Agents first: they end their tasks while the controller still listens.
    left.sort_by_key(|(name, ..)| name == CONTROLLER);
    for (name, path, note) in &left {
        stop_leftover(name, note).await?;
        let _gone = fs::remove_file(path);
    }
    Ok(left.into_iter().map(|(name, ..)| name).collect())
}

async fn stop_leftover(name: &str, note: &Note) -> Result<(), DevError> {
    for (signal, limit) in [(Signal::SIGTERM, STOP_LIMIT), (Signal::SIGKILL, Duration::from_secs(5))] {
        let _gone = kill(Pid::from_raw(note.pid), signal);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if start_ticks(note.pid) != Some(note.start_ticks) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Err(DevError::Leftover { name: name.to_owned(), pid: note.pid })
}

/// When a process started, in ticks since boot. `None` when there is no such process, or it has ended.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything; what follows it is plain.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The state is field 3 of the line, the start time field 22.
    let ticks = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(ticks)
}

/// The last lines of a log.
fn tail(log: &Path, count: usize) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        (place, folder)
    }

    fn sh(folder: &Folder, script: &str) -> Process {
        Process::start(folder, "sh", Path::new("/bin/sh"), &["-c", script]).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_dies_early_is_told_with_the_end_of_its_log() {
        let (_place, folder) = folder();
        let mut process = sh(&folder, "for i in $(seq 30); do echo line $i; done; exit 3");
        let error =
            process.until_written(&folder.run().join("never"), Duration::from_secs(20)).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("line 30") && !text.contains("line 15\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_process_is_stopped_and_its_note_removed() {
        let (_place, folder) = folder();
        let mut process = sh(&folder, "exec sleep 1000");
        let note = folder.run().join("sh.json");
        assert!(note.exists());
        process.stop(std::future::pending()).await;
        assert!(!note.exists());
    }

    #[tokio::test]
    async fn one_that_does_not_listen_is_killed_when_there_is_no_time() {
        let (place, folder) = folder();
        let ready = place.path().join("ready");
        let mut process =
            sh(&folder, &format!("trap '' TERM; echo > {}; sleep 1000 & wait; wait", ready.display()));
        process.until_written(&ready, Duration::from_secs(20)).await.unwrap();
        let pid = process.pid.unwrap().as_raw();
        process.stop(std::future::ready(())).await;
        assert_eq!(start_ticks(pid), None);
    }

    #[tokio::test]
    async fn leftovers_of_an_earlier_run_are_stopped_and_strangers_are_not() {
        let (_place, folder) = folder();
        let mut left = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let mut stranger = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let pid = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        let note = |name: &str, pid: i32, start_ticks: u64| {
            let text = serde_json::json!(Note { pid, start_ticks }).to_string();
            fs::write(folder.run().join(name), text).unwrap();
        };
        note("node-1.json", pid(&left), start_ticks(pid(&left)).unwrap());
        note("node-2.json", pid(&stranger), start_ticks(pid(&stranger)).unwrap() + 1);
        fs::write(folder.run().join("junk.json"), "{").unwrap();
        let stopped = stop_leftovers(&folder).await.unwrap();
        let is_alive = stranger.try_wait().unwrap().is_none();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        left.wait().unwrap();
        assert_eq!(stopped, ["node-1"]);
        assert!(is_alive);
        assert_eq!(fs::read_dir(folder.run()).unwrap().count(), 0);
    }
}
