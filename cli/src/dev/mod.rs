//! `muster dev`: a whole cluster on this machine, in the foreground.
//!
//! Goes in: a folder, a number of nodes. It starts the same binaries that a real cluster has, beside this one, talks to
//! them through the public API alone, and stops them all at the end. Nothing in them knows that it is there.
//!
//! `cluster` is the course of it, `controller` and `provider` look after the processes, `process` starts and stops one,
//! `folder` is what lies on disk, `mounts` what a killed node left mounted there.

mod cluster;
mod controller;
mod error;
mod folder;
mod mounts;
mod process;
mod provider;

pub(crate) use cluster::run;
