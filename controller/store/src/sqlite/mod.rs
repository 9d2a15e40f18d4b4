//! The SQLite backend: one file, one writing connection, a few reading ones. The only module that names SQL.
//!
//! * `schema`: tables and versions. `open`: files, settings, refusals. `store`: the writer's face.
//! * `write`, `write_task` with `hot`: records to statements. `names`: account, job and container ids to small keys.
//!   `sweep`: removing what deleted parents leave behind, a little at a time.
//! * `read`: the readers' face over `pool`. `list` with `filter` and `columns`: pages. `row`: rows back to values.
//!
//! Write-ahead log with `synchronous=FULL`: a commit has been fsynced when it returns.

mod columns;
mod fault;
mod filter;
mod hot;
mod list;
mod load;
mod names;
mod open;
mod pool;
mod read;
mod row;
mod schema;
mod store;
mod sweep;
mod write;
mod write_task;

pub use open::OpenError;
pub use store::SqliteStore;
