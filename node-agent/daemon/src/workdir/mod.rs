//! The directories of the node, and the only way to touch what lies below them.
//!
//! Tasks own parts of these directories and may put links, devices or FIFOs anywhere in them; so nothing here or above ever
//! opens a path that it put together. [`Dir`] is an open directory whose every access is resolved beneath it without
//! symbolic links; [`Layout`] knows the names of the reference (azure-batch.md 3.10); `trash` removes trees late.

mod dir;
mod layout;
mod trash;

pub(crate) use dir::{Dir, EntryKind, FileFacts, is_full};
pub(crate) use layout::{Layout, PlaceError, Readers, TaskPlace};
