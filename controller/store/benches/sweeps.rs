//! What a large sweep costs: to make, to list, to find members of, to dispatch, to delete.
//!
//! `cargo bench -p muster-store --bench sweeps [-- MEMBERS]`. Never fails for slowness. Each figure is the best of some
//! repeats, so that other work on the machine shows little.

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

use fixture::{
    account, at, job, job_id, key, member_row, running_member, sweep_id, sweep_row, sweep_state, task,
};
use muster_controller_core::record::{Record, SweepRow, SweepStateRow, TaskStateRow};
use muster_model::IndexSet;
use muster_model::spec::Axis;
use muster_model::state::{ExecutionResult, TaskState};
use muster_store::query::{Query, parse_filter, parse_order};
use muster_store::{Reader, SqliteStore, Store};
use std::time::{Duration, Instant};

const REPEATS: u32 = 5;

fn best(mut act: impl FnMut() -> usize) -> (Duration, usize) {
    let mut least = Duration::MAX;
    let mut found = 0;
    for _ in 0..REPEATS {
        let start = Instant::now();
        found = act();
        least = least.min(start.elapsed());
    }
    (least, found)
}

fn show(what: &str, figure: (Duration, usize)) {
    println!("{what:<66} {:>10.2?}   ({} found)", figure.0, figure.1);
}

fn main() {
    // Cargo adds `--bench`; the one number is ours.
    let members = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000_u64);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut store = SqliteStore::open(&folder.path().join("muster.db")).unwrap();
    store.commit(&[job("j", 0)]).unwrap();
    let row = sweep_row("j", "frame", 1_000, members);
    let start = Instant::now();
    store.commit(&fixture::sweep("j", "frame", 1_000, members)).unwrap();
    show("a sweep is made", (start.elapsed(), 1));
    store.commit(&task("j", "after", 1_000_000_000)).unwrap();
    println!("-- all {members} members wait");
    lists(&*store.reader(), members);
    dispatch(&mut store, &row, members / 2);
    println!("-- half of them have run, 100 run");
    lists(&*store.reader(), members);
    table(&mut store);
    let start = Instant::now();
    store.commit(&[Record::SweepGone(account(), job_id("j"), sweep_id("frame"))]).unwrap();
    show("the sweep is deleted", (start.elapsed(), 1));
    let (filter, order) = ("", "");
    let query = Query {
        filter: parse_filter(filter).unwrap(),
        order: parse_order(order).unwrap(),
        ..Query::default()
    };
    show(
        "a page while its rows are being removed",
        best(|| store.reader().tasks(&account(), &job_id("j"), &query).unwrap().items.len()),
    );
    let start = Instant::now();
    while store.tidy().unwrap() {}
    show("its members' rows are removed when idle", (start.elapsed(), 0));
}

fn lists(reader: &dyn Reader, members: u64) {
    let middle = format!("sweep_number >= {}", members / 2 + 1_000);
    for (what, order, filter) in [
        ("first page", "", ""),
        ("first page by id", "id", ""),
        ("last page", "create_time desc", ""),
        ("a page from the middle, by number", "", middle.as_str()),
        ("state = active", "", "state = active"),
        ("state = running", "", "state = running"),
        ("sweep_id = frame AND state = completed", "", "sweep_id = frame AND state = completed"),
        ("sweep_id = frame AND state = completed, by id", "id", "sweep_id = frame AND state = completed"),
        ("execution_info.result = failure", "", "execution_info.result = failure"),
        ("one id", "", "id = frame-0000077"),
        ("ids by prefix", "id desc", "id:frame-00012"),
        ("by time of change, the last", "update_time desc", "sweep_id = frame AND state = active"),
    ] {
        let order = parse_order(order).unwrap();
        let query =
            Query { filter: parse_filter(filter).unwrap(), order, page_size: 100, ..Query::default() };
        show(what, best(|| reader.tasks(&account(), &job_id("j"), &query).unwrap().items.len()));
    }
    let mut query = Query { page_size: 1_000, ..Query::default() };
    for _ in 0..20 {
        query.after = reader.tasks(&account(), &job_id("j"), &query).unwrap().next;
    }
    show("page 21 of 1,000", best(|| reader.tasks(&account(), &job_id("j"), &query).unwrap().items.len()));
    let task = key("j", &format!("frame-{}", members - 3));
    show("a waiting member", best(|| reader.task(&account(), &task).unwrap().into_iter().count()));
    let task = key("j", "frame-5");
    show("an early member", best(|| reader.task(&account(), &task).unwrap().into_iter().count()));
}

/// Members become tasks and end, 100 in each batch, as they do when the controller is busy.
fn dispatch(store: &mut SqliteStore, row: &SweepRow, count: u64) {
    let members = row.spec.count();
    let state = |next: u64| {
        let mut pending = IndexSet::below(members);
        pending.remove(0, next - 1);
        Record::SweepState(Box::new(SweepStateRow {
            pending,
            revision: next,
            ..sweep_state("j", "frame", 0)
        }))
    };
    let start = Instant::now();
    for from in (0..count).step_by(100) {
        let mut batch: Vec<Record> =
            (from..from + 100).flat_map(|index| running_member(row, index)).collect();
        batch.push(state(from + 100));
        store.commit(&batch).unwrap();
        if from >= 100 {
            let ended: Vec<Record> = (from - 100..from).map(|index| ended(row, index)).collect();
            store.commit(&ended).unwrap();
        }
    }
    let took = start.elapsed();
    println!("{count} members placed and ended, batches of 100: {:.0}/s", count as f64 / took.as_secs_f64());
}

fn ended(row: &SweepRow, index: u64) -> Record {
    let member = member_row(row, index);
    Record::TaskState(Box::new(TaskStateRow {
        state: TaskState::Completed,
        state_since: at(9),
        previous_state: Some(TaskState::Running),
        attempt: 1,
        node: Some(fixture::node_id("n-1")),
        started: Some(at(3)),
        ended: Some(at(9)),
        exit_code: Some(0),
        result: Some(if index % 1_000 == 7 { ExecutionResult::Failure } else { ExecutionResult::Success }),
        satisfies: Some(index % 1_000 != 7),
        modified: at(9),
        revision: 3,
        ..fixture::task_state("j", member.task.as_str())
    }))
}

/// A sweep over a table of 4 MiB: its values are read once, not for every member.
fn table(store: &mut SqliteStore) {
    let mut row = sweep_row("j", "table", 2_000_000_000, 1);
    row.spec.template.command_line = "render {scene} {i}".into();
    let rows = (0..200_000).map(|number| vec![format!("scene-{number:013}")]).collect();
    row.spec.axes = vec![
        Axis::Table { names: vec!["scene".into()], rows },
        Axis::Range { name: "i".into(), start: 1, end: 10, step: 1 },
    ];
    let count = row.spec.count();
    let start = Instant::now();
    store
        .commit(&[
            Record::Sweep(Box::new(row)),
            Record::SweepState(Box::new(sweep_state("j", "table", count))),
        ])
        .unwrap();
    show("a sweep over a table of 200,000 rows is made", (start.elapsed(), 1));
    let reader = store.reader();
    let task = key("j", "table-1234567");
    let start = Instant::now();
    reader.task(&account(), &task).unwrap().unwrap();
    show("its first member is read, with the table", (start.elapsed(), 1));
    show("a further member", best(|| reader.task(&account(), &task).unwrap().into_iter().count()));
    let keys: Vec<_> = (1..=1_000).map(|number| key("j", &format!("table-{number}"))).collect();
    show("1,000 specifications", best(|| reader.task_specs(&account(), &keys).unwrap().len()));
}
