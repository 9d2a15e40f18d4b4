//! Separates one task from its node: what a process does to itself between clone and exec, beyond its user and
//! its limits.
//!
//! `prepared` turns a spec's isolation into memory that is ready for the child; `enter` makes its namespaces, `view`
//! performs the mount steps, `network` brings up the loopback device, `landlock` and `rights` are what it gives up.
//! `probe` tries all of it once at the supervisor's start. `calls` holds the system calls that have no wrapper.
//!
//! Invariant: each step that fails ends the launch with its name; nothing is skipped.

mod calls;
mod enter;
mod landlock;
mod network;
mod prepared;
mod probe;
mod rights;
mod view;

pub(crate) use enter::enter;
pub(crate) use landlock::rules;
pub(crate) use prepared::{Failure, Prepared, subject};
pub(crate) use probe::probe;
pub(crate) use rights::{drop_bounding_set, drop_capabilities, install_filters};
