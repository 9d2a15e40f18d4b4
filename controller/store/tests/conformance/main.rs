//! One suite for every backend: what `Store` and `Reader` promise, whatever is below.
//!
//! `world` holds the backends, `fixture` and `everything` make rows. `rows` writes and reads every kind of record, `sweeps` follows the lives of sweeps, `lists` walks
//! pages, `filters` holds the backends' filters and orders together, `kill` ends a writer in the middle of its work,
//! `torn` cuts and garbles what it left, `full` fills its disk, `files` opens what is damaged, foreign or old.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by ending"
)]

mod everything;
mod files;
mod filters;
mod fixture;
mod full;
mod kill;
mod lists;
mod rows;
mod sweeps;
mod torn;
mod world;
