//! The scenarios: each file is one kind of fault.
//!
//! `all` is the list that `cargo xtask faults` plays and that `--scenario` chooses from. A scenario knows the site and its load,
//! never how they are judged.

mod all;
pub mod clock;
pub mod full_disk;
pub mod kill;
pub mod partition;
pub mod power;
pub mod readers;
pub mod reboot;
pub mod resets;
pub mod stall;
pub mod stop;
pub mod torn;

pub use all::all;
