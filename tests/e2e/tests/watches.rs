//! `job wait` and `job watch` see a job to its end, also when the controller is killed and started again under them.
//!
//! The watchers run with `-o json`, so what they saw and in which order is read from their lines. The API's own watches under
//! overload are tested beside the daemon.

use anyhow::{Context, ensure};
use muster_e2e::exit_code::PARTLY;
use muster_e2e::pipe::Pipe;
use muster_e2e::user::{number, script_task};
use muster_e2e::wait::{SOON, WORK, when};
use muster_e2e::{Cluster, User, wait_until};
use serde_json::Value;
use std::process::{Child, Stdio};

/// A running `muster -o json job wait` or `watch`.
struct Watcher {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Watcher {
    fn start(cluster: &User, verb: &str, job: &str) -> anyhow::Result<Self> {
        let mut command = cluster.command(&["-o", "json", "job", verb, job]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (Pipe::read(child.stdout.take()), Pipe::read(child.stderr.take()));
        Ok(Self { child, stdout, stderr })
    }

    /// Waits until it has told so many completed tasks.
    fn saw(&self, completed: i64) -> anyhow::Result<()> {
        wait_until(SOON, "the watcher to see completed tasks", || {
            let text = String::from_utf8_lossy(&self.stdout.so_far()).into_owned();
            Ok(when(lines(&text).iter().any(|line| count(line, "completed") >= completed)))
        })
    }

    /// Its exit code and all lines that it wrote.
    fn end(mut self) -> anyhow::Result<(Option<i32>, Vec<Value>)> {
        let ended = wait_until(WORK, "the end of the watcher", || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill()?;
        }
        let text = String::from_utf8(self.stdout.all(SOON)?)?;
        let said = String::from_utf8_lossy(&self.stderr.all(SOON)?).into_owned();
        Ok((ended.context(said)?.code(), lines(&text)))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A test that failed must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole lines of JSON in a text.
fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn count(line: &Value, state: &str) -> i64 {
    number(line, &format!("/task_counts/{state}")).unwrap_or(0)
}

#[test]
fn waiting_and_watching_go_on_through_restarts_of_the_controller() -> anyhow::Result<()> {
    let mut cluster = Cluster::new().slots(2).split()?;
    let tasks = [
        script_task("quick", "exit 0"),
        cluster.gated("first", "first"),
        cluster.gated("second", "second"),
        script_task("bad", "exit 3"),
    ];
    cluster.job("seen", &tasks)?;
    let waits = Watcher::start(&cluster, "wait", "seen")?;
    let watches = Watcher::start(&cluster, "watch", "seen")?;
    for (gate, completed) in [("first", 1), ("second", 2)] {
        waits.saw(completed)?;
        watches.saw(completed)?;
        cluster.kill_controller()?;
        // What changes while there is nobody to tell is told later.
        cluster.open(gate)?;
        cluster.wait_for_lines("ledger", usize::from(gate == "second") + 1, SOON)?;
        cluster.start_controller()?;
    }
    let (code, told) = waits.end()?;
    assert_eq!(code, Some(PARTLY), "one task failed");
    let last = told.last().context("it told nothing")?;
    assert_eq!((count(last, "succeeded"), count(last, "failed")), (3, 1), "{last}");
    let completed: Vec<i64> = told.iter().map(|line| count(line, "completed")).collect();
    ensure!(completed.is_sorted(), "counts never go back: {completed:?}");
    // A watch goes on until the job itself is completed.
    watches.saw(4)?;
    cluster.ok(&["job", "terminate", "seen"])?;
    let (code, told) = watches.end()?;
    let last = told.last().context("it told nothing")?.to_string();
    ensure!(code == Some(0) && last.contains("COMPLETED"), "{code:?} {last}");
    Ok(())
}

#[test]
fn waiting_for_a_job_that_is_deleted_ends_with_the_word() -> anyhow::Result<()> {
    let cluster = Cluster::new().dev()?;
    cluster.job("gone", &[cluster.gated("1", "never")])?;
    cluster.wait_for_lines("started", 1, SOON)?;
    let waits = Watcher::start(&cluster, "wait", "gone")?;
    wait_until(SOON, "the first line", || Ok(waits.stdout.first_line()))?;
    cluster.ok(&["job", "delete", "gone"])?;
    let (code, _) = waits.end()?;
    assert_eq!(code, Some(muster_e2e::exit_code::NOT_FOUND));
    Ok(())
}
