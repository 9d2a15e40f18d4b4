//! The SQLite backend: one file, one writing connection, a few reading ones. The only module that names SQL.
//!
//! * `schema`: tables and versions. `open`: files, settings, refusals. `store`: the writer's face.
//! * `write`, `write_sweep`, `write_task` with `hot`: records to statements. `names`: account, job, sweep and container ids to
//!   small keys. `tidy`: removing what deleted parents leave behind, a little at a time.
//! * `read`: the readers' face over `pool`. `list` with `filter` and `columns`: pages; `task_list`: those of tasks and
//!   members. `resolve`: one task by its id. `row`, `row_task`, `row_sweep`: rows back to values; `template`: sweeps,
//!   decoded and remembered.
//!
//! * `log_check`: a log that has lost durable commits is refused. `reserve`: blocks that are kept for a full disk.
//!
//! Write-ahead log with `synchronous=FULL`: a commit has been fsynced when it returns.

mod columns;
mod fault;
mod filter;
mod hot;
mod list;
mod load;
mod log_check;
mod names;
mod open;
mod pool;
mod read;
mod reserve;
mod resolve;
mod row;
mod row_sweep;
mod row_task;
mod schema;
mod store;
mod task_list;
mod template;
mod tidy;
mod write;
mod write_sweep;
mod write_task;

pub use open::OpenError;
pub use store::SqliteStore;
