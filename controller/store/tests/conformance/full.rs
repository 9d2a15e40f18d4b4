//! A disk that is really full: a small file system of its own, filled to the last byte.
//!
//! What SQLite does without room is found out here and not believed: a failed commit leaves nothing and can be made again, a
//! checkpoint that fails is nobody's business, and with the reserve a store opens on a full disk. Mounting takes root;
//! without it these tests say so and end.

use crate::fixture::*;
use muster_controller_core::record::Record;
use muster_store::{OpenError, SqliteStore, Store, StoreError};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A small file system; unmounted whatever happens to the test.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(megabytes: u32) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: mounting a file system takes root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m,mode=0700");
        let options = Some(options.as_str());
        mount(Some("muster-store-test"), folder.path(), Some("tmpfs"), MsFlags::empty(), options).unwrap();
        Some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("muster.db")
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut file = File::options().append(true).create(true).open(self.path().join("filler")).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if file.write_all(&vec![7; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(self.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

fn batch(number: u64, tasks: u64) -> Vec<Record> {
    let mut batch = vec![job("j", 0)];
    for index in 0..tasks {
        let sequence = number * 10_000 + index;
        batch.extend(task("j", &format!("t-{sequence}"), sequence));
    }
    batch
}

/// Tasks of one large commit.
const LARGE: u64 = 50;

/// A commit of half a megabyte in few rows.
fn large(number: u64) -> Vec<Record> {
    let mut batch = batch(number, LARGE);
    for record in &mut batch {
        if let Record::TaskSpec(row) = record {
            row.spec.command_line = "x".repeat(10_000);
        }
    }
    batch
}

#[test]
fn a_commit_on_a_full_disk_leaves_nothing_and_is_made_again_when_there_is_room() {
    let Some(disk) = Disk::mount(24) else { return };
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    store.commit(&batch(1, 100)).unwrap();
    let before = store.load_all().unwrap();
    disk.fill();
    let wanted = batch(2, 3_000);
    for _ in 0..3 {
        let error = store.commit(&wanted).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_same(&store.load_all().unwrap(), &before);
        let found = store.reader().task(&account(), &key("j", "t-10000")).unwrap();
        assert!(found.is_some(), "reads go on");
    }
    disk.free();
    store.commit(&wanted).unwrap();
    assert_eq!(store.load_all().unwrap().tasks.len(), 3_100);
    drop(store);
    assert_eq!(SqliteStore::open(&disk.database()).unwrap().load_all().unwrap().tasks.len(), 3_100);
}

#[test]
fn a_process_that_dies_on_a_full_disk_leaves_what_was_durable() {
    let Some(disk) = Disk::mount(24) else { return };
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    store.commit(&batch(1, 100)).unwrap();
    let before = store.load_all().unwrap();
    disk.fill();
    assert!(store.commit(&batch(2, 3_000)).is_err());
    // The files as they are, without the tidy end that closing would make.
    let copy = tempfile::tempdir().unwrap();
    for name in ["muster.db", "muster.db-wal"] {
        fs::copy(disk.path().join(name), copy.path().join(name)).unwrap();
    }
    let mut store = SqliteStore::open(&copy.path().join("muster.db")).unwrap();
    assert_same(&store.load_all().unwrap(), &before);
}

#[test]
fn a_checkpoint_without_room_costs_nothing_but_room() {
    // The log grows over its size at which commits move it into the database, which there is no room for.
    let Some(disk) = Disk::mount(52) else { return };
    fs::write(disk.path().join("filler"), vec![7; 12 << 20]).unwrap();
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    let mut commits = 0;
    let error = loop {
        match store.commit(&large(commits)) {
            Ok(()) => commits += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    // The log has room for 4,000 frames since it was moved into the database for the first time, so a commit that finds
    // none came after the second time was due; and that has not been done.
    let raw = rusqlite::Connection::open(disk.database()).unwrap();
    let pages: i64 = raw.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    drop(raw);
    let (database, log) = (disk.database(), disk.database().with_extension("db-wal"));
    assert!(fs::metadata(log).unwrap().len() >= 4_000 * 4_120);
    assert!(
        fs::metadata(database).unwrap().len() < u64::try_from(pages).unwrap() * 4_096,
        "no checkpoint was missed"
    );
    let tasks = |store: &mut SqliteStore| u64::try_from(store.load_all().unwrap().tasks.len()).unwrap();
    assert_eq!(tasks(&mut store), commits * LARGE, "every commit that was made is there");
    disk.free();
    store.commit(&large(commits)).unwrap();
    commits += 1;
    drop(store);
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    assert_eq!(tasks(&mut store), commits * LARGE);
}

#[test]
fn the_reserve_carries_commits_and_comes_back_with_room() {
    let Some(disk) = Disk::mount(64) else { return };
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    assert!(store.restore_reserve());
    store.commit(&batch(1, 10)).unwrap();
    disk.fill();
    let mut number = 2;
    while store.commit(&batch(number, 10)).is_ok() {
        number += 1;
    }
    assert!(store.release_reserve());
    store.commit(&batch(number, 10)).unwrap();
    assert!(!store.restore_reserve(), "there is no room for it");
    assert!(!store.release_reserve());
    disk.free();
    assert!(store.restore_reserve());
}

#[test]
fn a_full_disk_keeps_a_store_from_opening_only_without_its_reserve() {
    let Some(disk) = Disk::mount(64) else { return };
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    assert!(store.restore_reserve());
    store.commit(&batch(1, 10)).unwrap();
    let before = store.load_all().unwrap();
    drop(store);
    disk.fill();
    let mut store = SqliteStore::open(&disk.database()).unwrap();
    assert_same(&store.load_all().unwrap(), &before);
    store.commit(&batch(2, 10)).unwrap();
    assert!(!store.restore_reserve());
    drop(store);
    disk.fill();
    let error = SqliteStore::open(&disk.database()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("full: free some space"), "{error}");
    disk.free();
    assert_eq!(SqliteStore::open(&disk.database()).unwrap().load_all().unwrap().tasks.len(), 20);
}
