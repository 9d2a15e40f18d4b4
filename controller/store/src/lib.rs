//! Durable records of the controller behind one trait: SQLite for real, memory for tests and simulation.
//!
//! * [`Store`] and [`Reader`]: the faces of every backend (`port`); [`StoreError`] says what can go wrong.
//! * [`query`]: filters, orders and pages; also reads them from text for the API.
//! * [`SqliteStore`] and [`MemoryStore`]: the backends. Only `sqlite` names SQL; only `codec` names bytes.
//!
//! A sweep is one row until something happens to its members; readers show each of them as a task all the same:
//! `expand` makes a member's specification of the template, `member` its state and its place in lists.
//!
//! The store persists the core's rows and never interprets them beyond that. It knows controller/core for those rows and proto for
//! the form in which specifications are kept.

mod codec;
mod expand;
mod member;
mod memory;
mod port;
pub mod query;
mod sqlite;
mod view;

pub use codec::CodecError;
pub use expand::ExpandError;
pub use memory::MemoryStore;
pub use port::{Reader, Store, StoreError};
pub use sqlite::{OpenError, SqliteStore};
pub use view::{ContainerView, SweepView, TaskView};
