//! The laws of the core: random histories, and stories that were worth telling, all in one simple world.
//!
//! Start at `world`; a new law is a check there, a new way to break one a happening in `random`.

mod contact;
mod features;
mod nodes;
mod random;
mod rows;
mod stories;
mod sweeps;
mod world;

pub(crate) use world::a_pool;
