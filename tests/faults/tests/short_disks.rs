//! Each kind of fault of a disk for some seconds, in every run of the tests.
//!
//! `cargo xtask faults` deals the same for minutes. What exactly happens on a full disk is in `full_disk.rs`, what a torn commit
//! may take with it in `torn.rs`.

use muster_faults::runner::short;

#[test]
fn full_disk_under_the_controller_breaks_no_promise() -> anyhow::Result<()> {
    short("full-controller")
}

#[test]
fn full_disk_under_a_node_breaks_no_promise() -> anyhow::Result<()> {
    short("full-node")
}

#[test]
fn controllers_disk_that_loses_its_power_breaks_no_promise() -> anyhow::Result<()> {
    short("controller-power")
}

#[test]
fn disks_of_nodes_that_lose_their_power_break_no_promise() -> anyhow::Result<()> {
    short("node-power")
}

#[test]
fn garbage_behind_the_last_whole_write_breaks_no_promise() -> anyhow::Result<()> {
    short("torn")
}
