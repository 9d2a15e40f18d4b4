//! Each kind of fault between machines for some seconds, in every run of the tests.
//!
//! `cargo xtask faults` deals the same for minutes. What exactly happens in a partition, step by step, is in `partition.rs`;
//! readers that stop reading are in `readers.rs`.

use muster_faults::runner::short;

#[test]
fn nodes_that_are_cut_off_break_no_promise() -> anyhow::Result<()> {
    short("partition")
}

#[test]
fn connections_that_are_reset_and_answers_that_are_lost_break_no_promise() -> anyhow::Result<()> {
    short("resets")
}

#[test]
fn peers_that_stall_break_no_promise() -> anyhow::Result<()> {
    short("stall")
}

#[test]
fn readers_that_stop_reading_break_no_promise() -> anyhow::Result<()> {
    short("readers")
}
