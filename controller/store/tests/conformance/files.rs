//! Files that are new, foreign, damaged, from a later version, or from the first one.
//!
//! These tests are about SQLite alone: the only backend with a file. A file that is refused must be left as it was, and
//! what is damaged must be said, never read as something else. The golden file of the present version is written anew only
//! on demand (`BLESS`), those of older ones never: they are what such versions wrote.

use crate::everything::{everything, everything_of_version_1, everything_of_version_2};
use crate::fixture::*;
use muster_controller_core::record::{Record, TaskStateRow};
use muster_model::state::TaskState;
use muster_store::query::{Query, parse_filter};
use muster_store::{OpenError, SqliteStore, Store, StoreError};
use rusqlite::Connection;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database of each version of the schema as text.
const GOLDEN: [&str; 3] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1.sql"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v2.sql"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v3.sql"),
];
/// Set it to write the golden file of the present version anew, after its tables or formats were changed on purpose and
/// before it was released.
const BLESS: &str = "MUSTER_STORE_TEST_BLESS";

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.db");
    (folder, path)
}

fn filled(path: &Path, tasks: u64) {
    let mut store = SqliteStore::open(path).unwrap();
    let mut batch = everything();
    for index in 0..tasks {
        batch.extend(task("other", &format!("more-{index}"), 1_000 + index));
    }
    store.commit(&batch).unwrap();
}

fn refused(path: &Path) -> OpenError {
    SqliteStore::open(path).map(drop).unwrap_err()
}

#[test]
fn a_new_database_is_its_owner_s_alone_and_says_whose_it_is() {
    let (_folder, path) = folder();
    filled(&path, 0);
    for file in [path.clone(), path.with_extension("db-wal")] {
        if let Ok(found) = fs::metadata(&file) {
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }
    let raw = Connection::open(&path).unwrap();
    let id: i32 = raw.pragma_query_value(None, "application_id", |row| row.get(0)).unwrap();
    assert_eq!(&id.to_be_bytes(), b"MSTR");
}

#[test]
fn a_foreign_file_is_refused_and_left_as_it_was() {
    let (_folder, path) = folder();
    let text = b"This is not a database, but a letter that somebody keeps here for some reason.".repeat(20);
    fs::write(&path, &text).unwrap();
    assert!(matches!(refused(&path), OpenError::Foreign { .. }), "{}", refused(&path));
    assert_eq!(fs::read(&path).unwrap(), text);

    let (_folder, path) = folder_with_other_database();
    let before = fs::read(&path).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("muster.db is not a Muster database"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

fn folder_with_other_database() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    (folder, path)
}

#[test]
fn a_database_of_a_later_version_is_refused_with_both_versions() {
    let (_folder, path) = folder();
    filled(&path, 0);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Newer { found: 99, known: 3, .. }), "{error}");
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let (folder, _) = folder();
    let error = refused(&folder.path().join("nowhere/muster.db"));
    assert!(matches!(error, OpenError::File { .. }) && error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_database_without_one_of_its_tables_is_damaged() {
    let (_folder, path) = folder();
    filled(&path, 0);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE attempt").unwrap();
    assert!(matches!(refused(&path), OpenError::Damaged { .. }), "{}", refused(&path));
}

#[test]
fn a_damaged_database_is_refused_or_says_so_when_it_is_read() {
    let (_folder, path) = folder();
    filled(&path, 500);
    let length = fs::metadata(&path).unwrap().len();
    let whole = fs::read(&path).unwrap();
    assert!(length > 100_000, "the log is in the file once the store is closed");
    // The first page is the header and the list of tables.
    let damages: [(&str, u64, u64); 4] = [
        ("header", 0, 100),
        ("tables", 100, 3_000),
        ("middle", length / 2, 40_000),
        ("half", length / 2, length),
    ];
    for (what, from, to) in damages {
        fs::write(&path, &whole).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        if what == "half" {
            file.set_len(from).unwrap();
        } else {
            file.seek(SeekFrom::Start(from)).unwrap();
            file.write_all(&vec![0xa5; usize::try_from(to).unwrap()]).unwrap();
        }
        drop(file);
        let error = match SqliteStore::open(&path) {
            Err(error @ (OpenError::Foreign { .. } | OpenError::Damaged { .. })) => error.to_string(),
            Err(error) => panic!("{what}: {error:?}"),
            Ok(mut store) => match store.load_all() {
                Err(error @ (StoreError::Damaged { .. } | StoreError::Decode { .. })) => error.to_string(),
                Err(error) => panic!("{what}: {error:?}"),
                Ok(_) => panic!("{what}: nothing was noticed"),
            },
        };
        assert!(error.contains("damaged") || error.contains("not a Muster database"), "{what}: {error}");
    }
}

#[test]
fn readers_of_a_file_that_is_gone_fail_instead_of_waiting_for_each_other() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).unwrap();
    let reader = store.reader();
    drop(store);
    drop(folder);
    let (answered, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..20 {
            answered.send(reader.account(&account()).map(drop)).unwrap();
        }
    });
    for _ in 0..20 {
        let failed = answer.recv_timeout(Duration::from_secs(20)).expect("a reader waits for ever");
        assert!(matches!(failed, Err(StoreError::Backend { .. })), "{failed:?}");
    }
}

