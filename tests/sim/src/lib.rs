//! Both cores in virtual time: the real controller core over real store rows, the real agent cores over their journals.
//!
//! A seed decides everything. Messages are late, links fail one way or both, clocks are wrong, disks are slow or full, and
//! controllers, agents, supervisors and machines go down between any two steps and amid them; after every step the oracle looks
//! at what the simulated processes really do, not at what the records say.
//!
//! `story` runs a seed, `script` is what a seed makes happen, `world` holds the clock and the queue of events, `events` leads
//! each to its place. The controller: `controller`, `engine`, `commit`. Machines: `machine`, `journal`, `supervisor`, `process`,
//! `join`. Between them: `network`, `wire`, `clocks`. From outside: `client`, `calls`, `fault`. The promises: `oracle` at the
//! processes, `outputs` and `loss`, `judge` at what clients read of tasks and `nodes` of nodes, `pools` of pools, `naive` for dependencies,
//! `rest` at the end. `runner` runs many seeds, `tale` says what is printed of one that fails; `hunt` must find what is `planted`.

mod book;
mod broken;
mod call;
mod calls;
mod chance;
mod client;
mod clocks;
mod commit;
mod controller;
mod draw;
mod engine;
mod event;
mod events;
mod fate;
mod fault;
#[cfg(feature = "planted")]
mod hunt;
mod join;
mod journal;
mod judge;
mod loss;
mod machine;
mod naive;
mod names;
mod network;
mod nodes;
mod oracle;
mod outputs;
pub mod planted;
mod plight;
mod pools;
mod process;
mod quiet;
mod rest;
pub mod runner;
mod script;
mod story;
mod supervisor;
mod tale;
mod translate;
mod wire;
mod words;
mod world;

#[cfg(feature = "planted")]
pub use hunt::{Found, hunt};
pub use runner::Totals;
pub use story::{Failure, Story, glance, simulate};
#[cfg(feature = "planted")]
pub use story::{glance_planted, simulate_planted};
