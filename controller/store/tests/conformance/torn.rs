//! A log that ends in the middle of a commit, or has gone bad: what was durable is there as a whole, or it is said.
//!
//! The files of a store that runs are copied as a crash would leave them, with the end of the log cut off, written in another
//! order, or garbled; then they are opened and compared with what was committed.

use crate::fixture::*;
use muster_controller_core::record::{JobRow, Record, Rows};
use muster_store::{OpenError, SqliteStore, Store};
use std::fs;
use std::path::{Path, PathBuf};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + 4096;
const SECTOR: usize = 512;

/// A store that has made some commits, the bytes of its files, and where in the log each commit ends.
struct Lived {
    folder: tempfile::TempDir,
    database: Vec<u8>,
    log: Vec<u8>,
    ends: Vec<usize>,
    /// What was durable after each commit.
    states: Vec<Rows>,
}

fn log_of(database: &Path) -> PathBuf {
    database.with_extension("db-wal")
}

fn batch(number: u64) -> Vec<Record> {
    let mut batch = vec![Record::Job(Box::new(JobRow { revision: number, ..job_row("j", 0) }))];
    for index in 0..30 {
        let sequence = number * 30 + index;
        batch.extend(task("j", &format!("t-{sequence}"), sequence));
    }
    batch
}

impl Lived {
    fn new(commits: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.db");
        let mut store = SqliteStore::open(&path).unwrap();
        let (mut ends, mut states) = (Vec::new(), Vec::new());
        for number in 1..=commits {
            store.commit(&batch(number)).unwrap();
            ends.push(usize::try_from(fs::metadata(log_of(&path)).unwrap().len()).unwrap());
            states.push(store.load_all().unwrap());
        }
        let (database, log) = (fs::read(&path).unwrap(), fs::read(log_of(&path)).unwrap());
        assert!(ends.is_sorted() && ends.last() == Some(&log.len()), "each commit was added at the end");
        Self { folder, database, log, ends, states }
    }

    /// Opens a copy with this log.
    fn opened_with(&self, log: &[u8]) -> Result<SqliteStore, OpenError> {
        let path = self.folder.path().join("copy.db");
        let _ = fs::remove_file(path.with_extension("db-shm"));
        fs::write(&path, &self.database).unwrap();
        fs::write(log_of(&path), log).unwrap();
        SqliteStore::open(&path)
    }

    #[track_caller]
    fn has_state(&self, log: &[u8], commits: usize) {
        let mut store = self.opened_with(log).unwrap();
        assert_same(&store.load_all().unwrap(), &self.states[commits - 1]);
    }

    /// Where the last commit's part of the log begins and ends.
    fn last(&self) -> (usize, usize) {
        (self.ends[self.ends.len() - 2], self.log.len())
    }
}

/// Every place where something changes: each byte of each frame's header, each sector of each page, and the bytes around.
fn positions(from: usize, to: usize) -> impl Iterator<Item = usize> {
    (from..to).filter(move |at| {
        let in_frame = (at - HEADER) % FRAME;
        let in_page = in_frame.saturating_sub(FRAME_HEADER);
        in_frame <= FRAME_HEADER || in_page.is_multiple_of(SECTOR) || in_page == 4095
    })
}

#[test]
fn a_commit_that_was_cut_off_anywhere_is_gone_as_a_whole_and_nothing_else_is() {
    let lived = Lived::new(4);
    let (from, to) = lived.last();
    assert!((to - from) / FRAME >= 4, "a commit of several frames");
    for cut in positions(from, to) {
        lived.has_state(&lived.log[..cut], 3);
    }
    lived.has_state(&lived.log, 4);
}

#[test]
fn a_commit_whose_parts_reached_the_disk_in_another_order_is_gone_as_a_whole() {
    let lived = Lived::new(4);
    let (from, to) = lived.last();
    for sector in (from..to).step_by(SECTOR) {
        let mut log = lived.log.clone();
        let end = (sector + SECTOR).min(to);
        if log[sector..end].iter().all(|byte| *byte == 0) {
            continue;
        }
        log[sector..end].fill(0);
        lived.has_state(&log, 3);
    }
}

#[test]
fn a_garbled_log_is_refused_and_no_durable_commit_is_left_out_in_silence() {
    let lived = Lived::new(6);
    // Behind what is garbled here there are two whole commits, which cannot be remnants of one that was cut off.
    let end = lived.ends[3];
    for at in positions(HEADER, end).filter(|at| at.is_multiple_of(7)) {
        let mut log = lived.log.clone();
        log[at] ^= 0x40;
        let error = lived.opened_with(&log).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "at {at}: {error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("commits that were durable"), "at {at}: {cause}");
        let copy = lived.folder.path().join("copy.db");
        assert_eq!(fs::read(log_of(&copy)).unwrap(), log, "what is left is left for whoever saves it");
    }
    let mut log = lived.log.clone();
    log[..HEADER].fill(0xa5);
    assert!(matches!(lived.opened_with(&log).map(drop), Err(OpenError::Damaged { .. })), "a garbled header");
}

#[test]
fn a_page_that_is_garbled_in_the_middle_of_the_database_is_never_read_as_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.db");
    let mut store = SqliteStore::open(&path).unwrap();
    (1..=20).for_each(|number| store.commit(&batch(number)).unwrap());
    let all = store.load_all().unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut same) = (0, 0);
    for page in 1..whole.len() / 4096 {
        for garbage in [0x00, 0xa5] {
            let mut bytes = whole.clone();
            bytes[page * 4096..(page + 1) * 4096].fill(garbage);
            fs::write(&path, &bytes).unwrap();
            match SqliteStore::open(&path) {
                Err(error) => {
                    assert!(matches!(error, OpenError::Damaged { .. }), "page {page}: {error:?}");
                    refused += 1;
                }
                // A page that nothing is in.
                Ok(mut store) => {
                    assert_same(&store.load_all().unwrap(), &all);
                    same += 1;
                }
            }
        }
    }
    assert!(refused > 10 * same, "{refused} refused, {same} the same");
}