#[test]
fn a_row_of_a_later_format_is_named_with_its_key() {
    let (_folder, path) = folder();
    filled(&path, 0);
    Connection::open(&path).unwrap().execute_batch("UPDATE task SET format = 2 WHERE id = 't1'").unwrap();
    let error = SqliteStore::open(&path).unwrap().load_all().map(drop).unwrap_err();
    assert!(matches!(&error, StoreError::Decode { key, .. } if key == "t1"), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("format 2"), "{cause}");
}

#[test]
fn the_rows_of_deleted_parents_are_removed_bit_by_bit() {
    let (_folder, path) = folder();
    filled(&path, 3_000);
    let mut store = SqliteStore::open(&path).unwrap();
    store.commit(&[Record::JobGone(account(), job_id("other"))]).unwrap();
    let raw = Connection::open(&path).unwrap();
    let left = || -> i64 { raw.query_row("SELECT count(*) FROM task", [], |row| row.get(0)).unwrap() };
    let after_first = left();
    assert!((2_000..3_004).contains(&after_first), "one commit removed all but {after_first}");
    store.commit(&[]).unwrap();
    assert!(left() < after_first, "a later commit goes on");
    drop(store);
    let mut store = SqliteStore::open(&path).unwrap();
    while store.tidy().unwrap() {}
    assert_eq!(left(), 3);
    let states: i64 = raw.query_row("SELECT count(*) FROM task_state", [], |row| row.get(0)).unwrap();
    assert_eq!(states, 3);
}

#[test]
fn lists_of_tasks_are_read_from_an_index() {
    let (_folder, path) = folder();
    filled(&path, 0);
    let raw = Connection::open(&path).unwrap();
    let all = "task t LEFT JOIN task_state s ON s.key = t.key";
    let alive = "task_state s INDEXED BY task_alive CROSS JOIN task t ON t.key = s.key";
    for (from, job, also, order, column) in [
        (all, "t.job", "", "t.sequence ASC, t.id ASC", "t.sequence"),
        (all, "t.job", "", "t.id DESC", "t.id"),
        (alive, "s.job", "AND s.state <> 4", "s.sequence DESC, t.id DESC", "s.sequence"),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT t.spec, s.state FROM {from}
             WHERE 1 AND {job} = ?1 {also} AND {column} >= ?2 ORDER BY {order} LIMIT 10"
        );
        let mut statement = raw.prepare(&sql).unwrap();
        let plan: Vec<String> =
            statement.query_map((1, 1), |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
        let plan = plan.join("; ");
        assert!(plan.starts_with("SEARCH ") && plan.contains(" USING INDEX "), "{plan}");
        assert!(!plan.contains("TEMP B-TREE FOR ORDER BY"), "{plan}");
    }
}

