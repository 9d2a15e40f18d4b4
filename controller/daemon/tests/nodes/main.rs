//! The node listener end to end inside one process: real TLS, the gate, the engine, and a fake agent that speaks
//! `NodeService` as an agent does.
//!
//! `support` holds the controller's half and the agent; each other file is one subject.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test has no API, and its helpers fail by panicking as its tests do"
)]

mod joining;
mod operating;
mod planning;
mod reading;
mod running;
mod slow_disk;
mod support;
