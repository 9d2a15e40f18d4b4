//! Both cores in virtual time: the real controller core over real store rows, the real agent cores over their journals.
//!
//! A seed decides everything. Messages take time, sessions break, controllers and agents crash between any two steps; after
//! every step the oracle looks at what the simulated processes really do, not at what the records say.
//!
//! `world` holds the clock and the queue of events, `controller` and `machine` the two sides, `translate` what the wire
//! does in a real cluster, `chance` the one source of randomness, `oracle` the promises.

mod chance;
mod controller;
mod machine;
mod oracle;
mod translate;
mod world;

pub use world::{Story, simulate};
