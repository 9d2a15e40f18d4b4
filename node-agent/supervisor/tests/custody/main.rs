//! The built supervisor, real processes, real control groups.
//!
//! Each test has its own state directory and cgroup root. What needs root or a controller says SKIPPED where
//! it is missing.

// In test code a panic is the way to fail; clippy sees that only inside the test functions themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod ending;
mod full_disk;
mod harness;
mod hostile;
mod isolation;
mod keepers;
mod launch;
mod lease;
mod limiting;
mod limits;
mod protocol;
mod survival;
mod upgrade;
mod usage;
