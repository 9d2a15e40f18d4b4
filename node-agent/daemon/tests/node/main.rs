//! The agent's binary with the real supervisor, against a small controller in this process.
//!
//! `world` starts and ends everything, `controller` is the other end of the wire, `web` a tiny HTTP server, `relay` a network that
//! fails. The tests are
//! grouped by what they are about. Nothing outlives a test, also when it fails: see `World`'s drop.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "tests"
)]

mod controller;
mod custody;
mod disk;
mod faults;
mod health;
mod isolation;
mod jobs;
mod measuring;
mod outputs;
mod reading;
mod relay;
mod remade;
mod restarts;
mod running;
mod staging;
mod users;
mod web;
mod world;
