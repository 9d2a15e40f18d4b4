//! A writer is killed in the middle of its commits, again and again: what it had acknowledged is there, as a whole.
//!
//! The writer is this test binary started once more with nothing but the first test below, which does
//! nothing in a run of its own. After each commit it says so on its output; the parent kills it after some commits, at
//! no particular moment.

use crate::fixture::*;
use muster_controller_core::record::{JobRow, Record};
use muster_store::{SqliteStore, Store};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DATABASE: &str = "MUSTER_STORE_TEST_KILLED_DATABASE";
const TASKS_PER_COMMIT: u64 = 40;
const ROUNDS: u64 = 8;
const DEADLINE: Duration = Duration::from_secs(60);

/// Kills the writer whatever happens to the test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_writer(database: &Path) -> Writer {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::the_writer_that_is_killed", "--exact", "--nocapture"])
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Writer(child)
}

/// The commits so far: the job's revision is their number, and each has added its tasks.
fn commits(store: &mut SqliteStore) -> u64 {
    let rows = store.load_all().unwrap();
    let commits = rows.jobs.first().map_or(0, |job| job.revision);
    assert_eq!(
        u64::try_from(rows.tasks.len()).unwrap(),
        commits * TASKS_PER_COMMIT,
        "a commit is there by half"
    );
    for (spec, state) in &rows.tasks {
        assert_eq!((&spec.spec.id, state.revision), (&state.task, spec.sequence / TASKS_PER_COMMIT));
    }
    commits
}

/// The child of the test below, which starts it with the variable set; without it there is nothing to write to.
#[test]
fn the_writer_that_is_killed() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let mut store = SqliteStore::open(Path::new(&database)).unwrap();
    let first = commits(&mut store) + 1;
    for number in first..first + 100_000 {
        let mut batch = vec![Record::Job(Box::new(JobRow { revision: number, ..job_row("j", 0) }))];
        for index in 0..TASKS_PER_COMMIT {
            let sequence = number * TASKS_PER_COMMIT + index;
            let [spec, state] = task("j", &format!("t-{sequence}"), sequence);
            let Record::TaskState(mut state) = state else { panic!("a task's second record is its state") };
            state.revision = number;
            batch.extend([spec, Record::TaskState(state)]);
        }
        store.commit(&batch).unwrap();
        println!("committed {number}");
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged_and_leaves_no_half_commit() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("muster.db");
    let end = Instant::now() + DEADLINE;
    let mut known = 0;
    for round in 0..ROUNDS {
        let mut writer = start_writer(&database);
        let output = BufReader::new(writer.0.stdout.take().unwrap());
        let enough = known + 3 + round * 5;
        let mut acknowledged = known;
        // Lines that were written before the kill are read to the end of the pipe after it.
        for line in output.lines() {
            let line = line.unwrap();
            let Some((_, number)) = line.split_once("committed ") else { continue };
            acknowledged = number.trim().parse().unwrap();
            if acknowledged >= enough {
                writer.0.kill().unwrap();
            }
            assert!(Instant::now() < end, "the writer is too slow");
        }
        drop(writer);
        assert!(acknowledged >= enough, "the writer ended by itself after {acknowledged}");
        let mut store = SqliteStore::open(&database).unwrap();
        let found = commits(&mut store);
        assert!(found >= acknowledged, "round {round}: {acknowledged} acknowledged, {found} found");
        assert!(found <= acknowledged + 1, "round {round}: {acknowledged} acknowledged, {found} found");
        known = found;
    }
}
