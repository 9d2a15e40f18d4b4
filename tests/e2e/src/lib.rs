//! The harness of the end-to-end tests: a whole Muster made of the real binaries, on loopback, in a folder that goes away.
//!
//! Start at `cluster.rs`: `Cluster::dev()` runs `muster dev`, `Cluster::split()` runs a controller and agents as processes
//! that a test may kill, stop and start again on the same folders. What a test may say to them is what a user may: the
//! command line (`outcome.rs`) and the API (`api.rs`).
//!
//! Invariant: a cluster that is dropped leaves no process, mount, control group or folder; `leftovers.rs` looks and says
//! what it found. Nothing here sleeps for a guessed time: `wait.rs` waits for conditions.

pub mod api;
pub mod binaries;
pub mod cluster;
pub mod daemon;
pub mod dev;
pub mod disguise;
pub mod exit_code;
mod home;
pub mod http_server;
pub mod leftovers;
pub mod machine;
pub mod outcome;
pub mod pipe;
pub mod pressure;
pub mod split;
pub mod tmpfs;
pub mod user;
pub mod wait;
pub mod work;

pub use api::Api;
pub use cluster::Cluster;
pub use http_server::HttpServer;
pub use outcome::Outcome;
pub use tmpfs::Tmpfs;
pub use user::User;
pub use wait::wait_until;
