//! The engine above a store that does what the test says: waits, has no room, fails.
//!
//! `bench` is that store and the engine on it; `order` shows that nothing leaves before its commit and everything in order,
//! `slow_disk` what goes on while a commit hangs and what is held meanwhile, `full_disk` how want of space is waited out.

mod bench;
mod full_disk;
mod order;
mod slow_disk;