/// Opens a golden file as this version does, and a store in memory that was given `records`; both must be the same.
#[track_caller]
fn assert_golden(file: &str, version: i32, records: &[Record]) {
    let (_folder, path) = folder();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(&fs::read_to_string(file).unwrap()).unwrap();
    let found: i32 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(found, version, "{file} is of its version");
    drop(raw);
    let mut golden = SqliteStore::open(&path).unwrap();
    let mut fresh = muster_store::MemoryStore::new();
    fresh.commit(records).unwrap();
    assert_same(&golden.load_all().unwrap(), &fresh.load_all().unwrap());
    let (golden, fresh) = (golden.reader(), fresh.reader());
    let query = Query::default();
    for job in ["Film", "other"].map(job_id) {
        let tasks = golden.tasks(&account(), &job, &query).unwrap().items;
        assert_eq!(tasks, fresh.tasks(&account(), &job, &query).unwrap().items);
        for task in tasks {
            let task = key(job.as_str(), task.spec.spec.id.as_str());
            assert_eq!(
                golden.attempts(&account(), &task, &Query::default()).unwrap().items,
                fresh.attempts(&account(), &task, &Query::default()).unwrap().items
            );
        }
    }
    let scenes = container("scenes");
    assert_eq!(
        golden.files(&account(), &scenes, &Query::default()).unwrap().items,
        fresh.files(&account(), &scenes, &Query::default()).unwrap().items
    );
}

#[test]
fn the_database_of_version_1_becomes_one_of_this_version_with_all_its_rows() {
    assert_golden(GOLDEN[0], 1, &everything_of_version_1());
}

#[test]
fn the_database_of_version_2_becomes_one_of_this_version_with_all_its_rows() {
    assert_golden(GOLDEN[1], 2, &everything_of_version_2());
}

#[test]
fn the_database_of_version_3_reads_back() {
    if std::env::var_os(BLESS).is_some() {
        bless();
    }
    assert_golden(GOLDEN[2], 3, &everything());
}

#[test]
fn a_migrated_database_can_be_written_like_a_new_one() {
    let (_folder, path) = folder();
    Connection::open(&path).unwrap().execute_batch(&fs::read_to_string(GOLDEN[0]).unwrap()).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    let running = TaskStateRow { state: TaskState::Running, revision: 2, ..task_state("other", "t1") };
    store.commit(&[Record::TaskState(Box::new(running.clone()))]).unwrap();
    store.commit(&sweep("other", "s", 200, 10)).unwrap();
    store.commit(&running_member(&sweep_row("other", "s", 200, 10), 4)).unwrap();
    let query = Query { filter: parse_filter("state = running").unwrap(), ..Query::default() };
    let found = store.reader().tasks(&account(), &job_id("other"), &query).unwrap().items;
    assert_eq!(found.iter().map(|task| task.spec.spec.id.as_str()).collect::<Vec<_>>(), ["t1", "s-05"]);
    assert_eq!(found[0].state, running);
}

/// Writes the tables and rows of a database with one row of each kind as SQL.
fn bless() {
    let (_folder, path) = folder();
    filled(&path, 0);
    let raw = Connection::open(&path).unwrap();
    let mut text = String::from("PRAGMA application_id = 0x4d535452;\nPRAGMA user_version = 3;\n");
    let mut schema = raw.prepare("SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    let objects: Vec<(String, String, String)> = schema
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (name, kind, sql) in objects.iter().filter(|(name, ..)| !name.starts_with("sqlite_")) {
        text += &format!("{sql};\n");
        if kind != "table" {
            continue;
        }
        let all = raw.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns: Vec<_> = all.column_names().map(|column| format!("quote({column})")).collect();
        let mut rows = raw.prepare(&format!("SELECT {} FROM {name}", columns.join(", "))).unwrap();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<String> = (0..columns.len()).map(|at| row.get(at).unwrap()).collect();
            text += &format!("INSERT INTO {name} VALUES ({});\n", values.join(", "));
        }
    }
    fs::write(GOLDEN[2], text).unwrap();
}
