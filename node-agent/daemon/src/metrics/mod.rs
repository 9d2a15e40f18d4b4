//! What the node and its commands use at the moment: measured every so often and told to the controller, for people.
//!
//! `pace` says when, `machine` reads a few small files of the kernel, `book` knows what was told of which attempt, so that only changes are
//! said. The supervisor measures the commands, 64 at a time and one question after the other, so that nothing waits
//! long for it. Nothing of this is kept: a message that is lost is made up for by the next.

mod book;
mod machine;
mod pace;

pub(crate) use book::Book;
pub(crate) use machine::Meter;
pub(crate) use pace::{next_round, rounds};
