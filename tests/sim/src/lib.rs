//! Both cores in virtual time: the real controller core over real store rows, the real agent cores over their journals.
//!
//! A seed decides everything. Messages take time, sessions break, controllers, agents and machines go down between any two
//! steps; after every step the oracle looks at what the simulated processes really do, not at what the records say.
//!
//! `story` runs a seed, `script` is what a seed makes happen, `world` holds the clock and the queue of events, `controller`
//! and `machine` the two sides, `wire` what is between them, `client` and `fault` what comes from outside. The promises:
//! `oracle` at the processes, `judge` at what clients read of tasks and `nodes` of nodes, `naive` for dependencies, `rest` at
//! the end.

mod book;
mod broken;
mod chance;
mod client;
mod controller;
mod draw;
mod fate;
mod fault;
mod judge;
mod machine;
mod naive;
mod names;
mod nodes;
mod oracle;
mod rest;
mod script;
mod story;
mod translate;
mod wire;
mod words;
mod world;

pub use story::{Story, glance, simulate};
