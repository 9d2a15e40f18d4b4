//! What is kept of a command after its end: excerpts of its streams, and its output files in the file store.
//!
//! `expand` puts the task's variables into a pattern, `pattern` finds files as the reference says (azure-batch.md 3.7), `excerpt` takes the first and the last part of a
//! stream, `upload` carries contents to the controller, `collect` does all of it for one attempt.
//!
//! Everything is read beneath the task's directory without following links: the task may have put any link there.

mod collect;
mod excerpt;
mod expand;
mod pattern;
mod upload;

pub(crate) use collect::Outputs;
pub(crate) use expand::Environment;
