//! Rates of the SQLite store, printed beside floors that are measured in the same run on the same disk.
//!
//! `cargo bench -p muster-store --bench rates [-- TASKS]`. Never fails for slowness. The floors: one fsync of an appended
//! page, and plain SQLite writing the same number of rows and bytes into the two least tables that could hold them. Beside
//! each rate stands the processor's time for one, which a busy machine changes little.

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

/// A moment by the clock and by the processor.
struct Start {
    clock: Instant,
    processor: Duration,
}

/// What this thread has used of a processor.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn start() -> Start {
    Start { clock: Instant::now(), processor: processor() }
}

fn rate(what: &str, count: u64, start: &Start) {
    let (took, used) = (start.clock.elapsed(), processor().saturating_sub(start.processor));
    let per_second = count as f64 / took.as_secs_f64();
    let each = used.as_secs_f64() * 1e6 / count as f64;
    println!("{what:<58} {per_second:>10.0}/s {each:>7.2} us each   ({count} in {took:.2?})");
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
    let began = start();
    for _ in 0..500 {
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
    }
    rate("floor: fdatasync of one appended page", 500, &began);
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
    let began = start();
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
    rate("floor: plain inserts into two tables, batches of 1,000", tasks, &began);
    let began = start();
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
    rate("floor: plain updates by key, batches of 1,000", tasks, &began);
}

fn batches(tasks: u64, mut records: impl FnMut(u64) -> Vec<Record>) -> Vec<Vec<Record>> {
    (0..tasks)
        .step_by(1_000)
        .map(|from| (from..tasks.min(from + BATCH)).flat_map(&mut records).collect())
        .collect()
}

fn commit_all(store: &mut SqliteStore, what: &str, count: u64, batches: &[Vec<Record>]) {
    let began = start();
    for batch in batches {
        store.commit(batch).unwrap();
    }
    rate(what, count, &began);
}

fn id(index: u64) -> String {
    format!("task-{index:07}")
}

fn state(index: u64, state: TaskState, revision: u64) -> Record {
    Record::TaskState(Box::new(TaskStateRow {
        state,
        previous_state: Some(TaskState::Active),
        previous_state_since: Some(at(2)),
        state_since: at(10 + revision.cast_signed()),
        modified: at(10 + revision.cast_signed()),
        attempt: 1,
        node: Some(node_id("tvm-0123456789_1")),
        placed: state == TaskState::Running,
        started: Some(at(10)),
        ended: (state == TaskState::Completed).then(|| at(12)),
        exit_code: (state == TaskState::Completed).then_some(0),
        result: (state == TaskState::Completed).then_some(if index % 1_000 == 7 {
            ExecutionResult::Failure
        } else {
            ExecutionResult::Success
        }),
        revision,
        ..task_state("j", &id(index))
    }))
}

fn store(path: &Path, tasks: u64) {
    let mut store = SqliteStore::open(path).unwrap();
    store.commit(&[job("j", 0)]).unwrap();
    let began = start();
    let inserts = batches(tasks, |index| task("j", &id(index), index).to_vec());
    rate("(making those records)", tasks, &began);
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
    let began = start();
    let rows = store.load_all().unwrap();
    rate("load: tasks with their specifications", rows.tasks.len() as u64, &began);
    let began = start();
    store.commit(&[Record::JobGone(account(), job_id("j"))]).unwrap();
    println!("{:<58} {:>12.2?}", "deleting the job", began.clock.elapsed());
    let began = start();
    while store.tidy().unwrap() {}
    rate("removing its tasks when idle", tasks, &began);
}

fn reads(store: &SqliteStore, tasks: u64) {
    let reader = store.reader();
    for order in ["create_time", "id desc"] {
        let mut query = Query { order: parse_order(order).unwrap(), page_size: 1_000, ..Query::default() };
        let began = start();
        loop {
            query.after = reader.tasks(&account(), &job_id("j"), &query).unwrap().next;
            if query.after.is_none() {
                break;
            }
        }
        rate(&format!("reads: all tasks by {order}, pages of 1,000"), tasks, &began);
    }
    for (what, order, filter) in [
        ("running tasks of all", "", "state = running"),
        ("waiting tasks, when there are none", "", "state = active"),
        ("a page that no task is on", "", "execution_info.exit_code = 77"),
        ("failed tasks of all", "", "execution_info.result = failure"),
        ("failed tasks of all by id", "id", "execution_info.result = failure"),
        ("the last failed tasks", "update_time desc", "execution_info.result = failure"),
        ("the last 100 by time of change", "update_time desc", ""),
        ("100 tasks by prefix", "id", "id:task-0001"),
    ] {
        let query = Query {
            order: parse_order(order).unwrap(),
            filter: parse_filter(filter).unwrap(),
            ..Query::default()
        };
        let began = start();
        let found = reader.tasks(&account(), &job_id("j"), &query).unwrap().items.len();
        println!("{:<58} {:>12.2?}   ({found} found)", format!("reads: {what}"), began.clock.elapsed());
    }
}
