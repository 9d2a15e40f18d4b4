//! `muster`, the command line: reads argv, calls the client library, writes results.
//!
//! Goes in: argv, the environment, terminals. Comes out: data on standard output, words and progress on standard error,
//! an exit code that scripts can rely on. What a program without a terminal would need too (retries, transfers, watches)
//! lives in `muster-client`; `dev/` starts the daemons' binaries and knows nothing else of them.
//!
//! Read `main.rs`, then `args/root.rs` for the commands and `commands/mod.rs` for what they do.

mod args;
mod commands;
mod dev;
mod exit;
mod outlet;
mod progress;
mod render;
mod run;
mod start;

pub use start::start;
