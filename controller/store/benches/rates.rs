//! Rates of the SQLite store, printed beside floors that are measured in the same run on the same disk.
//!
//! `cargo bench -p muster-store [-- TASKS]`. Never fails for slowness. The floors: one fsync of an appended page, and
//! plain SQLite writing the same number of rows and bytes into the two least tables that could hold them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints figures and ends when it cannot"
)]

#[path = "../tests/conformance/fixture.rs"]
#[allow(dead_code, reason = "the bench needs a few of the tests' rows")]
mod fixture;

use fixture::{account, at, attempt_row, job, job_id, node_id, task, task_state};
use muster_controller_core::record::{Record, TaskStateRow};
use muster_model::state::{ExecutionResult, TaskState};
use muster_store::query::{Query, parse_filter, parse_order};
use muster_store::{SqliteStore, Store};
use rusqlite::{Connection, params};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const BATCH: u64 = 1_000;

fn rate(what: &str, count: u64, took: Duration) {
    let per_second = count as f64 / took.as_secs_f64();
    println!("{what:<58} {per_second:>12.0}/s   ({count} in {took:.2?})");
}

fn main() {
    // Cargo adds `--bench`; the one number is ours.
    let tasks = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200_000_u64);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    floor_fsync(folder.path());
    floor_rows(folder.path(), tasks);
    store(&folder.path().join("muster.db"), tasks);
}

fn floor_fsync(folder: &Path) {
    let mut file = File::create(folder.join("floor")).unwrap();
    let start = Instant::now();
    for _ in 0..500 {
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
    }
    rate("floor: fdatasync of one appended page", 500, start.elapsed());
}

/// The same rows in the least tables: a key and 120 bytes; a key and ten numbers.
fn floor_rows(folder: &Path, tasks: u64) {
    let mut raw = Connection::open(folder.join("floor.db")).unwrap();
    raw.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
         CREATE TABLE spec (key INTEGER PRIMARY KEY, id TEXT, bytes BLOB);
         CREATE TABLE state (key INTEGER PRIMARY KEY, a, b, c, d, e, f, g, h, i, node TEXT);",
    )
    .unwrap();
    let bytes = [7_u8; 120];
    let start = Instant::now();
    for from in (0..tasks).step_by(1_000) {
        let transaction = raw.transaction().unwrap();
        for key in (from..tasks.min(from + BATCH)).map(u64::cast_signed) {
            let mut spec = transaction.prepare_cached("INSERT INTO spec VALUES (?1, ?2, ?3)").unwrap();
            spec.execute(params![key, format!("task-{key:07}"), bytes.as_slice()]).unwrap();
            let sql = "INSERT INTO state VALUES (?1, 1, 2, 3, 4, 5, 6, 7, 8, 9, NULL)";
            transaction.prepare_cached(sql).unwrap().execute([key]).unwrap();
        }
        transaction.commit().unwrap();
    }
    rate("floor: plain inserts into two tables, batches of 1,000", tasks, start.elapsed());
    let start = Instant::now();
    for from in (0..tasks).step_by(1_000) {
        let transaction = raw.transaction().unwrap();
        for key in (from..tasks.min(from + BATCH)).map(u64::cast_signed) {
            let sql =
                "UPDATE state SET a = 2, b = ?2, c = ?2, d = ?2, node = 'tvm-0123456789_1' WHERE key = ?1";
            let time = 1_767_225_600_000_000_i64 + key;
            transaction.prepare_cached(sql).unwrap().execute((key, time)).unwrap();
        }
        transaction.commit().unwrap();
    }
    rate("floor: plain updates by key, batches of 1,000", tasks, start.elapsed());
}

fn batches(tasks: u64, mut records: impl FnMut(u64) -> Vec<Record>) -> Vec<Vec<Record>> {
    (0..tasks)
        .step_by(1_000)
        .map(|from| (from..tasks.min(from + BATCH)).flat_map(&mut records).collect())
        .collect()
}

fn commit_all(store: &mut SqliteStore, what: &str, count: u64, batches: &[Vec<Record>]) {
    let start = Instant::now();
    for batch in batches {
        store.commit(batch).unwrap();
    }
    rate(what, count, start.elapsed());
}

fn id(index: u64) -> String {
    format!("task-{index:07}")
}

fn state(index: u64, state: TaskState, revision: u64) -> Record {
    Record::TaskState(Box::new(TaskStateRow {
        state,
        previous_state: Some(TaskState::Active),
        state_since: at(10 + revision.cast_signed()),
        modified: at(10 + revision.cast_signed()),
        attempt: 1,
        node: Some(node_id("tvm-0123456789_1")),
        placed: state == TaskState::Running,
        started: Some(at(10)),
        ended: (state == TaskState::Completed).then(|| at(12)),
        exit_code: (state == TaskState::Completed).then_some(0),
        result: (state == TaskState::Completed).then_some(ExecutionResult::Success),
        revision,
        ..task_state("j", &id(index))
    }))
}

fn store(path: &Path, tasks: u64) {
    let mut store = SqliteStore::open(path).unwrap();
    store.commit(&[job("j", 0)]).unwrap();
    let inserts = batches(tasks, |index| task("j", &id(index), index).to_vec());
    commit_all(&mut store, "inserts: specification and state, batches of 1,000", tasks, &inserts);
    drop(inserts);
    let running = batches(tasks, |index| vec![state(index, TaskState::Running, 2)]);
    commit_all(&mut store, "updates: state to running, batches of 1,000", tasks, &running);
    drop(running);
    let ended = batches(tasks, |index| {
        let attempt = Record::Attempt(Box::new(attempt_row("j", &id(index), 1)));
        vec![state(index, TaskState::Completed, 3), attempt]
    });
    commit_all(&mut store, "ends: state to completed and an attempt, batches of 1,000", tasks, &ended);
    drop(ended);
    let single: Vec<_> = (0..500).map(|index| vec![state(index, TaskState::Completed, 4)]).collect();
    commit_all(&mut store, "commits of one update each", 500, &single);
    reads(&store, tasks);
    let start = Instant::now();
    let rows = store.load().unwrap();
    rate("load: tasks with their specifications", rows.tasks.len() as u64, start.elapsed());
    let start = Instant::now();
    store.commit(&[Record::JobGone(account(), job_id("j"))]).unwrap();
    println!("{:<58} {:>12.2?}", "deleting the job", start.elapsed());
    let start = Instant::now();
    while store.tidy().unwrap() {}
    rate("removing its tasks when idle", tasks, start.elapsed());
}

fn reads(store: &SqliteStore, tasks: u64) {
    let reader = store.reader();
    for order in ["create_time", "id desc"] {
        let mut query = Query { order: parse_order(order).unwrap(), page_size: 1_000, ..Query::default() };
        let start = Instant::now();
        loop {
            query.after = reader.tasks(&account(), &job_id("j"), &query).unwrap().next;
            if query.after.is_none() {
                break;
            }
        }
        rate(&format!("reads: all tasks by {order}, pages of 1,000"), tasks, start.elapsed());
    }
    for (what, order, filter) in [
        ("a page that no task is on", "", "state = running"),
        ("the last 100 by time of change", "update_time desc", ""),
        ("100 tasks by prefix", "id", "id:task-0001"),
    ] {
        let query = Query {
            order: parse_order(order).unwrap(),
            filter: parse_filter(filter).unwrap(),
            ..Query::default()
        };
        let start = Instant::now();
        let found = reader.tasks(&account(), &job_id("j"), &query).unwrap().items.len();
        println!("{:<58} {:>12.2?}   ({found} found)", format!("reads: {what}"), start.elapsed());
    }
}
