//! A store in memory: for tests, and for simulation, where a crash is to drop what was not committed.
//!
//! `rows` with `job` holds and changes the rows, `check` refuses a batch before anything is changed, `reader` answers from what
//! `shared` lends it. The behaviour is that of SQLite, row for row and page for page: the conformance suite holds the
//! two together.

mod check;
mod job;
mod reader;
mod rows;
mod shared;
mod store;

pub use store::MemoryStore;
