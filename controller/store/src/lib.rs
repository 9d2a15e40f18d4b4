//! Durable records of the controller behind one trait: SQLite for real, memory for tests and simulation.
//!
//! * [`Store`] and [`Reader`]: the faces of every backend (`port`); [`StoreError`] says what can go wrong.
//! * [`query`]: filters, orders and pages; also reads them from text for the API.
//! * [`SqliteStore`] and [`MemoryStore`]: the backends. Only `sqlite` names SQL; only `codec` names bytes.
//!
//! The store persists the core's rows and never interprets them. It knows controller/core for those rows and proto for
//! the form in which specifications are kept.

mod codec;
mod memory;
mod port;
pub mod query;
mod sqlite;
mod view;

pub use codec::CodecError;
pub use memory::MemoryStore;
pub use port::{Reader, Store, StoreError};
pub use sqlite::{OpenError, SqliteStore};
pub use view::{ContainerView, TaskView};
