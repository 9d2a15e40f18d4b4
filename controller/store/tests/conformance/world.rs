//! The backends behind one handle that a test can drop and open again.
//!
//! A test takes a `World` and does not know which backend is below; `on_every_backend` makes one test of it for each.
//! Opening again loses what was not committed and nothing else, as a crash would. The folder goes with the world, also when
//! the test fails.

use muster_controller_core::record::{Record, Rows};
use muster_store::{MemoryStore, Reader, SqliteStore, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

enum Live {
    Memory(MemoryStore),
    Sqlite(Box<SqliteStore>),
}

/// A store in a folder of its own.
pub(crate) struct World {
    live: Option<Live>,
    folder: TempDir,
}

impl World {
    pub(crate) fn memory() -> Self {
        Self { live: Some(Live::Memory(MemoryStore::new())), folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn sqlite() -> Self {
        let mut world = Self { live: None, folder: tempfile::tempdir().unwrap() };
        world.live = Some(Live::Sqlite(Box::new(SqliteStore::open(&world.path()).unwrap())));
        world
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("muster.db")
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        match self.live.as_mut().unwrap() {
            Live::Memory(store) => store,
            Live::Sqlite(store) => store.as_mut(),
        }
    }

    pub(crate) fn reader(&mut self) -> Arc<dyn Reader> {
        self.store().reader()
    }

    pub(crate) fn commit(&mut self, records: &[Record]) {
        self.store().commit(records).unwrap();
    }

    pub(crate) fn refused(&mut self, records: &[Record]) -> StoreError {
        self.store().commit(records).unwrap_err()
    }

    pub(crate) fn load(&mut self) -> Rows {
        self.store().load_all().unwrap()
    }

    /// Drops the store as a crash would and opens what it left.
    pub(crate) fn reopen(&mut self) {
        self.live = Some(match self.live.take().unwrap() {
            Live::Memory(store) => Live::Memory(store.snapshot()),
            Live::Sqlite(store) => {
                drop(store);
                Live::Sqlite(Box::new(SqliteStore::open(&self.path()).unwrap()))
            }
        });
    }
}

/// Makes of each function a module with one test for each backend.
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn memory() {
                super::$name(&mut $crate::world::World::memory());
            }

            #[test]
            fn sqlite() {
                super::$name(&mut $crate::world::World::sqlite());
            }
        })+
    };
}
pub(crate) use on_every_backend;
