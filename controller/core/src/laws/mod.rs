//! The laws of the core, tried on random histories.
//!
//! `world` is a small world around a core: rows as a store would keep them, and nodes that obey their leases. `random`
//! draws histories and checks every invariant and the recovery law after each step; `stories` are single cases told
//! one by one.

mod random;
mod stories;
mod world;
