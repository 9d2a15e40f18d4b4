//! Disks that fill up and disks that lose their power: what holds the controller's data or a node's directory.
//!
//! A disk is a file system in a file (`image.rs`), a full one has a file on it that takes all room (`ballast.rs`). Which daemon
//! works on it is the scenario's business.

mod ballast;
mod image;

pub use ballast::Ballast;
pub use image::{Image, Kind, cut_power, restore_power};
