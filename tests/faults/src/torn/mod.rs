//! Torn writes: what the last bytes of the controller's log and of a node's journals may be after a crash.
//!
//! Nothing that was synced is touched: `wal.rs` knows where the last whole commit of the store ends, `journal.rs` appends. Files
//! are changed only while nobody has them open.

mod journal;
mod wal;

pub use journal::{Tail, tear_journal};
pub use wal::{Log, Tear};
