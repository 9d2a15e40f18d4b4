//! `muster run`: one command on a pool, as if it ran here.
//!
//! Goes in: files, a command line. Comes out: its output on the same streams, its exit code, its files. The job and the
//! task that it needs on the way are made by `plan`, followed by `drive`, and end by themselves when this program does
//! not come back.
//!
//! `stream` copies the output while the task runs, `interrupt` hears Ctrl-C, `outcome` turns the end of a task into an
//! exit code and words.

mod drive;
mod interrupt;
mod outcome;
mod plan;
mod stream;

pub(crate) use drive::run;
pub(crate) use outcome::own_failure;
